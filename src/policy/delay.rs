//! How long a connection that is dealt to a worker now waits until it is taken, as far as that can be told from
//! outside.
//!
//! The length of its queue says little: that of a slow worker may be as short as that of a fast one. So the queue is
//! timed: one connection in it is kept in mind until it is taken, which says what each of those before it cost. What a
//! worker has taken and not yet served is not seen, but few servers take more than they can serve soon. Everything the
//! worker says may be wrong: it misleads the choice, no more.

/// Fewer connections than this in a queue are no backlog, however long each takes.
const LEAST: u64 = 3;
/// From here on a delay is worth a look at the others, ns. Less happens to anybody: a first request, a collection of
/// garbage. Who loses his turn for that while everybody connects has fewer connections for as long as these live.
pub const NOTICEABLE: u64 = 200_000_000;
/// So many times the shortest delay is clearly behind.
pub const CLEARLY: u64 = 4;

/// What is known of a worker at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// `CLOCK_MONOTONIC`, ns.
    pub now: u64,
    /// Connections that it has taken, in all.
    pub taken: u64,
    /// Connections that are queued for it.
    pub queued: u64,
}

/// What is known of the queue of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Connections dealt since the last look.
    unseen: u32,
    /// It was behind at that look.
    was_behind: bool,
    timed: Option<Timed>,
    /// What a connection in the queue costs those behind it, ns.
    queue_cost: u64,
}

/// The connection in the queue that is kept in mind.
#[derive(Clone, Copy, Debug)]
struct Timed {
    number: u64,
    since: u64,
    /// Its place in the queue then, from 1.
    place: u64,
}

impl Backlog {
    /// A connection is dealt to it.
    pub fn note_dealt(&mut self) {
        self.unseen = self.unseen.saturating_add(1);
    }

    /// The delay of the next one, ns; 0 as long as it is nothing to speak of. Looks only if that may have changed:
    /// a look is at memory that the worker writes to all the time.
    pub fn delay(&mut self, look: impl FnOnce() -> Look) -> u64 {
        if !self.was_behind && u64::from(self.unseen) < LEAST {
            return 0;
        }
        let look = look();
        self.unseen = 0;
        self.time_queue(&look);
        let delay = match look.queued {
            ..LEAST => 0,
            queued => queued.saturating_mul(self.queue_cost),
        };
        self.was_behind = delay >= NOTICEABLE;
        if self.was_behind { delay } else { 0 }
    }

    fn time_queue(&mut self, look: &Look) {
        if let Some(timed) = self.timed {
            let waited = look.now.saturating_sub(timed.since);
            let before = timed.number.saturating_sub(look.taken);
            if before == 0 || look.queued == 0 {
                // At the latest now: it may have been taken long before.
                self.queue_cost = self.queue_cost.min(waited / timed.place);
                self.timed = None;
            } else if waited >= NOTICEABLE {
                let taken = timed.place.saturating_sub(before);
                self.queue_cost = waited / taken.max(1);
            }
        }
        if self.timed.is_none() && look.queued != 0 {
            self.timed = Some(Timed {
                number: look.taken.saturating_add(look.queued),
                since: look.now,
                place: look.queued,
            });
        }
    }
}
