//! Renewing workers: a rolling reload of all slots of some apps, or the restart of one slot.
//!
//! Per slot: the new worker is started beside the old one; when it is ready it is dealt to, and the old one is
//! told to drain. The first that fails ends it all: what had been renewed stays, the rest was never touched.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use log::info;

use super::super::words::{count, in_words};
use super::super::{Supervisor, Timer};
use super::file::Applied;
use super::{Begun, Job};
use crate::policy::deadlines::Moment;
use crate::policy::fleet::Cause;
use crate::policy::ids::{AppId, SlotId, WorkerId};
use crate::policy::lifecycle::{Event, Why};
use crate::policy::rollout::{OldGenerations, Rollout};
use crate::primary::app::release::Release;
use crate::protocol::SlotRef;

/// Workers that are being renewed.
#[derive(Debug)]
pub struct Renewal {
    /// Apps whose turn has not come.
    later: VecDeque<Part>,
    now: Option<Part>,
    /// What the slots that are under way were started from before.
    former: HashMap<SlotId, Rc<Release>>,
    /// Slots renewed, in all apps.
    renewed: u64,
    slots: u64,
    begun: Moment,
    /// What it is called at its end: `reloaded`, `restarted`.
    verb: &'static str,
    /// What was changed before, in words.
    changed: String,
}

/// What is to be done in one app.
#[derive(Debug)]
struct Part {
    app: AppId,
    release: Rc<Release>,
    rollout: Rollout,
    /// All slots of the app get this release: slots that come later too.
    whole: bool,
}

impl Renewal {
    /// The app that is being renewed.
    pub fn app(&self) -> Option<AppId> {
        self.now.as_ref().map(|part| part.app)
    }

    /// The new worker of this slot is waited for.
    pub fn waits_for(&self, app: AppId, slot: SlotId) -> bool {
        let waits = |part: &Part| part.app == app && part.rollout.is_under_way(slot);
        self.now.as_ref().is_some_and(waits)
    }

    /// Slots that have their new workers, of how many.
    pub fn renewed(&self) -> (u64, u64) {
        (self.renewed, self.slots)
    }

    /// In words.
    pub fn how_far(&self) -> String {
        format!("{} of {} renewed", self.renewed, count(self.slots, "slot"))
    }
}

impl Supervisor {
    pub(super) fn begin_reload(
        &mut self,
        app: Option<&str>,
        reread: bool,
        changes_only: bool,
    ) -> Result<Begun, String> {
        if changes_only && self.config.file.is_none() {
            return Err(
                "this primary was started without --config, so there is no file whose changes could be applied"
                    .to_owned(),
            );
        }
        let named = app.map(|app| self.app_named(Some(app))).transpose()?;
        let applied = if reread {
            self.read_file_again()?
        } else {
            Applied::default()
        };
        let serving = self.slots_by_app().map(|(app, _)| app);
        let meant = serving.filter(|app| named.is_none_or(|named| named == *app));
        let needs = |app: &AppId| match changes_only {
            true => applied.renew.contains(app),
            false => !applied.follow.contains(app),
        };
        let apps: Vec<AppId> = meant.filter(needs).collect();
        let mut parts = VecDeque::new();
        let is_new = |grown: &&(AppId, Range<usize>)| grown.1.start == 0;
        let new: Vec<AppId> = applied
            .grown
            .iter()
            .filter(is_new)
            .map(|one| one.0)
            .collect();
        for (app, slots) in applied.grown {
            // A reload renews all slots of an app, those too that have come just now.
            if new.contains(&app) || !apps.contains(&app) {
                parts.push_back(self.new_slots(app, slots));
            }
        }
        for id in apps.into_iter().filter(|app| !new.contains(app)) {
            let part = self.next_generation(id);
            parts.push_back(part.map_err(|why| match applied.words.as_str() {
                "" => why,
                words => format!("{why}; what needs no new workers has been changed: {words}"),
            })?);
        }
        if !applied.words.is_empty() {
            info!("the file says otherwise than it did: {}", applied.words);
        }
        if parts.is_empty() {
            return Ok(Begun::Done(match applied.words.as_str() {
                "" => "nothing has changed".to_owned(),
                words => format!("changed: {words}"),
            }));
        }
        Ok(self.renewal(parts, "reloaded", applied.words))
    }

    /// Slots that had no worker before, all at once: how many start at one time is up to the fleet.
    fn new_slots(&self, id: AppId, slots: Range<usize>) -> Part {
        let parallel = slots.len().max(1);
        let slots = slots.filter_map(|slot| u16::try_from(slot).ok());
        Part {
            app: id,
            release: self.apps[id].release.clone(),
            rollout: Rollout::new(slots.map(SlotId), parallel),
            whole: false,
        }
    }

    /// All slots of an app, from what its command leads to now.
    fn next_generation(&mut self, id: AppId) -> Result<Part, String> {
        let home = self.home.clone();
        let app = &mut self.apps[id];
        let generation = app.last_generation + 1;
        let release = Release::find(generation, app.config.clone(), home.as_deref())
            .map_err(|error| error.to_string())?;
        release.warn_of_habits(&app.release.habits);
        app.last_generation = generation;
        let slots = (0..app.config.workers).filter_map(|slot| u16::try_from(slot).ok());
        let rollout = Rollout::new(slots.map(SlotId), app.config.reload_parallel);
        Ok(Part {
            app: id,
            release: Rc::new(release),
            rollout,
            whole: true,
        })
    }

    pub(super) fn begin_restart(&mut self, slot: &SlotRef) -> Result<Begun, String> {
        let (app, slot) = self.slot_named(slot)?;
        let part = Part {
            app,
            release: self.apps[app].release_for(slot),
            rollout: Rollout::new([slot].into_iter(), 1),
            whole: false,
        };
        Ok(self.renewal([part].into(), "restarted", String::new()))
    }

    fn renewal(&self, mut parts: VecDeque<Part>, verb: &'static str, changed: String) -> Begun {
        let slots = parts.iter().map(|part| part.rollout.slots() as u64).sum();
        Begun::Job(Job::Renew(Renewal {
            now: parts.pop_front(),
            later: parts,
            former: HashMap::new(),
            renewed: 0,
            slots,
            begun: self.now(),
            verb,
            changed,
        }))
    }

    fn renewal_now(&mut self) -> Option<&mut Renewal> {
        match self.operations.job_mut() {
            Some(Job::Renew(renewal)) => Some(renewal),
            _ => None,
        }
    }

    /// Starts what may be started now; goes on to the next app; comes to the end.
    pub(super) fn advance_renewal(&mut self) {
        loop {
            let Some(renewal) = self.renewal_now() else {
                return;
            };
            let Some(part) = &mut renewal.now else {
                return self.renewal_done();
            };
            let app = part.app;
            if part.rollout.is_done() {
                renewal.former.clear();
                let done = std::mem::replace(&mut renewal.now, renewal.later.pop_front());
                if let Some(done) = done.filter(|part| part.whole) {
                    self.apps[app].release = done.release;
                }
                continue;
            }
            if self.apps.get(app).is_none_or(|app| !app.phase.is_serving()) {
                return self.conclude(Err("the app was stopped meanwhile".to_owned()));
            }
            if !self.old_generations_allow(app) {
                return;
            }
            let Some(slot) = self.renewal_now().and_then(|renewal| {
                let part = renewal.now.as_mut()?;
                part.rollout.next()
            }) else {
                return;
            };
            self.renew_slot(app, slot);
        }
    }

    /// Starts a slot's new worker.
    fn renew_slot(&mut self, id: AppId, slot: SlotId) {
        let now = self.now();
        let Some(renewal) = self.renewal_now() else {
            return;
        };
        let Some(part) = &renewal.now else { return };
        let release = part.release.clone();
        let app = &mut self.apps[id];
        let former = app.release_for(slot);
        if let Some(place) = app.releases.get_mut(slot.index()) {
            *place = release;
        }
        // A successor that is starting already, for a limit's sake, comes from the former release.
        let mut starting = None;
        if !app.fleet.replace(slot, Cause::People, now) {
            starting = app.fleet.cancel(slot, now);
            app.fleet.replace(slot, Cause::People, now);
        }
        if let Some(renewal) = self.renewal_now() {
            renewal.former.insert(slot, former);
        }
        if let Some(worker) = starting {
            self.happen(worker, Event::KillNow(Why::Replaced));
        }
    }

    /// Whether one more generation may begin beside those that still finish their connections.
    fn old_generations_allow(&mut self, id: AppId) -> bool {
        let Some(part) = self.renewal_now().and_then(|renewal| renewal.now.as_ref()) else {
            return false;
        };
        if !part.whole || part.rollout.has_begun() {
            return true;
        }
        let app = &self.apps[id];
        let current = app.release.generation;
        let mut old = OldGenerations::new(app.config.max_old);
        for worker in self.workers.of_app(id) {
            if let Some(since) = worker.leaving_since
                && worker.exit.is_none()
                && !worker.abandoned
                && worker.release.generation < current
            {
                old.note(worker.release.generation, since);
            }
        }
        let now = self.now();
        let Some(bound) = old.in_the_way() else {
            return true;
        };
        let open: u64 = self
            .workers
            .of_app(id)
            .filter(|worker| worker.release.generation == bound.generation)
            .map(|worker| worker.open())
            .sum();
        let generation = bound.generation;
        self.tell(&format!(
            "waiting for generation {generation} to finish {}",
            count(open, "open connection")
        ));
        if bound.hurry_at > now {
            self.deadlines.set(Timer::Operation, bound.hurry_at);
        } else {
            self.hurry(id, generation);
        }
        false
    }

    /// A generation has had its time to finish.
    fn hurry(&mut self, id: AppId, generation: u32) {
        let old: Vec<WorkerId> = self
            .workers
            .of_app(id)
            .filter(|worker| {
                worker.release.generation == generation && worker.leaving_since.is_some()
            })
            .map(|worker| worker.id)
            .collect();
        for worker in old {
            self.happen(worker, Event::Hurry);
        }
    }

    /// The new worker of a slot is ready.
    pub(super) fn renewed(&mut self, slot: SlotId) {
        let Some(renewal) = self.renewal_now() else {
            return;
        };
        let Some(part) = &mut renewal.now else { return };
        if !part.rollout.ready(slot) {
            return;
        }
        renewal.former.remove(&slot);
        renewal.renewed += 1;
        let (app, how_far) = (part.app, renewal.how_far());
        let place = self.place(app, slot);
        self.tell(&format!("{place} has its new worker: {how_far}"));
        self.advance_renewal();
    }

    /// A new worker failed: what is under way is taken back.
    pub(super) fn abort_renewal(&mut self, slot: SlotId, why: &str) {
        let now = self.now();
        let Some(renewal) = self.renewal_now() else {
            return;
        };
        let former = std::mem::take(&mut renewal.former);
        let renewed = renewal.renewed;
        let Some(part) = renewal.now.take() else {
            return;
        };
        let mut cancelled = Vec::new();
        let app = &mut self.apps[part.app];
        for (place, release) in former {
            // One that has taken its slot over and is about to settle stays.
            if place != slot && app.fleet.is_settling(place) {
                continue;
            }
            if let Some(kept) = app.releases.get_mut(place.index()) {
                *kept = release;
            }
            if place != slot {
                cancelled.extend(app.fleet.cancel(place, now));
            }
        }
        for worker in cancelled {
            self.happen(worker, Event::KillNow(Why::Replaced));
        }
        let (first, tail) = match why.split_once('\n') {
            Some((first, tail)) => (first, format!("\n{tail}")),
            None => (why, String::new()),
        };
        let kept = match renewed {
            0 => "the old workers go on as they were".to_owned(),
            1 => "the slot renewed before it stays so, the others go on as they were".to_owned(),
            some => {
                format!("the {some} slots renewed before it stay so, the others go on as they were")
            }
        };
        self.conclude(Err(format!("{first}; {kept}{tail}")));
    }

    fn renewal_done(&mut self) {
        let now = self.now();
        let Some(renewal) = self.renewal_now() else {
            return;
        };
        let took = in_words(now.since(renewal.begun));
        let (verb, slots) = (renewal.verb, count(renewal.slots, "slot"));
        let changed = renewal.changed.as_str();
        let changed = (!changed.is_empty()).then(|| format!("; changed: {changed}"));
        let changed = changed.unwrap_or_default();
        let leaving = self
            .workers
            .iter()
            .filter(|worker| worker.leaving_since.is_some());
        let open: u64 = leaving.map(|worker| worker.open()).sum();
        let rest = match open {
            0 => String::new(),
            open => format!("; old workers finish {}", count(open, "open connection")),
        };
        self.conclude(Ok(format!("{verb} {slots} in {took}{changed}{rest}")));
    }
}
