//! What the primary tells its proxy workers, as JSON on the board of backends: which backends there are now, by
//! address, and how sessions are to be treated.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Proxy;
use crate::config::Networks;

/// What holds for all proxy workers of one app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// How sessions are treated. Its `to` is not looked at: the backends are those below.
    pub proxy: Proxy,
    /// Whose forwarding headers are believed (`--sticky header:x-forwarded-for`), and how long the first bytes that
    /// a key is in are waited for, ms.
    pub trusted_proxies: Networks,
    /// See above.
    pub peek_timeout_ms: u64,
    /// Secret of the sticky hash, the same for all workers and over restarts of them.
    pub hash_key: (u64, u64),
    /// The backends, in the order in which they were given.
    pub backends: Vec<Planned>,
}

/// One backend with one address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Planned {
    /// Its place among the entries of the board, for as long as it is there.
    pub at: usize,
    /// What it is called: as it was written, without weight and the like.
    pub name: String,
    /// Where it is. What a sticky hash knows it by.
    pub target: Target,
    /// Its weight, 1 at least. What it gets now is on the board.
    pub weight: u16,
    /// Most sessions at a time, over all workers.
    pub max: Option<u32>,
    /// It gets something only when no other can.
    pub backup: bool,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Default for Target {
    /// Nowhere.
    fn default() -> Self {
        Self::Unix(PathBuf::new())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
