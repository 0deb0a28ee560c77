//! In which order the slots are shown. Pure.

use std::cmp::Ordering;

use super::rates::Rates;
use crate::status::SlotStatus;

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
