//! What a worker may use, how it shows that it is well, and what its end means for its slot.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys::handover;

/// What a worker may use before it is replaced. Nothing is limited by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Resident memory of all its processes, bytes: over it for several samples, it is replaced; half as much
    /// again, it is killed.
    pub max_memory: Option<u64>,
    /// Time since it was ready, less or more a tenth.
    pub max_age: Option<Duration>,
    /// Connections taken, less or more a tenth.
    pub max_connections: Option<u64>,
    /// How long it may leave its queue alone, or stay in one callback of its loop.
    pub hang_timeout: Option<Duration>,
}

/// A regular question to each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// From one question to the next.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// So many wrong or missing answers in a row, and the worker is replaced.
    pub failures: u32,
}

impl Health {
    /// Asks this, as often as is usual.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            failures: 3,
        }
    }
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// `GET PATH` over a connection to this very worker; 2xx and 3xx are well.
    Http(String),
    /// A program with its arguments, whose stdin and stdout are a connection to this very worker; exit code 0
    /// is well.
    Command(#[serde(with = "handover::words")] Vec<OsString>),
}

/// When a slot whose worker has ended gets its next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// After which ends.
    pub when: RestartWhen,
    /// Exit codes after which it never does, whatever else is said.
    pub stop_exit_codes: BTreeSet<i32>,
    /// At most so many restarts within this time, then the slot has failed.
    pub most: Option<(u32, Duration)>,
}

/// After which ends a slot gets its next worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// However it has ended.
    #[default]
    Always,
    /// If it was not by exit code 0.
    OnFailure,
    /// Not by itself: `restart` starts one.
    Never,
}
