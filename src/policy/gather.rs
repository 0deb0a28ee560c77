//! Whether connections are dealt as they come, or gather for a moment and are dealt together.
//!
//! To wake a worker costs more than to hand it a connection. Where every core is busy, one who waits a moment and then
//! deals all that came wakes each worker once for several connections, and keeps nobody waiting: the cores have other
//! work meanwhile. Where a core is free, waiting would only cost time. Which of both it is costs next to nothing to see:
//! the kernel counts for how long the dispatcher could have run and had no core.

/// How often it is judged anew, ns.
const TURN: u64 = 10_000_000;
/// Of so many turns each is an equal part in the judgement, the older ones less and less.
const MEMORY: u64 = 8;
/// Part of the time, in thousandths, in which the dispatcher could run and had no core: from which on the cores count
/// as busy, and below which they do no longer.
const BUSY: u64 = 150;
const FREE: u64 = 75;
/// Connections that each worker is to find when it is woken.
const EACH: u64 = 8;
/// So many at least are to be expected within the longest wait, else nobody waits.
const COMPANY: u64 = 2;
/// Connections of one round from which on they are sent together, though nobody waited for them.
const MANY: usize = 4;

/// The judgement, and what it rests on.
#[derive(Clone, Debug)]
pub struct Gather {
    /// The longest wait, ns; 0: never.
    max: u64,
    /// Connections found since `turned_at`.
    came: u64,
    turned_at: u64,
    /// As of the last turn, if connections came densely then: time in all without a core, ns.
    delay: Option<u64>,
    /// How much of the time there was no core, thousandths times [`MEMORY`].
    delayed: u64,
    /// How long to wait now, ns.
    wait: u64,
    /// Connections that the last round found.
    found: usize,
}

impl Gather {
    /// With no wait longer than `max` ns.
    pub fn new(max: u64) -> Self {
        Self {
            max,
            came: 0,
            turned_at: 0,
            delay: None,
            delayed: 0,
            wait: 0,
            found: 0,
        }
    }

    /// Notes how many connections a round found.
    pub fn note(&mut self, found: usize) {
        self.came += found as u64;
        self.found = found;
    }

    /// How long to wait before connections are accepted, ns; 0: not at all. There are `workers` to wake. `delay` says how
    /// much time in all the dispatcher could have run and had no core, ns; it is asked rarely, and only when connections
    /// come densely.
    pub fn wait(&mut self, now: u64, workers: usize, delay: impl FnOnce() -> Option<u64>) -> u64 {
        if now.saturating_sub(self.turned_at) >= TURN {
            self.turn(now, workers, delay);
        }
        self.wait
    }

    /// What a round finds is sent together.
    pub fn is_dense(&self) -> bool {
        self.wait != 0 || self.found >= MANY
    }

    /// The last round found as many as there may be in one, so others are there already.
    pub fn is_behind(&self, most: usize) -> bool {
        self.found >= most
    }

    fn turn(&mut self, now: u64, workers: usize, delay: impl FnOnce() -> Option<u64>) {
        let (came, lasted) = (self.came, now.saturating_sub(self.turned_at));
        (self.came, self.turned_at) = (0, now);
        let is_dense = came.saturating_mul(self.max) >= lasted.saturating_mul(COMPANY);
        let former = self.delay.take();
        if is_dense {
            self.delay = delay();
        }
        let lacked =
            { former.zip(self.delay) }.map_or(0, |(former, now)| now.saturating_sub(former));
        let part = (lacked.saturating_mul(1000) / lasted.max(1)).min(1000);
        self.delayed += part;
        self.delayed -= self.delayed / MEMORY;
        let limit = if self.wait == 0 { BUSY } else { FREE };
        self.wait = if is_dense && self.delayed >= limit * MEMORY {
            let enough = EACH.saturating_mul(workers.max(1) as u64);
            (lasted.saturating_mul(enough) / came.max(1)).clamp(1, self.max)
        } else {
            0
        };
    }
}

#[cfg(test)]
mod tests;
