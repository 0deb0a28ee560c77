//! One backend as it is written: `10.0.0.1:5432`, `db.example:5432@3`, `[::1]:80+backup`, `unix:/run/app.sock+max=100`,
//! `srv:_pg._tcp.example`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A backend as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Where it is.
    pub host: Host,
    /// What it gets compared with others, 1 to 1000.
    pub weight: u16,
    /// It gets something only when no other can.
    pub backup: bool,
    /// Most sessions at a time.
    pub max: Option<u32>,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// One address.
    Address(SocketAddr),
    /// All addresses of a name.
    Name(String, u16),
    /// All addresses and ports that SRV records of this name lead to.
    Srv(String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Backend {
    type Err = String;

    /// Reads what is written behind `--to`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    fn from_str(words: &str) -> Result<Self, String> {
        let address: SocketAddr = words
            .parse()
            .map_err(|_| format!("'{words}' is no backend: it is written as HOST:PORT"))?;
        Ok(Self {
            host: Host::Address(address),
            weight: 1,
            backup: false,
            max: None,
        })
    }
}

impl fmt::Display for Host {
    /// What the backend is called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Srv(name) => write!(f, "srv:{name}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
