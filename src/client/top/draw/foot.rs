//! The last lines: what was said, or a question, and the keys; and what lies over the picture when it is asked for.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Sheet;
use super::columns::cut;
use super::theme::Tone;
use crate::client::top::keys::{KEY_OF_BACKENDS, KEYS};
use crate::client::top::messages::{Message, Stage};
use crate::client::top::model::Mode;

/// The keys in the order of their importance, as short as can be.
const HINTS: [(&str, &str); 12] = [
    ("q", "quit"),
    ("?", "help"),
    ("r", "restart"),
    ("d", "drain"),
    ("u", "resume"),
    ("+-", "scale"),
    ("R", "reload"),
    ("s", "sort"),
    ("a", "app"),
    (TAB, "slots"),
    ("m", "messages"),
    ("jk", "select"),
];
const TAB: &str = "Tab";

/// What the words over the figures of slots mean.
const WORDS: [&str; 4] = [
    "CONN/S    connections taken per second, and what it was before",
    "QUEUE     dealt to the worker, and not taken by it yet",
    "RST       restarts: workers of this slot after the first",
    "WAIT p99  from the primary's accept to the worker's, 99 of 100",
];
/// Of listeners, where there is room for it.
const OF_LISTENERS: [&str; 1] = ["OVERFLOWS turned away by the kernel, backlog full (whole host)"];
/// And of backends.
const OF_BACKENDS: [&str; 2] = [
    "IN OUT/S  bytes per second to the backend, and from it",
    "CONN p99  time that connects to the backend take, 99 of 100",
];

impl Sheet<'_> {
    /// What was said last, or is asked now: `most` lines at most, one at least.
    pub fn said(&self, most: usize) -> Vec<Line<'static>> {
        if let Mode::Confirm(_, question) = &self.model.mode {
            // What can be answered is seen on the narrowest screen, too.
            let words = cut(question, self.width.saturating_sub(4)) + " y/n";
            return vec![Line::styled(words, self.theme.selected())];
        }
        let said = self.model.messages.in_view(most.max(1), self.model.now);
        let mut lines: Vec<Line> = said.iter().map(|one| self.message(one)).collect();
        if lines.is_empty() {
            lines.push(Line::default());
        }
        lines
    }

    fn message(&self, message: &Message) -> Line<'static> {
        let mut parts = message.text.lines();
        let first = parts.next().unwrap_or_default();
        let more = if parts.next().is_some() {
            " (m: more)"
        } else {
            ""
        };
        let about = head_of(message);
        let room = self
            .width
            .saturating_sub(about.chars().count() + more.len());
        Line::from(vec![
            Span::styled(about, self.style(tone_of(message.stage))),
            Span::raw(cut(first, room)),
            Span::styled(more, self.style(Tone::Faint)),
        ])
    }

    /// The keys, as many as there is room for.
    pub fn hints(&self) -> Line<'static> {
        let mut spans = Vec::new();
        let mut room = self.width + 2;
        let of_backend = self.model.selected_backend().is_some();
        for (key, what) in HINTS {
            let what = match key {
                TAB if !of_backend => "backends",
                _ => what,
            };
            let useless = match key {
                "a" => !self.model.has_apps(),
                "r" => of_backend,
                TAB => !self.has_backends(),
                _ => false,
            };
            let taken = key.len() + what.len() + 3;
            if useless || taken > room {
                continue;
            }
            room -= taken;
            spans.push(Span::styled(key, self.style(Tone::Strong)));
            spans.push(Span::styled(format!(" {what}  "), self.style(Tone::Faint)));
        }
        Line::from(spans)
    }

    fn has_backends(&self) -> bool {
        !self.model.status.backends.is_empty()
    }

    /// What lies over the picture, with its title; `None` if nothing does.
    pub fn over(&self, area: Rect) -> Option<(&'static str, Vec<Line<'static>>)> {
        match self.model.mode {
            Mode::Watch | Mode::Confirm(..) => None,
            Mode::Help => Some((" Keys ", self.help())),
            Mode::Said(below) => {
                let height = usize::from(area.height.saturating_sub(4)).max(1);
                Some((" Messages ", self.all_said(below, height)))
            }
        }
    }

    fn help(&self) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let led = self.has_backends();
        for (key, what) in KEYS.into_iter().chain(led.then_some(KEY_OF_BACKENDS)) {
            lines.push(Line::from(vec![
                Span::styled(format!("{key:<15}"), self.style(Tone::Strong)),
                Span::raw(what),
            ]));
        }
        lines.push(Line::default());
        let others: &[&str] = if led { &OF_BACKENDS } else { &OF_LISTENERS };
        let words = WORDS.iter().chain(others);
        lines.extend(words.map(|words| Line::raw(*words)));
        lines
    }

    fn all_said(&self, below: usize, height: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for message in self.model.messages.all() {
            let tone = self.style(tone_of(message.stage));
            for (number, words) in message.text.lines().enumerate() {
                let about = if number == 0 {
                    head_of(message)
                } else {
                    "  ".into()
                };
                lines.push(Line::from(vec![
                    Span::styled(about, tone),
                    Span::raw(words.to_owned()),
                ]));
            }
        }
        if lines.is_empty() {
            lines.push(Line::raw("nothing yet"));
        }
        let last = lines
            .len()
            .saturating_sub(below)
            .max(height.min(lines.len()));
        lines.truncate(last);
        lines.split_off(last.saturating_sub(height))
    }
}

fn head_of(message: &Message) -> String {
    let state = match message.stage {
        Stage::Going => "...",
        Stage::Done => "done",
        Stage::Failed => "FAILED",
        Stage::Note => return "* ".into(),
    };
    format!("{} {state}: ", message.about)
}

fn tone_of(stage: Stage) -> Tone {
    match stage {
        Stage::Going => Tone::Busy,
        Stage::Done => Tone::Good,
        Stage::Failed => Tone::Bad,
        Stage::Note => Tone::Apart,
    }
}
