//! The number of slots, and what is dealt to each: scale, drain, resume.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::words::{count, in_words};
use super::super::{Supervisor, Timer};
use super::{Begun, Job};
use crate::config::AppConfig;
use crate::policy::deadlines::Moment;
use crate::policy::ids::{AppId, SlotId};
use crate::policy::lifecycle::{Event, Why};
use crate::primary::app::room::{Beside, Room};
use crate::primary::messages::Command;
use crate::primary::metrics;
use crate::protocol::{Size, SlotRef};

/// How often a slot that is drained is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// New slots that wait for their first workers.
#[derive(Debug)]
pub struct Growth {
    /// Whose they are.
    pub app: AppId,
    waiting: Vec<SlotId>,
    workers: usize,
    begun: Moment,
}

impl Growth {
    /// The first worker of this slot is waited for.
    pub fn waits_for(&self, app: AppId, slot: SlotId) -> bool {
        self.app == app && self.waiting.contains(&slot)
    }

    /// How many workers are ready, of how many.
    pub fn ready(&self) -> (u64, u64) {
        let ready = self.workers - self.waiting.len();
        (ready as u64, self.workers as u64)
    }

    /// In words.
    pub fn how_far(&self) -> String {
        let (ready, _) = self.ready();
        format!("{ready} of {} ready", count(self.workers as u64, "worker"))
    }
}

/// A slot that gets nothing new, until nothing is open there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watch {
    app: AppId,
    slot: SlotId,
    /// When it is given up.
    until: Moment,
    /// What was open when that was last said.
    said: Option<u64>,
}

impl Supervisor {
    pub(super) fn begin_scale(&mut self, app: Option<&str>, to: Size) -> Result<Begun, String> {
        let id = self.app_named(app)?;
        let before = self.apps[id].config.workers;
        let workers = to.from(before)?;
        self.scale_app(id, workers)?;
        if workers <= before {
            let said = match before - workers {
                0 => format!("{} as before", count(workers as u64, "worker")),
                fewer => format!(
                    "scaled to {}; {}",
                    count(workers as u64, "worker"),
                    match fewer {
                        1 => "1 finishes what is open and goes".to_owned(),
                        fewer => format!("{fewer} finish what is open and go"),
                    }
                ),
            };
            return Ok(Begun::Done(said));
        }
        let waiting = (before..workers).filter_map(|slot| u16::try_from(slot).ok().map(SlotId));
        Ok(Begun::Job(Job::Grow(Growth {
            app: id,
            waiting: waiting.collect(),
            workers,
            begun: self.now(),
        })))
    }

    /// Gives an app so many slots. Those that are too many get nothing new and their workers drain.
    pub(super) fn scale_app(&mut self, id: AppId, workers: usize) -> Result<(), String> {
        let config = AppConfig {
            workers,
            ..(*self.apps[id].config).clone()
        };
        self.check_room(id, &config)?;
        let app = &mut self.apps[id];
        app.config = Arc::new(config);
        let release = app.release.clone();
        app.releases.resize(workers, release);
        let leaving = app.fleet.resize(workers);
        for worker in leaving {
            self.happen(worker, Event::Drain(Why::Scaled));
        }
        let app = &mut self.apps[id];
        app.held.retain(|slot| slot.index() < workers);
        app.dispatcher.send(Command::Resize(workers));
        self.share_room();
        Ok(())
    }

    /// Shares the room among the slots and apps that there are now. The kernel counts what is in flight of all of
    /// them together, and beyond the limit nobody's connections can be sent.
    pub(super) fn share_room(&mut self) {
        let apps: Vec<&AppConfig> = self.apps.iter().map(|app| &*app.config).collect();
        let Ok(room) = Room::of(&apps, self.beside(), self.open_files.now) else {
            return;
        };
        if std::mem::replace(&mut self.means.room, room) == room {
            return;
        }
        for app in self.apps.iter_mut() {
            app.queue_cap = room.queue_cap;
            app.dispatcher.send(Command::SetLimits {
                max_held: app.config.max_held,
                steal_after: app.config.steal_after,
                room: Some(room),
            });
        }
    }

    /// What takes descriptors beside the apps. What was inherited is counted with them since the start.
    fn beside(&self) -> Beside {
        Beside {
            inherited: 0,
            metrics: metrics::descriptors(self.config.metrics.as_ref()),
        }
    }

    /// Whether all apps still fit, with this one as `config` says.
    pub(super) fn check_room(&self, id: AppId, config: &AppConfig) -> Result<(), String> {
        let apps: Vec<&AppConfig> = self
            .apps
            .iter()
            .map(|app| if app.id == id { config } else { &*app.config })
            .collect();
        Room::of(&apps, self.beside(), self.open_files.now)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    /// A new slot has its first worker.
    pub(super) fn grown(&mut self, slot: SlotId) {
        if let Some(growth) = self.growth_now() {
            growth.waiting.retain(|waiting| *waiting != slot);
            let how_far = growth.how_far();
            self.tell(&how_far);
            self.advance_growth();
        }
    }

    pub(super) fn advance_growth(&mut self) {
        let now = self.now();
        let Some(growth) = self.growth_now() else {
            return;
        };
        let (app, done) = (growth.app, growth.waiting.is_empty());
        let (workers, took) = (growth.workers as u64, in_words(now.since(growth.begun)));
        if done {
            let workers = count(workers, "worker");
            self.conclude(Ok(format!("scaled to {workers} in {took}")));
        } else if self.apps.get(app).is_none_or(|app| !app.phase.is_serving()) {
            self.conclude(Err("the app was stopped meanwhile".to_owned()));
        }
    }

    fn growth_now(&mut self) -> Option<&mut Growth> {
        match self.operations.job_mut() {
            Some(Job::Grow(growth)) => Some(growth),
            _ => None,
        }
    }

    pub(super) fn begin_drain(&mut self, slot: &SlotRef) -> Result<Begun, String> {
        let (id, slot) = self.dealt_slot_named(slot)?;
        let until = self.now() + self.apps[id].config.drain_timeout;
        let app = &mut self.apps[id];
        app.held.insert(slot);
        app.dispatcher.send(Command::Hold { slot, held: true });
        Ok(Begun::Watched(Watch {
            app: id,
            slot,
            until,
            said: None,
        }))
    }

    pub(super) fn resume_slot(&mut self, slot: &SlotRef) -> Result<Begun, String> {
        let (id, slot) = self.dealt_slot_named(slot)?;
        let app = &mut self.apps[id];
        if !app.held.remove(&slot) {
            let place = self.place(id, slot);
            return Ok(Begun::Done(format!("{place} was not drained")));
        }
        app.dispatcher.send(Command::Hold { slot, held: false });
        self.look_at_watches();
        let place = self.place(id, slot);
        Ok(Begun::Done(format!("{place} is dealt to again")))
    }

    /// Answers those whose slot is drained, or whose patience is over.
    pub(in super::super) fn look_at_watches(&mut self) {
        let now = self.now();
        let watches = std::mem::take(&mut self.operations.watches);
        for (mut watch, mut audience) in watches {
            let open = self.open_at(watch.app, watch.slot);
            let place = self.place(watch.app, watch.slot);
            let held = self
                .apps
                .get(watch.app)
                .map(|app| app.held.contains(&watch.slot));
            let outcome = match open {
                _ if held != Some(true) => Err(format!("{place} was resumed, or is there no more")),
                0 => Ok(format!(
                    "{place} is drained; forkfront resume deals to it again"
                )),
                open if now >= watch.until => Err(format!(
                    "{place} still has {} after --drain-timeout; it gets no new ones",
                    count(open, "open connection")
                )),
                open => {
                    if watch.said.replace(open) != Some(open) {
                        let open = count(open, "open connection");
                        self.commands
                            .tell(&mut audience, &format!("{place}: waiting for {open}"));
                    }
                    self.operations.watches.push((watch, audience));
                    continue;
                }
            };
            self.answer_all("drain", audience, outcome);
        }
        if self.operations.watches.is_empty() {
            self.deadlines.clear(Timer::Watch);
        } else {
            self.deadlines.set(Timer::Watch, now + LOOK);
        }
    }

    /// Connections that a slot's workers hold, former ones too, or that are on their way to them.
    fn open_at(&self, app: AppId, slot: SlotId) -> u64 {
        let Some(app) = self.apps.get(app) else {
            return 0;
        };
        // The queue first: what is taken from it between the two is counted twice rather than not at all.
        let snapshot = app.dispatcher.snapshot();
        let queued = snapshot.and_then(|all| all.slots.get(slot.index()).map(|one| one.queued));
        let workers = { self.workers.of_app(app.id) }.filter(|worker| worker.slot == slot);
        let open: u64 = workers.map(|worker| worker.open()).sum();
        open + queued.unwrap_or(0)
    }
}
