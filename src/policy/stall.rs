//! Is a worker taking what it is dealt? Judged only by what it takes from its queue, over time: nobody has
//! to report anything, so a stopped, looping or swapped-out worker is found like a slow one.

/// A queue that has not moved for this long makes its slot lose its turn to slots less behind, ns.
pub const LAG: u64 = 50_000_000;
/// How often a worker that was found stuck is tried again with one connection, ns.
pub const PROBE_EVERY: u64 = 250_000_000;

/// The progress of one worker's queue.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    taken: u64,
    moved_at: u64,
    stuck: Option<Stuck>,
}

#[derive(Clone, Copy, Debug)]
struct Stuck {
    next_probe: u64,
}

impl Progress {
    /// A worker that has just begun.
    pub fn new(now: u64) -> Self {
        Self {
            taken: 0,
            moved_at: now,
            stuck: None,
        }
    }

    /// Notes how much the worker has taken in all, and whether anything is queued for it.
    pub fn observe(&mut self, now: u64, taken: u64, queued: u64) {
        if taken != self.taken {
            *self = Self {
                taken,
                moved_at: now,
                stuck: None,
            };
        } else if queued == 0 {
            self.moved_at = now;
        }
    }

    /// Has not taken anything for a noticeable while although something is queued.
    pub fn lags(&self, now: u64) -> bool {
        now.saturating_sub(self.moved_at) >= LAG
    }

    /// Has left its queue alone for `limit` ns.
    pub fn is_overdue(&self, now: u64, limit: u64) -> bool {
        now.saturating_sub(self.moved_at) >= limit
    }

    /// Its queue was taken away from it: it gets a single connection now and then, until it takes one.
    pub fn declare_stuck(&mut self, now: u64) {
        self.moved_at = now;
        self.stuck = Some(Stuck {
            next_probe: now.saturating_add(PROBE_EVERY),
        });
    }

    /// May be dealt one connection now, `queued` being its queue. A worker that was found stuck is only
    /// given a connection to try with, one at a time.
    pub fn may_take(&self, now: u64, queued: u64) -> bool {
        self.stuck
            .is_none_or(|stuck| queued == 0 && now >= stuck.next_probe)
    }

    /// Was found stuck and has taken nothing since.
    pub fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn an_empty_queue_is_never_late() {
        let mut progress = Progress::new(0);
        progress.observe(900 * MS, 0, 0);
        progress.observe(901 * MS, 0, 1);
        assert!(!progress.lags(902 * MS));
        assert!(!progress.is_overdue(902 * MS, 100 * MS));
        assert!(progress.lags(951 * MS));
        assert!(progress.is_overdue(1000 * MS, 100 * MS));
    }

    #[test]
    fn slow_but_steady_is_not_stuck() {
        let mut progress = Progress::new(0);
        for n in 1..20 {
            progress.observe(n * 60 * MS, n, 5);
            assert!(!progress.is_overdue(n * 60 * MS + 59 * MS, 100 * MS));
        }
    }

    #[test]
    fn a_stuck_worker_is_probed_and_returns_when_it_takes_one() {
        let mut progress = Progress::new(0);
        progress.observe(10 * MS, 4, 3);
        progress.declare_stuck(200 * MS);
        assert!(progress.is_stuck() && !progress.may_take(300 * MS, 0));
        assert!(progress.may_take(450 * MS, 0));
        assert!(!progress.may_take(450 * MS, 1), "one probe at a time");
        progress.observe(460 * MS, 4, 1);
        assert!(progress.is_stuck());
        progress.observe(470 * MS, 5, 0);
        assert!(!progress.is_stuck() && progress.may_take(470 * MS, 9));
    }
}
