//! What a proxy leads to: which backends there are, how each is doing, what each gets now. Decided in the primary, so
//! that all its workers see the same; told to them by the board of backends.
//!
//! [`keeper`] holds the table of [`policy::backends`](crate::policy::backends) and brings the board up to date,
//! [`watch`] is the thread that checks ([`check`]) and hears the workers' alarm, [`report`] is what `status` shows. This
//! file is what the supervisor holds; nothing in it waits.

use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use log::warn;
use serde::{Deserialize, Serialize};

use crate::config::proxy::{Host, Plan};
use crate::config::{AppConfig, Proxy};
use crate::error::{Error, Result};
use crate::policy::backends::Table;
use crate::policy::backends::list::Lead;
use crate::primary::app::Means;
use crate::primary::listeners::Listeners;
use crate::primary::metrics::Waits;
use crate::status::BackendStatus;
use crate::sys::bell::Bell;
use crate::sys::board;
use crate::sys::handover::{Kind, Luggage, Ticket};

mod change;
mod check;
mod keeper;
mod report;
pub mod resolve;
mod watch;

use keeper::{Keeper, State};
use watch::Watch;

pub use change::{Begun, Progress, Waiting};
pub use watch::DESCRIPTORS;

/// Backends whose names have been resolved: nothing of them runs yet.
#[derive(Debug)]
pub struct Prepared {
    table: Table,
}

impl Prepared {
    /// Resolves all names.
    ///
    /// # Errors
    /// One sentence: a name that has no address, a backend that is one of the `listeners`.
    pub fn new(proxy: &Proxy, _listeners: &Listeners) -> Result<Self> {
        let now = keeper::now();
        let mut table = Table::default();
        table.settle(proxy, now);
        for one in &proxy.to {
            let targets = match &one.host {
                Host::Address(_) | Host::Unix(_) => continue,
                Host::Name(name, port) => (name.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(|error| Error::io(format_args!("cannot resolve {name}"), &error))?
                    .map(crate::config::proxy::Target::Tcp),
                Host::Srv(name) => return Err(Error::failed(format!("cannot resolve {name}"))),
            };
            let lead = |target| Lead {
                target,
                weight: one.weight,
                backup: one.backup,
            };
            table.resolved(&one.host, Ok(targets.map(lead).collect()), now);
        }
        table.begin();
        Ok(Self { table })
    }

    /// Puts them on a board, and begins to look after them.
    ///
    /// # Errors
    /// Those of memfd_create(2), mmap(2), eventfd(2), epoll_create(2) and of starting a thread.
    pub fn start(self, app: &AppConfig, means: &Means) -> io::Result<Backends> {
        let parts = (board::Backends::fresh()?, Bell::new()?, Bell::new()?);
        let state = State::new(self.table, keeper::plan_of(app, means.hash_key));
        let mut backends = Backends::new(app.name.clone(), Keeper::new(&app.name, parts, state));
        backends.go_on()?;
        Ok(backends)
    }
}

/// The backends of one app.
#[derive(Debug)]
pub struct Backends {
    app: String,
    keeper: Arc<Keeper>,
    watch: Option<Watch>,
}

/// For the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenBackends {
    board: Ticket,
    bell: Ticket,
    alarm: Ticket,
    #[serde(default)]
    app: String,
    #[serde(default)]
    table: Table,
    #[serde(default)]
    plan: Plan,
}

impl Backends {
    fn new(app: String, keeper: Keeper) -> Self {
        Self {
            app,
            keeper: Arc::new(keeper),
            watch: None,
        }
    }

    /// What a worker gets: the board, what is rung for it, what it rings.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn for_worker(&self) -> io::Result<[OwnedFd; 3]> {
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
        Ok([
            copy(self.keeper.board.as_fd())?,
            copy(self.keeper.bell.as_fd())?,
            copy(self.keeper.alarm.as_fd())?,
        ])
    }

    /// How they are.
    pub fn status(&self) -> Vec<BackendStatus> {
        self.tallies().into_iter().map(|(one, _)| one).collect()
    }

    /// How they are, and how long connects to each took.
    pub fn tallies(&self) -> Vec<(BackendStatus, Waits)> {
        let state = self.keeper.state();
        let entries = &self.keeper.board.entries;
        report::tallies(&self.app, &state.table, entries, keeper::now())
    }

    /// Sessions that wait for room at a backend.
    pub fn waiting(&self) -> u64 {
        self.keeper.board.waiting.load(Relaxed)
    }

    /// The configuration was read again. Backends that stay keep all that is known of them; what people have changed
    /// since the last time counts no more. Names that are new have no address until they are resolved.
    pub fn settle(&self, app: &AppConfig) {
        let Some(proxy) = &app.proxy else {
            return;
        };
        self.keeper.turn(|state, now| {
            let plan = keeper::plan_of(app, state.plan.hash_key);
            if plan != state.plan {
                state.plan = plan;
                state.table.replan();
            }
            state.table.settle(proxy, now);
        });
        self.keeper.nudge();
        self.follow();
    }

    /// The worker `pid` is dead: its sessions count no more.
    pub fn strike(&self, pid: u32) {
        self.keeper.board.strike(pid);
        self.keeper.nudge();
    }

    /// Looks after them: nothing is decided before.
    ///
    /// # Errors
    /// Those of epoll_create(2) and of starting a thread.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.keeper.state().still = false;
        self.keeper.turn(|_, _| ());
        if self.watch.is_none() {
            self.watch = Some(Watch::start(Arc::clone(&self.keeper))?);
        }
        Ok(())
    }

    /// Nothing is decided any more until [`go_on`](Self::go_on).
    pub fn stand_still(&mut self) {
        self.keeper.state().still = true;
        self.watch = None;
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenBackends {
        let state = self.keeper.state();
        FrozenBackends {
            board: luggage.lend(Kind::Memfd, self.keeper.board.as_fd()),
            bell: luggage.lend(Kind::Bell, self.keeper.bell.as_fd()),
            alarm: luggage.lend(Kind::Bell, self.keeper.alarm.as_fd()),
            app: self.app.clone(),
            table: state.table.clone(),
            plan: state.plan.clone(),
        }
    }

    /// As another image left them; nobody looks after them yet.
    ///
    /// # Errors
    /// `InvalidData` if something did not come along; those of mmap(2).
    pub fn thaw(
        frozen: FrozenBackends,
        luggage: &mut Luggage<'_>,
        _means: &Means,
    ) -> io::Result<Self> {
        let FrozenBackends { app, plan, .. } = frozen;
        let mut table = frozen.table;
        let board = luggage.take(frozen.board, Kind::Memfd)?;
        let bell = Bell::from(luggage.take(frozen.bell, Kind::Bell)?);
        let alarm = Bell::from(luggage.take(frozen.alarm, Kind::Bell)?);
        let board = match board::Backends::open(board) {
            Ok(board) => board,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                warn!(
                    "the workers of {app} share their board of backends in the way of another version: \
                     they see no change any more; forkfront reload gives them another"
                );
                table.forget_counts();
                board::Backends::fresh()?
            }
            Err(error) => return Err(error),
        };
        table.replan();
        let state = State::new(table, plan);
        Ok(Self::new(
            app.clone(),
            Keeper::new(&app, (board, bell, alarm), state),
        ))
    }
}
