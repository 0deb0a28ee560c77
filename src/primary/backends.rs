//! What a proxy leads to: which backends there are, how each is doing, what each gets now. Decided in the primary, so
//! that all its workers see the same; told to them by the board of backends.
//!
//! `keeper` holds the table of [`policy::backends`](crate::policy::backends) and brings the board up to date,
//! `watch` is the thread that checks (`check`) and hears the workers' alarm, `report` is what `status` shows. This
//! file is what the supervisor holds; nothing in it waits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use log::warn;
use serde::{Deserialize, Serialize};

use crate::backend_board::TurnedAway;
use crate::config::proxy::{Backend, Host, Plan, Target};
use crate::config::{AppConfig, Proxy};
use crate::error::{Error, Result};
use crate::policy::backends::Table;
use crate::policy::backends::item::Item;
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
#[cfg(test)]
mod tests;
mod watch;

use keeper::{Keeper, State};
use resolve::{Own, Resolver, resolve_all};
use watch::Watch;

pub use change::{Begun, Progress, Waiting};
pub use watch::DESCRIPTORS;

/// Backends that could be: nothing of them runs yet.
#[derive(Debug)]
pub struct Prepared {
    table: Table,
    own: Own,
}

impl Prepared {
    /// Those of `proxy`. A name has no address until it is resolved, here or while all runs.
    ///
    /// # Errors
    /// One sentence: a backend that is one of the `listeners`.
    pub fn new(proxy: &Proxy, listeners: &Listeners) -> Result<Self> {
        let own = Own::of(listeners);
        let mut table = Table::default();
        table.settle(proxy, keeper::now());
        let targets = proxy.to.iter().filter_map(|one| one.host.target());
        match targets.filter_map(|one| own.refusal(&one)).next() {
            Some(why) => Err(Error::failed(why)),
            None => Ok(Self { table, own }),
        }
    }

    /// Resolves all names now. Blocks for as long as name servers take.
    ///
    /// # Errors
    /// One sentence: a name that has no address.
    pub fn resolve(&mut self) -> Result<()> {
        let names = self.table.items().iter().filter(|item| item.is_name());
        let names: Vec<Backend> = names.map(|item| item.backend.clone()).collect();
        for (one, found) in names.iter().zip(resolve_all(&names)) {
            let found = found.and_then(|found| self.own.strip(&one.host, found));
            let found = found.map_err(Error::failed)?;
            self.table.resolved(&one.host, Ok(found), keeper::now());
        }
        Ok(())
    }

    /// Puts them on a board, and begins to look after them.
    ///
    /// # Errors
    /// Those of memfd_create(2), mmap(2), eventfd(2), epoll_create(2) and of starting a thread.
    pub fn start(mut self, app: &AppConfig, means: &Means) -> io::Result<Backends> {
        self.table.begin();
        let parts = (board::Backends::fresh()?, Bell::new()?, Bell::new()?);
        let state = State::new(self.table, keeper::plan_of(app, means.hash_key));
        let mut backends = Backends::new(app.name.clone(), Keeper::new(&app.name, parts, state));
        backends.go_on(self.own)?;
        Ok(backends)
    }
}

/// The backends of one app.
#[derive(Debug)]
pub struct Backends {
    app: String,
    keeper: Arc<Keeper>,
    watch: Option<Watch>,
    /// Asks for the addresses of names, if there are names.
    resolver: Option<Resolver>,
    /// Where the app listens.
    own: Own,
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
            resolver: None,
            own: Own::default(),
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
    pub fn status(&self, app: &str) -> Vec<BackendStatus> {
        self.tallies(app).into_iter().map(|(one, _)| one).collect()
    }

    /// How they are, and how long connects to each took.
    pub fn tallies(&self, app: &str) -> Vec<(BackendStatus, Waits)> {
        let state = self.keeper.state();
        let entries = &self.keeper.board.entries;
        report::tallies(app, &state.table, entries, keeper::now())
    }

    /// Sessions that wait for room at a backend.
    pub fn waiting(&self) -> u64 {
        self.keeper.board.waiting.load(Relaxed)
    }

    /// Clients that no backend served for this reason.
    pub fn turned_away(&self, why: TurnedAway) -> u64 {
        self.keeper.board.turned_away[why as usize].load(Relaxed)
    }

    /// Connects to them that found no port of ours free.
    pub fn without_port(&self) -> u64 {
        self.keeper.board.without_port.load(Relaxed)
    }

    /// The configuration was read again. With another `list` of backends, those that stay keep all that is known of
    /// them, and names that are new have no address until they are resolved; else they are as they are, with what
    /// people have changed since.
    pub fn settle(&mut self, app: &AppConfig, list: bool) {
        let Some(proxy) = &app.proxy else {
            return;
        };
        self.app.clone_from(&app.name);
        self.keeper.turn(|state, now| {
            state.label = keeper::label(&app.name);
            let plan = keeper::plan_of(app, state.plan.hash_key);
            if plan != state.plan {
                state.plan = plan;
                state.table.replan();
            }
            if list {
                state.table.settle(proxy, now);
            } else {
                state.table.govern(proxy, now);
            }
        });
        self.keeper.nudge();
        self.follow();
    }

    /// The backends that are addresses.
    pub fn leads(&self) -> Vec<Target> {
        let state = self.keeper.state();
        let hosts = state.table.items().iter().map(|item| &item.backend.host);
        hosts.filter_map(Host::target).collect()
    }

    /// The app listens there now, or others that lead to it do: what was added by hand and is such a place is taken
    /// out. The file was looked at before.
    pub fn stay_out_of(&mut self, own: Own) {
        if own == self.own {
            return;
        }
        self.own = own;
        let (label, leads) = {
            let state = self.keeper.state();
            (state.label.clone(), state.table.added())
        };
        // Asks the file system, which may take its time.
        let refused = leads.into_iter();
        let refused = refused.filter_map(|one| Some((self.own.refusal(&one)?, one)));
        let refused: Vec<(String, Target)> = refused.collect();
        for (why, _) in &refused {
            warn!("{label}a backend that was added is taken out: {why}");
        }
        if !refused.is_empty() {
            let is = |target: &Target| refused.iter().any(|(_, one)| one == target);
            self.keeper
                .turn(|state, now| state.table.leave_out(is, now));
            self.keeper.nudge();
        }
        self.follow();
    }

    /// Tells the resolver which names there are.
    fn follow(&mut self) {
        let (names, awaited, every, still) = {
            let state = self.keeper.state();
            let names = state.table.items().iter().filter(|item| item.is_name());
            let added = names.clone().filter(|item| item.by_hand);
            let awaited = added.filter(|item| item.leads.is_empty() && item.trouble.is_none());
            let written = |item: &Item| item.backend.clone();
            let (names, awaited) = (names.map(written).collect(), awaited.map(written).collect());
            (names, awaited, state.plan.proxy.resolve_every, state.still)
        };
        let names: Vec<Backend> = names;
        if still || names.is_empty() && self.resolver.is_none() {
            return;
        }
        if self.resolver.is_none() {
            let keeper = Arc::clone(&self.keeper);
            match Resolver::start(move |answer| keeper.resolved(answer)) {
                Ok(resolver) => self.resolver = Some(resolver),
                Err(error) => return warn!("names of backends stay as they are: {error}"),
            }
        }
        if let Some(resolver) = &self.resolver {
            resolver.ask(names, awaited, every, self.own.clone());
        }
    }

    /// The worker `pid` is dead: its sessions count no more.
    pub fn strike(&self, pid: u32) {
        self.keeper.board.strike(pid);
        self.keeper.nudge();
    }

    /// Looks after them: nothing is decided before. `own` is where the app listens.
    ///
    /// # Errors
    /// Those of epoll_create(2) and of starting a thread.
    pub fn go_on(&mut self, own: Own) -> io::Result<()> {
        self.own = own;
        self.keeper.state().still = false;
        self.keeper.turn(|_, _| ());
        if self.watch.is_none() {
            self.watch = Some(Watch::start(Arc::clone(&self.keeper))?);
        }
        self.follow();
        Ok(())
    }

    /// Nothing is decided any more until [`go_on`](Self::go_on).
    pub fn stand_still(&mut self) {
        self.keeper.state().still = true;
        (self.watch, self.resolver) = (None, None);
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
    pub fn thaw(frozen: FrozenBackends, luggage: &mut Luggage<'_>) -> io::Result<Self> {
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
