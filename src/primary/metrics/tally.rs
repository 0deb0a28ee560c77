//! What counts over the lives of a slot, whose workers come and go: waits, connections, processor time.
//!
//! A scoreboard is its worker's own and may say anything. So each number is capped, never lowered, and added without
//! overflow: a worker can spoil the figures of its own slot, and nothing else. Called by the supervisor whenever it
//! looks and whenever a worker goes.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::policy::ids::{AppId, SlotId, WorkerId};
use crate::primary::workers::Worker;
use crate::scoreboard::{BUCKETS, Scoreboard};
use crate::status::SlotStatus;

/// More than any worker takes in its life, and exact in what reads it as floating point.
const MOST: u64 = 1 << 53;

/// Waits from the primary's accept to the worker's, and how many connections there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// By [`crate::scoreboard::bucket`].
    pub buckets: Vec<u64>,
    /// All of them together, µs.
    pub sum_us: u64,
    /// Connections taken.
    pub taken: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            sum_us: 0,
            taken: 0,
        }
    }
}

impl Waits {
    /// Takes over what a scoreboard says now, where that is more.
    fn raise(&mut self, board: &Scoreboard) {
        let raise = |to: &mut u64, now: u64| *to = (*to).max(now.min(MOST));
        for (to, now) in self.buckets.iter_mut().zip(&board.waits) {
            raise(to, now.load(Relaxed));
        }
        raise(&mut self.sum_us, board.waited.load(Relaxed));
        raise(&mut self.taken, board.taken_in_all());
    }

    fn add(&mut self, other: &Self) {
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        for (to, more) in self.buckets.iter_mut().zip(&other.buckets) {
            add(to, *more);
        }
        add(&mut self.sum_us, other.sum_us);
        add(&mut self.taken, other.taken);
    }
}

/// One slot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Tally {
    /// Of workers that are no more.
    gone: Waits,
    /// Of each of the others, when last looked at.
    living: HashMap<WorkerId, Waits>,
    cpu: Cpu,
    accepted: u64,
}

/// Processor time of the workers of a slot, as far as anybody looked.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Cpu {
    before: f64,
    pid: Option<u32>,
    now: f64,
}

impl Cpu {
    /// Seconds so far, where the worker `pid` has used `now`.
    fn count(&mut self, pid: Option<u32>, now: f64) -> f64 {
        if pid.is_some() && pid != self.pid {
            *self = Self {
                before: self.before + self.now,
                pid,
                now: 0.0,
            };
        }
        self.now = self.now.max(now);
        self.before + self.now
    }
}

/// What counts of a slot.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Connections that its workers have taken.
    pub accepted: u64,
    /// Processor time that they have used, seconds.
    pub cpu_s: f64,
    /// How long connections waited for them.
    pub waits: Waits,
}

/// All slots.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    slots: HashMap<(AppId, SlotId), Tally>,
}

/// All slots, for the next image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FrozenTallies(Vec<((AppId, SlotId), Tally)>);

impl Tallies {
    /// What the next image needs.
    pub fn freeze(&self) -> FrozenTallies {
        let slots = self.slots.iter();
        FrozenTallies(slots.map(|(key, tally)| (*key, tally.clone())).collect())
    }

    /// As another image left them.
    pub fn thaw(frozen: FrozenTallies) -> Self {
        let mut slots: HashMap<_, Tally> = frozen.0.into_iter().collect();
        for tally in slots.values_mut() {
            let all = tally.living.values_mut().chain([&mut tally.gone]);
            // Another version may have had more or fewer.
            all.for_each(|waits| waits.buckets.resize(BUCKETS, 0));
        }
        Self { slots }
    }

    /// What a worker's scoreboard says now.
    pub fn look(&mut self, worker: &Worker) {
        let tally = self.slots.entry((worker.app, worker.slot)).or_default();
        tally
            .living
            .entry(worker.id)
            .or_default()
            .raise(&worker.board);
    }

    /// The worker is no more: this was its last word.
    pub fn bury(&mut self, worker: &Worker) {
        self.look(worker);
        if let Some(tally) = self.slots.get_mut(&(worker.app, worker.slot))
            && let Some(last) = tally.living.remove(&worker.id)
        {
            tally.gone.add(&last);
        }
    }

    /// An app is no more.
    pub fn forget(&mut self, app: AppId) {
        self.slots.retain(|(of, _), _| *of != app);
    }

    /// What all workers of a slot have seen.
    fn waits(&self, app: AppId, slot: SlotId) -> Waits {
        let mut sum = Waits::default();
        if let Some(tally) = self.slots.get(&(app, slot)) {
            sum.add(&tally.gone);
            tally.living.values().for_each(|one| sum.add(one));
        }
        sum
    }

    /// All that counts of a slot, none of it ever less than before; `taken`: connections that its workers have taken
    /// by the dispatcher's books, where it keeps any.
    pub fn slot(&mut self, app: AppId, slot: &SlotStatus, taken: Option<u64>) -> Counted {
        let id = SlotId(slot.slot);
        let waits = self.waits(app, id);
        let tally = self.slots.entry((app, id)).or_default();
        tally.accepted = tally.accepted.max(taken.unwrap_or(waits.taken));
        Counted {
            accepted: tally.accepted,
            cpu_s: tally.cpu.count(slot.pid, slot.cpu_s),
            waits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::board::Board;

    #[test]
    fn what_a_hostile_worker_writes_hurts_only_itself() {
        let board = Board::create(0, 1).unwrap();
        let mut waits = Waits::default();
        board.note_taken(0, 100, 1);
        board.note_taken(1, 200, 2);
        waits.raise(&board);
        assert_eq!((waits.taken, waits.sum_us), (2, 300));
        for bucket in &board.waits {
            bucket.store(u64::MAX, Relaxed);
        }
        for taken in &board.taken {
            taken.store(u64::MAX, Relaxed);
        }
        board.waited.store(u64::MAX, Relaxed);
        waits.raise(&board);
        assert!(waits.buckets.iter().all(|count| *count == MOST));
        board.waits[0].store(0, Relaxed);
        waits.raise(&board);
        assert_eq!(waits.buckets[0], MOST, "never less");
        let mut sum = Waits::default();
        for _ in 0..5_000 {
            sum.add(&waits);
        }
        assert_eq!(sum.buckets[0], u64::MAX);
    }

    #[test]
    fn what_a_hostile_worker_holds_open_can_be_added_up() {
        let board = Board::create(0, 1).unwrap();
        for process in &board.processes {
            process.pid.store(1, Relaxed);
            process.opened.store(u64::MAX, Relaxed);
        }
        board.opened.store(u64::MAX, Relaxed);
        let most_slots = 1 << 16;
        assert!(board.open() > 0);
        assert!(board.open().checked_mul(most_slots).is_some());
        assert!(board.open_hint().checked_mul(most_slots).is_some());
    }

    #[test]
    fn processor_time_goes_on_over_the_lives_of_a_slot() {
        let mut cpu = Cpu::default();
        let seen = [
            cpu.count(Some(7), 1.0),
            cpu.count(Some(7), 3.0),
            // One of its processes has ended.
            cpu.count(Some(7), 2.0),
            cpu.count(None, 0.0),
            cpu.count(Some(8), 0.5),
            cpu.count(Some(8), 1.5),
        ];
        assert_eq!(seen, [1.0, 3.0, 3.0, 3.0, 3.5, 4.5]);
    }
}
