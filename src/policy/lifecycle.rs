//! The life of one worker: a table, written down cell by cell.
//!
//! | state | ready report | channel trouble | deadline | drain | empty, hurry | abort | kill now | exited |
//! |---|---|---|---|---|---|---|---|---|
//! | **Starting** {boot deadline} | → Ready: *admit* | → Killing (broken): *KILL* | → Killing (late): *KILL* | → Leaving: *TERM* | – | – | → Killing: *KILL* | → Gone (early) |
//! | **Ready** | stay | → Draining (broken): *evict* | – | → Draining: *evict* | – | → Leaving (hung): *evict, ABRT* | → Killing: *evict, KILL* | → Gone (crashed or finished): *evict* |
//! | **Draining** {why, deadline} | stay | stay | → Leaving: *TERM* | stay, the stronger why and the earlier deadline win | → Leaving: *TERM* | → Leaving (hung): *ABRT* | → Killing: *KILL* | → Gone (drained) |
//! | **Leaving** {why, deadline} | stay | stay | → Killing: *KILL* | stay, the stronger why wins | stay | stay | → Killing: *KILL* | → Gone (drained) |
//! | **Killing** {why, deadline} | stay | stay | *KILL* again, say "unkillable" | stay | stay | stay | stay | → Gone (killed) |
//! | **Gone** | stay | stay | stay | stay | stay | stay | stay | stay |
//!
//! *Evict* means: deal nothing more to it and read back what it has queued. A worker that drains is not told so
//! by a signal: it finishes its connections as if nothing were, and hears SIGTERM once it has none. Every state
//! but Ready and Gone has a deadline. Pure: the caller owns the process, executes the [`Action`]s, keeps the
//! timer, and says when a draining worker is empty.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deadlines::Moment;

/// How long after a SIGKILL a worker that is still there is called unkillable.
pub const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Started, has not said that it is ready.
    Starting {
        /// When it is late.
        ready_by: Moment,
    },
    /// Takes connections.
    Ready,
    /// Gets nothing new and finishes what is open.
    Draining {
        /// What for.
        why: Why,
        /// When patience with open connections ends.
        until: Moment,
    },
    /// Was told by a signal to go.
    Leaving {
        /// What for.
        why: Why,
        /// When patience ends.
        until: Moment,
    },
    /// Was sent SIGKILL.
    Killing {
        /// What for.
        why: Why,
        /// When to try again.
        again_at: Moment,
    },
    /// Is dead.
    Gone(End),
}

/// Why a worker must go; a later one is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Why {
    /// It was not ready in time.
    Late,
    /// Its channel cannot be used any more.
    Broken,
    /// Another worker has taken its slot over: a reload, a restart, a limit.
    Replaced,
    /// Its slot is no more.
    Scaled,
    /// It does not react.
    Hung,
    /// The primary stops.
    Stop,
}

/// How a worker's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It exited before it was ready.
    Early,
    /// It was ready and then exited with a failure.
    Crashed,
    /// It was ready and then exited with success, by itself.
    Finished,
    /// It went after it was evicted or told to go.
    Drained(Why),
    /// It went after SIGKILL.
    Killed(Why),
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It listens.
    ReadyReport,
    /// One of its channels is beyond use.
    ChannelTrouble,
    /// The deadline of its state has come.
    Deadline,
    /// It is to finish and go.
    Drain(Why),
    /// It has no connection open, and none queued.
    Empty,
    /// Its connections are not waited for any longer.
    Hurry,
    /// It does not react, so it is to die and to leave a trace of where it hung.
    Abort,
    /// It is to go at once.
    KillNow(Why),
    /// Its process is dead.
    Exited {
        /// With exit code 0.
        success: bool,
    },
}

/// What the supervisor has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Deal to it from now on.
    Admit,
    /// Deal nothing more to it and read back what it has queued.
    Evict,
    /// SIGTERM.
    Terminate,
    /// SIGABRT.
    Abort,
    /// SIGKILL, to it and all it has started.
    Kill,
    /// Say that it cannot be killed, and do not let its slot wait for it.
    Unkillable,
}

/// The times that [`State::after`] grants.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the eviction to SIGTERM, as long as connections are open.
    pub drain: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// From one SIGKILL to the next.
    pub kill: Duration,
}

impl Patience {
    fn draining(self, why: Why, now: Moment) -> State {
        let until = now + self.drain;
        State::Draining { why, until }
    }

    fn leaving(self, why: Why, now: Moment) -> State {
        let until = now + self.grace;
        State::Leaving { why, until }
    }

    fn killing(self, why: Why, now: Moment) -> State {
        let again_at = now + self.kill;
        State::Killing { why, again_at }
    }
}

impl State {
    /// When [`Event::Deadline`] is due.
    pub fn deadline(self) -> Option<Moment> {
        match self {
            Self::Starting { ready_by } => Some(ready_by),
            Self::Ready | Self::Gone(_) => None,
            Self::Draining { until, .. } | Self::Leaving { until, .. } => Some(until),
            Self::Killing { again_at, .. } => Some(again_at),
        }
    }

    /// One cell of the table: the state after `event`, and what is to be done, in this order.
    pub fn after(self, event: Event, now: Moment, patience: Patience) -> (Self, &'static [Action]) {
        use Action::{Abort, Admit, Evict, Kill, Terminate, Unkillable};
        use State::{Draining, Gone, Killing, Leaving, Ready, Starting};
        let draining = |why| patience.draining(why, now);
        let leaving = |why| patience.leaving(why, now);
        let killing = |why| patience.killing(why, now);
        match (self, event) {
            (Starting { .. }, Event::ReadyReport) => (Ready, &[Admit]),
            (Starting { .. }, Event::ChannelTrouble) => (killing(Why::Broken), &[Kill]),
            (Starting { .. }, Event::Deadline) => (killing(Why::Late), &[Kill]),
            (Starting { .. }, Event::Drain(why)) => (leaving(why), &[Terminate]),
            (Starting { .. }, Event::Empty | Event::Hurry | Event::Abort) => (self, &[]),
            (Starting { .. }, Event::KillNow(why)) => (killing(why), &[Kill]),
            (Starting { .. }, Event::Exited { .. }) => (Gone(End::Early), &[]),

            (Ready, Event::ChannelTrouble) => (draining(Why::Broken), &[Evict]),
            (Ready, Event::Drain(why)) => (draining(why), &[Evict]),
            (Ready, Event::Empty | Event::Hurry | Event::ReadyReport | Event::Deadline) => {
                (self, &[])
            }
            (Ready, Event::Abort) => (leaving(Why::Hung), &[Evict, Abort]),
            (Ready, Event::KillNow(why)) => (killing(why), &[Evict, Kill]),
            (Ready, Event::Exited { success: true }) => (Gone(End::Finished), &[Evict]),
            (Ready, Event::Exited { success: false }) => (Gone(End::Crashed), &[Evict]),

            (Draining { why, .. }, Event::Deadline | Event::Empty | Event::Hurry) => {
                (leaving(why), &[Terminate])
            }
            (Draining { why, until }, Event::Drain(other)) => {
                let why = why.max(other);
                let until = until.min(now + patience.drain);
                (Draining { why, until }, &[])
            }
            (Draining { why, .. }, Event::Abort) => (leaving(why.max(Why::Hung)), &[Abort]),
            (Draining { why, .. }, Event::KillNow(other)) => (killing(why.max(other)), &[Kill]),

            (Leaving { why, .. }, Event::Deadline) => (killing(why), &[Kill]),
            (Leaving { why, until }, Event::Drain(other)) => {
                let why = why.max(other);
                (Leaving { why, until }, &[])
            }
            (Leaving { why, .. }, Event::KillNow(other)) => (killing(why.max(other)), &[Kill]),
            (Draining { why, .. } | Leaving { why, .. }, Event::Exited { .. }) => {
                (Gone(End::Drained(why)), &[])
            }

            (Killing { why, .. }, Event::Deadline) => (killing(why), &[Kill, Unkillable]),
            (Killing { why, .. }, Event::Exited { .. }) => (Gone(End::Killed(why)), &[]),

            (Killing { .. }, Event::Drain(_) | Event::KillNow(_))
            | (Leaving { .. } | Killing { .. }, Event::Empty | Event::Hurry | Event::Abort)
            | (
                Draining { .. } | Leaving { .. } | Killing { .. },
                Event::ReadyReport | Event::ChannelTrouble,
            )
            | (Gone(_), _) => (self, &[]),
        }
    }
}
