//! Who gets the next connection: the `--balance` policies, over whatever knows how loaded each slot is.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::delay::{CLEARLY, NOTICEABLE};
use super::weights::Weights;
use crate::config::Balance;

/// How much longer than the shortest a slot's queue may grow before the slot loses its turn.
///
/// Above what a burst piles up on a worker that keeps up, so that the turns stay exact while all do. One that merely has
/// not been scheduled for a while may be further behind, so it is owed what it lost; what a stuck worker collects
/// meanwhile is read back after `--steal-after`.
pub const SLACK: u64 = 16;
/// Most turns that a slot is owed: who is slow for good is not to make up for all of it one day.
const MOST_OWED: u16 = 256;
/// Who has no more than these in the queue has caught up. Half of what one is passed over for: clients who all come at
/// once and stay are then soon even, and one that is slow for good is led no further behind.
const FEW: u64 = 8;

/// What the choice may ask of the slots, now. All answers are hints but [`Fleet::takes`].
pub trait Fleet {
    /// Number of slots.
    fn slots(&self) -> usize;
    /// The slot can be dealt to: ready, and its channel not full.
    fn takes(&self, slot: usize) -> bool;
    /// Connections dealt and not yet taken.
    fn queued(&self, slot: usize) -> u64;
    /// Connections taken and not yet closed.
    fn open(&self, slot: usize) -> u64;
    /// The slot's worker sleeps in the kernel, waiting for something to do.
    fn asleep(&self, slot: usize) -> bool;
    /// The slot has something queued and has taken nothing for a noticeable while.
    fn lags(&self, slot: usize) -> bool;
    /// How long what the slot's worker has taken and not yet served lets the next one wait, ns, as far as that is
    /// noticeable: see [`super::delay`].
    fn delay(&self, _slot: usize) -> u64 {
        0
    }
    /// The slot has a worker that takes connections, though perhaps not at this moment.
    fn serves(&self, slot: usize) -> bool;
}

/// The turn, and the choice by each policy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rotation {
    turn: usize,
    /// Smooth weighted round-robin (as in nginx): what each slot is ahead of its share, negative, or behind.
    credit: Vec<i64>,
    /// Among equals: turns that each slot has lost to those with shorter queues.
    owed: Vec<u16>,
}

impl Rotation {
    /// The slot that gets the next connection; `None` if no slot takes any.
    pub fn choose(
        &mut self,
        balance: Balance,
        weights: &Weights,
        fleet: &impl Fleet,
    ) -> Option<usize> {
        let slot = if weights.are_equal() {
            if balance == Balance::RoundRobin
                && let Some(slot) = self.make_good(fleet)
            {
                return Some(slot);
            }
            self.among_equals(balance, fleet)
        } else {
            self.by_weight(balance, fleet, |slot| weights.of(slot))
                .or_else(|| self.last_resort(balance, weights, fleet))
        }?;
        self.turn = slot + 1;
        Some(slot)
    }

    /// Forgets who is ahead of whom: the weights are others now.
    pub fn begin_anew(&mut self) {
        self.credit.clear();
        self.owed.clear();
    }

    /// The slot that gets a turn which it has lost and is owed. Whose turn it is now keeps it.
    fn make_good(&mut self, fleet: &impl Fleet) -> Option<usize> {
        if self.owed.is_empty() {
            return None;
        }
        let is_owed = |slot: &usize| self.owed.get(*slot).is_some_and(|&turns| turns != 0);
        let Some(slot) = self.order(fleet.slots()).find(is_owed) else {
            // Until somebody is owed one again this costs nothing.
            self.owed.clear();
            return None;
        };
        let in_turn = self.order(fleet.slots()).next()?;
        let keeps_up = slot != in_turn
            && fleet.takes(slot)
            && fleet.queued(slot) <= fleet.queued(in_turn).min(FEW)
            && fleet.delay(slot) < NOTICEABLE;
        if !keeps_up {
            return None;
        }
        self.owed[slot] -= 1;
        Some(slot)
    }

    fn among_equals(&mut self, balance: Balance, fleet: &impl Fleet) -> Option<usize> {
        let takes = |slot: &usize| fleet.takes(*slot);
        let takers = self.order(fleet.slots()).filter(takes);
        match balance {
            Balance::RoundRobin | Balance::Kernel => self.in_turn(fleet),
            Balance::LeastConnections => { takers }.min_by_key(|&slot| load(fleet, slot)),
            Balance::Idle => { takers }.min_by_key(|&slot| {
                let queued = fleet.queued(slot);
                (queued != 0 || !fleet.asleep(slot), queued)
            }),
        }
    }

    fn by_weight(
        &mut self,
        balance: Balance,
        fleet: &impl Fleet,
        weight: impl Fn(usize) -> u16,
    ) -> Option<usize> {
        let takes = |slot: &usize| weight(*slot) != 0 && fleet.takes(*slot);
        let takers = self.order(fleet.slots()).filter(takes);
        // As it would be with this connection: of two that have none, the heavier is first.
        let share = |slot, load: u64| Share::new(load.saturating_add(1), weight(slot));
        match balance {
            Balance::RoundRobin | Balance::Kernel => self.smoothly(fleet, weight),
            Balance::LeastConnections => {
                { takers }.min_by_key(|&slot| share(slot, load(fleet, slot)))
            }
            Balance::Idle => { takers }.min_by_key(|&slot| {
                let queued = fleet.queued(slot);
                (queued != 0 || !fleet.asleep(slot), share(slot, queued))
            }),
        }
    }

    /// The slots of weight 0, when there is nobody else at all.
    fn last_resort(
        &mut self,
        balance: Balance,
        weights: &Weights,
        fleet: &impl Fleet,
    ) -> Option<usize> {
        if (0..fleet.slots()).any(|slot| weights.of(slot) != 0 && fleet.serves(slot)) {
            return None;
        }
        self.by_weight(balance, fleet, |slot| u16::from(weights.of(slot) == 0))
    }

    /// Slots in the order of their turns, from the next one on.
    fn order(&self, slots: usize) -> impl Iterator<Item = usize> + use<> {
        let turn = if self.turn < slots { self.turn } else { 0 };
        (turn..slots).chain(0..turn)
    }

    fn in_turn(&mut self, fleet: &impl Fleet) -> Option<usize> {
        let (mut queues, mut delays) = (None, None);
        let mut delayed = None;
        let takers = self.order(fleet.slots()).filter(|&slot| fleet.takes(slot));
        let owed = &mut self.owed;
        let keeps_up = |&slot: &usize| {
            let queued = fleet.queued(slot);
            let lags = fleet.lags(slot);
            if queued > SLACK || lags {
                // Only a slot that is behind makes anybody look at all the others.
                let shortest = *queues.get_or_insert_with(|| shortest_queue(fleet));
                if queued > shortest.saturating_add(if lags { 0 } else { SLACK }) {
                    if !lags {
                        owe(owed, slot, fleet.slots());
                    }
                    return false;
                }
            }
            let delay = fleet.delay(slot);
            if delay < NOTICEABLE {
                return true;
            }
            let shortest = *delays.get_or_insert_with(|| shortest_delay(fleet));
            let behind = delay > shortest.saturating_mul(CLEARLY);
            if behind {
                delayed.get_or_insert(slot);
            }
            !behind
        };
        { takers }.find(keeps_up).or(delayed)
    }

    /// Every slot that may have it gains its weight, and who only has too long a queue does too; the one that may have it
    /// and is then owed most gets it and pays for all.
    fn smoothly(&mut self, fleet: &impl Fleet, weight: impl Fn(usize) -> u16) -> Option<usize> {
        self.credit.resize(fleet.slots(), 0);
        let (mut shortest, mut delays) = (None, None);
        let mut delayed = None;
        let mut total = 0;
        let mut most: Option<usize> = None;
        for slot in 0..fleet.slots() {
            let gain = i64::from(weight(slot));
            if gain == 0 || !fleet.takes(slot) {
                continue;
            }
            let (queued, lags) = (fleet.queued(slot), fleet.lags(slot));
            if queued > SLACK || lags {
                let shortest = *shortest.get_or_insert_with(|| shortest_share(fleet, &weight));
                let slack = if lags { 0 } else { SLACK };
                if Share::new(queued.saturating_sub(slack), weight(slot)) > shortest {
                    if !lags && self.credit[slot] < gain * i64::from(MOST_OWED) {
                        total += gain;
                        self.credit[slot] += gain;
                    }
                    continue;
                }
            }
            let delay = fleet.delay(slot);
            if delay >= NOTICEABLE {
                let shortest = *delays.get_or_insert_with(|| shortest_delay(fleet));
                if delay > shortest.saturating_mul(CLEARLY) {
                    delayed.get_or_insert(slot);
                    continue;
                }
            }
            total += gain;
            self.credit[slot] += gain;
            if most.is_none_or(|most| self.credit[slot] > self.credit[most]) {
                most = Some(slot);
            }
        }
        let most = most.or(delayed)?;
        self.credit[most] -= total;
        Some(most)
    }
}

/// Connections per weight, compared without a division.
#[derive(Clone, Copy, Debug)]
struct Share {
    load: u64,
    weight: u16,
}

impl Share {
    /// So that a load times a weight is a number; no worker holds as many, though it may say so.
    const MOST: u64 = (1 << 48) - 1;

    fn new(load: u64, weight: u16) -> Self {
        let load = load.min(Self::MOST);
        Self { load, weight }
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = self.load * u64::from(other.weight);
        ours.cmp(&(other.load * u64::from(self.weight)))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

/// What a slot has, open and queued. Workers say how many are open, and may say anything.
pub(super) fn load(fleet: &impl Fleet, slot: usize) -> u64 {
    fleet.open(slot).saturating_add(fleet.queued(slot))
}

/// One turn more is owed to a slot. What all are owed alike, nobody is.
fn owe(owed: &mut Vec<u16>, slot: usize, slots: usize) {
    owed.resize(slots, 0);
    owed[slot] = (owed[slot] + 1).min(MOST_OWED);
    if owed.iter().all(|&turns| turns != 0) {
        owed.iter_mut().for_each(|turns| *turns -= 1);
    }
}

/// A queue that is short and slow is no measure for the others.
fn shortest_queue(fleet: &impl Fleet) -> u64 {
    let takers = (0..fleet.slots()).filter(|&slot| fleet.takes(slot));
    let queues = takers.map(|slot| (fleet.delay(slot) >= NOTICEABLE, fleet.queued(slot)));
    queues.min().map_or(0, |(_, queued)| queued)
}

fn shortest_delay(fleet: &impl Fleet) -> u64 {
    let takers = (0..fleet.slots()).filter(|&slot| fleet.takes(slot));
    takers.map(|slot| fleet.delay(slot)).min().unwrap_or(0)
}

fn shortest_share(fleet: &impl Fleet, weight: impl Fn(usize) -> u16) -> Share {
    let takers = (0..fleet.slots()).filter(|&slot| weight(slot) != 0 && fleet.takes(slot));
    let shares = takers.map(|slot| Share::new(fleet.queued(slot), weight(slot)));
    shares.min().unwrap_or(Share::new(0, 1))
}

#[cfg(test)]
mod tests;
