//! Which backend of a proxy gets a session: in turn by weight, by load, at random, the first with room, or the one
//! that a key belongs to.
//!
//! Nothing here is shared: the turn, the loads and the weights are, and they are given. So all workers of a proxy that
//! see the same choose as one.

mod rendezvous;
mod schedule;
#[cfg(test)]
mod tests;

use crate::config::proxy::ProxyBalance;
use schedule::Schedule;

/// What does not change while a plan holds, of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its weight as configured, 1 at least.
    pub weight: u16,
    /// A hash of what it is: see [`Upstream::preferred`].
    pub identity: u64,
}

/// What may be asked of the backends at the moment of a choice, by their place in the list.
pub trait Backends {
    /// Whether it may get this session: not tried before, and with room.
    fn takes(&self, place: usize) -> bool;
    /// Sessions that it has.
    fn open(&self, place: usize) -> u32;
}

/// The backends as far as they matter to the choice.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    standing: Vec<Standing>,
    /// What each gets now; 0: nothing new.
    weights: Vec<u32>,
    schedule: Schedule,
}

impl Upstream {
    /// Backends that get nothing before they are [weighed](Self::weigh).
    pub fn new(standing: Vec<Standing>) -> Self {
        Self {
            weights: vec![0; standing.len()],
            schedule: Schedule::default(),
            standing,
        }
    }

    /// What each gets from now on.
    pub fn weigh(&mut self, now: impl Fn(usize) -> u32) {
        let mut changed = false;
        for (place, weight) in self.weights.iter_mut().enumerate() {
            let now = now(place);
            changed |= std::mem::replace(weight, now) != now;
        }
        if changed {
            self.schedule = Schedule::new(&self.weights);
        }
    }

    /// Whether anybody gets anything.
    pub fn is_shut(&self) -> bool {
        self.schedule.is_empty()
    }

    /// Whether this one gets something.
    pub fn is_open(&self, place: usize) -> bool {
        self.weights.get(place).is_some_and(|weight| *weight != 0)
    }

    /// The backend for the session whose turn is `turn`, a number that goes up by one with each session of all workers;
    /// `random` is any number. `None`: nobody takes it.
    pub fn choose(
        &self,
        balance: ProxyBalance,
        turn: u64,
        random: u64,
        backends: &impl Backends,
    ) -> Option<usize> {
        let takes = |place: &usize| self.weights[*place] != 0 && backends.takes(*place);
        match balance {
            ProxyBalance::RoundRobin => self.schedule.from(turn).find(takes),
            ProxyBalance::First => (0..self.weights.len()).find(takes),
            ProxyBalance::LeastConnections => {
                let count = self.weights.len().max(1);
                let first = (turn % count as u64) as usize;
                let in_turn = (first..self.weights.len()).chain(0..first);
                self.lightest(in_turn.filter(takes), backends)
            }
            ProxyBalance::RandomTwo => {
                let one = self.schedule.from(random).find(takes)?;
                let other = |place: &usize| *place != one && takes(place);
                let two = self.schedule.from(random >> 32).find(other);
                self.lightest([Some(one), two].into_iter().flatten(), backends)
            }
        }
    }

    /// Who has fewest sessions for its weight, this one counted; the first of several.
    fn lightest(
        &self,
        among: impl Iterator<Item = usize>,
        backends: &impl Backends,
    ) -> Option<usize> {
        let mut lightest: Option<(usize, u64, u64)> = None;
        for place in among {
            let load = u64::from(backends.open(place)) + 1;
            let weight = u64::from(self.weights[place]);
            // load / weight, without the division.
            let lighter = |(_, least, its): (usize, u64, u64)| load * its < least * weight;
            if lightest.is_none_or(lighter) {
                lightest = Some((place, load, weight));
            }
        }
        lightest.map(|(place, ..)| place)
    }
}
