//! What the service manager (systemd) is told of this primary: where it is in its life, a line about how it is,
//! and that it lives.
//!
//! Told once each, in their order, are the turns of its life; if the manager is too busy to hear them, they are told
//! again later. Decides nothing about the primary and never waits. The supervisor owns it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use log::debug;

use crate::sys::clock;
use crate::sys::notify::{self, ServiceManager};

/// What the manager grants beyond its own time-outs, each time it is asked for.
const EXTENSION: Duration = Duration::from_secs(30);

/// It is asked again so long after.
pub const EXTEND_EVERY: Duration = Duration::from_secs(10);

/// The manager is told a new line so often at most.
pub const STATUS_EVERY: Duration = Duration::from_millis(200);

/// A line of `systemctl status`.
const STATUS_WIDTH: usize = 240;

/// More turns of a life than a manager that does not read is owed.
const MOST_UNSAID: usize = 64;

/// Feedings in the time that the manager waits for one.
const FEEDINGS: u32 = 4;

/// Where the primary is in its life, as the manager has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not ready yet.
    Starting,
    /// Ready.
    Serving,
    /// Renewing its workers.
    Reloading,
    /// On its way to the end.
    Stopping,
}

/// The manager, and what it knows.
#[derive(Debug)]
pub struct Notifier {
    manager: Option<ServiceManager>,
    watchdog: Option<Duration>,
    stage: Stage,
    /// The line that it was told last.
    status: String,
    /// Turns of our life that it has not taken yet.
    unsaid: VecDeque<String>,
    /// Why the last reload failed.
    failure: Option<String>,
}

impl Notifier {
    /// To the manager that the environment names, if it names one. After an upgrade, which leaves the process what
    /// it is, the manager is told once more that it is ready, and takes no notice.
    pub fn from_environment() -> Self {
        let manager = ServiceManager::from_environment().unwrap_or_else(|error| {
            debug!("NOTIFY_SOCKET cannot be used: {error}");
            None
        });
        Self {
            watchdog: manager.as_ref().and_then(|_| notify::watchdog()),
            manager,
            stage: Stage::Starting,
            status: String::new(),
            unsaid: VecDeque::new(),
            failure: None,
        }
    }

    /// There is a manager.
    pub fn is_heard(&self) -> bool {
        self.manager.is_some()
    }

    /// What the manager knows.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The workers of the start are ready, or as ready as they will be.
    pub fn ready(&mut self) {
        if self.stage == Stage::Starting {
            self.turn(Stage::Serving, "READY=1");
        }
    }

    /// A reload begins.
    pub fn reload_begins(&mut self) {
        // The manager knows by the time that it is this reload that it waits for.
        let now = clock::now_ns() / 1000;
        if matches!(self.stage, Stage::Serving | Stage::Reloading) {
            self.failure = None;
            let words = format!("RELOADING=1\nMONOTONIC_USEC={now}");
            self.turn(Stage::Reloading, &words);
        }
    }

    /// It has ended: the manager knows only that it has. Why it failed is in the line about how we are.
    pub fn reload_ended(&mut self, failure: Option<&str>) {
        if self.stage == Stage::Reloading {
            self.failure = failure.map(str::to_owned);
            self.turn(Stage::Serving, "READY=1");
        }
    }

    /// The end begins.
    pub fn stopping(&mut self) {
        if self.stage != Stage::Stopping {
            self.turn(Stage::Stopping, "STOPPING=1");
        }
    }

    /// How the primary is, in a line for people. Says nothing if it is what was said last.
    pub fn status(&mut self, words: &str) {
        let failed = match &self.failure {
            Some(why) => format!("{words}; the last reload failed: {why}"),
            None => words.to_owned(),
        };
        let line = failed.lines().next().unwrap_or_default();
        let line: String = line.chars().take(STATUS_WIDTH).collect();
        if line != self.status && self.say(&format!("STATUS={line}")) {
            self.status = line;
        }
    }

    /// What takes long goes on, by rules of ours that come to an end: the manager is not to give up.
    pub fn extend(&mut self) {
        let time = EXTENSION.as_micros();
        self.say(&format!("EXTEND_TIMEOUT_USEC={time}"));
    }

    /// How often the manager is to be told that we live.
    pub fn feeding(&self) -> Option<Duration> {
        let interval = self.watchdog? / FEEDINGS;
        Some(interval.max(Duration::from_millis(1)))
    }

    /// We live.
    pub fn feed(&mut self) {
        self.say("WATCHDOG=1");
    }

    /// Something of what was to be said has not been taken.
    pub fn has_more(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// Tries again to say it.
    pub fn go_on(&mut self) {
        while let Some(words) = self.unsaid.pop_front() {
            if !self.say(&words) {
                return self.unsaid.push_front(words);
            }
        }
    }

    fn turn(&mut self, stage: Stage, words: &str) {
        self.stage = stage;
        if self.is_heard() && self.unsaid.len() < MOST_UNSAID {
            self.unsaid.push_back(words.to_owned());
            self.go_on();
        }
    }

    fn say(&mut self, words: &str) -> bool {
        let Some(manager) = &self.manager else {
            return true;
        };
        manager.say(words).unwrap_or_else(|error| {
            debug!("the service manager does not listen: {error}");
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ) {
                // Said again later.
                return false;
            }
            // Whoever started us has gone, or a container does not have its socket.
            self.manager = None;
            self.watchdog = None;
            self.unsaid.clear();
            true
        })
    }
}
