//! Executes the policy on living worker processes: starts them, admits them, signals them.
//!
//! Every process is started from the main thread, here. Nothing decides here but the tables in `policy`. What
//! follows a death is in [`deaths`](super::deaths).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, info};
use mio::Interest;
use mio::unix::SourceFd;

use super::source::Source;
use super::stop::CENSUS;
use super::words::{self, in_words};
use super::{Supervisor, Timer};
use crate::config::{AppConfig, Balance};
use crate::policy::fleet::{Cause, Fleet};
use crate::policy::ids::{AppId, SlotId, WorkerId};
use crate::policy::lifecycle::{Action, Event, KILL_PATIENCE, Patience, State, Why};
use crate::policy::rollout;
use crate::primary::messages::Command;
use crate::primary::workers::Worker;
use crate::primary::workers::census::Census;
use crate::sys::board::Board;
use crate::sys::process::{self, Child};
use crate::sys::signals::Signal;

/// How long a start may take before its worker is looked at: what cannot be preloaded is named by then.
const DIAGNOSE_AFTER: Duration = Duration::from_millis(1500);

impl Supervisor {
    /// Starts a worker in each slot that is to have one now.
    pub(super) fn start_workers(&mut self) {
        let now = self.now();
        for app in self.apps.ids() {
            while let Some(slot) = self.apps[app].fleet.startable(now, self.permits()) {
                if let Err(error) = self.start_worker(app, slot) {
                    let command = words::command(&self.apps[app].config.command);
                    let why = format!("cannot start {command}: {error}");
                    let verdict = self.apps[app].fleet.start_failed(slot, now, random());
                    self.pronounce((app, slot), None, &why, verdict);
                }
            }
        }
        let fleets = self.apps.iter().map(|app| &app.fleet);
        let next = match self.permits() {
            0 => fleets.filter_map(|fleet| fleet.next_permit(now)).min(),
            _ => fleets.filter_map(Fleet::next_start).min(),
        };
        match next {
            Some(at) => self.deadlines.set(Timer::Start, at),
            None => self.deadlines.clear(Timer::Start),
        }
    }

    /// How many more starts may be under way: each takes a core for a while.
    fn permits(&self) -> usize {
        let now = self.now();
        let unready = self.apps.iter().map(|app| app.fleet.unready(now));
        self.means.cpus.saturating_sub(unready.sum())
    }

    fn start_worker(&mut self, app: AppId, slot: SlotId) -> io::Result<()> {
        let id = self.workers.next_id();
        let board = Arc::new(Board::create(slot.0, id.0)?);
        let release = self.apps[app].release_for(slot);
        let Child {
            pid,
            pidfd,
            stdout,
            stderr,
        } = self.launch(&release, slot, id).start()?;
        let watched = self.poll.registry().register(
            &mut SourceFd(&pidfd.as_raw_fd()),
            Source::Exit(id).token(),
            Interest::READABLE,
        );
        if let Err(error) = watched {
            // Nobody would ever hear of its end. Unknown to the workers, it is reaped as a stray.
            let _ = process::signal(pidfd.as_fd(), Signal::SIGKILL);
            return Err(error);
        }
        self.logs
            .attach(self.log_place(app, slot), pid, stdout, stderr);
        let now = self.now();
        let ready_by = now + self.apps[app].config.ready_timeout;
        let state = State::Starting { ready_by };
        let worker = Worker::new(id, (app, slot), (pid, pidfd), state, board, release);
        self.workers.insert(worker);
        self.apps[app].fleet.started(slot, id, now);
        self.deadlines.set(Timer::Worker(id), ready_by);
        self.deadlines
            .set(Timer::Diagnose(id), now + DIAGNOSE_AFTER);
        debug!("{}: started worker {pid}", self.place(app, slot));
        Ok(())
    }

    /// Something happened to a worker: the table says what comes of it.
    pub(super) fn happen(&mut self, id: WorkerId, event: Event) {
        let now = self.now();
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let before = worker.state;
        if matches!(before, State::Gone(_)) {
            // What is left of it is looked for by the same timer, which is not to be touched.
            return;
        }
        let app = worker.app;
        let patience = patience(&self.apps[app].config);
        let (state, actions) = before.after(event, now, patience);
        worker.state = state;
        match state.deadline() {
            Some(at) => self.deadlines.set(Timer::Worker(id), at),
            None => self.deadlines.clear(Timer::Worker(id)),
        }
        if !matches!(state, State::Starting { .. } | State::Ready) {
            worker.leaving_since.get_or_insert(now);
        }
        if is_draining(state) && !is_draining(before) {
            self.deadlines.set(Timer::Census(app), now + CENSUS);
        }
        let slot = worker.slot;
        for action in actions {
            match action {
                Action::Admit => self.became_ready(id),
                Action::Evict => self.evict(id),
                Action::Abort => self.signal(id, Signal::SIGABRT),
                Action::Terminate => self.signal(id, Signal::SIGTERM),
                Action::Kill => self.kill(id),
                Action::Unkillable => self.give_up_on(id),
            }
        }
        if before == State::Ready && !matches!(state, State::Ready | State::Gone(_)) {
            self.left_its_slot(id);
        }
        if is_draining(state) && !is_draining(before) {
            self.thin_out(app, slot);
        }
    }

    /// A worker that was ready was told to go. If it had just taken its slot over, the former one has that again;
    /// if it is of no use any more, a next one is started beside it.
    fn left_its_slot(&mut self, id: WorkerId) {
        let now = self.now();
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (app, slot, pid) = (worker.app, worker.slot, worker.pid);
        let fleet = &mut self.apps[app].fleet;
        if let Some(verdict) = fleet.leaves(slot, id, now, random()) {
            let why = format!("worker {pid} had to go soon after it was ready");
            self.pronounce((app, slot), Some(pid), &why, verdict);
        } else if worker.is_broken() {
            fleet.replace(slot, Cause::Limit, now);
        }
    }

    /// Hurries the oldest of a slot's former workers if too many finish their connections.
    fn thin_out(&mut self, id: AppId, slot: SlotId) {
        let app = &self.apps[id];
        if !app.phase.is_serving() {
            return;
        }
        let finishing = self.workers.of_app(id).filter_map(|worker| {
            let here = worker.slot == slot && is_draining(worker.state);
            let since = worker.leaving_since.filter(|_| here)?;
            Some((since, worker.id))
        });
        for worker in rollout::crowd(finishing, app.config.max_old) {
            self.happen(worker, Event::Hurry);
        }
    }

    fn evict(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.received = None;
        self.health.drains.note(&self.apps[worker.app].listeners);
        self.apps[worker.app].dispatcher.send(Command::Evict {
            worker: id,
            listener: None,
        });
    }

    fn became_ready(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (app, slot, pid) = (worker.app, worker.slot, worker.pid);
        self.health.drains.note(&self.apps[app].listeners);
        let took = in_words(worker.started.elapsed());
        self.deadlines.clear(Timer::Diagnose(id));
        let now = self.now();
        let fleet = &mut self.apps[app].fleet;
        let first = !fleet.is_proven();
        let not_needed = fleet.ready(slot, id, now);
        let settled = fleet.worker(slot) == Some(id) && !fleet.is_settling(slot);
        let settled = settled && !fleet.awaits(slot);
        self.watch_recovery();
        let place = self.place(app, slot);
        if self.is_starting() {
            // Of the first all together are told.
            debug!("{place}: worker {pid} is ready after {took}");
        } else {
            info!("{place}: worker {pid} is ready after {took}");
        }
        if first {
            self.announce(app);
        }
        if let Some(not_needed) = not_needed {
            self.happen(not_needed, Event::Drain(Why::Replaced));
        }
        if settled {
            self.operation_succeeds_at(app, slot);
        }
        self.settle();
    }

    /// To the first process alone: a wrapper passes it on, and a server that heard it twice might take the
    /// second for an order to hurry.
    fn signal(&self, id: WorkerId, signal: Signal) {
        if let Some(worker) = self.workers.get(id)
            && let Err(error) = process::signal(worker.pidfd(), signal)
        {
            debug!("worker {}: {signal}: {error}", worker.pid);
        }
    }

    /// To everything in the worker's session.
    fn kill(&mut self, id: WorkerId) {
        self.signal(id, Signal::SIGKILL);
        let census = self.census();
        if let Some(worker) = self.workers.get(id) {
            census.signal(worker, Signal::SIGKILL);
        }
    }

    /// What lives of all workers, looked up once in a turn of the loop. Whoever died before this turn is not in
    /// it, and a worker that died and has nothing in it can have nothing later.
    pub(super) fn census(&mut self) -> Rc<Census> {
        let census = self.census.take();
        let census = census.unwrap_or_else(|| Rc::new(self.workers.census()));
        self.census = Some(census.clone());
        census
    }

    /// Workers that took a slot over may have shown by now that they live: the former ones go.
    pub(super) fn settle(&mut self) {
        let now = self.now();
        for app in self.apps.ids() {
            while let Some((slot, former)) = self.apps[app].fleet.settled(now) {
                if let Some(former) = former {
                    self.happen(former, Event::Drain(Why::Replaced));
                }
                if !self.apps[app].fleet.awaits(slot) {
                    self.operation_succeeds_at(app, slot);
                }
            }
        }
        let next = self.apps.iter().filter_map(|app| app.fleet.next_settling());
        match next.min() {
            Some(at) => self.deadlines.set(Timer::Settle, at),
            None => self.deadlines.clear(Timer::Settle),
        }
    }

    /// A slot whose crash loop was reported may be well again.
    pub(super) fn watch_recovery(&mut self) {
        let now = self.now();
        for app in self.apps.ids() {
            while let Some(slot) = self.apps[app].fleet.recovered(now) {
                info!("{}: is well again", self.place(app, slot));
            }
        }
        let next = self.apps.iter().filter_map(|app| app.fleet.next_recovery());
        match next.min() {
            Some(at) => self.deadlines.set(Timer::Recovery, at),
            None => self.deadlines.clear(Timer::Recovery),
        }
    }
}

/// The times that a worker is granted.
fn patience(config: &AppConfig) -> Patience {
    Patience {
        // Workers that share the kernel's queue take what comes until a signal tells them not to.
        drain: match config.routing.balance {
            Balance::Kernel => Duration::ZERO,
            _ => config.drain_timeout,
        },
        grace: config.grace,
        kill: KILL_PATIENCE,
    }
}

fn is_draining(state: State) -> bool {
    matches!(state, State::Draining { .. })
}

/// Spreads waits; nothing depends on its quality.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}
