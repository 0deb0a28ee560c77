//! What people and signals ask for that takes its time: one operation after the other, in the order in which
//! they were asked for; a stop ends them all.
//!
//! This file is the queue and who waits for what; `renewal` renews workers (reload, restart), `slots` changes
//! their number and what is dealt to them, `settings` changes rules, `file` reads the configuration again.

mod file;
mod frozen;
mod order;
mod progress;
mod renewal;
mod settings;
mod slots;
mod upgrade;

use std::collections::VecDeque;

use log::{debug, error, info};
use serde::{Deserialize, Serialize};

use super::Supervisor;
use super::backends::BackendWatch;
use crate::config::Balance;
use crate::config::file::nearest::nearest;
use crate::policy::deadlines::Moment;
use crate::policy::ids::{AppId, SlotId};
use crate::primary::control::ClientId;
use crate::primary::verbs::Audience;
use crate::protocol::{Done, SlotRef};

pub use frozen::FrozenOperations;
pub use order::Order;
use renewal::Renewal;
use slots::{Growth, Watch};
use upgrade::{Passage, Upgrade};

/// An operation that waits for its turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    order: Order,
    audience: Audience,
}

/// The operation that is under way.
#[derive(Debug)]
struct Current {
    words: String,
    begun: Moment,
    audience: Audience,
    job: Job,
}

/// What it still has to do.
#[derive(Debug)]
enum Job {
    /// Workers are being renewed.
    Renew(Renewal),
    /// New slots get their first workers.
    Grow(Growth),
    /// Another program is to take our place.
    Upgrade(Upgrade),
}

/// What came of the beginning of an operation.
enum Begun {
    /// It was done at once.
    Done(String),
    /// It goes on.
    Job(Job),
    /// The answer comes when what it began has come to its end, which keeps no other operation waiting.
    Watched(Watch),
}

/// All operations of the primary.
#[derive(Debug, Default)]
pub struct Operations {
    waiting: VecDeque<Asked>,
    current: Option<Current>,
    watches: Vec<(Watch, Audience)>,
    /// Changes of backends, which wait for nothing else.
    pub(super) backends: Vec<BackendWatch>,
    /// The upgrade that leads to the next image, or has led to this one.
    passage: Option<Passage>,
}

impl Operations {
    /// The process of a program that is being tried out.
    pub fn trial(&self) -> Option<u32> {
        match &self.current.as_ref()?.job {
            Job::Upgrade(upgrade) => Some(upgrade.pid()),
            Job::Renew(_) | Job::Grow(_) => None,
        }
    }

    /// Since when one has been under way.
    pub fn begun(&self) -> Option<Moment> {
        self.current.as_ref().map(|current| current.begun)
    }

    /// All who wait for an operation.
    fn clients(&self) -> Vec<ClientId> {
        let waiting = self.waiting.iter().map(|asked| &asked.audience);
        let watching = self.watches.iter().map(|(_, audience)| audience);
        let current = self.current.iter().map(|current| &current.audience);
        let backends = self.backends.iter().map(BackendWatch::audience);
        let all = waiting.chain(watching).chain(current).chain(backends);
        all.flat_map(|audience| audience.clients())
            .copied()
            .collect()
    }
}

/// An operation fails with one sentence, and perhaps indented lines behind it.
type Outcome = Result<String, String>;

impl Operations {
    /// What the operation that is under way still has to do.
    fn job(&self) -> Option<&Job> {
        self.current.as_ref().map(|current| &current.job)
    }

    fn job_mut(&mut self) -> Option<&mut Job> {
        self.current.as_mut().map(|current| &mut current.job)
    }
}

impl Supervisor {
    /// Puts an order into the queue. A reload that waits there already serves both who asked for it.
    pub(super) fn order(&mut self, order: Order, client: Option<ClientId>) {
        if self.stopping {
            if let Some(client) = client {
                let stopping = "this primary is stopping".to_owned();
                self.commands.answer::<Done>(client, Err(stopping));
            }
            return;
        }
        let queue = &mut self.operations.waiting;
        let known = queue
            .back_mut()
            .is_some_and(|last| last.order.takes_in(&order));
        if !known {
            let audience = Audience::default();
            queue.push_back(Asked { order, audience });
        }
        if let (Some(client), Some(asked)) = (client, queue.back_mut()) {
            let begun = match &self.operations.current {
                Some(current) => format!("waiting for the end of the {}", current.words),
                None => asked.order.words(),
            };
            self.commands.join(&mut asked.audience, client, &begun);
        }
        self.proceed();
    }

    /// Begins what waits, if nothing is under way.
    fn proceed(&mut self) {
        while self.operations.current.is_none()
            && let Some(asked) = self.operations.waiting.pop_front()
        {
            let Asked { order, audience } = asked;
            let words = order.words();
            debug!("{words} begins");
            self.reload_begins(&order);
            match self.begin(order) {
                Err(sentence) => self.end(&words, audience, Err(sentence)),
                Ok(Begun::Done(message)) => self.end(&words, audience, Ok(message)),
                Ok(Begun::Watched(watch)) => {
                    self.operations.watches.push((watch, audience));
                    self.look_at_watches();
                }
                Ok(Begun::Job(job)) => {
                    self.operations.current = Some(Current {
                        words,
                        begun: self.clock.now(),
                        audience,
                        job,
                    });
                    self.advance();
                }
            }
        }
    }

    fn begin(&mut self, order: Order) -> Result<Begun, String> {
        match order {
            Order::Reload {
                app,
                reread,
                changes_only,
            } => self.begin_reload(app.as_deref(), reread, changes_only),
            Order::Restart(slot) => self.begin_restart(&slot),
            Order::Scale(app, to) => self.begin_scale(app.as_deref(), to),
            Order::Drain(slot) => self.begin_drain(&slot),
            Order::Resume(slot) => self.resume_slot(&slot),
            Order::Set(app, setting) => self.set(app.as_deref(), setting),
            Order::Upgrade(binary) => self.begin_upgrade(binary),
        }
    }

    /// Goes on with what is under way. To be called whenever something may have changed for it.
    pub(super) fn advance(&mut self) {
        match self.operations.job() {
            Some(Job::Renew(_)) => self.advance_renewal(),
            Some(Job::Grow(_)) => self.advance_growth(),
            Some(Job::Upgrade(_)) | None => {}
        }
    }

    /// The slot's worker has become ready.
    pub(super) fn operation_succeeds_at(&mut self, app: AppId, slot: SlotId) {
        match self.operations.job_mut() {
            Some(Job::Renew(renewal)) if renewal.app() == Some(app) => self.renewed(slot),
            Some(Job::Grow(growth)) if growth.app == app => self.grown(slot),
            _ => {}
        }
    }

    /// A worker that was to become ready in this slot did not. `pid` is what its last lines are known by.
    pub(super) fn operation_fails_at(
        &mut self,
        app: AppId,
        slot: SlotId,
        why: &str,
        pid: Option<u32>,
    ) {
        match self.operations.job() {
            Some(Job::Renew(renewal)) if renewal.waits_for(app, slot) => {
                let sentence = self.failure(app, slot, why, pid);
                self.abort_renewal(slot, &sentence);
            }
            Some(Job::Grow(growth)) if growth.waits_for(app, slot) => {
                let sentence = self.failure(app, slot, why, pid);
                self.conclude(Err(sentence));
            }
            _ => {}
        }
    }

    /// What is told of a worker that did not become ready: its slot, the reason, its last lines.
    fn failure(&self, app: AppId, slot: SlotId, why: &str, pid: Option<u32>) -> String {
        format!("{}: {why}{}", self.place(app, slot), self.tail_of(pid))
    }

    /// The last lines of a worker, indented, each behind a newline.
    fn tail_of(&self, pid: Option<u32>) -> String {
        let lines = pid.map_or_else(Vec::new, |pid| self.logs.tail(pid));
        let lines = lines.iter().map(|line| format!("\n  {line}"));
        lines.collect()
    }

    /// How far the operation is, for those who wait for it.
    pub(super) fn tell(&mut self, line: &str) {
        if let Some(current) = &mut self.operations.current {
            self.commands.tell(&mut current.audience, line);
        }
    }

    /// The end of the operation that is under way.
    fn conclude(&mut self, outcome: Outcome) {
        if let Some(Current {
            words, audience, ..
        }) = self.operations.current.take()
        {
            self.end(&words, audience, outcome);
        }
        self.proceed();
    }

    fn end(&mut self, words: &str, audience: Audience, outcome: Outcome) {
        self.telling.notices.reload_ended(&outcome);
        self.answer_all(words, audience, outcome);
    }

    pub(super) fn answer_all(&mut self, words: &str, mut audience: Audience, outcome: Outcome) {
        match &outcome {
            Ok(message) => info!("{message}"),
            Err(sentence) => {
                // Whoever reads the log has seen the last lines there.
                let first = sentence.lines().next().unwrap_or_default();
                error!("{words} failed: {first}");
            }
        }
        let outcome = outcome.map(Done::new);
        self.commands.dismiss(&mut audience, &outcome);
    }

    /// A stop has begun: nothing that was asked for is done any more.
    pub(super) fn give_up_operations(&mut self) {
        let Operations {
            waiting,
            current,
            watches,
            backends,
            passage: _,
        } = std::mem::take(&mut self.operations);
        let waiting = waiting.into_iter().map(|asked| asked.audience);
        let watched = watches.into_iter().map(|(_, audience)| audience);
        let current = current.into_iter().map(|current| current.audience);
        let backends = backends.into_iter().map(BackendWatch::into_audience);
        for mut audience in current.chain(waiting).chain(watched).chain(backends) {
            let stopped: Result<Done, _> = Err("the primary was told to stop meanwhile".to_owned());
            self.commands.dismiss(&mut audience, &stopped);
        }
    }

    /// The serving app of this name, or the only one.
    pub(super) fn app_named(&self, name: Option<&str>) -> Result<AppId, String> {
        let mut serving = self.apps.iter().filter(|app| app.phase.is_serving());
        let names = || {
            let serving = self.apps.iter().filter(|app| app.phase.is_serving());
            let names: Vec<_> = serving.map(|app| app.config.name.as_str()).collect();
            names.join(", ")
        };
        match name {
            Some(name) => {
                let found = self.apps.named(name).map(|app| app.id);
                found.ok_or_else(|| {
                    let known = names();
                    let near = nearest(name, &known.split(", ").collect::<Vec<_>>());
                    let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                    format!("there is no app {name}: there is {known}{near}")
                })
            }
            None => match (serving.next(), serving.next()) {
                (Some(app), None) => Ok(app.id),
                _ => Err(format!(
                    "several apps run: {}; say which one is meant, as in --app NAME or NAME:SLOT",
                    names()
                )),
            },
        }
    }

    /// The slot that is meant.
    pub(super) fn slot_named(&self, slot: &SlotRef) -> Result<(AppId, SlotId), String> {
        let app = self.app_named(slot.app.as_deref())?;
        let workers = self.apps[app].config.workers;
        if usize::from(slot.slot) >= workers {
            return Err(match workers - 1 {
                0 => format!("there is no slot {slot}: the only one is 0"),
                last => format!("there is no slot {slot}: they are 0 to {last}"),
            });
        }
        Ok((app, SlotId(slot.slot)))
    }

    /// The same, where it is the primary that deals.
    fn dealt_slot_named(&self, slot: &SlotRef) -> Result<(AppId, SlotId), String> {
        let found = self.slot_named(slot)?;
        match self.apps[found.0].config.routing.balance {
            Balance::Kernel => Err(
                "with --balance kernel the kernel chooses: no slot can be drained, resumed or weighed"
                    .to_owned(),
            ),
            _ => Ok(found),
        }
    }
}
