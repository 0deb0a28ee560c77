//! Who gets the next connection: the `--balance` policies, over whatever knows how loaded each slot is.

use crate::config::Balance;

/// How much longer than the shortest a slot's queue may grow before the slot loses its turn.
///
/// Above what a burst piles up on a worker that merely has not been scheduled yet, so that the turns stay
/// exact while all keep up; what a stuck worker collects meanwhile is read back after `--steal-after`.
pub const SLACK: u64 = 64;

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
}

/// The turn, and the choice by each policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    turn: usize,
}

impl Rotation {
    /// The slot that gets the next connection; `None` if no slot takes any.
    pub fn choose(&mut self, balance: Balance, fleet: &impl Fleet) -> Option<usize> {
        let slot = match balance {
            Balance::RoundRobin | Balance::Kernel => self.in_turn(fleet),
            Balance::LeastConnections => {
                self.least(fleet, |slot| fleet.open(slot) + fleet.queued(slot))
            }
            Balance::Idle => self.least(fleet, |slot| {
                let queued = fleet.queued(slot);
                (queued != 0 || !fleet.asleep(slot), queued)
            }),
        }?;
        self.turn = slot + 1;
        Some(slot)
    }

    /// Slots in the order of their turns, from the next one on.
    fn order(self, slots: usize) -> impl Iterator<Item = usize> {
        let turn = if self.turn < slots { self.turn } else { 0 };
        (turn..slots).chain(0..turn)
    }

    fn in_turn(&self, fleet: &impl Fleet) -> Option<usize> {
        let mut shortest = None;
        self.order(fleet.slots())
            .filter(|&slot| fleet.takes(slot))
            .find(|&slot| {
                let queued = fleet.queued(slot);
                let lags = fleet.lags(slot);
                if queued <= SLACK && !lags {
                    return true;
                }
                // Only a slot that is behind makes anybody look at all the others.
                let shortest = *shortest.get_or_insert_with(|| shortest_queue(fleet));
                queued <= shortest.saturating_add(if lags { 0 } else { SLACK })
            })
    }

    fn least<K: Ord>(&self, fleet: &impl Fleet, load: impl Fn(usize) -> K) -> Option<usize> {
        self.order(fleet.slots())
            .filter(|&slot| fleet.takes(slot))
            .min_by_key(|&slot| load(slot))
    }
}

fn shortest_queue(fleet: &impl Fleet) -> u64 {
    let takers = (0..fleet.slots()).filter(|&slot| fleet.takes(slot));
    takers.map(|slot| fleet.queued(slot)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Default)]
    struct Slot {
        down: bool,
        queued: u64,
        open: u64,
        asleep: bool,
        lags: bool,
    }

    impl Fleet for Vec<Slot> {
        fn slots(&self) -> usize {
            self.len()
        }
        fn takes(&self, slot: usize) -> bool {
            !self[slot].down
        }
        fn queued(&self, slot: usize) -> u64 {
            self[slot].queued
        }
        fn open(&self, slot: usize) -> u64 {
            self[slot].open
        }
        fn asleep(&self, slot: usize) -> bool {
            self[slot].asleep
        }
        fn lags(&self, slot: usize) -> bool {
            self[slot].lags
        }
    }

    /// Deals `count` connections to workers that take them at once.
    fn deal(rotation: &mut Rotation, balance: Balance, fleet: &mut Vec<Slot>, count: usize) {
        for _ in 0..count {
            let slot = rotation.choose(balance, fleet).unwrap();
            fleet[slot].open += 1;
        }
    }

    #[test]
    fn round_robin_is_exact_at_every_moment() {
        for slots in [1, 2, 3, 7, 64] {
            let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); slots]);
            for _ in 0..500 {
                deal(&mut rotation, Balance::RoundRobin, &mut fleet, 1);
                let counts = fleet.iter().map(|slot| slot.open);
                assert!(counts.clone().max().unwrap() - counts.min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn a_slot_far_behind_loses_its_turn_until_it_catches_up() {
        let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
        fleet[1].queued = SLACK + 1;
        deal(&mut rotation, Balance::RoundRobin, &mut fleet, 100);
        assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [50, 0, 50]);
        fleet[1].queued = SLACK;
        deal(&mut rotation, Balance::RoundRobin, &mut fleet, 3);
        assert_eq!(fleet[1].open, 1);
    }

    #[test]
    fn all_equally_far_behind_are_dealt_to_in_turn() {
        let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
        fleet
            .iter_mut()
            .for_each(|slot| (slot.queued, slot.lags) = (500, true));
        deal(&mut rotation, Balance::RoundRobin, &mut fleet, 9);
        assert!(fleet.iter().all(|slot| slot.open == 3));
    }

    #[test]
    fn a_lagging_slot_loses_its_turn_to_any_that_is_less_behind() {
        let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 2]);
        (fleet[0].queued, fleet[0].lags) = (1, true);
        deal(&mut rotation, Balance::RoundRobin, &mut fleet, 4);
        assert_eq!([fleet[0].open, fleet[1].open], [0, 4]);
    }

    #[test]
    fn least_connections_evens_out_and_breaks_ties_in_turn() {
        let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
        fleet[0].open = 4;
        fleet[2].queued = 1;
        deal(&mut rotation, Balance::LeastConnections, &mut fleet, 7);
        assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [4, 4, 3]);
    }

    #[test]
    fn idle_prefers_a_sleeper_then_the_shortest_queue() {
        let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
        fleet[2].asleep = true;
        assert_eq!(rotation.choose(Balance::Idle, &fleet), Some(2));
        fleet[2].queued = 1;
        fleet[0].queued = 2;
        assert_eq!(rotation.choose(Balance::Idle, &fleet), Some(1));
    }

    #[test]
    fn nobody_takes_nothing_is_chosen_and_a_shrunk_fleet_is_no_trouble() {
        let mut rotation = Rotation { turn: 9 };
        let mut fleet = vec![
            Slot {
                down: true,
                ..Slot::default()
            };
            3
        ];
        for balance in [
            Balance::RoundRobin,
            Balance::LeastConnections,
            Balance::Idle,
        ] {
            assert_eq!(rotation.choose(balance, &fleet), None);
        }
        fleet[0].down = false;
        assert_eq!(rotation.choose(Balance::RoundRobin, &fleet), Some(0));
    }
}
