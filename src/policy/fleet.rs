//! The slots of one app: which one is to start a worker now, who takes whose place, and what the end of a worker
//! means.
//!
//! At first one slot is started alone, the *canary*: if the command cannot work at all, it fails once and the
//! program ends, instead of failing in every slot. Once any worker has been ready, slots are independent of
//! each other: started in the order in which they have been waiting, each with its own back-off, no more at a time
//! than there are permits. A slot whose worker serves can get a *successor*, which takes the slot over when it is
//! ready and of which nothing is left but a message if it fails; the former worker stands by for a moment, and
//! takes the slot back if that one dies. Pure: the caller starts processes and keeps the timer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deadlines::Moment;
use super::ids::{SlotId, WorkerId};
use super::lifecycle::{End, Why};
use crate::config::Restart;

mod loss;
mod slot;
mod takeover;

use loss::Loss;
use slot::{Phase, Slot, Successor};

/// A worker that has been ready for so long has shown that its slot is well: its failures are forgotten.
pub const PROVEN: Duration = Duration::from_secs(1);
/// With so many failures in a row a slot is said to be in a crash loop.
pub const CRASH_LOOP: u32 = 4;
/// A start that has taken so long waits rather than works: it holds up no other start any more.
pub const PERMIT: Duration = Duration::from_secs(5);

/// A worker that has taken a slot over has to live for so long before the one that had it is told to go: many a
/// new version listens first and finds out then that it cannot work.
pub const SETTLING: Duration = Duration::from_millis(500);

/// What a fleet is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many slots.
    pub slots: usize,
    /// When a slot whose worker has ended gets its next one.
    pub restart: Restart,
}

/// All slots of one app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fleet {
    slots: Vec<Slot>,
    restart: Restart,
    proven: bool,
    stopped: bool,
}

/// Who wants a worker replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody who waits for it: it is tried at once, whatever was before.
    People,
    /// A limit or a health check, which will ask again: after successors that failed it has to wait.
    Limit,
}

/// What a slot is doing, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its worker is not ready yet.
    Starting,
    /// Its worker is ready.
    Ready,
    /// It waits for its next start.
    Waiting,
    /// Its last worker has ended and the restart policy wants no other.
    Finished,
    /// Its workers have ended too often.
    Failed,
}

/// What the end of a worker means for its slot.
///
/// To whom a new worker was promised by [`Fleet::replace`]: the promise still holds after `Nothing` and
/// `Inherited`, and is broken by any other verdict on the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The slot starts its next worker after this wait.
    Retry {
        /// The wait.
        wait: Duration,
        /// Failures in a row.
        failures: u32,
        /// A crash loop has begun with this failure: to be reported, once.
        crash_loop: bool,
    },
    /// No worker was ever ready, so none will be: the program ends.
    Hopeless,
    /// The slot's worker ended before its successor was ready: that one has the slot, and starts or is starting.
    Inherited,
    /// The successor did not get ready; the slot's worker goes on.
    SuccessorFailed {
        /// How long limits have to wait for the next one.
        wait: Duration,
        /// Successors in a row that failed.
        failures: u32,
    },
    /// The slot gets no next worker: the restart policy says so.
    Finished,
    /// The slot gets no next worker: it has had too many.
    Failed {
        /// So many restarts,
        restarts: u32,
        /// in this time, are what is allowed.
        within: Duration,
    },
    /// The worker was not the slot's any more, or nothing is to be started.
    Nothing,
}

impl Fleet {
    /// A fleet of empty slots.
    pub fn new(settings: Settings) -> Self {
        Self {
            slots: (0..settings.slots).map(|_| Slot::new()).collect(),
            restart: settings.restart,
            proven: false,
            stopped: false,
        }
    }

    /// A worker has been ready, so the command works.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Nothing is started from now on.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Other rules for the ends that are to come.
    pub fn set_restart(&mut self, restart: Restart) {
        self.restart = restart;
    }

    /// Starts under way that hold others up: not ready, and begun less than [`PERMIT`] ago.
    pub fn unready(&self, now: Moment) -> usize {
        let held = self.slots.iter().flat_map(Slot::permits_held_until);
        held.filter(|&until| until > now).count()
    }

    /// When the first of these starts will hold nobody up any more.
    pub fn next_permit(&self, now: Moment) -> Option<Moment> {
        let held = self.slots.iter().flat_map(Slot::permits_held_until);
        held.filter(|&until| until > now).min()
    }

    /// The slot that is to start a worker now, if so many more starts may begin.
    ///
    /// `permits` is what is left of them: the number of cores, less [`Fleet::unready`] of all fleets.
    pub fn startable(&self, now: Moment, permits: usize) -> Option<SlotId> {
        if permits == 0 || !self.may_start() {
            return None;
        }
        let empty = self.empty().filter(|&(since, _)| since <= now).min();
        let (_, slot) = empty.or_else(|| self.wanted().min())?;
        Some(slot)
    }

    /// When to ask [`Fleet::startable`] again, if nothing else happens before and there are permits.
    pub fn next_start(&self) -> Option<Moment> {
        let waiting = self.empty().chain(self.wanted()).min();
        waiting.map(|(at, _)| at).filter(|_| self.may_start())
    }

    /// The canary is alone.
    fn may_start(&self) -> bool {
        let alone = || self.slots.iter().flat_map(Slot::unready).next().is_none();
        !self.stopped && (self.proven || alone())
    }

    fn numbered(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        (0..).map(SlotId).zip(&self.slots)
    }

    /// Slots without a worker, and from when on they may have one.
    fn empty(&self) -> impl Iterator<Item = (Moment, SlotId)> {
        self.numbered().filter_map(|(id, slot)| match slot.phase {
            Phase::Empty { not_before, .. } => Some((not_before, id)),
            _ => None,
        })
    }

    /// Slots that are to have a successor, and since when.
    fn wanted(&self) -> impl Iterator<Item = (Moment, SlotId)> {
        self.numbered()
            .filter_map(|(id, slot)| match slot.successor {
                Successor::Wanted { since } => Some((since, id)),
                Successor::None | Successor::Starting { .. } => None,
            })
    }

    /// `worker` was started in `slot`, as [`Fleet::startable`] said.
    pub fn started(&mut self, slot: SlotId, worker: WorkerId, now: Moment) {
        if let Some(slot) = self.slots.get_mut(slot.index()) {
            slot.started(worker, now);
        }
    }

    /// `worker` is ready and has the slot. Returns a worker that the slot needs no more, which is to be drained;
    /// one that was ready stands by until [`Fleet::settled`] says so.
    pub fn ready(&mut self, slot: SlotId, worker: WorkerId, now: Moment) -> Option<WorkerId> {
        let not_needed = self.slots.get_mut(slot.index())?.ready(worker, now)?;
        self.proven = true;
        not_needed
    }

    /// Asks for a new worker in `slot`: beside the one that it has, or at once if it has none, whatever became of
    /// those before. `true`: a worker that is started from now on will have the slot.
    ///
    /// `false`: there is no such slot, or a successor is starting already ([`Fleet::cancel`] gives it up), or a
    /// limit has to be patient, or asked about a slot whose worker is not ready.
    pub fn replace(&mut self, slot: SlotId, cause: Cause, now: Moment) -> bool {
        let slot = self.slots.get_mut(slot.index());
        !self.stopped && slot.is_some_and(|slot| slot.replace(cause, now))
    }

    /// Takes back what [`Fleet::replace`] has promised, if it is not done. Returns the worker that was started
    /// for it: not the slot's any more, to be killed.
    pub fn cancel(&mut self, slot: SlotId, now: Moment) -> Option<WorkerId> {
        self.slots.get_mut(slot.index())?.cancel(now)
    }

    /// `worker` is gone, or given up as unkillable; `code` is what its first process exited with, if it did.
    /// `random` spreads the wait.
    pub fn ended(
        &mut self,
        slot: SlotId,
        worker: WorkerId,
        (end, code): (End, Option<i32>),
        now: Moment,
        random: u64,
    ) -> Verdict {
        let Some(slot) = self.slots.get_mut(slot.index()) else {
            return Verdict::Nothing;
        };
        slot.count_end(worker, end, now);
        if slot.successor() == Some(worker) {
            let verdict = slot.successor_failed(now, random);
            return if self.stopped {
                Verdict::Nothing
            } else {
                verdict
            };
        }
        if slot.stand_down(worker) {
            return Verdict::Nothing;
        }
        let ready_for = match slot.phase {
            Phase::Starting { worker: its, .. } if its == worker => None,
            Phase::Ready { worker: its, since } if its == worker => Some(now.since(since)),
            _ => return Verdict::Nothing,
        };
        let stopping = matches!(end, End::Drained(Why::Stop) | End::Killed(Why::Stop));
        if !self.stopped
            && !stopping
            && let Some(verdict) = slot.taken_back(now, random)
        {
            return verdict;
        }
        if !self.stopped && !stopping && slot.inherit(now) {
            return Verdict::Inherited;
        }
        let loss = Loss {
            end,
            code,
            ready_for,
        };
        // A canary that failed is no matter of the restart policy: it is tried again, should anybody wish to.
        let always = Restart::default();
        let restart = if self.proven { &self.restart } else { &always };
        let verdict = slot.lost(loss, restart, now, random);
        match verdict {
            _ if self.stopped || stopping => Verdict::Nothing,
            _ if !self.proven => Verdict::Hopeless,
            verdict => verdict,
        }
    }

    /// The start itself failed: there is no process (fork or exec said no).
    pub fn start_failed(&mut self, slot: SlotId, now: Moment, random: u64) -> Verdict {
        let nobody = WorkerId(u64::MAX);
        self.started(slot, nobody, now);
        self.ended(slot, nobody, (End::Early, None), now, random)
    }

    /// Makes it `slots` slots: new ones are empty, removed ones are the highest. Returns the workers of those,
    /// which belong to nothing any more and are to be drained.
    pub fn resize(&mut self, slots: usize) -> Vec<WorkerId> {
        let kept = slots.min(self.slots.len());
        let removed = self.slots.drain(kept..);
        let workers = removed.flat_map(|slot| slot.workers());
        let workers = workers.collect();
        self.slots.resize_with(slots, Slot::new);
        workers
    }

    /// Every slot has finished or failed, so nothing will ever happen here again by itself.
    pub fn is_over(&self) -> bool {
        let over = |slot: &Slot| matches!(slot.phase, Phase::Finished | Phase::Failed);
        !self.slots.is_empty() && self.slots.iter().all(over)
    }

    /// Says, once, that the slot's crash loop is over: its worker has been ready for long enough.
    pub fn recovered(&mut self, now: Moment) -> Option<SlotId> {
        let well = |slot: &Slot| slot.well_from().is_some_and(|at| at <= now);
        let index = self.slots.iter().position(well)?;
        self.slots[index].is_well();
        u16::try_from(index).ok().map(SlotId)
    }

    /// When [`Fleet::recovered`] may next have something to say.
    pub fn next_recovery(&self) -> Option<Moment> {
        self.slots.iter().filter_map(Slot::well_from).min()
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What a slot is doing.
    pub fn condition(&self, slot: SlotId) -> Option<Condition> {
        self.slots.get(slot.index()).map(Slot::condition)
    }

    /// The worker that has the slot, ready or starting.
    pub fn worker(&self, slot: SlotId) -> Option<WorkerId> {
        self.slots.get(slot.index())?.worker()
    }

    /// The worker that is starting to take the slot over.
    pub fn successor(&self, slot: SlotId) -> Option<WorkerId> {
        self.slots.get(slot.index())?.successor()
    }

    /// A worker that was asked for by [`Fleet::replace`] does not have the slot yet, or is not ready.
    pub fn awaits(&self, slot: SlotId) -> bool {
        self.slots.get(slot.index()).is_some_and(Slot::awaits)
    }

    /// Workers started in this slot beyond the first.
    pub fn restarts(&self, slot: SlotId) -> u64 {
        let starts = self.slots.get(slot.index()).map_or(0, |slot| slot.starts);
        starts.saturating_sub(1)
    }

    /// Workers of this slot that ended unasked, never got ready, or had to be ended since they did not react.
    pub fn crashes(&self, slot: SlotId) -> u64 {
        let slot = self.slots.get(slot.index());
        slot.map_or(0, |slot| slot.crashes_in_all)
    }

    /// Failures in a row, and how long the slot still waits for its next start.
    pub fn waiting(&self, slot: SlotId, now: Moment) -> Option<(u32, Duration)> {
        let slot = self.slots.get(slot.index())?;
        match slot.phase {
            Phase::Empty { not_before, .. } => Some((slot.failures, not_before.since(now))),
            _ => None,
        }
    }
}
