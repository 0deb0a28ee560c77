//! How long a connection that is dealt to a worker now waits until it is served, as far as that can be told from
//! outside.
//!
//! The length of its queue says little: that of a slow worker may be as short as that of a fast one. Two things are
//! told from. The queue is timed: one connection in it is kept in mind until it is taken, which says what each of
//! those before it cost. And a server that takes its whole queue at once, and serves it afterwards, is seen through by
//! the turns of its loop, which the scoreboard counts: how long they last, and what was taken in the last few. What
//! has been there for longer (kept alive, a WebSocket) was served long ago, whether it is still open or not, and counts
//! for nothing. Everything the worker says may be wrong: it misleads the choice, no more.

/// A connection is served within so many turns: it is taken in the first, read in the second, and may have come in
/// the middle of one.
const TURNS: usize = 3;
/// Fewer connections than this are no backlog, however long each takes.
const LEAST: u64 = 3;
/// From here on a delay is worth a look at the others, ns. Less happens to anybody: a first request, a collection of
/// garbage. Who loses his turn for that while everybody connects has fewer connections for as long as these live.
pub const NOTICEABLE: u64 = 200_000_000;
/// So many times the shortest delay is clearly behind.
pub const CLEARLY: u64 = 4;
/// Weight of the past in the cost of a turn: 7 to 1.
const PAST: u64 = 8;

/// What is known of a worker at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// `CLOCK_MONOTONIC`, ns.
    pub now: u64,
    /// How often it has gone to wait.
    pub loops: u64,
    /// It waits in the kernel.
    pub asleep: bool,
    /// Connections that it has taken, in all.
    pub taken: u64,
    /// Connections that are queued for it.
    pub queued: u64,
    /// Connections that it holds.
    pub open: u64,
}

/// What is known of the work of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Connections dealt since the last look.
    unseen: u32,
    /// It was behind at that look.
    was_behind: bool,
    turn: Turn,
    /// How long turns took, ns, and how many connections were taken in them (times 256), the latest most.
    busy: u64,
    served: u64,
    timed: Option<Timed>,
    /// What a connection in the queue costs those behind it, ns.
    queue_cost: u64,
}

/// A turn of the worker's loop.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    number: u64,
    /// Since when it has been seen to go on without taking anything, and until when, ns.
    begun: u64,
    seen: u64,
    /// Connections taken before the last look.
    taken: u64,
    /// Of those, in this turn, in the one before, and so on.
    recent: [u64; TURNS],
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
    /// Of a worker that has taken so many connections before.
    pub fn new(now: u64, taken: u64) -> Self {
        let turn = Turn {
            begun: now,
            seen: now,
            taken,
            ..Turn::default()
        };
        Self {
            turn,
            ..Self::default()
        }
    }

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
        self.follow_turns(&look);
        let delay = self.delay_now(&look);
        self.was_behind = delay >= NOTICEABLE;
        if self.was_behind { delay } else { 0 }
    }

    fn delay_now(&self, look: &Look) -> u64 {
        let recent = self.turn.recent.iter().copied();
        let recent = recent.fold(0, u64::saturating_add).min(look.open);
        let pending = look.queued.saturating_add(recent);
        if pending < LEAST {
            return 0;
        }
        // One that takes what it is dealt is in the middle of nothing.
        let standing = look.now.saturating_sub(self.turn.begun);
        let by_turns = pending.saturating_mul(self.cost());
        let by_queue = look.queued.saturating_mul(self.queue_cost);
        standing.max(by_turns).max(by_queue)
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

    fn follow_turns(&mut self, look: &Look) {
        let took = look.taken.saturating_sub(self.turn.taken);
        let turns = look.loops.wrapping_sub(self.turn.number);
        let recent = if look.asleep {
            // Whatever it was that took so long is over.
            self.busy /= 2;
            [0; TURNS]
        } else {
            let [now, before, last] = self.turn.recent;
            match turns {
                0 => [now.saturating_add(took), before, last],
                1 => [took, now, before],
                2 => [took, 0, now],
                _ => [took, 0, 0],
            }
        };
        if turns != 0 && !look.asleep {
            self.learn();
        }
        if turns == 0 && took == 0 && !look.asleep {
            self.turn.seen = look.now;
            return;
        }
        self.turn = Turn {
            number: look.loops,
            begun: look.now,
            seen: look.now,
            taken: look.taken,
            recent,
        };
    }

    /// A turn is over, which was seen to last so long at least.
    fn learn(&mut self) {
        let Turn {
            begun,
            seen,
            recent: [taken, ..],
            ..
        } = self.turn;
        let forget = |sum: u64| sum - sum / PAST;
        self.busy = forget(self.busy).saturating_add(seen.saturating_sub(begun));
        self.served = forget(self.served).saturating_add(taken.min(1 << 32) << 8);
    }

    /// What a connection costs it, ns.
    fn cost(&self) -> u64 {
        let served = self.served.max(1 << 8);
        (u128::from(self.busy) * 256 / u128::from(served)) as u64
    }
}
