//! The picture and the keys, by statuses and times that are made up, on a terminal of ratatui's.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::draw::{Theme, draw, text};
use super::messages::Stage;
use super::model::{Deed, Mode, Model};
use crate::error::ErrorKind;
use crate::protocol::Request;
use crate::status::{SlotState, Status};

mod acting;
mod backends;
mod pictures;

const INTERVAL: Duration = Duration::from_secs(1);

/// `slots` ready slots of each of `apps`, a listener each, nothing accepted yet.
fn status(apps: &[&str], slots: u16) -> Status {
    let of_app = |app: &str| {
        json!({"name": app, "command": ["node", "server.js"], "balance": "round-robin",
               "sticky": "ip", "generation": 3, "workers": slots})
    };
    let slot = |app: &str, slot: u16| {
        json!({"app": app, "slot": slot, "pid": 4000 + u32::from(slot), "state": "ready", "why": null,
               "generation": 3, "uptime_s": 61.0, "restarts": 0, "dealt": 0, "accepted": 0, "open": 0,
               "queued": 0, "read_back": 0, "rss_bytes": 44 << 20, "cpu_percent": 2.0,
               "queue_wait_us": {"p50": 80, "p99": 112, "max": 140}})
    };
    let listener = |app: &str| {
        json!({"app": app, "address": "[::]:8080", "app_port": 3000, "accepted": 0, "backlog": 0,
               "backlog_limit": 511, "overflows": 0})
    };
    let all: Vec<_> = (apps.iter().copied())
        .flat_map(|app| (0..slots).map(move |number| slot(app, number)))
        .collect();
    let status = json!({
        "name": "8080", "pid": 900, "version": "1.2.3", "uptime_s": 100.0, "generation": 3,
        "balance": "round-robin", "sticky": "ip", "command": ["node", "server.js"], "stopping": false,
        "apps": apps.iter().map(|app| of_app(app)).collect::<Vec<_>>(),
        "listeners": apps.iter().map(|app| listener(app)).collect::<Vec<_>>(),
        "held": 0, "accepted": 0, "dealt": 0, "closed_by_policy": 0, "client_gone": 0,
        "slots": all,
    });
    serde_json::from_value(status).unwrap()
}

/// The same primary a second later, with so many more connections taken by each slot.
fn later(before: &Status, taken: u64) -> Status {
    let mut status = before.clone();
    status.uptime_s += 1.0;
    for slot in &mut status.slots {
        slot.accepted += taken;
        slot.dealt += taken;
        slot.uptime_s += 1.0;
        status.accepted += taken;
        let mut listeners = status.listeners.iter_mut();
        listeners.find(|one| one.app == slot.app).unwrap().accepted += taken;
    }
    status
}

/// A user before the picture.
struct User {
    model: Model,
    theme: Theme,
    terminal: Terminal<TestBackend>,
}

impl User {
    fn before(status: Status, width: u16, height: u16) -> Self {
        Self {
            model: Model::new(status, INTERVAL, Instant::now()),
            theme: Theme::plain(true),
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
        }
    }

    /// What is on the screen.
    fn sees(&mut self) -> String {
        let (model, theme) = (&mut self.model, self.theme);
        let drawn = self.terminal.draw(|frame| {
            let area = frame.area();
            draw(model, theme, area, frame.buffer_mut());
        });
        drawn.unwrap();
        let buffer = self.terminal.backend().buffer();
        let rows = buffer.content.chunks(buffer.area.width.max(1).into());
        let rows = rows.map(|row| {
            let row: String = row.iter().map(|cell| cell.symbol()).collect();
            row.trim_end().to_owned() + "\n"
        });
        rows.collect()
    }

    #[track_caller]
    fn sees_all(&mut self, parts: &[&str]) -> String {
        let seen = self.sees();
        for part in parts {
            assert!(seen.contains(part), "no {part:?} in\n{seen}");
        }
        seen
    }

    #[track_caller]
    fn sees_none(&mut self, parts: &[&str]) {
        let seen = self.sees();
        for part in parts {
            assert!(!seen.contains(part), "{part:?} in\n{seen}");
        }
    }

    fn presses(&mut self, key: KeyCode) -> Option<Deed> {
        self.model.key(KeyEvent::new(key, KeyModifiers::NONE))
    }

    fn types(&mut self, keys: &str) -> Option<Deed> {
        let deeds = keys.chars().map(|key| self.presses(KeyCode::Char(key)));
        deeds.fold(None, |before, deed| deed.or(before))
    }

    fn waits(&mut self, time: Duration) {
        self.model.now += time;
    }

    /// A second passes, in which each slot takes so many connections.
    fn watches(&mut self, taken: u64) {
        self.waits(INTERVAL);
        let status = later(&self.model.status, taken);
        self.model.look(status);
    }

    /// Slot numbers from top to bottom, as they are seen.
    fn slots_seen(&mut self) -> Vec<u16> {
        let seen = self.sees();
        let rows = seen.lines().filter(|row| row.contains(" ready "));
        let first = |row: &str| row.split_whitespace().next()?.parse().ok();
        rows.filter_map(first).collect()
    }
}
