//! The end of an app, and of the primary with all its apps: no new connections, deal what is there, drain,
//! SIGTERM, grace, SIGKILL.
//!
//! An app goes through its [`Phase`]s and never back. Whatever asks for a stop again while it goes on changes
//! nothing, but for SIGINT, which forces it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use log::{info, warn};

use super::words::count;
use super::{Supervisor, Timer};
use crate::config::Balance;
use crate::error::Error;
use crate::policy::ids::AppId;
use crate::policy::lifecycle::{Event, State, Why};
use crate::primary::app::Phase;
use crate::primary::messages::Command;
use crate::primary::workers::Worker;

/// How often the open connections of workers that drain are counted.
pub(super) const CENSUS: Duration = Duration::from_millis(20);
/// The same of those that have been at it for longer than [`FRESH`]: it is not worth many wake-ups then.
const SLOW_CENSUS: Duration = Duration::from_millis(100);
const FRESH: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Begins a graceful stop of all; does nothing if one is under way.
    pub(super) fn stop(&mut self, asked_by: &str) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let ready = self.workers.iter().any(serves);
        if ready {
            info!("stopping ({asked_by}): no new connections, finishing what is open");
        } else {
            info!("stopping ({asked_by})");
        }
        self.give_up_operations();
        for app in self.apps.ids() {
            self.stop_app(app);
        }
    }

    /// Begins the graceful end of one app.
    pub(super) fn stop_app(&mut self, id: AppId) {
        let now = self.now();
        let app = &mut self.apps[id];
        if !app.phase.is_serving() {
            return;
        }
        app.fleet.stop();
        let ready = self.workers.of_app(id).any(serves);
        // Ours first: whoever came between the dispatcher's last look at a backlog and the close of the last
        // copy of its socket would be reset.
        app.listeners.close();
        app.dispatcher.send(Command::Finish);
        if !ready || app.config.routing.balance == Balance::Kernel {
            // Nobody to wait for, or nobody who could be told but by a signal.
            return self.leave(id);
        }
        app.phase = Phase::Finishing;
        let deadline = now + app.config.drain_timeout;
        self.deadlines.set(Timer::StopWaiting(id), deadline);
        for worker in self.workers.ids_of(id) {
            if let Some(one) = self.workers.get(worker) {
                one.board.draining.store(1, Relaxed);
                if !one.is_ready() {
                    self.happen(worker, Event::Drain(Why::Stop));
                }
            }
        }
    }

    /// Everything that was accepted has been taken by a worker.
    pub(super) fn ran_dry(&mut self, id: AppId) {
        if self.apps[id].phase == Phase::Finishing {
            self.apps[id].phase = Phase::Draining;
            self.drain_all(id);
            self.take_census(id);
        }
    }

    /// Tells the workers to go that drain and hold nothing any more; looks again soon if others do.
    pub(super) fn take_census(&mut self, id: AppId) {
        let now = self.now();
        if let Some(app) = self.apps.get(id) {
            self.health.drains.note(&app.listeners);
        }
        let draining = self.workers.of_app(id).filter(|worker| drains(worker));
        for worker in self.health.drains.empty(now, draining) {
            self.happen(worker, Event::Empty);
        }
        let waits = self.workers.of_app(id).any(drains);
        if waits {
            let draining = self.workers.of_app(id).filter(|worker| drains(worker));
            let lately = draining.filter_map(|worker| worker.leaving_since).max();
            let fresh = lately.is_none_or(|since| now.since(since) < FRESH);
            let step = if fresh { CENSUS } else { SLOW_CENSUS };
            self.deadlines.set(Timer::Census(id), now + step);
        }
        let app = self.apps.get(id);
        if app.is_none_or(|app| app.phase != Phase::Draining) {
            return;
        }
        if !waits {
            return self.leave(id);
        }
        let open = self.open_connections(id);
        let news = self.apps[id].last_count.replace(open) != Some(open);
        if open != 0 && news && self.stopping {
            let label = self.label(&self.apps[id]);
            let open = count(open, "open connection");
            self.commands
                .progress_of_stop(&format!("{label}waiting for {open}"));
        }
    }

    fn drain_all(&mut self, id: AppId) {
        for worker in self.workers.ids_of(id) {
            self.happen(worker, Event::Drain(Why::Stop));
        }
    }

    /// A worker of this app is gone. Without any, nobody finishes anything.
    pub(super) fn left_alone(&mut self, id: AppId) {
        let phase = self.apps[id].phase;
        if matches!(phase, Phase::Finishing | Phase::Draining)
            && self.workers.of_app(id).next().is_none()
        {
            self.leave(id);
        }
    }

    /// Patience with open connections is over.
    pub(super) fn stop_waiting(&mut self, id: AppId) {
        let Some(app) = self.apps.get(id) else { return };
        if matches!(app.phase, Phase::Finishing | Phase::Draining) {
            let open = self.open_connections(id);
            info!(
                "{}{} still open after --drain-timeout: the workers get SIGTERM",
                self.label(app),
                count(open, "connection")
            );
            self.leave(id);
        }
    }

    /// Tells the workers of an app to go.
    fn leave(&mut self, id: AppId) {
        self.apps[id].phase = Phase::Leaving;
        self.deadlines.clear(Timer::StopWaiting(id));
        if self.stopping {
            let label = self.label(&self.apps[id]);
            self.progress(&format!("{label}ending the workers"));
        }
        self.drain_all(id);
        let draining = self.workers.of_app(id).filter(|worker| drains(worker));
        for worker in draining.map(|worker| worker.id).collect::<Vec<_>>() {
            self.happen(worker, Event::Hurry);
        }
    }

    /// Ends now: nothing more is waited for but the deaths of the workers.
    pub(super) fn stop_now(&mut self, asked_by: &str) {
        self.stopping = true;
        let left = self.workers.iter().filter(|one| !one.abandoned).count();
        warn!(
            "stopping now ({asked_by}): {} killed",
            count(left as u64, "worker")
        );
        self.kill_all();
    }

    /// The program ends, with this error.
    pub(super) fn fail(&mut self, error: Error) {
        if self.failure.is_none() && !self.stopping {
            self.failure = Some(error);
            self.stopping = true;
            self.kill_all();
        }
    }

    fn kill_all(&mut self) {
        self.give_up_operations();
        for app in self.apps.iter_mut() {
            app.fleet.stop();
            if app.phase.is_serving() {
                app.listeners.close();
            }
            app.phase = Phase::Leaving;
        }
        for id in self.workers.ids() {
            if let Some(worker) = self.workers.get_mut(id) {
                // Whatever outlives its worker has no time left either.
                worker.mourned_until = Default::default();
            }
            self.happen(id, Event::KillNow(Why::Stop));
            self.mourn(id);
        }
    }

    /// Takes out the apps whose end is complete, while others go on.
    pub(super) fn close_ended(&mut self) {
        if self.stopping {
            return;
        }
        for id in self.apps.ids() {
            // One that does not even die of SIGKILL is still of this app, and has timers.
            if self.has_ended(id) && self.workers.of_app(id).next().is_none() {
                info!("{}stopped", self.label(&self.apps[id]));
                self.close(id);
            }
        }
    }

    /// Ends the dispatcher of an app of which nothing is left.
    pub(super) fn close(&mut self, id: AppId) {
        if let Some(app) = self.apps.remove(id) {
            app.dispatcher.join();
            self.metrics.forget(id);
        }
    }

    fn has_ended(&self, id: AppId) -> bool {
        self.apps[id].phase == Phase::Leaving
            && self.workers.of_app(id).all(|worker| worker.abandoned)
    }

    /// Nothing is left to be done.
    pub(super) fn is_done(&self) -> bool {
        self.stopping && self.apps.ids().into_iter().all(|id| self.has_ended(id))
    }

    /// Connections that an app's workers hold, by their own word, less what processes held that have died.
    fn open_connections(&self, id: AppId) -> u64 {
        let living = self.workers.of_app(id).filter(|one| one.exit.is_none());
        living.map(|worker| worker.open()).sum()
    }
}

/// It gets nothing new and finishes what it has.
fn drains(worker: &Worker) -> bool {
    matches!(worker.state, State::Draining { .. })
}

/// It may hold connections.
fn serves(worker: &Worker) -> bool {
    matches!(worker.state, State::Ready | State::Draining { .. })
}
