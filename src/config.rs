//! What one primary is to do, as plain values: what the command line (and one day the file) is turned into.
//! Nothing here opens, resolves or starts anything.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod duration;
mod listen;
mod sticky;

pub use duration::{duration, positive_duration};
pub use listen::{Listen, ListenAt, UNIX_PATH_MAX};
pub use sticky::Sticky;

/// The most workers one primary runs.
pub const MAX_WORKERS: usize = 1024;

/// Age at which a queue that does not move is dealt again.
pub const STEAL_AFTER: Duration = Duration::from_millis(100);

/// The same with `--sticky`: moving a client away from its slot costs it its session, so it waits longer.
pub const STEAL_AFTER_STICKY: Duration = Duration::from_millis(500);

/// All a primary needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners that the user named. Empty: the server's own `bind` makes them.
    pub listen: Vec<Listen>,
    /// Number of slots, 1..=[`MAX_WORKERS`].
    pub workers: usize,
    /// Who gets the next connection.
    pub balance: Balance,
    /// The consistent hash in front of it.
    pub sticky: Option<Sticky>,
    /// Name of this primary; default: its first port.
    pub name: Option<String>,
    /// Path of the control socket; default: NAME.sock in the run directory.
    pub control: Option<PathBuf>,
    /// Listen backlog; default: what the server asks for, or the system's maximum.
    pub backlog: Option<i32>,
    /// Most connections held in the primary while no worker can take them.
    pub max_held: usize,
    /// How long a worker may take from its start to its `listen`.
    pub ready_timeout: Duration,
    /// Age at which a queue that does not move is read back and dealt again.
    pub steal_after: Duration,
    /// How long a stop waits for open connections to end before it signals the workers.
    pub drain_timeout: Duration,
    /// How long a worker has from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// What the kernel sends to a worker whose primary has died.
    pub orphans: Orphans,
    /// Environment added for the workers.
    pub env: Vec<(OsString, OsString)>,
    /// The workers' working directory.
    pub cwd: Option<PathBuf>,
    /// User and group of the workers.
    pub identity: Option<Identity>,
    /// How much is said on stderr; the environment variable `FORKFRONT_LOG` can say otherwise.
    pub log_level: log::LevelFilter,
    /// What to try first, said when the first worker is ready.
    pub invitation: Option<String>,
    /// The server: program and arguments.
    pub command: Vec<OsString>,
}

impl Config {
    /// What `forkfront run -- COMMAND` means when nothing else is said, with one worker.
    pub fn new(command: Vec<OsString>) -> Self {
        Self {
            listen: Vec::new(),
            workers: 1,
            balance: Balance::default(),
            sticky: None,
            name: None,
            control: None,
            backlog: None,
            max_held: 1024,
            ready_timeout: Duration::from_secs(30),
            steal_after: STEAL_AFTER,
            drain_timeout: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            orphans: Orphans::default(),
            env: Vec::new(),
            cwd: None,
            identity: None,
            log_level: log::LevelFilter::Info,
            invitation: None,
            command,
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

/// What happens to workers whose primary dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Orphans {
    /// SIGTERM: finish and go.
    #[default]
    Drain,
    /// SIGKILL.
    Kill,
}

/// Who the workers run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Real and effective user id.
    pub uid: u32,
    /// Real and effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// User name, for `USER` and `LOGNAME`.
    pub user: Option<String>,
    /// Home directory of that user, for `HOME`.
    pub home: Option<PathBuf>,
}
