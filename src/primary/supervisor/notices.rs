//! What the service manager is told, and when: looked at once in each turn of the loop.
//!
//! It is told that we live only while the main loop, each dispatcher and the thread of the logs go round. A busy
//! one goes round as well.

use std::time::Duration;

use super::operations::Order;
use super::words::count;
use super::{Supervisor, Timer};
use crate::policy::deadlines::Moment;
use crate::policy::fleet::Condition;
use crate::policy::ids::SlotId;
use crate::primary::app::App;
use crate::primary::notifier::{EXTEND_EVERY, Notifier, STATUS_EVERY, Stage};
use crate::status::{BackendState, BackendStatus};

/// How often it is looked how backends are.
const BACKENDS_EVERY: Duration = Duration::from_secs(2);

/// The manager, and when it is to be told the next.
#[derive(Debug)]
pub struct Notices {
    notifier: Notifier,
    /// When the line about how we are was looked at last, this was the stage.
    looked_at: Stage,
    next_status: Moment,
    next_extension: Moment,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            notifier: Notifier::from_environment(),
            looked_at: Stage::Starting,
            next_status: Moment::default(),
            next_extension: Moment::default(),
        }
    }
}

impl Notices {
    /// What was asked for has come to its end; says so if it was a reload.
    pub fn reload_ended<T>(&mut self, outcome: &Result<T, String>) {
        let failure = outcome.as_ref().err();
        self.notifier.reload_ended(failure.map(String::as_str));
    }

    /// The last line about this process.
    pub fn last_words(&mut self, words: &str) {
        self.notifier.status(words);
    }
}

impl Supervisor {
    /// What the manager is to know by now.
    pub(super) fn tell_manager(&mut self) {
        if !self.telling.notices.notifier.is_heard() {
            return;
        }
        if self.stopping {
            self.telling.notices.notifier.stopping();
        } else if self.telling.notices.notifier.stage() == Stage::Starting && self.has_begun() {
            self.telling.notices.notifier.ready();
        }
        let now = self.now();
        self.telling.notices.notifier.go_on();
        if self.telling.notices.next_extension <= now && self.takes_long() {
            let notices = &mut self.telling.notices;
            notices.notifier.extend();
            notices.next_extension = now + EXTEND_EVERY;
        }
        let notices = &mut self.telling.notices;
        let stage = notices.notifier.stage();
        let turned = std::mem::replace(&mut notices.looked_at, stage) != stage;
        let later = notices.next_status > now && !turned;
        if !later {
            let words = self.condition_in_words();
            self.telling.notices.notifier.status(&words);
            self.telling.notices.next_status = now + STATUS_EVERY;
        }
        self.plan_notice(later);
    }

    /// The end of this turn may be the last for a while: the line is looked at once more when it may be said.
    fn plan_notice(&mut self, later: bool) {
        let notices = &self.telling.notices;
        let later = later || notices.notifier.has_more();
        let more = later.then_some(notices.next_status);
        // Their thread does not wake this one.
        let proxies = self.apps.iter().any(|app| app.backends.is_some());
        let backends = proxies.then(|| self.now() + BACKENDS_EVERY);
        let long = self.takes_long().then_some(notices.next_extension);
        let next = more.into_iter().chain(long).chain(backends).min();
        match next {
            Some(at) => self.deadlines.set(Timer::Notice, at),
            None => self.deadlines.clear(Timer::Notice),
        }
    }

    /// The start is over, and some of it well.
    fn has_begun(&self) -> bool {
        !self.is_starting() && self.apps.iter().any(|app| app.fleet.is_proven())
    }

    /// Something is under way that takes its time, and ends by rules of ours.
    fn takes_long(&self) -> bool {
        match self.telling.notices.notifier.stage() {
            Stage::Starting => self.is_starting(),
            Stage::Serving => false,
            Stage::Reloading | Stage::Stopping => true,
        }
    }

    /// A reload is about to begin.
    pub(super) fn reload_begins(&mut self, order: &Order) {
        if matches!(order, Order::Reload { .. }) {
            self.telling.notices.notifier.reload_begins();
        }
    }

    /// Tells the manager that we live, if all threads have come round since they were last asked; asks again.
    pub(super) fn feel_pulses(&mut self) {
        let Some(interval) = self.telling.notices.notifier.feeding() else {
            return;
        };
        let mut live = self.logs.feel_pulse();
        for app in self.apps.iter_mut() {
            live &= app.dispatcher.feel_pulse();
        }
        if live {
            self.telling.notices.notifier.feed();
        }
        let next = self.now() + interval;
        self.deadlines.set(Timer::Pulse, next);
    }

    /// `serving 127.0.0.1:8080: 3 of 4 workers ready; slot 2: exit code 1`.
    fn condition_in_words(&self) -> String {
        if self.stopping {
            let living = || self.workers.iter().filter(|one| one.exit.is_none());
            let open: u64 = living().map(|worker| worker.open()).sum();
            let open = count(open, "open connection");
            return format!(
                "stopping: {open}, {} left",
                count(living().count() as u64, "worker")
            );
        }
        let ready: usize = self.apps.iter().map(|app| self.ready_slots(app)).sum();
        let slots: usize = self.apps.iter().map(|app| app.fleet.slots()).sum();
        let addresses: Vec<_> = self
            .apps
            .iter()
            .flat_map(|app| app.listeners.addresses())
            .collect();
        let doing = match self.telling.notices.notifier.stage() {
            Stage::Starting => "starting".to_owned(),
            _ => format!("serving {}", addresses.join(", ")),
        };
        let mut words = format!(
            "{doing}: {ready} of {} ready",
            count(slots as u64, "worker")
        );
        let (backends, worst) = self.backends_in_words();
        words.push_str(&backends);
        let troubles = self.trouble().into_iter().chain(worst);
        for more in self.operation_words().into_iter().chain(troubles) {
            words.push_str("; ");
            words.push_str(&more);
        }
        words
    }

    /// `, 2 of 3 backends up`, and what is wrong with the first that has something wrong with it; nothing where there
    /// is no proxy.
    fn backends_in_words(&self) -> (String, Option<String>) {
        let all = self.apps.iter();
        let all = all.filter_map(|app| Some(app.backends.as_ref()?.status(&app.config.name)));
        let all: Vec<_> = all.flatten().collect();
        if all.is_empty() {
            return (String::new(), None);
        }
        let is_up = |one: &&BackendStatus| one.state == BackendState::Up;
        let up = all.iter().filter(is_up).count();
        let of = count(all.len() as u64, "backend");
        let mut troubled = all.iter();
        let worst =
            troubled.find_map(|one| Some(format!("{}: {}", one.backend, one.why.as_ref()?)));
        (format!(", {up} of {of} up"), worst)
    }

    /// Why the first slot that has no ready worker has none.
    fn trouble(&self) -> Option<String> {
        let lacks = |app: &App, slot: &SlotId| app.fleet.condition(*slot) != Some(Condition::Ready);
        self.apps.iter().find_map(|app| {
            let slots =
                (0..app.fleet.slots()).filter_map(|slot| u16::try_from(slot).ok().map(SlotId));
            let mut lacking = slots.filter(|slot| lacks(app, slot));
            lacking.find_map(|slot| {
                let why = app.last_words.get(&slot)?;
                Some(format!("{}: {why}", self.place(app.id, slot)))
            })
        })
    }
}
