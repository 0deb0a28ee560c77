//! The supervisor's only timer: one heap of deadlines whose minimum is the time-out of the poll.
//!
//! Each thing waited for has one key and at most one deadline; setting it again replaces it. What is replaced
//! or cleared stays in the heap as a stale entry and is dropped when it surfaces, so nothing ever has to be
//! searched for. Time is a [`Moment`] of the supervisor's own clock, never read here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the supervisor's clock: time since its start, less the time for which it was itself stopped.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates: a time-out of "for ever" is not an overflow.
    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after))
    }
}

/// Deadlines by key.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Moment, K)>>,
    current: HashMap<K, Moment>,
}

impl<K: Copy + Ord + Hash> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            current: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Moment) {
        if self.current.insert(key, at) != Some(at) {
            self.heap.push(Reverse((at, key)));
        }
    }

    /// `key` waits for nothing any more.
    pub fn clear(&mut self, key: K) {
        self.current.remove(&key);
    }

    /// All that is waited for, in no order.
    pub fn all(&self) -> impl Iterator<Item = (K, Moment)> + '_ {
        self.current.iter().map(|(key, at)| (*key, *at))
    }

    /// The earliest deadline.
    pub fn earliest(&mut self) -> Option<Moment> {
        self.drop_stale();
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one key whose deadline is at or before `now`, the earliest first.
    pub fn due(&mut self, now: Moment) -> Option<K> {
        if self.earliest()? > now {
            return None;
        }
        let Reverse((_, key)) = self.heap.pop()?;
        self.current.remove(&key);
        Some(key)
    }

    fn drop_stale(&mut self) {
        while let Some(Reverse((at, key))) = self.heap.peek() {
            if self.current.get(key) == Some(at) {
                break;
            }
            self.heap.pop();
        }
    }
}
