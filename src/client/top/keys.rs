//! What a key does. What takes a worker away is asked for once more.
//!
//! Pure: the change itself is a [`Deed`] of the caller.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Deed, Mode, Model};
use super::sort::{Sort, SortBackends};
use crate::client::table::text::cut_middle;
use crate::protocol::{BackendChange, Request, Size, SlotRef};
use crate::status::{BackendState, BackendStatus};

/// A backend is named in so many characters, so that the question has room beside it.
const NAMED: usize = 28;

/// What the help says besides where there are backends.
pub const KEY_OF_BACKENDS: (&str, &str) = ("Tab", "to the slots, or back to the backends");

/// What each key does, for the help.
pub const KEYS: [(&str, &str); 14] = [
    (
        "up down  k j",
        "select a slot or a backend; Page, Home and End, too",
    ),
    (
        "r",
        "restart the slot: a new worker takes over from the old one",
    ),
    ("d", "drain the slot or the backend: it gets nothing more"),
    ("u", "resume it: it gets its share again"),
    ("+ -", "one worker more, one less"),
    ("R", "reload: new workers for old, in all slots"),
    ("s S", "sort by the next column; as at first again"),
    ("a", "show one app of several, then the next, then all"),
    ("m", "what was said so far"),
    ("Esc", "put a message away, close what is open"),
    ("?", "this"),
    ("Ctrl-L", "draw all anew"),
    ("Ctrl-Z", "suspend; fg comes back"),
    ("q  Ctrl-C", "quit; a change that was begun goes on"),
];

impl Model {
    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Option<Deed> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Deed::Quit),
                KeyCode::Char('z') => Some(Deed::Suspend),
                KeyCode::Char('l') => Some(Deed::Redraw),
                _ => None,
            };
        }
        match std::mem::replace(&mut self.mode, Mode::Watch) {
            Mode::Watch => self.watched(key.code),
            Mode::Help => None,
            Mode::Said(below) => {
                // Further up than the first there is nothing to come back from.
                let most = self.messages.lines();
                let up = |by: usize| Mode::Said((below + by).min(most));
                self.mode = match key.code {
                    KeyCode::Up | KeyCode::Char('k') => up(1),
                    KeyCode::PageUp => up(self.scroll.height),
                    KeyCode::Down | KeyCode::Char('j') => Mode::Said(below.saturating_sub(1)),
                    KeyCode::PageDown => Mode::Said(below.saturating_sub(self.scroll.height)),
                    _ => Mode::Watch,
                };
                None
            }
            Mode::Confirm(request, _) => match key.code {
                KeyCode::Char('y' | 'Y') | KeyCode::Enter => Some(self.begin(request)),
                _ => None,
            },
        }
    }

    fn watched(&mut self, key: KeyCode) -> Option<Deed> {
        let place = self.place();
        let scroll = match self.selected_backend() {
            Some(_) => self.scroll_backends,
            None => self.scroll,
        };
        let page = scroll.height.max(2) - 1;
        match key {
            KeyCode::Char('q') => return Some(Deed::Quit),
            KeyCode::Up | KeyCode::Char('k') => self.select(place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(place + 1),
            KeyCode::PageUp => self.select(place.saturating_sub(page)),
            KeyCode::PageDown => self.select(place + page),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(usize::MAX),
            KeyCode::Tab | KeyCode::BackTab => self.select_other_table(),
            KeyCode::Char('s') => self.sort_by(self.sort.next(), self.sort_backends.next()),
            KeyCode::Char('S') => self.sort_by(Sort::default(), SortBackends::default()),
            KeyCode::Char('a') => self.next_app(),
            KeyCode::Char('m') => self.mode = Mode::Said(0),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Esc => self.messages.put_away(),
            KeyCode::Char('r') if self.selected_backend().is_some() => {
                let words = "a backend is not ours to restart; Tab selects a slot";
                self.messages.note(words, self.now);
            }
            KeyCode::Char(letter) => return self.change(letter),
            _ => {}
        }
        None
    }

    /// The slots or the backends, whichever the selection is among.
    fn sort_by(&mut self, slots: Sort, backends: SortBackends) {
        let words = match self.selected_backend() {
            Some(_) => {
                self.sort_backends = backends;
                format!("backends sorted by {}", backends.words())
            }
            None => {
                self.sort = slots;
                format!("sorted by {}", slots.words())
            }
        };
        // Whoever sorts wants to see what comes first now, and goes on with the same app.
        self.select_first_alike();
        // The column may be out of view.
        self.messages.note(words, self.now);
    }

    fn next_app(&mut self) {
        let mut names = self.status.apps.iter().map(|app| &app.name);
        let next = match &self.only {
            None => names.next(),
            Some(only) => {
                names.find(|name| *name == only);
                names.next()
            }
        };
        self.only = next.filter(|_| self.has_apps()).cloned();
        self.keep_selection(0);
    }

    fn change(&mut self, letter: char) -> Option<Deed> {
        let named = |app: &str| self.has_apps().then(|| app.to_owned());
        let slot = self.selected();
        let backend = self.selected_backend();
        let target = slot.map(|slot| SlotRef {
            app: named(&slot.app),
            slot: slot.slot,
        });
        let of_backend = |change: fn(String) -> BackendChange| {
            backend.map(|one| Request::Backend {
                app: named(&one.app),
                change: change(label(one).to_owned()),
            })
        };
        let app = slot.map(|slot| &slot.app);
        let scaled = app
            .or(backend.map(|one| &one.app))
            .and_then(|app| named(app));
        let request = match letter {
            'd' if backend.is_some() => of_backend(|backend| BackendChange::Drain { backend })?,
            'u' if backend.is_some() => of_backend(|backend| BackendChange::Resume { backend })?,
            'r' => Request::Restart { slot: target? },
            'd' => Request::Drain { slot: target? },
            'u' => Request::Resume { slot: target? },
            '+' | '=' => Request::Scale {
                app: scaled,
                to: Size::More(1),
            },
            '-' | '_' => Request::Scale {
                app: scaled,
                to: Size::Fewer(1),
            },
            'R' => Request::Reload {
                app: self.only.clone(),
                changes_only: false,
            },
            _ => return None,
        };
        match self.question(&request) {
            Some(question) => {
                self.mode = Mode::Confirm(request, question);
                None
            }
            None => Some(self.begin(request)),
        }
    }

    /// What to ask before something that takes a worker or a backend away.
    fn question(&self, request: &Request) -> Option<String> {
        Some(match request {
            Request::Restart { slot } => {
                format!(
                    "Restart slot {slot}? A new worker takes over, the old one finishes what it has."
                )
            }
            Request::Drain { slot } => {
                format!("Drain slot {slot}? It gets nothing more until it is resumed.")
            }
            Request::Backend {
                change: BackendChange::Drain { backend },
                ..
            } => {
                let what = match self.is_last_one_up() {
                    true => "No other one is up.",
                    false => "It gets no new sessions.",
                };
                format!("Drain backend {}? {what}", cut_middle(backend, NAMED))
            }
            Request::Scale {
                to: Size::Fewer(_),
                app,
            } => {
                let of = app.as_ref().map(|app| format!(" in {app}"));
                let of = of.unwrap_or_default();
                format!("One worker less{of}? The highest slot finishes what it has, and goes.")
            }
            Request::Reload { app, .. } => {
                let which = app.as_deref().unwrap_or("all slots");
                format!("Reload {which}? New workers take over from the old ones, slot by slot.")
            }
            _ => return None,
        })
    }

    /// Without the selected backend its proxy has none that is up.
    fn is_last_one_up(&self) -> bool {
        let Some(selected) = self.selected_backend() else {
            return false;
        };
        let mut others = self.status.backends.iter();
        !others.any(|one| {
            let other = one.app == selected.app && label(one) != label(selected);
            other && one.state == BackendState::Up
        })
    }
}

/// What means this backend, with this address.
fn label(one: &BackendStatus) -> &str {
    match one.address.as_str() {
        "" => &one.backend,
        address => address,
    }
}

/// A change in the words of the command line.
pub fn about(request: &Request) -> String {
    let of = |app: &Option<String>| {
        app.as_ref()
            .map(|app| format!(" {app}"))
            .unwrap_or_default()
    };
    match request {
        Request::Restart { slot } => format!("restart {slot}"),
        Request::Drain { slot } => format!("drain {slot}"),
        Request::Resume { slot } => format!("resume {slot}"),
        Request::Scale { app, to } => format!("scale{} {to}", of(app)),
        Request::Reload { app, .. } => format!("reload{}", of(app)),
        Request::Backend { change, .. } => match change {
            BackendChange::Drain { backend } => format!("backend drain {backend}"),
            BackendChange::Resume { backend } => format!("backend resume {backend}"),
            BackendChange::Add { .. }
            | BackendChange::Remove { .. }
            | BackendChange::Weight { .. } => String::new(),
        },
        Request::Status
        | Request::Logs { .. }
        | Request::Metrics
        | Request::Set { .. }
        | Request::Upgrade { .. }
        | Request::Stop => String::new(),
    }
}
