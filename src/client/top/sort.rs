//! In which order the slots are shown, and the backends. Pure.

use std::cmp::Ordering;

use super::rates::Rates;
use crate::status::{BackendState, BackendStatus, SlotStatus};

/// By what the slots of an app are ordered: by number, or the largest figure first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Number.
    #[default]
    Slot,
    /// Connections a second.
    Rate,
    /// Open connections.
    Open,
    /// Connections that wait.
    Queued,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Restarts.
    Restarts,
    /// Queue wait.
    Wait,
}

impl Sort {
    /// The next one, in the order of the columns.
    pub fn next(self) -> Self {
        match self {
            Self::Slot => Self::Rate,
            Self::Rate => Self::Open,
            Self::Open => Self::Queued,
            Self::Queued => Self::Cpu,
            Self::Cpu => Self::Memory,
            Self::Memory => Self::Restarts,
            Self::Restarts => Self::Wait,
            Self::Wait => Self::Slot,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Rate => "connections a second",
            Self::Open => "open connections",
            Self::Queued => "queued connections",
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Restarts => "restarts",
            Self::Wait => "queue wait",
        }
    }

    /// Which of two slots of an app comes first.
    pub fn compare(self, rates: &Rates, one: &SlotStatus, other: &SlotStatus) -> Ordering {
        let figure = |slot: &SlotStatus| match self {
            Self::Slot => 0.0,
            Self::Rate => {
                let history = rates.slot(slot);
                history.and_then(|one| one.latest()).unwrap_or(0.0)
            }
            Self::Open => slot.open as f64,
            Self::Queued => slot.queued as f64,
            Self::Cpu => rates.cpu(slot),
            Self::Memory => slot.rss_bytes as f64,
            Self::Restarts => slot.restarts as f64,
            Self::Wait => slot.queue_wait_us.p99 as f64,
        };
        let falling = figure(other).total_cmp(&figure(one));
        falling.then(one.slot.cmp(&other.slot))
    }
}

/// By what the backends of an app are ordered: those first that something is wrong with, or the largest figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBackends {
    /// State; then as they are listed.
    #[default]
    State,
    /// Sessions a second.
    Rate,
    /// Open sessions.
    Open,
    /// Bytes a second, both ways.
    Bytes,
    /// Connects that failed.
    Failed,
    /// How long connects take.
    Connect,
}

impl SortBackends {
    /// The next one, in the order of the columns.
    pub fn next(self) -> Self {
        match self {
            Self::State => Self::Rate,
            Self::Rate => Self::Open,
            Self::Open => Self::Bytes,
            Self::Bytes => Self::Failed,
            Self::Failed => Self::Connect,
            Self::Connect => Self::State,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Rate => "sessions a second",
            Self::Open => "open sessions",
            Self::Bytes => "bytes a second",
            Self::Failed => "failed connects",
            Self::Connect => "time to connect",
        }
    }

    /// Which of two backends of an app comes first.
    pub fn compare(self, rates: &Rates, one: &BackendStatus, other: &BackendStatus) -> Ordering {
        let rates = |one: &BackendStatus| rates.backends.of(one);
        let figure = |one: &BackendStatus| match self {
            Self::State => f64::from(urgency(one.state)),
            Self::Rate => {
                let latest = rates(one).and_then(|rates| rates.sessions.latest());
                latest.unwrap_or(0.0)
            }
            Self::Open => one.open as f64,
            Self::Bytes => rates(one).map_or(0.0, |rates| rates.bytes_in + rates.bytes_out),
            Self::Failed => one.failures as f64,
            Self::Connect => one.connect_us.p99 as f64,
        };
        figure(other).total_cmp(&figure(one))
    }
}

/// How much somebody should see it. What is done on purpose leaves a backend where it is, before whoever did it.
fn urgency(state: BackendState) -> u8 {
    match state {
        BackendState::Down | BackendState::Ejected | BackendState::Unresolved => 1,
        BackendState::Up
        | BackendState::Draining
        | BackendState::Drained
        | BackendState::Leaving => 0,
    }
}
