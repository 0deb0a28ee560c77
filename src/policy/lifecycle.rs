//! The life of one worker: a table, written down cell by cell.
//!
//! | state | ready report | channel trouble | deadline | drain | kill now | exited |
//! |---|---|---|---|---|---|---|
//! | **Starting** {boot deadline} | → Ready: *admit* | → Killing: *KILL* | → Killing (late): *KILL* | → Draining: *TERM* | → Killing: *KILL* | → Gone (early) |
//! | **Ready** | stay | → Draining (broken): *evict, TERM* | – | → Draining: *evict, TERM* | → Killing: *evict, KILL* | → Gone (crashed or finished): *evict* |
//! | **Draining** {why, deadline} | stay | stay | → Killing: *KILL* | stay, the stronger why wins | → Killing: *KILL* | → Gone (drained) |
//! | **Killing** {why, deadline} | stay | stay | *KILL* again, say "unkillable" | stay | stay | → Gone (killed) |
//! | **Gone** | stay | stay | stay | stay | stay | stay |
//!
//! *Evict* means: deal nothing more to it and read back what it has queued. Every state but Ready and Gone
//! has a deadline. Pure: the caller owns the process, executes the [`Action`]s and keeps the timer.

use std::time::Duration;

use super::deadlines::Moment;

/// How long after a SIGKILL a worker that is still there is called unkillable.
pub const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Started, has not said that it is ready.
    Starting {
        /// When it is late.
        ready_by: Moment,
    },
    /// Takes connections.
    Ready,
    /// Was told by SIGTERM to finish and go.
    Draining {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It was not ready in time.
    Late,
    /// Its channel cannot be used any more.
    Broken,
    /// The primary stops.
    Stop,
}

/// How a worker's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited before it was ready.
    Early,
    /// It was ready and then exited with a failure.
    Crashed,
    /// It was ready and then exited with success, by itself.
    Finished,
    /// It went after SIGTERM.
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
    /// SIGKILL, to it and all it has started.
    Kill,
    /// Say that it cannot be killed, and do not let its slot wait for it.
    Unkillable,
}

/// The times that [`State::after`] grants.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// From one SIGKILL to the next.
    pub kill: Duration,
}

impl State {
    /// When [`Event::Deadline`] is due.
    pub fn deadline(self) -> Option<Moment> {
        match self {
            Self::Starting { ready_by } => Some(ready_by),
            Self::Ready | Self::Gone(_) => None,
            Self::Draining { until, .. } => Some(until),
            Self::Killing { again_at, .. } => Some(again_at),
        }
    }

    /// One cell of the table: the state after `event`, and what is to be done, in this order.
    pub fn after(self, event: Event, now: Moment, patience: Patience) -> (Self, &'static [Action]) {
        use Action::{Admit, Evict, Kill, Terminate, Unkillable};
        use State::{Draining, Gone, Killing, Ready, Starting};
        let draining = |why| Draining {
            why,
            until: now + patience.grace,
        };
        let killing = |why| Killing {
            why,
            again_at: now + patience.kill,
        };
        match (self, event) {
            (Starting { .. }, Event::ReadyReport) => (Ready, &[Admit]),
            (Starting { .. }, Event::ChannelTrouble) => (killing(Why::Broken), &[Kill]),
            (Starting { .. }, Event::Deadline) => (killing(Why::Late), &[Kill]),
            (Starting { .. }, Event::Drain(why)) => (draining(why), &[Terminate]),
            (Starting { .. }, Event::KillNow(why)) => (killing(why), &[Kill]),
            (Starting { .. }, Event::Exited { .. }) => (Gone(End::Early), &[]),

            (Ready, Event::ReadyReport | Event::Deadline) => (Ready, &[]),
            (Ready, Event::ChannelTrouble) => (draining(Why::Broken), &[Evict, Terminate]),
            (Ready, Event::Drain(why)) => (draining(why), &[Evict, Terminate]),
            (Ready, Event::KillNow(why)) => (killing(why), &[Evict, Kill]),
            (Ready, Event::Exited { success: true }) => (Gone(End::Finished), &[Evict]),
            (Ready, Event::Exited { success: false }) => (Gone(End::Crashed), &[Evict]),

            (Draining { .. }, Event::ReadyReport | Event::ChannelTrouble) => (self, &[]),
            (Draining { why, .. }, Event::Deadline) => (killing(why), &[Kill]),
            (Draining { why, until }, Event::Drain(other)) => {
                let why = why.max(other);
                (Draining { why, until }, &[])
            }
            (Draining { why, .. }, Event::KillNow(other)) => (killing(why.max(other)), &[Kill]),
            (Draining { why, .. }, Event::Exited { .. }) => (Gone(End::Drained(why)), &[]),

            (Killing { why, .. }, Event::Deadline) => (killing(why), &[Kill, Unkillable]),
            (Killing { why, .. }, Event::Exited { .. }) => (Gone(End::Killed(why)), &[]),
            (
                Killing { .. },
                Event::ReadyReport | Event::ChannelTrouble | Event::Drain(_) | Event::KillNow(_),
            ) => (self, &[]),

            (Gone(_), _) => (self, &[]),
        }
    }
}
