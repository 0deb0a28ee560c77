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
use crate::policy::lifecycle::{Event, Why};
use crate::primary::messages::Command;

/// How often the open connections are counted while a stop waits for their end.
const CENSUS: Duration = Duration::from_millis(20);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not begun.
    Serving,
    /// The listeners are closed, what was accepted is being dealt.
    Finishing,
    /// All is dealt; the workers finish what they have.
    Draining,
    /// The workers were told to go.
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
        let ready = self.workers.iter().any(|worker| worker.is_ready());
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
            self.take_census();
        }
    }

    /// Counts what is open; goes on when that is nothing.
    pub(super) fn take_census(&mut self) {
        if self.phase != Phase::Draining {
            return;
        }
        let open = self.open_connections();
        if open == 0 {
            return self.leave();
        }
        if self.last_census != Some(open) {
            self.commands
                .progress_of_stop(&format!("waiting for {}", count(open, "open connection")));
            self.last_census = Some(open);
        }
        let again = self.now() + CENSUS;
        self.deadlines.set(Timer::Census, again);
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
        self.deadlines.clear(Timer::Census);
        self.deadlines.clear(Timer::StopWaiting);
        self.progress("ending the workers");
        for id in self.workers.ids() {
            self.happen(id, Event::Drain(Why::Stop));
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
