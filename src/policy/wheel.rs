//! Deadlines of very many things that mostly end before they are due: a wheel of lists (Varghese and Lauck 1987).
//!
//! To set, to move and to clear a deadline costs the same however many there are, and nothing is allocated once there
//! were as many keys. What is far off stands in a coarse list and comes up when that begins, which may be early: who
//! is told looks for itself whether it is due, and sets it again. A deadline that is put off needs nothing but that.
//! Time is milliseconds on a clock that goes only forward, never read here.

/// Milliseconds of one tick: nothing comes up more exactly.
const TICK: u64 = 8;
/// Lists of one level; each stands for as many ticks as all of the level below.
const SLOTS: u64 = 64;
const BITS: u32 = SLOTS.trailing_zeros();
/// The last one reaches 37 hours; what is beyond comes up then.
const LEVELS: usize = 4;
/// No neighbour, and no list.
const NONE: u32 = u32::MAX;

/// Deadlines by key; keys are small numbers, as those of a slab.
#[derive(Debug)]
pub struct Wheel {
    /// Everything before it has come up.
    tick: u64,
    levels: [Level; LEVELS],
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// Which lists are not empty.
    filled: u64,
    first: [u32; SLOTS as usize],
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    /// Level and list in one number; [`NONE`]: it has no deadline.
    list: u32,
}

impl Default for Wheel {
    fn default() -> Self {
        let level = Level {
            filled: 0,
            first: [NONE; SLOTS as usize],
        };
        Self {
            tick: 0,
            levels: [level; LEVELS],
            links: Vec::new(),
        }
    }
}

impl Wheel {
    /// Sets or moves the deadline of `key`, ms.
    pub fn set(&mut self, key: usize, due: u64) {
        self.clear(key);
        if self.links.len() <= key {
            let unset = Link {
                before: NONE,
                after: NONE,
                list: NONE,
            };
            self.links.resize(key + 1, unset);
        }
        let due = due.div_ceil(TICK).max(self.tick);
        let ahead = |level: u32| (due >> (level * BITS)) - (self.tick >> (level * BITS));
        let level = (0..LEVELS as u32).find(|level| ahead(*level) < SLOTS);
        let (level, slot) = match level {
            Some(level) => (level as usize, due >> (level * BITS)),
            None => {
                let top = LEVELS as u32 - 1;
                (top as usize, (self.tick >> (top * BITS)) + SLOTS - 1)
            }
        };
        self.insert(key as u32, level, (slot % SLOTS) as usize);
    }

    /// `key` has no deadline any more.
    pub fn clear(&mut self, key: usize) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let Link {
            before,
            after,
            list,
        } = *link;
        if list == NONE {
            return;
        }
        link.list = NONE;
        if after != NONE {
            self.links[after as usize].before = before;
        }
        if before != NONE {
            self.links[before as usize].after = after;
            return;
        }
        let (level, slot) = (
            list as usize / SLOTS as usize,
            list as usize % SLOTS as usize,
        );
        let level = &mut self.levels[level];
        level.first[slot] = after;
        if after == NONE {
            level.filled &= !(1 << slot);
        }
    }

    /// When something comes up next, ms.
    pub fn next(&self) -> Option<u64> {
        self.earliest().map(|(tick, ..)| tick.saturating_mul(TICK))
    }

    /// Takes one key that has come up by `now`, ms: its deadline is over, or it is to be looked at and set again. Ask
    /// until there is none.
    pub fn due(&mut self, now: u64) -> Option<usize> {
        let now = now / TICK;
        match self.earliest() {
            Some((tick, level, slot)) if tick <= now => {
                self.tick = self.tick.max(tick);
                let key = self.levels[level].first[slot] as usize;
                self.clear(key);
                Some(key)
            }
            _ => {
                self.tick = self.tick.max(now);
                None
            }
        }
    }

    fn insert(&mut self, key: u32, level: usize, slot: usize) {
        let first = std::mem::replace(&mut self.levels[level].first[slot], key);
        self.levels[level].filled |= 1 << slot;
        if first != NONE {
            self.links[first as usize].before = key;
        }
        self.links[key as usize] = Link {
            before: NONE,
            after: first,
            list: (level * SLOTS as usize + slot) as u32,
        };
    }

    /// The tick at which the first list that is not empty begins, and that list.
    fn earliest(&self) -> Option<(u64, usize, usize)> {
        let levels = self.levels.iter().enumerate();
        let begins = levels.filter(|(_, level)| level.filled != 0);
        let begins = begins.map(|(at, level)| {
            let shift = at as u32 * BITS;
            let current = self.tick >> shift;
            let ahead = level.filled.rotate_right((current % SLOTS) as u32);
            let slot = current + u64::from(ahead.trailing_zeros());
            (slot << shift, at, (slot % SLOTS) as usize)
        });
        begins.min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Against a map, with keys that are put off when they come up early, as their owner does it.
    #[test]
    fn whatever_is_set_comes_up_in_its_tick_and_what_is_cleared_never() {
        let mut seed = 11u64;
        let mut number = move |bound: u64| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (seed >> 33) % bound
        };
        let spans = [20, 600, 40_000, 3_000_000, 400_000_000];
        let (mut wheel, mut model) = (Wheel::default(), BTreeMap::new());
        let mut now = 0;
        for _ in 0..60_000 {
            let key = number(300) as usize;
            match number(4) {
                0..2 => {
                    let span = spans[number(5) as usize];
                    let due = now + number(span);
                    wheel.set(key, due);
                    model.insert(key, due);
                }
                2 => {
                    wheel.clear(key);
                    model.remove(&key);
                }
                _ => {
                    let span = spans[number(4) as usize];
                    now += number(span);
                }
            }
            while let Some(key) = wheel.due(now) {
                let due = model.remove(&key).expect("it was set");
                if due > now {
                    wheel.set(key, due);
                    model.insert(key, due);
                }
            }
            let late = model.values().filter(|due| **due + TICK <= now).count();
            assert_eq!(late, 0, "at {now}");
            let first = model.values().min();
            assert_eq!(first.is_some(), wheel.next().is_some());
            assert!(first.is_none_or(|due| wheel.next() < Some(due + TICK)));
        }
    }

    #[test]
    fn what_comes_up_early_does_not_come_up_often() {
        let mut wheel = Wheel::default();
        wheel.set(0, 3_600_000);
        let mut looks = 0;
        while let Some(now) = wheel.next() {
            while let Some(key) = wheel.due(now) {
                looks += 1;
                if now < 3_600_000 {
                    wheel.set(key, 3_600_000);
                }
            }
        }
        assert!(looks <= LEVELS, "{looks}");
    }
}
