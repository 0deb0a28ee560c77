//! Connections whose first bytes are waited for: a slab, and two lists through it in order of time. To come, to go
//! and to be the first of a list cost the same however many wait, and nothing is allocated once there were as many.

use slab::Slab;

use super::Peeked;

/// No neighbour.
const NONE: usize = usize::MAX;

/// What is waited for by the clock.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Clock {
    /// The end of a connection's time; each has one.
    Deadline,
    /// The end of its rest, while it rests.
    Rest,
}

/// All that wait.
#[derive(Debug, Default)]
pub(in super::super) struct Waiting {
    entries: Slab<Entry>,
    lists: [List; 2],
}

#[derive(Debug)]
struct Entry {
    one: Peeked,
    /// Its place in each list that it is in.
    links: [Option<Link>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Link {
    due: u64,
    before: usize,
    after: usize,
}

#[derive(Debug)]
struct List {
    first: usize,
    last: usize,
}

impl Default for List {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes one in, to be settled by then. The key is its own until it is removed.
    pub fn insert(&mut self, one: Peeked, deadline: u64) -> usize {
        let links = [None; 2];
        let key = self.entries.insert(Entry { one, links });
        self.set(key, Clock::Deadline, deadline);
        key
    }

    pub fn get(&self, key: usize) -> Option<&Peeked> {
        self.entries.get(key).map(|entry| &entry.one)
    }

    pub fn get_mut(&mut self, key: usize) -> Option<&mut Peeked> {
        self.entries.get_mut(key).map(|entry| &mut entry.one)
    }

    /// The key must be of one that waits.
    pub fn remove(&mut self, key: usize) -> Peeked {
        self.clear(key, Clock::Deadline);
        self.clear(key, Clock::Rest);
        self.entries.remove(key).one
    }

    /// All keys, in order of the deadlines.
    pub fn keys(&self) -> impl Iterator<Item = usize> {
        let from = |key: usize| (key != NONE).then_some(key);
        std::iter::successors(
            from(self.lists[Clock::Deadline as usize].first),
            move |&key| from(self.link(key, Clock::Deadline).after),
        )
    }

    /// The first of a list, and when its time is.
    pub fn first(&self, clock: Clock) -> Option<(usize, u64)> {
        let first = self.lists[clock as usize].first;
        (first != NONE).then(|| (first, self.link(first, clock).due))
    }

    /// When its deadline is. The key must be of one that waits.
    pub fn deadline(&self, key: usize) -> u64 {
        self.link(key, Clock::Deadline).due
    }

    /// Puts it into a list, or elsewhere in it. Nearly always at the end: times of one kind come in order.
    pub fn set(&mut self, key: usize, clock: Clock, due: u64) {
        self.clear(key, clock);
        let mut before = self.lists[clock as usize].last;
        while before != NONE && self.link(before, clock).due > due {
            before = self.link(before, clock).before;
        }
        let after = match before {
            NONE => std::mem::replace(&mut self.lists[clock as usize].first, key),
            _ => std::mem::replace(&mut self.link_mut(before, clock).after, key),
        };
        match after {
            NONE => self.lists[clock as usize].last = key,
            _ => self.link_mut(after, clock).before = key,
        }
        self.entries[key].links[clock as usize] = Some(Link { due, before, after });
    }

    /// Takes it out of a list, if it is there.
    pub fn clear(&mut self, key: usize, clock: Clock) {
        let Some(Link { before, after, .. }) = self.entries[key].links[clock as usize].take()
        else {
            return;
        };
        match before {
            NONE => self.lists[clock as usize].first = after,
            _ => self.link_mut(before, clock).after = after,
        }
        match after {
            NONE => self.lists[clock as usize].last = before,
            _ => self.link_mut(after, clock).before = before,
        }
    }

    fn link(&self, key: usize, clock: Clock) -> Link {
        self.entries[key].links[clock as usize].expect("a neighbour is in the list")
    }

    fn link_mut(&mut self, key: usize, clock: Clock) -> &mut Link {
        self.entries[key].links[clock as usize]
            .as_mut()
            .expect("a neighbour is in the list")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::File;

    use super::super::Awaits;
    use super::*;
    use crate::primary::dispatcher::deal::Hand;
    use crate::wire::{Kind, Record};

    fn one(number: u64) -> Peeked {
        let hand = Hand {
            record: Record {
                connection: number,
                ..Record::control(Kind::Connection, 0)
            },
            fd: File::open("/dev/null").unwrap().into(),
            lane: 0,
        };
        Peeked {
            hand,
            awaits: Awaits::Request,
            seen: None,
            looks: 0,
            watched: false,
        }
    }

    /// Against a list that is sorted anew each time; what has the same time stays in the order in which it came.
    #[test]
    fn whoever_comes_and_goes_the_lists_are_in_order() {
        let mut waiting = Waiting::default();
        let mut model: BTreeMap<usize, (u64, u64, Option<u64>)> = BTreeMap::new();
        let mut seed = 7u64;
        let mut number = |bound: u64| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (seed >> 33) % bound
        };
        for step in 0..5_000u64 {
            let some = |model: &BTreeMap<usize, _>, at: u64| {
                model.keys().nth(at as usize % model.len().max(1)).copied()
            };
            match (number(6), some(&model, number(64))) {
                (0..2, _) | (_, None) if model.len() < 64 => {
                    let due = step / 10 + number(20);
                    let key = waiting.insert(one(step), due);
                    assert!(model.insert(key, (due, step, None)).is_none());
                }
                (2, Some(key)) => {
                    let due = number(1_000);
                    waiting.set(key, Clock::Rest, due);
                    model.get_mut(&key).unwrap().2 = Some(due);
                }
                (3, Some(key)) => {
                    waiting.clear(key, Clock::Rest);
                    model.get_mut(&key).unwrap().2 = None;
                }
                (_, Some(key)) => {
                    let (_, number, _) = model.remove(&key).unwrap();
                    assert_eq!(waiting.remove(key).hand.record.connection, number);
                }
                (_, None) => {}
            }
            let mut sorted: Vec<(u64, u64, usize)> = model
                .iter()
                .map(|(key, one)| (one.0, one.1, *key))
                .collect();
            sorted.sort_unstable();
            let keys: Vec<usize> = sorted.iter().map(|(_, _, key)| *key).collect();
            assert_eq!(waiting.keys().collect::<Vec<_>>(), keys);
            assert_eq!(waiting.len(), model.len());
            let first = sorted.first().map(|(due, _, key)| (*key, *due));
            assert_eq!(waiting.first(Clock::Deadline), first);
            let rest = model.values().filter_map(|one| one.2).min();
            assert_eq!(waiting.first(Clock::Rest).map(|(_, due)| due), rest);
        }
    }
}
