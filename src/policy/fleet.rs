//! The slots: which one is to start a worker now, and how long one that failed has to wait.
//!
//! At first one slot is started alone, the *canary*: if the command cannot work at all, it fails once and the
//! program ends, instead of failing in every slot. Once any worker has been ready, slots are independent of
//! each other: at most one unready start per core at a time, in the order in which they have been waiting,
//! each slot with its own back-off. Pure: the caller starts processes and keeps the timer.

use std::time::Duration;

use super::backoff;
use super::deadlines::Moment;
use super::ids::{SlotId, WorkerId};
use super::lifecycle::{End, Why};

/// A worker that has been ready for so long has shown that its slot is well: its failures are forgotten.
pub const PROVEN: Duration = Duration::from_secs(1);
/// With so many failures in a row a slot is said to be in a crash loop.
pub const CRASH_LOOP: u32 = 4;

/// What a slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Has no worker and may start one from this moment on.
    Empty { not_before: Moment },
    /// Its worker is not ready yet.
    Starting(WorkerId),
    /// Its worker has been ready since.
    Ready { worker: WorkerId, since: Moment },
}

#[derive(Debug)]
struct Slot {
    phase: Phase,
    /// Workers in a row that never got ready.
    early: u32,
    /// Workers in a row that got ready and did not stay so for long.
    crashes: u32,
    /// How often in a row the last one's way of failing had been seen.
    failures: u32,
    /// The crash loop of now was reported.
    reported: bool,
    starts: u64,
}

/// All slots of one primary.
#[derive(Debug)]
pub struct Fleet {
    slots: Vec<Slot>,
    cpus: usize,
    proven: bool,
    stopped: bool,
}

/// What the end of a worker means for its slot.
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
    /// The worker was not the slot's any more, or nothing is to be started.
    Nothing,
}

impl Fleet {
    /// `slots` empty slots, of which at most `cpus` are started at once.
    pub fn new(slots: usize, cpus: usize) -> Self {
        let empty = || Slot {
            phase: Phase::Empty {
                not_before: Moment::default(),
            },
            early: 0,
            crashes: 0,
            failures: 0,
            reported: false,
            starts: 0,
        };
        Self {
            slots: (0..slots).map(|_| empty()).collect(),
            cpus: cpus.max(1),
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

    /// The slot that is to start a worker now.
    pub fn startable(&self, now: Moment) -> Option<SlotId> {
        let (since, slot) = self.longest_waiting()?;
        (since <= now).then_some(slot)
    }

    /// When to ask [`Fleet::startable`] again, if nothing else happens before.
    pub fn next_start(&self) -> Option<Moment> {
        self.longest_waiting().map(|(since, _)| since)
    }

    fn longest_waiting(&self) -> Option<(Moment, SlotId)> {
        let unready = |slot: &&Slot| matches!(slot.phase, Phase::Starting(_));
        let permitted = if self.proven { self.cpus } else { 1 };
        if self.stopped || self.slots.iter().filter(unready).count() >= permitted {
            return None;
        }
        let numbered = (0..).map(SlotId).zip(&self.slots);
        numbered
            .filter_map(|(id, slot)| match slot.phase {
                Phase::Empty { not_before } => Some((not_before, id)),
                Phase::Starting(_) | Phase::Ready { .. } => None,
            })
            .min()
    }

    /// `worker` was started in `slot`.
    pub fn started(&mut self, slot: SlotId, worker: WorkerId) {
        if let Some(slot) = self.slots.get_mut(slot.index()) {
            slot.phase = Phase::Starting(worker);
            slot.starts += 1;
        }
    }

    /// `worker` is ready.
    pub fn ready(&mut self, slot: SlotId, worker: WorkerId, now: Moment) {
        let Some(slot) = self.slots.get_mut(slot.index()) else {
            return;
        };
        if slot.phase == Phase::Starting(worker) {
            slot.phase = Phase::Ready { worker, since: now };
            slot.early = 0;
            self.proven = true;
        }
    }

    /// `worker` is gone, or given up as unkillable. `random` spreads the wait.
    pub fn ended(
        &mut self,
        slot: SlotId,
        worker: WorkerId,
        end: End,
        now: Moment,
        random: u64,
    ) -> Verdict {
        let Some(slot) = self.slots.get_mut(slot.index()) else {
            return Verdict::Nothing;
        };
        let ready_for = match slot.phase {
            Phase::Starting(current) if current == worker => None,
            Phase::Ready {
                worker: current,
                since,
            } if current == worker => Some(now.since(since)),
            Phase::Empty { .. } | Phase::Starting(_) | Phase::Ready { .. } => {
                return Verdict::Nothing;
            }
        };
        let (wait, crash_loop) = slot.fail(ready_for, end, random);
        slot.phase = Phase::Empty {
            not_before: now + wait,
        };
        let failures = slot.failures;
        match end {
            _ if self.stopped => Verdict::Nothing,
            End::Drained(Why::Stop) | End::Killed(Why::Stop) => Verdict::Nothing,
            _ if !self.proven => Verdict::Hopeless,
            _ => Verdict::Retry {
                wait,
                failures,
                crash_loop,
            },
        }
    }

    /// The start itself failed: there is no process (fork or exec said no).
    pub fn start_failed(&mut self, slot: SlotId, now: Moment, random: u64) -> Verdict {
        let nobody = WorkerId(u64::MAX);
        self.started(slot, nobody);
        self.ended(slot, nobody, End::Early, now, random)
    }

    /// Says, once, that the slot's crash loop is over: its worker has been ready for long enough.
    pub fn recovered(&mut self, now: Moment) -> Option<SlotId> {
        let well = |slot: &Slot| match slot.phase {
            Phase::Ready { since, .. } => slot.reported && now.since(since) >= PROVEN,
            Phase::Empty { .. } | Phase::Starting(_) => false,
        };
        let index = self.slots.iter().position(well)?;
        self.slots[index].reported = false;
        self.slots[index].crashes = 0;
        u16::try_from(index).ok().map(SlotId)
    }

    /// When [`Fleet::recovered`] may next have something to say.
    pub fn next_recovery(&self) -> Option<Moment> {
        let expected = |slot: &Slot| match slot.phase {
            Phase::Ready { since, .. } if slot.reported => Some(since + PROVEN),
            Phase::Empty { .. } | Phase::Starting(_) | Phase::Ready { .. } => None,
        };
        self.slots.iter().filter_map(expected).min()
    }

    /// Workers started in this slot beyond the first.
    pub fn restarts(&self, slot: SlotId) -> u64 {
        let starts = self.slots.get(slot.index()).map_or(0, |slot| slot.starts);
        starts.saturating_sub(1)
    }

    /// Failures in a row, and how long the slot still waits for its next start.
    pub fn waiting(&self, slot: SlotId, now: Moment) -> Option<(u32, Duration)> {
        let slot = self.slots.get(slot.index())?;
        match slot.phase {
            Phase::Empty { not_before } => Some((slot.failures, not_before.since(now))),
            Phase::Starting(_) | Phase::Ready { .. } => None,
        }
    }
}

impl Slot {
    /// Counts the end of its worker; returns the wait, and whether a crash loop begins.
    ///
    /// The two ways to fail are counted apart: workers that are killed from outside soon after their start, some
    /// before they are ready and some after, must not add up to the wait of a program that cannot start at all.
    fn fail(&mut self, ready_for: Option<Duration>, end: End, random: u64) -> (Duration, bool) {
        let (failures, cap) = match ready_for {
            Some(lasted) => {
                if lasted >= PROVEN {
                    self.crashes = 0;
                    self.reported = false;
                    if end == End::Finished {
                        self.failures = 0;
                        return (Duration::ZERO, false);
                    }
                }
                self.crashes = self.crashes.saturating_add(1);
                (self.crashes, backoff::CAP_AFTER_READY)
            }
            None => {
                self.early = self.early.saturating_add(1);
                (self.early, backoff::CAP)
            }
        };
        self.failures = failures;
        let crash_loop = failures >= CRASH_LOOP && !self.reported;
        self.reported |= crash_loop;
        (backoff::delay(failures, cap, random), crash_loop)
    }
}
