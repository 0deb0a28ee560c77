//! The workers for the next image: to it they are children as before, since it is the same process.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::binding::{Binding, FrozenBinding};
use super::{Worker, Workers};
use crate::policy::deadlines::Moment;
use crate::policy::ids::{AppId, SlotId, WorkerId};
use crate::policy::lifecycle::State;
use crate::primary::app::release::Release;
use crate::sys::board::Board;
use crate::sys::handover::{Kind, Luggage, Ticket};
use crate::sys::process::Exit;

/// As [`Workers`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenWorkers {
    workers: Vec<FrozenWorker>,
    started: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FrozenWorker {
    id: WorkerId,
    app: AppId,
    slot: SlotId,
    pid: u32,
    pidfd: Ticket,
    state: State,
    /// Its place in the list of releases.
    release: usize,
    /// Time since its start.
    age: Duration,
    board: Ticket,
    bindings: Vec<FrozenBinding>,
    joined: bool,
    refused: Option<String>,
    native: bool,
    received: Option<u64>,
    leaving_since: Option<Moment>,
    exit: Option<Exit>,
    mourned_until: Moment,
    abandoned: bool,
}

impl Workers {
    /// What the next image needs; `place` tells where a release is in the list of them.
    pub fn freeze<'a>(
        &'a self,
        luggage: &mut Luggage<'a>,
        mut place: impl FnMut(&Rc<Release>) -> usize,
    ) -> FrozenWorkers {
        let Self { known, started } = self;
        let mut workers = Vec::with_capacity(known.len());
        for worker in known.values() {
            workers.push(worker.freeze(luggage, place(&worker.release)));
        }
        FrozenWorkers {
            workers,
            started: *started,
        }
    }

    /// As another image left them.
    ///
    /// # Errors
    /// `InvalidData` if something did not come along; those of mmap(2).
    pub fn thaw(
        frozen: FrozenWorkers,
        luggage: &mut Luggage<'_>,
        releases: &[Rc<Release>],
    ) -> io::Result<Self> {
        let mut workers = Self {
            started: frozen.started,
            ..Self::default()
        };
        for worker in frozen.workers {
            workers.insert(Worker::thaw(worker, luggage, releases)?);
        }
        Ok(workers)
    }
}

impl Worker {
    fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>, release: usize) -> FrozenWorker {
        // Named one by one, so that a new one is not forgotten.
        let Self {
            id,
            app,
            slot,
            pid,
            state,
            release: _,
            started,
            board,
            bindings,
            joined,
            refused,
            native,
            received,
            leaving_since,
            exit,
            mourned_until,
            mourning_step: _,
            abandoned,
            pidfd,
        } = self;
        FrozenWorker {
            id: *id,
            app: *app,
            slot: *slot,
            pid: *pid,
            pidfd: luggage.lend(Kind::Pidfd, pidfd.as_fd()),
            state: *state,
            release,
            age: started.elapsed(),
            board: luggage.lend(Kind::Memfd, board.as_fd()),
            bindings: bindings.iter().map(|one| one.freeze(luggage)).collect(),
            joined: *joined,
            refused: refused.clone(),
            native: *native,
            received: *received,
            leaving_since: *leaving_since,
            exit: *exit,
            mourned_until: *mourned_until,
            abandoned: *abandoned,
        }
    }

    fn thaw(
        frozen: FrozenWorker,
        luggage: &mut Luggage<'_>,
        releases: &[Rc<Release>],
    ) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "a worker of no release");
        let release = releases.get(frozen.release).ok_or_else(unknown)?;
        let bindings = frozen.bindings.into_iter();
        let now = Instant::now();
        Ok(Self {
            id: frozen.id,
            app: frozen.app,
            slot: frozen.slot,
            pid: frozen.pid,
            state: frozen.state,
            release: Rc::clone(release),
            started: now.checked_sub(frozen.age).unwrap_or(now),
            board: Arc::new(Board::open(luggage.take(frozen.board, Kind::Memfd)?)?),
            bindings: bindings
                .map(|one| Binding::thaw(one, luggage))
                .collect::<io::Result<_>>()?,
            joined: frozen.joined,
            refused: frozen.refused,
            native: frozen.native,
            received: frozen.received,
            leaving_since: frozen.leaving_since,
            exit: frozen.exit,
            mourned_until: frozen.mourned_until,
            mourning_step: Duration::ZERO,
            abandoned: frozen.abandoned,
            pidfd: luggage.take(frozen.pidfd, Kind::Pidfd)?,
        })
    }
}
