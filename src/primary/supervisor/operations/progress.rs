//! How far the operation that is under way is, in words and for programs.

use super::super::Supervisor;
use super::{Current, Job};
use crate::policy::ids::SlotId;
use crate::primary::app::App;
use crate::status::{Awaited, Progress};

impl Supervisor {
    /// What is under way, for people.
    pub(in super::super) fn operation_words(&self) -> Option<String> {
        let current = self.operations.current.as_ref()?;
        let done = match &current.job {
            Job::Renew(renewal) => renewal.how_far(),
            Job::Grow(growth) => growth.how_far(),
            Job::Upgrade(upgrade) => upgrade.how_far(),
        };
        let awaited = self.awaited_words(&self.awaited_by(current));
        let waiting = match self.operations.waiting.len() {
            0 => String::new(),
            more => format!("; {more} more waiting"),
        };
        Some(format!("{}: {done}{awaited}{waiting}", current.words))
    }

    /// The same for programs, of a start too.
    pub(in super::super) fn operation_progress(&self) -> Option<Progress> {
        let Some(current) = &self.operations.current else {
            let starts = self.is_starting() && !self.stopping;
            return starts.then(|| self.progress_of_start());
        };
        let (done, of) = match &current.job {
            Job::Renew(renewal) => renewal.renewed(),
            Job::Grow(growth) => growth.ready(),
            Job::Upgrade(_) => (0, 1),
        };
        Some(Progress {
            what: current.words.clone(),
            done,
            of,
            for_s: self.now().since(current.begun).as_secs_f64(),
            awaited: self.awaited_by(current),
            waiting: self.operations.waiting.len() as u64,
        })
    }

    fn progress_of_start(&self) -> Progress {
        let serving = || self.apps.iter().filter(|app| app.phase.is_serving());
        let ready = serving().map(|app| self.ready_slots(app) as u64);
        Progress {
            what: "start".to_owned(),
            done: ready.sum(),
            of: serving().map(|app| app.config.workers as u64).sum(),
            for_s: self.started.elapsed().as_secs_f64(),
            awaited: serving()
                .flat_map(|app| self.awaited(app, |_| true))
                .collect(),
            waiting: 0,
        }
    }

    fn awaited_by(&self, current: &Current) -> Vec<Awaited> {
        let of = |app: &App| -> Vec<Awaited> {
            let id = app.id;
            let meant = |slot: SlotId| match &current.job {
                Job::Renew(renewal) => renewal.waits_for(id, slot),
                Job::Grow(growth) => growth.waits_for(id, slot),
                Job::Upgrade(_) => false,
            };
            self.awaited(app, meant)
        };
        self.apps.iter().flat_map(of).collect()
    }
}
