//! What one primary is to do, as plain values: what the command line and the file are turned into, each word
//! read by the same function for both. Nothing here starts anything or listens; [`identity`] asks the user
//! database, and a number of workers may be that of the processors.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys::handover;

mod app;
mod bound;
pub mod changes;
mod count;
mod duration;
mod environment;
pub mod file;
pub mod identity;
mod limits;
mod listen;
mod logs;
mod metrics;
mod misfits;
mod networks;
mod probe;
pub mod proxy;
mod restarts;
mod routing;
mod size;
pub mod speed;
mod sticky;

pub use app::{AppConfig, ONLY};
pub use bound::Bound;
pub use count::{
    backlog, health_failures, log_keep, log_level, max_connections, max_held, max_old, max_peeked,
    name, reload_parallel, workers,
};
pub use duration::{duration, positive_duration};
pub use environment::{assignment, variable};
pub use file::nearest;
pub use identity::Identity;
pub use limits::{Health, Limits, Probe, Restart, RestartWhen};
pub use listen::{Listen, ListenAt, UNIX_PATH_MAX};
pub use logs::{LOG_KEEP, LogFile, LogFormat, LogTime, Logs, log_file};
pub use metrics::{metrics, metrics_misfit};
pub use misfits::{Misfit, Spelling};
pub use networks::Networks;
pub use proxy::Proxy;
pub use restarts::{exit_codes, max_restarts};
pub use routing::{Routing, StickyDown};
pub use size::size;
pub use speed::{Speed, defer_accept, gather_max};
pub use sticky::{Prefixes, Sticky};

/// The most workers one primary runs.
pub const MAX_WORKERS: usize = 1024;

/// What a slot weighs that was given no other weight.
pub const WEIGHT: u16 = 100;

/// The most a slot weighs; the least is 1.
pub const MAX_WEIGHT: u16 = 1000;

/// Age at which a queue that does not move is dealt again.
pub const STEAL_AFTER: Duration = Duration::from_millis(100);

/// The same where anything is sticky: moving a client away from its slot costs it its session, so it waits longer.
pub const STEAL_AFTER_STICKY: Duration = Duration::from_millis(500);

/// All a primary needs to know to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Name of this primary; default: its first port.
    pub name: Option<String>,
    /// Path of the control socket; default: NAME.sock in the run directory.
    #[serde(with = "handover::path_if_any", default)]
    pub control: Option<PathBuf>,
    /// Where the state can be read over HTTP.
    #[serde(default)]
    pub metrics: Option<ListenAt>,
    /// How much is said on stderr; the environment variable `FORKFRONT_LOG` can say otherwise.
    pub log_level: log::LevelFilter,
    /// How the log looks and where it goes.
    #[serde(default)]
    pub logs: Logs,
    /// What to try first, said when the first worker is ready.
    pub invitation: Option<String>,
    /// The file that this was read from: a reload reads it again.
    pub file: Option<file::Origin>,
    /// What is run; at least one, no two of one name.
    pub apps: Vec<AppConfig>,
}

impl Config {
    /// A primary that runs this app and says what is usual.
    pub fn new(app: AppConfig) -> Self {
        Self {
            name: None,
            control: None,
            metrics: None,
            log_level: log::LevelFilter::Info,
            logs: Logs::default(),
            invitation: None,
            file: None,
            apps: vec![app],
        }
    }
}

/// Who gets the next connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// In turn; a busy slot loses its turn.
    #[default]
    RoundRobin,
    /// Fewest open connections; ties in turn.
    LeastConnections,
    /// A slot that sleeps right now, else the shortest queue; for servers that block.
    Idle,
    /// Workers share the listening socket and the kernel wakes one.
    Kernel,
}

impl fmt::Display for Balance {
    /// As it is written behind `--balance`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::Idle => "idle",
            Self::Kernel => "kernel",
        })
    }
}

/// What happens to workers whose primary dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Orphans {
    /// SIGTERM: finish and go.
    #[default]
    Drain,
    /// SIGKILL.
    Kill,
}
