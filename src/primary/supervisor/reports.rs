//! What the dispatcher reports, and what comes of it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use log::{debug, error, info, warn};

use super::Supervisor;
use crate::policy::ids::{AppId, ListenerId, WorkerId};
use crate::policy::lifecycle::Event;
use crate::primary::messages::Report;
use crate::sys::process;

impl Supervisor {
    /// Takes all reports that have come.
    pub(super) fn hear_reports(&mut self) {
        for app in self.apps.ids() {
            while let Some(report) = self
                .apps
                .get(app)
                .and_then(|one| one.reports.try_recv().ok())
            {
                self.hear_report(app, report);
            }
        }
    }

    fn hear_report(&mut self, app: AppId, report: Report) {
        let at = |listener| self.apps[app].listeners.text(listener);
        match report {
            Report::Broken {
                worker,
                listener,
                error,
            } => {
                self.say_broken(app, worker, listener, &error);
                self.renew(worker);
                self.happen(worker, Event::ChannelTrouble);
            }
            Report::Stolen { worker, count } => self.was_stolen_from(worker, count),
            Report::Evicted { worker, received } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.received = Some(received);
                }
                self.take_census(app);
            }
            Report::ListenerFailed { listener, error } => {
                error!("{} takes no connections any more: {error}", at(listener));
            }
            Report::Ipv6Refused(listener) => info!(
                "{}: the server takes IPv4 only, so clients that come by IPv6 are turned away",
                at(listener)
            ),
            Report::Refused {
                listener,
                peer,
                why,
                others,
            } => {
                let peer = peer.map_or_else(
                    || "a Unix socket".to_owned(),
                    |peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string(),
                );
                let others = match others {
                    0 => String::new(),
                    _ => format!(" ({others} more were, since the last such line)"),
                };
                warn!(
                    "{}: a connection of {peer}, which is a trusted proxy, was closed: {why}{others}",
                    at(listener)
                );
            }
            Report::ListenerClosed(listener) => debug!("listener {listener} is closed"),
            Report::ProbeReturned(worker) => self.health.probes.returned(worker),
            Report::Dry => self.ran_dry(app),
        }
    }

    fn say_broken(&self, app: AppId, worker: WorkerId, listener: ListenerId, error: &io::Error) {
        let Some(worker) = self.workers.get(worker) else {
            return;
        };
        let (place, pid) = (self.place(app, worker.slot), worker.pid);
        let at = self.apps[app].listeners.text(listener);
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                warn!("{place}: worker {pid} has shut down its channel of {at}; it is replaced");
            }
            _ => warn!(
                "{place}: nothing can be sent to worker {pid} for {at} any more ({error}); it is replaced"
            ),
        }
    }

    /// It did not take what it was dealt: stopped, busy, or the process that listened has died unseen, as
    /// behind a wrapper that lives on.
    fn was_stolen_from(&mut self, id: WorkerId, count: u64) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (place, pid) = (self.place(worker.app, worker.slot), worker.pid);
        debug!("{place}: worker {pid} left {count} waiting; dealt again");
        if self.health.looking {
            self.health.looks.note_stolen(id);
        }
        if !matches!(process::peek_exit(worker.pidfd()), Ok(None)) {
            // Dead, and about to be noticed.
            return;
        }
        let listening = worker.bindings.iter().enumerate();
        let listening = listening.filter(|(_, binding)| binding.listening);
        for index in listening.map(|(index, _)| index).collect::<Vec<_>>() {
            if self.pause_if_left(id, index) {
                warn!("{place}: no process of worker {pid} listens any more, though it lives on");
            }
        }
    }
}
