//! What the dispatcher reports, and what comes of it.

use log::{debug, error, info, warn};

use super::Supervisor;
use crate::policy::ids::WorkerId;
use crate::policy::lifecycle::Event;
use crate::primary::messages::Report;
use crate::sys::process;

impl Supervisor {
    /// Takes all reports that have come.
    pub(super) fn hear_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            match report {
                Report::Broken { worker, listener } => {
                    if let Some(worker) = self.workers.get(worker) {
                        let (slot, pid) = (worker.slot, worker.pid);
                        warn!(
                            "slot {slot}: worker {pid} has shut down its channel of {}; it is replaced",
                            self.listeners.text(listener)
                        );
                    }
                    self.happen(worker, Event::ChannelTrouble);
                }
                Report::Stolen { worker, count } => self.was_stolen_from(worker, count),
                Report::Evicted { worker, received } => {
                    if let Some(worker) = self.workers.get_mut(worker) {
                        worker.received = Some(received);
                    }
                    self.take_census();
                }
                Report::ListenerFailed { listener, error } => {
                    let at = self.listeners.text(listener);
                    error!("{at} takes no connections any more: {error}");
                }
                Report::Ipv6Refused(listener) => info!(
                    "{}: the server takes IPv4 only, so clients that come by IPv6 are turned away",
                    self.listeners.text(listener)
                ),
                Report::Dry => self.ran_dry(),
            }
        }
    }

    /// It did not take what it was dealt: stopped, busy, or the process that listened has died unseen, as
    /// behind a wrapper that lives on.
    fn was_stolen_from(&mut self, id: WorkerId, count: u64) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (slot, pid) = (worker.slot, worker.pid);
        debug!("slot {slot}: worker {pid} left {count} waiting; dealt again");
        if !matches!(process::peek_exit(worker.pidfd()), Ok(None)) {
            // Dead, and about to be noticed.
            return;
        }
        let listening = worker.bindings.iter().enumerate();
        let listening = listening.filter(|(_, binding)| binding.listening);
        for index in listening.map(|(index, _)| index).collect::<Vec<_>>() {
            if self.pause_if_left(id, index) {
                warn!(
                    "slot {slot}: no process of worker {pid} listens any more, though it lives on"
                );
            }
        }
    }
}
