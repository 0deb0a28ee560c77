//! What one primary is to do, as plain values: what the command line (and one day the file) is turned into.
//! Nothing here opens, resolves or starts anything.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most workers one primary runs.
pub const MAX_WORKERS: usize = 1024;

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
    /// The server: program and arguments.
    pub command: Vec<OsString>,
}

/// One `-l`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where clients connect.
    pub at: ListenAt,
    /// The port that the server itself binds, where it differs.
    pub app_port: Option<u16>,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// All addresses, both families.
    AnyAddress(u16),
    /// One address (or one family's wildcard).
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// The port whose `bind` by the server is answered with this listener; `None`: its first fixed port.
    pub fn shared_port(&self) -> Option<u16> {
        self.app_port.or(match &self.at {
            ListenAt::AnyAddress(port) => Some(*port),
            ListenAt::Tcp(address) => Some(address.port()),
            ListenAt::Unix(_) => None,
        })
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

/// What makes two connections belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// The client's address, cut to a prefix of so many bits (32 and 128: whole).
    Ip {
        /// Prefix of an IPv4 client (and of an IPv4-mapped one).
        v4: u8,
        /// Prefix of an IPv6 client.
        v6: u8,
    },
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
    /// User name, for the supplementary groups and `USER`/`LOGNAME`/`HOME`.
    pub user: Option<String>,
    /// Home directory of that user.
    pub home: Option<PathBuf>,
}
