//! Executes the policy on worker processes: starts them, signals them, notes their ends and buries them.
//!
//! Every process is started from the main thread, here. Nothing decides here but the tables in `policy`.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, error, info, warn};
use mio::Interest;
use mio::unix::SourceFd;

use super::source::Source;
use super::stop::CENSUS;
use super::words::{self, in_words};
use super::{Supervisor, Timer};
use crate::config::Balance;
use crate::error::Error;
use crate::policy::deadlines::Moment;
use crate::policy::fleet::{CRASH_LOOP, Verdict};
use crate::policy::ids::{SlotId, WorkerId};
use crate::policy::lifecycle::{Action, End, Event, KILL_PATIENCE, Patience, State, Why};
use crate::primary::messages::Command;
use crate::primary::workers::Worker;
use crate::primary::workers::census::Census;
use crate::sys::board::Board;
use crate::sys::process::{self, Child, Exit};
use crate::sys::signals::Signal;

/// How long a start may take before its worker is looked at: what cannot be preloaded is named by then.
const DIAGNOSE_AFTER: Duration = Duration::from_millis(1500);

/// How often what is left of a dead worker is looked for.
const MOURNING_STEP: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Starts a worker in each slot that is to have one now.
    pub(super) fn start_workers(&mut self) {
        while let Some(slot) = self.fleet.startable(self.now()) {
            if let Err(error) = self.start_worker(slot) {
                let verdict = self.fleet.start_failed(slot, self.now(), random());
                let why = format!("cannot start {}: {error}", self.command_name());
                self.last_words.insert(slot, why.clone());
                self.pronounce(slot, &why, verdict);
            }
        }
        match self.fleet.next_start() {
            Some(at) => self.deadlines.set(Timer::Start, at),
            None => self.deadlines.clear(Timer::Start),
        }
    }

    fn start_worker(&mut self, slot: SlotId) -> io::Result<()> {
        let id = self.workers.next_id();
        let board = Arc::new(Board::create(slot.0, id.0)?);
        let Child {
            pid,
            pidfd,
            stdout,
            stderr,
        } = self.launch(slot, id).start()?;
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
        self.logs.attach(slot.0, pid, stdout, stderr);
        let ready_by = self.now() + self.app.ready_timeout;
        let state = State::Starting { ready_by };
        let worker = Worker::new(id, slot, (pid, pidfd), state, board);
        self.workers.insert(worker);
        self.fleet.started(slot, id);
        self.deadlines.set(Timer::Worker(id), ready_by);
        let diagnose_at = self.now() + DIAGNOSE_AFTER;
        self.deadlines.set(Timer::Diagnose(id), diagnose_at);
        debug!("slot {slot}: started worker {pid}");
        Ok(())
    }

    /// Something happened to a worker: the table says what comes of it.
    pub(super) fn happen(&mut self, id: WorkerId, event: Event) {
        let now = self.now();
        let patience = self.patience();
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let before = worker.state;
        let (state, actions) = before.after(event, now, patience);
        worker.state = state;
        match state.deadline() {
            Some(at) => self.deadlines.set(Timer::Worker(id), at),
            None => self.deadlines.clear(Timer::Worker(id)),
        }
        if is_draining(state) && !is_draining(before) {
            self.deadlines.set(Timer::Census, now + CENSUS);
        }
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
    }

    /// The times that a worker is granted.
    fn patience(&self) -> Patience {
        Patience {
            // Workers that share the kernel's queue take what comes until a signal tells them not to.
            drain: match self.app.balance {
                Balance::Kernel => Duration::ZERO,
                _ => self.app.drain_timeout,
            },
            grace: self.app.grace,
            kill: KILL_PATIENCE,
        }
    }

    fn evict(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.received = None;
        }
        self.dispatcher.send(Command::Evict {
            worker: id,
            listener: None,
        });
    }

    fn became_ready(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (slot, pid) = (worker.slot, worker.pid);
        let took = in_words(worker.started.elapsed());
        self.deadlines.clear(Timer::Diagnose(id));
        let first = !self.fleet.is_proven();
        self.fleet.ready(slot, id, self.now());
        self.watch_recovery();
        info!("slot {slot}: worker {pid} is ready after {took}");
        if first {
            self.announce();
        }
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
    fn census(&mut self) -> Rc<Census> {
        let census = self.census.take();
        let census = census.unwrap_or_else(|| Rc::new(self.workers.census()));
        self.census = Some(census.clone());
        census
    }

    /// It does not even die of SIGKILL (uninterruptible sleep): its slot goes on without it.
    fn give_up_on(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let State::Killing { why, .. } = worker.state else {
            return;
        };
        if std::mem::replace(&mut worker.abandoned, true) {
            return;
        }
        let (slot, pid) = (worker.slot, worker.pid);
        self.dispatcher.send(Command::Forget(id));
        let verdict = self
            .fleet
            .ended(slot, id, End::Killed(why), self.now(), random());
        let why = format!("worker {pid} does not die of SIGKILL, and is left to the kernel");
        error!("slot {slot}: {why}");
        if verdict != Verdict::Nothing {
            self.pronounce(slot, &why, verdict);
        }
    }

    /// The pidfd of a worker says that its first process has ended.
    pub(super) fn exited(&mut self, id: WorkerId) {
        let now = self.now();
        if self.workers.get(id).is_none() || self.is_mourned(id) {
            return;
        }
        let census = self.census();
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let exit = match process::peek_exit(worker.pidfd()) {
            Ok(Some(exit)) => exit,
            Ok(None) => return,
            // Somebody else waited for it; it is dead all the same.
            Err(_) => Exit::Code(1),
        };
        worker.exit = Some(exit);
        let patience_left = match worker.state {
            State::Draining { .. } => now + self.app.grace,
            State::Leaving { until, .. } => until,
            State::Starting { .. } | State::Ready | State::Killing { .. } | State::Gone(_) => {
                Moment::default()
            }
        };
        worker.mourned_until = patience_left;
        let slot = worker.slot;
        let pidfd = worker.pidfd().as_raw_fd();
        // Level or edge, a dead process stays readable: it must not wake anybody again.
        let _ = self.poll.registry().deregister(&mut SourceFd(&pidfd));
        let survives = census.counts(worker);
        if survives && patience_left > now {
            census.signal(worker, Signal::SIGTERM);
        }
        let success = exit == Exit::Code(0);
        self.happen(id, Event::Exited { success });
        self.dispatcher.send(Command::Forget(id));
        self.deadlines.clear(Timer::Diagnose(id));
        let why = self.obituary(id, exit, survives);
        if let Some(State::Gone(end)) = self.workers.get(id).map(|worker| worker.state) {
            let verdict = self.fleet.ended(slot, id, end, now, random());
            self.pronounce(slot, &why, verdict);
        }
        self.late.remove(&id);
        if survives {
            self.mourn(id);
        } else {
            // The dead start nothing: none can have appeared since.
            self.bury(id);
        }
    }

    /// Waits until nothing is left of a dead worker's session, then collects its first process.
    pub(super) fn mourn(&mut self, id: WorkerId) {
        let now = self.now();
        if !self.is_mourned(id) {
            return;
        }
        let census = self.census();
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        if census.counts(worker) {
            if now >= worker.mourned_until {
                census.signal(worker, Signal::SIGKILL);
            }
            self.deadlines.set(Timer::Worker(id), now + MOURNING_STEP);
            return;
        }
        self.bury(id);
    }

    /// Nothing is left of a worker: its pid may be somebody else's from now on.
    fn bury(&mut self, id: WorkerId) {
        self.deadlines.clear(Timer::Worker(id));
        if let Some(worker) = self.workers.remove(id) {
            let _ = process::try_wait(worker.pidfd());
        }
        self.strays = true;
        self.left_alone();
    }

    /// Collects orphans that have come to us and ended.
    pub(super) fn reap(&mut self) {
        if std::mem::take(&mut self.strays) {
            process::reap_strays(|pid| self.workers.is_leader(pid));
        }
    }

    /// What is said of a dead worker.
    fn obituary(&self, id: WorkerId, exit: Exit, survives: bool) -> String {
        let Some(worker) = self.workers.get(id) else {
            return String::new();
        };
        let pid = worker.pid;
        match worker.state {
            State::Gone(End::Early) if exit == Exit::Code(0) && survives => {
                format!(
                    "{} went into the background (worker {pid} ended at once, what it started lives on); \
                     run it in the foreground",
                    self.command_name()
                )
            }
            State::Gone(End::Early) if !self.fleet.is_proven() => {
                let printed = match &worker.refused {
                    Some(refused) => refused,
                    None if self.logs.tail(pid).is_empty() => "it printed nothing",
                    None => "what it printed is above",
                };
                format!(
                    "{} ended with {exit} before it listened (worker {pid}): {printed}",
                    self.command_name()
                )
            }
            State::Gone(End::Early) => {
                format!("worker {pid} ended with {exit} before it was ready")
            }
            State::Gone(End::Killed(Why::Late)) => {
                let limit = in_words(self.app.ready_timeout);
                let reason = self
                    .late
                    .get(&id)
                    .cloned()
                    .unwrap_or_else(words::not_listening);
                format!("worker {pid} was not ready within {limit}: {reason}")
            }
            _ => format!("worker {pid} ended with {exit}"),
        }
    }

    /// What comes of the end of a slot's worker, and the words for it.
    fn pronounce(&mut self, slot: SlotId, why: &str, verdict: Verdict) {
        self.last_words.insert(slot, why.to_owned());
        match verdict {
            Verdict::Nothing => debug!("slot {slot}: {why}"),
            Verdict::Hopeless => self.fail(Error::failed(why)),
            Verdict::Retry {
                wait, failures: 0, ..
            } => {
                debug_assert!(wait.is_zero());
                info!("slot {slot}: {why}; the next one starts");
            }
            Verdict::Retry {
                wait,
                crash_loop: true,
                failures,
            } => error!(
                "slot {slot}: {why}, the {failures}th failure in a row; trying again in {}, then ever less \
                 often, and silently",
                in_words(wait)
            ),
            Verdict::Retry { wait, failures, .. } if failures < CRASH_LOOP => {
                warn!(
                    "slot {slot}: {why}; the next one starts in {}",
                    in_words(wait)
                );
            }
            Verdict::Retry { wait, .. } => {
                debug!(
                    "slot {slot}: {why}; the next one starts in {}",
                    in_words(wait)
                );
            }
        }
    }

    /// A slot whose crash loop was reported may be well again.
    pub(super) fn watch_recovery(&mut self) {
        while let Some(slot) = self.fleet.recovered(self.now()) {
            info!("slot {slot}: is well again");
        }
        match self.fleet.next_recovery() {
            Some(at) => self.deadlines.set(Timer::Recovery, at),
            None => self.deadlines.clear(Timer::Recovery),
        }
    }
}

fn is_draining(state: State) -> bool {
    matches!(state, State::Draining { .. })
}

/// Spreads waits; nothing depends on its quality.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}
