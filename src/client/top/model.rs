//! All that `top` knows and what its user has chosen, and what a look, an answer or a key makes of it.
//!
//! Pure: it is told the time, and says what is to be done ([`Deed`]). [`super::draw`] shows it, [`super::live`]
//! feeds it.

use std::time::{Duration, Instant};

use super::messages::{Messages, Stage};
use super::rates::{BackendKey, Rates, SlotKey, backend_key, slot_key};
use super::sort::{Sort, SortBackends};
use crate::error::ErrorKind;
use crate::protocol::Request;
use crate::status::{BackendStatus, SlotStatus, Status};

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// End.
    Quit,
    /// Draw everything, whatever the terminal shows.
    Redraw,
    /// Give the terminal back for a while.
    Suspend,
    /// Have the primary change something, under this number.
    Change(u64, Request),
}

/// What the keys mean now, and what lies over the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing does.
    Watch,
    /// The keys explained.
    Help,
    /// What was said, with so many of the newest lines out of view.
    Said(usize),
    /// A change that is done only if its user says so once more.
    Confirm(Request, String),
}

/// How it stands with the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It answers.
    There,
    /// It is there and does not answer, or says no: why.
    Silent(String),
    /// There is none.
    Gone,
}

/// On what a key acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// On a slot.
    Slot(SlotKey),
    /// On a backend of a proxy.
    Backend(BackendKey),
}

/// Which lines of the backends, or of the slots, are in view; the drawing keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scroll {
    /// Lines above the view.
    pub above: usize,
    /// Lines in view.
    pub height: usize,
}

/// Everything.
#[derive(Debug)]
pub struct Model {
    /// The last state that the primary has told.
    pub status: Status,
    /// When that was.
    pub seen: Instant,
    /// Now.
    pub now: Instant,
    /// From one look to the next.
    pub interval: Duration,
    /// How it stands with the primary.
    pub link: Link,
    /// What happens per second.
    pub rates: Rates,
    /// What was said.
    pub messages: Messages,
    /// What the keys mean.
    pub mode: Mode,
    /// The order of slots.
    pub sort: Sort,
    /// The order of backends.
    pub sort_backends: SortBackends,
    /// The only app that is shown.
    pub only: Option<String>,
    /// Where the next key acts.
    pub selected: Option<Selected>,
    /// What of the slots is in view.
    pub scroll: Scroll,
    /// And of the backends.
    pub scroll_backends: Scroll,
    changes: u64,
}

impl Model {
    /// With the first state.
    pub fn new(status: Status, interval: Duration, now: Instant) -> Self {
        let mut rates = Rates::default();
        rates.note(&status);
        let mut this = Self {
            status,
            seen: now,
            now,
            interval,
            link: Link::There,
            rates,
            messages: Messages::default(),
            mode: Mode::Watch,
            sort: Sort::default(),
            sort_backends: SortBackends::default(),
            only: None,
            selected: None,
            scroll: Scroll::default(),
            scroll_backends: Scroll::default(),
            changes: 0,
        };
        this.keep_selection(0);
        this
    }

    /// The primary has told its state.
    pub fn look(&mut self, status: Status) {
        self.tell_what_is_new(&status);
        let place = self.place();
        self.rates.note(&status);
        self.status = status;
        self.seen = self.now;
        self.link = Link::There;
        let exists = |name: &String| self.status.apps.iter().any(|app| app.name == *name);
        if !self.only.as_ref().is_some_and(exists) {
            self.only = None;
        }
        self.keep_selection(place);
    }

    fn tell_what_is_new(&mut self, status: &Status) {
        let before = &self.status;
        let said = if before.pid != status.pid || before.uptime_s > status.uptime_s {
            format!("another primary answers now, pid {}", status.pid)
        } else if before.version != status.version {
            format!("the primary has become version {}", status.version)
        } else if self.link != Link::There {
            "the primary answers again".to_owned()
        } else {
            return;
        };
        self.messages.note(said, self.now);
    }

    /// It could not be asked.
    pub fn miss(&mut self, kind: ErrorKind, why: String) {
        let link = match kind {
            ErrorKind::NoPrimary => Link::Gone,
            ErrorKind::Failed | ErrorKind::Usage => Link::Silent(why),
        };
        if self.link != link && link == Link::Gone {
            self.messages.note("the primary has gone", self.now);
        }
        self.link = link;
    }

    /// How a change goes on, or ended.
    pub fn said(&mut self, change: u64, text: String, stage: Stage) {
        self.messages.said(change, text, stage, self.now);
    }

    /// The answer is overdue by this much, if it is.
    pub fn silent_for(&self) -> Option<Duration> {
        let patience = self.interval + Duration::from_secs(2);
        let silent = self.now.saturating_duration_since(self.seen);
        (silent > patience).then_some(silent)
    }

    /// A change under a new number.
    pub fn begin(&mut self, request: Request) -> Deed {
        self.changes += 1;
        let about = super::keys::about(&request);
        self.messages.begin(self.changes, about, self.now);
        Deed::Change(self.changes, request)
    }

    /// Several apps run.
    pub fn has_apps(&self) -> bool {
        self.status.apps.len() > 1
    }

    /// Something of this app is shown.
    pub fn shows(&self, app: &str) -> bool {
        self.only.as_ref().is_none_or(|only| app == only)
    }

    /// The slots that are shown, in their order.
    pub fn slots(&self) -> Vec<&SlotStatus> {
        let slots = self.status.slots.iter();
        let mut slots: Vec<_> = slots.filter(|slot| self.shows(&slot.app)).collect();
        slots.sort_by(|one, other| {
            let apps = self.place_of(&one.app).cmp(&self.place_of(&other.app));
            apps.then_with(|| self.sort.compare(&self.rates, one, other))
        });
        slots
    }

    /// The backends that are shown, in their order.
    pub fn backends(&self) -> Vec<&BackendStatus> {
        let all = self.status.backends.iter();
        let mut all: Vec<_> = all.filter(|one| self.shows(&one.app)).collect();
        // As they are listed, where nothing else tells them apart.
        all.sort_by(|one, other| {
            let apps = self.place_of(&one.app).cmp(&self.place_of(&other.app));
            apps.then_with(|| self.sort_backends.compare(&self.rates, one, other))
        });
        all
    }

    fn place_of(&self, app: &str) -> Option<usize> {
        self.status.apps.iter().position(|one| one.name == app)
    }

    /// All that can be selected, from top to bottom.
    fn rows(&self) -> Vec<Selected> {
        let backends = self.backends().into_iter();
        let backends = backends.map(|one| Selected::Backend(backend_key(one)));
        let slots = self.slots().into_iter();
        let slots = slots.map(|slot| Selected::Slot(slot_key(slot)));
        backends.chain(slots).collect()
    }

    /// The slot on which a key acts.
    pub fn selected(&self) -> Option<&SlotStatus> {
        let mut slots = self.status.slots.iter();
        slots.find(|slot| self.is_selected(&Selected::Slot(slot_key(slot))))
    }

    /// The backend on which a key acts.
    pub fn selected_backend(&self) -> Option<&BackendStatus> {
        let mut all = self.status.backends.iter();
        all.find(|one| self.is_selected(&Selected::Backend(backend_key(one))))
    }

    /// It is this one.
    pub fn is_selected(&self, one: &Selected) -> bool {
        self.selected.as_ref() == Some(one)
    }

    /// Where the selected one is among those that are shown.
    pub fn place(&self) -> usize {
        let found = self.rows().iter().position(|one| self.is_selected(one));
        found.unwrap_or(0)
    }

    /// Selects the one at this place, or the last one.
    pub fn select(&mut self, place: usize) {
        let rows = self.rows();
        let place = place.min(rows.len().saturating_sub(1));
        self.selected = rows.into_iter().nth(place);
    }

    /// Selects the first one of the same table and app.
    pub fn select_first_alike(&mut self) {
        let alike = |one: &Selected| match (one, &self.selected) {
            (Selected::Slot(one), Some(Selected::Slot(own))) => one.0 == own.0,
            (Selected::Backend(one), Some(Selected::Backend(own))) => one.0 == own.0,
            _ => false,
        };
        let first = self.rows().iter().position(alike);
        self.select(first.unwrap_or(0));
    }

    /// From a backend to the first slot, and from a slot to the first backend, if there is one.
    pub fn select_other_table(&mut self) {
        let backends = self.backends().len();
        if backends == 0 {
            return;
        }
        let is_slot = matches!(self.selected, Some(Selected::Slot(_)));
        self.select(if is_slot { 0 } else { backends });
    }

    /// One that has gone leaves the selection to the one that has its place; a backend with another address now is
    /// the same one still.
    pub fn keep_selection(&mut self, place: usize) {
        let rows = self.rows();
        if rows.iter().any(|one| self.is_selected(one)) {
            return;
        }
        let same = |one: &Selected| match (one, &self.selected) {
            (Selected::Backend(one), Some(Selected::Backend(was))) => {
                (&one.0, &one.1) == (&was.0, &was.1)
            }
            _ => false,
        };
        let there = rows.iter().position(same);
        self.select(there.unwrap_or(place));
    }
}
