//! The end of a primary: no new connections, deal what is there, drain, SIGTERM, grace, SIGKILL.
//!
//! A stop goes through [`Phase`]s and never back. Whatever asks for it again while it goes on changes nothing,
//! but for SIGINT, which forces it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use log::{info, warn};

use super::words::count;
use super::{Supervisor, Timer};
use crate::config::Balance;
use crate::error::Error;
use crate::policy::ids::WorkerId;
use crate::policy::lifecycle::{Event, State, Why};
use crate::primary::messages::Command;
use crate::primary::workers::Worker;

/// How often the open connections of workers that drain are counted.
pub(super) const CENSUS: Duration = Duration::from_millis(20);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not begun.
    Serving,
    /// The listeners are closed, what was accepted is being dealt.
    Finishing,
    /// All is dealt; the workers finish what they have, and each goes when it holds nothing.
    Draining,
    /// All workers were told to go.
    Leaving,
}

impl Phase {
    /// No stop has begun.
    pub fn is_serving(self) -> bool {
        self == Self::Serving
    }
}

impl Supervisor {
    /// Begins a graceful stop; does nothing if one is under way.
    pub(super) fn stop(&mut self, asked_by: &str) {
        if !self.phase.is_serving() {
            return;
        }
        self.fleet.stop();
        self.deadlines.clear(Timer::Start);
        let serves =
            |worker: &Worker| matches!(worker.state, State::Ready | State::Draining { .. });
        let ready = self.workers.iter().any(serves);
        // Ours first: whoever came between the dispatcher's last look at a backlog and the close of the last
        // copy of its socket would be reset.
        self.listeners.close();
        self.dispatcher.send(Command::Finish);
        if !ready || self.app.balance == Balance::Kernel {
            // Nobody to wait for, or nobody who could be told but by a signal.
            info!("stopping ({asked_by})");
            return self.leave();
        }
        info!("stopping ({asked_by}): no new connections, finishing what is open");
        self.phase = Phase::Finishing;
        let deadline = self.now() + self.app.drain_timeout;
        self.deadlines.set(Timer::StopWaiting, deadline);
        for id in self.workers.ids() {
            if let Some(worker) = self.workers.get(id) {
                worker.board.draining.store(1, Relaxed);
                if !worker.is_ready() {
                    self.happen(id, Event::Drain(Why::Stop));
                }
            }
        }
    }

    /// Everything that was accepted has been taken by a worker.
    pub(super) fn ran_dry(&mut self) {
        if self.phase == Phase::Finishing {
            self.phase = Phase::Draining;
            self.drain_all();
            self.take_census();
        }
    }

    /// Tells the workers to go that drain and hold nothing any more; looks again soon if others do.
    pub(super) fn take_census(&mut self) {
        for id in self.draining(Worker::is_idle) {
            self.happen(id, Event::Empty);
        }
        let waits = !self.draining(|_| true).is_empty();
        if waits {
            self.deadlines.set(Timer::Census, self.now() + CENSUS);
        }
        if self.phase != Phase::Draining {
            return;
        }
        if !waits {
            return self.leave();
        }
        let open = self.open_connections();
        if open != 0 && self.last_census != Some(open) {
            self.commands
                .progress_of_stop(&format!("waiting for {}", count(open, "open connection")));
            self.last_census = Some(open);
        }
    }

    /// The workers that finish what they have and of which `this` is so.
    fn draining(&self, this: impl Fn(&Worker) -> bool) -> Vec<WorkerId> {
        let draining = |worker: &&Worker| matches!(worker.state, State::Draining { .. });
        let found = self.workers.iter().filter(draining);
        found.filter(|one| this(one)).map(|one| one.id).collect()
    }

    fn drain_all(&mut self) {
        for id in self.workers.ids() {
            self.happen(id, Event::Drain(Why::Stop));
        }
    }

    /// A worker is gone. Without any, nobody finishes anything.
    pub(super) fn left_alone(&mut self) {
        if self.workers.is_empty() && matches!(self.phase, Phase::Finishing | Phase::Draining) {
            self.leave();
        }
    }

    /// Patience with open connections is over.
    pub(super) fn stop_waiting(&mut self) {
        match self.phase {
            Phase::Finishing | Phase::Draining => {
                let open = self.open_connections();
                info!(
                    "{} still open after --drain-timeout: the workers get SIGTERM",
                    count(open, "connection")
                );
                self.leave();
            }
            Phase::Serving | Phase::Leaving => {}
        }
    }

    /// Tells the workers to go.
    fn leave(&mut self) {
        self.phase = Phase::Leaving;
        self.deadlines.clear(Timer::StopWaiting);
        self.progress("ending the workers");
        self.drain_all();
        for id in self.draining(|_| true) {
            self.happen(id, Event::Hurry);
        }
    }

    /// Ends now: nothing more is waited for but the deaths of the workers.
    pub(super) fn stop_now(&mut self, asked_by: &str) {
        self.fleet.stop();
        if self.phase.is_serving() {
            self.listeners.close();
        }
        let left = self.workers.iter().filter(|one| !one.abandoned).count();
        warn!(
            "stopping now ({asked_by}): {} killed",
            count(left as u64, "worker")
        );
        self.phase = Phase::Leaving;
        for id in self.workers.ids() {
            if let Some(worker) = self.workers.get_mut(id) {
                // Whatever outlives its worker has no time left either.
                worker.mourned_until = Default::default();
            }
            self.happen(id, Event::KillNow(Why::Stop));
            self.mourn(id);
        }
    }

    /// The program ends, with this error.
    pub(super) fn fail(&mut self, error: Error) {
        if self.failure.is_none() && self.phase.is_serving() {
            self.failure = Some(error);
            self.fleet.stop();
            self.listeners.close();
            self.phase = Phase::Leaving;
            for id in self.workers.ids() {
                self.happen(id, Event::KillNow(Why::Stop));
                self.mourn(id);
            }
        }
    }

    /// Nothing is left to be done.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Leaving && self.workers.iter().all(|worker| worker.abandoned)
    }

    /// Connections that ready workers hold, by their own word, less what processes held that have died.
    fn open_connections(&self) -> u64 {
        let living = self.workers.iter().filter(|worker| worker.exit.is_none());
        living.map(|worker| worker.open()).sum()
    }
}
