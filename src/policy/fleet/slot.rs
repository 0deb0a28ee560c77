//! One slot: its worker, the one that is to take it over, and what is remembered of those before.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::loss::{Loss, is_unplanned};
use super::takeover::Settling;
use super::{CRASH_LOOP, Cause, Condition, PERMIT, PROVEN, SETTLING, Verdict};
use crate::config::Restart;
use crate::policy::backoff;
use crate::policy::deadlines::Moment;
use crate::policy::ids::WorkerId;
use crate::policy::lifecycle::End;

/// What a slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Has no worker and may start one from this moment on.
    Empty {
        not_before: Moment,
        /// The next worker is one that was asked for.
        asked: bool,
    },
    /// Its worker is not ready yet.
    Starting {
        worker: WorkerId,
        since: Moment,
        /// It was asked for, and can be given up.
        asked: bool,
    },
    /// Its worker has been ready since.
    Ready { worker: WorkerId, since: Moment },
    /// Has no worker and gets none, as the restart policy says.
    Finished,
    /// Has no worker and gets none: there were too many restarts.
    Failed,
}

/// The worker that is to take a slot over from the one that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Successor {
    /// There is to be none.
    #[default]
    None,
    /// There is to be one.
    Wanted { since: Moment },
    /// It is not ready yet.
    Starting { worker: WorkerId, since: Moment },
}

/// One slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub phase: Phase,
    pub successor: Successor,
    /// Its worker has yet to show that it lives.
    pub settling: Option<Settling>,
    /// Its worker has been told to go, and has it until a next one is ready.
    #[serde(default)]
    pub leaving: Option<WorkerId>,
    /// Workers in a row that never got ready.
    early: u32,
    /// Workers in a row that got ready and did not stay so for long.
    crashes: u32,
    /// How often in a row the last one's way of failing had been seen.
    pub failures: u32,
    /// The crash loop of now was reported.
    reported: bool,
    pub starts: u64,
    /// Workers that ended as none should.
    #[serde(default)]
    pub crashes_in_all: u64,
    /// When restarts took place that count, the latest last, as far as they are still of interest.
    restarts: VecDeque<Moment>,
    /// Successors in a row that never got ready.
    pub successors_failed: u32,
    /// No limit gets a successor before.
    successor_not_before: Moment,
}

impl Slot {
    /// A slot that starts its first worker as soon as it may.
    pub fn new() -> Self {
        Self {
            phase: Phase::Empty {
                not_before: Moment::default(),
                asked: false,
            },
            successor: Successor::None,
            settling: None,
            leaving: None,
            early: 0,
            crashes: 0,
            failures: 0,
            reported: false,
            starts: 0,
            crashes_in_all: 0,
            restarts: VecDeque::new(),
            successors_failed: 0,
            successor_not_before: Moment::default(),
        }
    }

    pub fn condition(&self) -> Condition {
        match self.phase {
            Phase::Empty { .. } => Condition::Waiting,
            Phase::Starting { .. } => Condition::Starting,
            Phase::Ready { .. } => Condition::Ready,
            Phase::Finished => Condition::Finished,
            Phase::Failed => Condition::Failed,
        }
    }

    pub fn worker(&self) -> Option<WorkerId> {
        match self.phase {
            Phase::Starting { worker, .. } | Phase::Ready { worker, .. } => Some(worker),
            Phase::Empty { .. } | Phase::Finished | Phase::Failed => None,
        }
    }

    pub fn successor(&self) -> Option<WorkerId> {
        match self.successor {
            Successor::Starting { worker, .. } => Some(worker),
            Successor::None | Successor::Wanted { .. } => None,
        }
    }

    /// All that it has: its worker, the successor, the former one.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        let all = [self.worker(), self.successor(), self.former()];
        all.into_iter().flatten()
    }

    /// Since when each of its unready starts has been under way.
    pub fn unready(&self) -> impl Iterator<Item = Moment> {
        let first = match self.phase {
            Phase::Starting { since, .. } => Some(since),
            _ => None,
        };
        let second = match self.successor {
            Successor::Starting { since, .. } => Some(since),
            Successor::None | Successor::Wanted { .. } => None,
        };
        first.into_iter().chain(second)
    }

    /// When its unready starts let others start.
    pub fn permits_held_until(&self) -> impl Iterator<Item = Moment> {
        self.unready().map(|since| since + PERMIT)
    }

    pub fn started(&mut self, worker: WorkerId, now: Moment) {
        match (self.phase, self.successor) {
            (Phase::Empty { asked, .. }, _) => {
                self.phase = Phase::Starting {
                    worker,
                    since: now,
                    asked,
                };
            }
            (Phase::Starting { .. } | Phase::Ready { .. }, Successor::Wanted { .. }) => {
                self.successor = Successor::Starting { worker, since: now };
            }
            _ => return,
        }
        self.starts += 1;
    }

    /// `worker` is ready and has the slot. Returns whom the slot needs no more. `None`: it is not the slot's, or
    /// was ready before.
    pub fn ready(&mut self, worker: WorkerId, now: Moment) -> Option<Option<WorkerId>> {
        let first = matches!(self.phase, Phase::Starting { worker: its, .. } if its == worker);
        let not_needed = if first {
            None
        } else if self.successor() == Some(worker) {
            self.successor = Successor::None;
            match self.phase {
                Phase::Ready { worker, since } if self.leaving != Some(worker) => {
                    let before = self.former();
                    self.settling = Some(Settling {
                        former: Some((worker, since)),
                        settled_at: now + SETTLING,
                    });
                    before
                }
                _ => self.worker(),
            }
        } else {
            return None;
        };
        self.phase = Phase::Ready { worker, since: now };
        self.early = 0;
        if self.settling.is_none() {
            self.successors_failed = 0;
        }
        Some(not_needed)
    }

    /// Whether a worker that is started from now on will have the slot.
    pub fn replace(&mut self, cause: Cause, now: Moment) -> bool {
        let is_ready = matches!(self.phase, Phase::Ready { .. });
        let is_settled = is_ready && self.settling.is_none();
        if cause == Cause::Limit && !(is_settled && now >= self.successor_not_before) {
            return false;
        }
        match (self.phase, self.successor) {
            (Phase::Starting { .. } | Phase::Ready { .. }, Successor::Starting { .. }) => {
                return false;
            }
            (Phase::Starting { .. } | Phase::Ready { .. }, Successor::Wanted { .. }) => {}
            (Phase::Starting { .. } | Phase::Ready { .. }, Successor::None) => {
                self.successor = Successor::Wanted { since: now };
            }
            (Phase::Empty { .. } | Phase::Finished | Phase::Failed, _) => {
                self.forgive();
                let (not_before, asked) = (now, true);
                self.phase = Phase::Empty { not_before, asked };
            }
        }
        true
    }

    /// Takes back what was asked for and is not ready; returns the worker that was started for it.
    pub fn cancel(&mut self, now: Moment) -> Option<WorkerId> {
        let (given_up, phase) = match (std::mem::take(&mut self.successor), self.phase) {
            (Successor::Starting { worker, .. }, phase) => (Some(worker), phase),
            (_, Phase::Starting { worker, asked, .. }) if asked => {
                let (not_before, asked) = (now, false);
                (Some(worker), Phase::Empty { not_before, asked })
            }
            (_, Phase::Empty { not_before, .. }) => {
                let asked = false;
                (None, Phase::Empty { not_before, asked })
            }
            (_, phase) => (None, phase),
        };
        self.phase = phase;
        given_up
    }

    fn forgive(&mut self) {
        self.early = 0;
        self.crashes = 0;
        self.failures = 0;
        self.reported = false;
        self.restarts.clear();
    }

    /// One of its workers has ended: counts that, if it is what no worker should do.
    pub fn count_end(&mut self, worker: WorkerId, end: End, now: Moment) {
        let lasted = match self.phase {
            Phase::Ready { worker: its, since } if its == worker => now.since(since),
            _ => PROVEN,
        };
        self.crashes_in_all += u64::from(is_unplanned(end, lasted));
    }

    /// Its successor did not get ready.
    pub fn successor_failed(&mut self, now: Moment, random: u64) -> Verdict {
        self.successor = Successor::None;
        self.successors_failed = self.successors_failed.saturating_add(1);
        let failures = self.successors_failed;
        let wait = backoff::delay(failures, backoff::CAP, random);
        self.successor_not_before = now + wait;
        Verdict::SuccessorFailed { wait, failures }
    }

    /// Its worker is gone. Who asked for a successor gets it, as the slot's worker.
    pub fn inherit(&mut self, now: Moment) -> bool {
        let asked = true;
        self.phase = match std::mem::take(&mut self.successor) {
            Successor::None => return false,
            Successor::Wanted { .. } => Phase::Empty {
                not_before: now,
                asked,
            },
            Successor::Starting { worker, since } => Phase::Starting {
                worker,
                since,
                asked,
            },
        };
        true
    }

    /// Its worker is gone, and there is no successor: what the restart policy makes of it.
    pub fn lost(&mut self, loss: Loss, restart: &Restart, now: Moment, random: u64) -> Verdict {
        let (wait, crash_loop) = self.fail(&loss, random);
        if loss.is_last(restart) {
            self.phase = Phase::Finished;
            return Verdict::Finished;
        }
        if let Some((most, within)) = restart.most
            && !loss.is_in_peace()
            && self.is_one_too_many(most, within, now)
        {
            self.phase = Phase::Failed;
            let restarts = most;
            return Verdict::Failed { restarts, within };
        }
        let (not_before, asked) = (now + wait, false);
        self.phase = Phase::Empty { not_before, asked };
        Verdict::Retry {
            wait,
            failures: self.failures,
            crash_loop,
        }
    }

    /// Counts a restart, unless there were as many as may be.
    fn is_one_too_many(&mut self, most: u32, within: Duration, now: Moment) -> bool {
        while self
            .restarts
            .front()
            .is_some_and(|&at| now.since(at) >= within)
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= most as usize {
            return true;
        }
        self.restarts.push_back(now);
        false
    }

    /// Counts the end of its worker; returns the wait, and whether a crash loop begins.
    ///
    /// The two ways to fail are counted apart: workers that are killed from outside soon after their start, some
    /// before they are ready and some after, must not add up to the wait of a program that cannot start at all.
    fn fail(&mut self, loss: &Loss, random: u64) -> (Duration, bool) {
        let (failures, cap) = match loss.ready_for {
            Some(lasted) => {
                if lasted >= PROVEN {
                    self.crashes = 0;
                    self.reported = false;
                    if loss.is_in_peace() {
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

    /// When it can be said that its crash loop is over, if one was reported.
    pub fn well_from(&self) -> Option<Moment> {
        match self.phase {
            Phase::Ready { since, .. } if self.reported => Some(since + PROVEN),
            _ => None,
        }
    }

    /// It was said.
    pub fn is_well(&mut self) {
        self.reported = false;
        self.crashes = 0;
    }
}
