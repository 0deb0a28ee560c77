//! What a proxy leads to: which backends there are, how each is doing, what each gets now. Decided in the primary, so
//! that all its workers see the same; told to them by the board of backends.

use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::backend_board::{BACKENDS, UNIT};
use crate::config::proxy::{Host, Plan, Planned, Target};
use crate::config::{AppConfig, Proxy};
use crate::error::{Error, Result};
use crate::primary::app::Means;
use crate::primary::listeners::Listeners;
use crate::primary::metrics::Waits;
use crate::protocol::{BackendChange, Done};
use crate::status::BackendStatus;
use crate::sys::bell::Bell;
use crate::sys::board;
use crate::sys::handover::{Kind, Luggage, Ticket};

/// Backends whose names have been resolved: nothing of them runs yet.
#[derive(Debug)]
pub struct Prepared {
    backends: Vec<Planned>,
}

impl Prepared {
    /// Resolves all names.
    ///
    /// # Errors
    /// One sentence: a name that has no address, a backend that is one of the `listeners`.
    pub fn new(proxy: &Proxy, _listeners: &Listeners) -> Result<Self> {
        let mut backends = Vec::new();
        for one in &proxy.to {
            let targets = match &one.host {
                Host::Address(address) => vec![Target::Tcp(*address)],
                Host::Unix(path) => vec![Target::Unix(path.clone())],
                Host::Name(name, port) => (name.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(|error| Error::io(format_args!("cannot resolve {name}"), &error))?
                    .map(Target::Tcp)
                    .collect(),
                Host::Srv(name) => return Err(Error::failed(format!("cannot resolve {name}"))),
            };
            for target in targets {
                backends.push(Planned {
                    at: backends.len(),
                    name: one.host.to_string(),
                    target,
                    weight: one.weight,
                    max: one.max,
                    backup: one.backup,
                });
            }
        }
        backends.truncate(BACKENDS);
        Ok(Self { backends })
    }

    /// Puts them on a board.
    ///
    /// # Errors
    /// Those of memfd_create(2), mmap(2) and eventfd(2).
    pub fn start(self, app: &AppConfig, means: &Means) -> io::Result<Backends> {
        let backends = Backends {
            board: Arc::new(board::Backends::fresh()?),
            bell: Bell::new()?,
            alarm: Bell::new()?,
        };
        let plan = Plan {
            proxy: app.proxy.clone().unwrap_or_default(),
            trusted_proxies: app.routing.trusted_proxies.clone(),
            peek_timeout_ms: u64::try_from(app.routing.peek_timeout.as_millis())
                .unwrap_or(u64::MAX),
            hash_key: means.hash_key,
            backends: self.backends,
        };
        for one in &plan.backends {
            let weight = u32::from(one.weight) * UNIT;
            backends.board.entries[one.at].weight.store(weight, Relaxed);
        }
        backends
            .board
            .publish(&serde_json::to_vec(&plan)?)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too many backends"))?;
        Ok(backends)
    }
}

/// The backends of one app.
#[derive(Debug)]
pub struct Backends {
    board: Arc<board::Backends>,
    bell: Bell,
    alarm: Bell,
}

/// For the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenBackends {
    board: Ticket,
    bell: Ticket,
    alarm: Ticket,
}

impl Backends {
    /// What a worker gets: the board, what is rung for it, what it rings.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn for_worker(&self) -> io::Result<[OwnedFd; 3]> {
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
        Ok([
            copy(self.board.as_fd())?,
            copy(self.bell.as_fd())?,
            copy(self.alarm.as_fd())?,
        ])
    }

    /// Does what `forkfront backend` asks for.
    ///
    /// # Errors
    /// A sentence.
    pub fn change(&self, change: &BackendChange) -> std::result::Result<Done, String> {
        Err(format!("{change:?} cannot be done yet"))
    }

    /// How they are.
    pub fn status(&self) -> Vec<BackendStatus> {
        self.tallies().into_iter().map(|(one, _)| one).collect()
    }

    /// How they are, and how long connects to each took.
    pub fn tallies(&self) -> Vec<(BackendStatus, Waits)> {
        Vec::new()
    }

    /// Sessions that wait for room at a backend.
    pub fn waiting(&self) -> u64 {
        self.board.waiting.load(Relaxed)
    }

    /// The worker `pid` is dead: its sessions count no more.
    pub fn strike(&self, pid: u32) {
        self.board.strike(pid);
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenBackends {
        FrozenBackends {
            board: luggage.lend(Kind::Memfd, self.board.as_fd()),
            bell: luggage.lend(Kind::Bell, self.bell.as_fd()),
            alarm: luggage.lend(Kind::Bell, self.alarm.as_fd()),
        }
    }

    /// As another image left them.
    ///
    /// # Errors
    /// `InvalidData` if something did not come along or is of another version.
    pub fn thaw(
        frozen: FrozenBackends,
        luggage: &mut Luggage<'_>,
        _means: &Means,
    ) -> io::Result<Self> {
        let board = board::Backends::open(luggage.take(frozen.board, Kind::Memfd)?)?;
        Ok(Self {
            board: Arc::new(board),
            bell: Bell::from(luggage.take(frozen.bell, Kind::Bell)?),
            alarm: Bell::from(luggage.take(frozen.alarm, Kind::Bell)?),
        })
    }
}
