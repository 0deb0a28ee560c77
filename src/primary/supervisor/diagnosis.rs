//! Why a worker does not come up, asked while it is late and remembered for the sentence about its end.

use log::warn;

use super::{Supervisor, words};
use crate::error::Error;
use crate::policy::ids::WorkerId;
use crate::policy::lifecycle::State;
use crate::primary::preflight;

impl Supervisor {
    /// A first look, soon after the start: what can never join is named now, not when patience ends.
    pub(super) fn diagnose(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        if worker.joined || !matches!(worker.state, State::Starting { .. }) {
            return;
        }
        let (place, pid) = (self.place(worker.app, worker.slot), worker.pid);
        let app = &self.apps[worker.app];
        let suspected = worker
            .release
            .suspicion
            .as_ref()
            .filter(|found| found.holds(pid));
        let found = suspected
            .map(ToString::to_string)
            .or_else(|| preflight::diagnose_early(pid, &app.config.listen));
        let Some(reason) = found else { return };
        if app.fleet.is_proven() || self.apps.count() > 1 {
            warn!("{place}: worker {pid} will not get ready: {reason}");
            self.late.insert(id, reason);
        } else {
            self.fail(Error::failed(reason));
        }
    }

    /// Patience is over: why it has not joined is asked while it still lives.
    pub(super) fn note_lateness(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        if !matches!(worker.state, State::Starting { .. }) {
            return;
        }
        let reason = preflight::diagnose(worker.pid, &self.apps[worker.app].config.listen);
        let reason = reason.unwrap_or_else(words::not_listening);
        self.late.insert(id, reason);
    }
}
