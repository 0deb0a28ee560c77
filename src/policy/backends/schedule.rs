//! Who is checked when. Everybody at once at first, so that it is known soon how they are; then each on its own time,
//! spread over the interval, give or take a tenth; never more than a few at one time, and those that never answer do not
//! take all of these.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::policy::deadlines::Moment;

/// So many are checked at one time: each costs a descriptor meanwhile.
pub const AT_ONCE: usize = 32;
/// And so many of those that kept their last check waiting until it was given up: nobody else waits for all of these.
const LATE_AT_ONCE: usize = AT_ONCE / 2;
/// An interval is spread by one part in so many, to either side.
const JITTER_PARTS: u32 = 10;

/// When each is checked next, by its place.
#[derive(Debug, Default)]
pub struct Schedule {
    waiting: BTreeMap<usize, Turn>,
    running: BTreeSet<usize>,
    /// Whose last check was given up.
    late: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    due: Moment,
    /// It has not been checked yet.
    first: bool,
}

impl Schedule {
    /// These are to be checked, and no others; `known` are those of whom a check has been made, before an upgrade
    /// perhaps, which need not be checked at once.
    pub fn attend(
        &mut self,
        now: Moment,
        who: &BTreeMap<usize, bool>,
        interval: Duration,
        mut random: impl FnMut() -> u64,
    ) {
        self.waiting.retain(|at, _| who.contains_key(at));
        self.running.retain(|at| who.contains_key(at));
        self.late.retain(|at| who.contains_key(at));
        let latest = now + interval + interval / JITTER_PARTS;
        for (at, known) in who {
            if self.running.contains(at) {
                continue;
            }
            let turn = self.waiting.entry(*at).or_insert_with(|| Turn {
                due: match known {
                    true => now + interval.mul_f64(fraction(random())),
                    false => now,
                },
                first: !known,
            });
            turn.due = turn.due.min(latest);
        }
    }

    /// One whose turn it is, if there is room: it is being checked from now on.
    pub fn begin(&mut self, now: Moment) -> Option<usize> {
        let due = self.idle().filter(|(_, turn)| turn.due <= now);
        let (at, _) = due.min_by_key(|(_, turn)| turn.due)?;
        self.running.insert(at);
        Some(at)
    }

    /// Those that could be checked now, if it were their turn.
    fn idle(&self) -> impl Iterator<Item = (usize, &Turn)> {
        let late = self.running.intersection(&self.late).count();
        let room = self.running.len() < AT_ONCE;
        let all = self.waiting.iter().filter(move |_| room);
        let all = all.filter(move |(at, _)| late < LATE_AT_ONCE || !self.late.contains(at));
        let idle = all.filter(|(at, _)| !self.running.contains(at));
        idle.map(|(at, turn)| (*at, turn))
    }

    /// Its check is over, or was given up.
    pub fn done(
        &mut self,
        now: Moment,
        at: usize,
        is_late: bool,
        (interval, random): (Duration, u64),
    ) {
        if !self.running.remove(&at) {
            return;
        }
        if is_late {
            self.late.insert(at);
        } else {
            self.late.remove(&at);
        }
        if let Some(turn) = self.waiting.get_mut(&at) {
            let share = fraction(random);
            let wait = match std::mem::take(&mut turn.first) {
                true => interval.mul_f64(share),
                false => {
                    let part = interval / JITTER_PARTS;
                    interval - part + (part * 2).mul_f64(share)
                }
            };
            turn.due = now + wait;
        }
    }

    /// When [`begin`](Self::begin) has somebody next.
    pub fn next(&self) -> Option<Moment> {
        self.idle().map(|(_, turn)| turn.due).min()
    }
}

/// In 0..=1, from any number.
fn fraction(random: u64) -> f64 {
    (random >> 32) as f64 / f64::from(u32::MAX)
}
