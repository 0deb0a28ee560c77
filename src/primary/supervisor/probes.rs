//! Health checks: asks the workers whose app wants it, each over a connection of its own, and replaces one that
//! fails several times in a row. What a check is, [`health`](crate::primary::health) knows.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use log::{debug, error, info, warn};

use super::lives::random;
use super::source::Source;
use super::{Supervisor, Timer};
use crate::config::{AppConfig, Balance, Probe};
use crate::policy::ids::WorkerId;
use crate::primary::app::release::program_of;
use crate::primary::health::pair::Given;
use crate::primary::health::probes::Outcome;
use crate::primary::health::probing::Question;
use crate::primary::messages::Command;
use crate::primary::workers::Worker;
use crate::primary::workers::environment::of_probe;
use crate::sys::address::to_wire;
use crate::sys::process::{Credentials, Launch};
use crate::sys::signals::Signal;
use crate::wire::Family;

impl Supervisor {
    /// Sees to it that those are asked who are to be. Without any, nothing wakes the primary up.
    pub(super) fn plan_probes(&mut self) {
        let wanted = self.apps.iter().any(|app| app.config.health.is_some());
        if !wanted && self.health.probes.is_empty() {
            return;
        }
        let ready = self.workers.iter().filter(|worker| worker.is_ready());
        let patients: BTreeMap<WorkerId, Duration> = ready
            .filter_map(|worker| {
                let app = &self.apps[worker.app];
                // With the kernel's choice nothing can be sent to a given worker.
                let asked = app.phase.is_serving() && app.config.routing.balance != Balance::Kernel;
                let health = app.config.health.as_ref().filter(|_| asked)?;
                Some((worker.id, health.interval))
            })
            .collect();
        self.health
            .probes
            .attend(self.clock.now(), &patients, random());
        match self.health.probes.next() {
            Some(at) => self.deadlines.set(Timer::Probe, at),
            None => self.deadlines.clear(Timer::Probe),
        }
    }

    /// Asks who is to be asked now, and gives up on those who have not answered.
    pub(super) fn ask_workers(&mut self) {
        let now = self.now();
        while let Some((worker, outcome)) = self.health.probes.overdue(now) {
            self.probed(worker, outcome);
        }
        while let Some(worker) = self.health.probes.due(now) {
            if let Err(error) = self.ask(worker) {
                self.probed(worker, Outcome::Unable(error));
            }
        }
    }

    /// What a worker is asked by is ready.
    pub(super) fn hear_probe(&mut self, worker: WorkerId) {
        let now = self.now();
        let token = Source::Probe(worker).token();
        let outcome = self
            .health
            .probes
            .proceed(now, worker, self.poll.registry(), token);
        self.probed(worker, outcome);
    }

    fn ask(&mut self, id: WorkerId) -> io::Result<()> {
        let now = self.now();
        let patient = self.workers.get(id).and_then(|worker| {
            let app = &self.apps[worker.app];
            Some((worker, app, app.config.health.as_ref()?))
        });
        let Some((worker, app, health)) = patient else {
            // Gone in this very turn, or not to be asked any more: it would be due for ever.
            self.health.probes.forget(id);
            return Ok(());
        };
        self.health
            .probes
            .postpone(now, id, health.interval, random());
        // One that has closed its listener takes nothing, and is well.
        let Some(binding) = worker.bindings.iter().find(|binding| binding.listening) else {
            return Ok(());
        };
        let ipv6 = binding.asked.family == Family::V6;
        let question = match &health.probe {
            Probe::Http(path) => Question::Http(path.clone()),
            Probe::Command(words) => {
                let launch = self.probe_launch(worker, &app.config, words)?;
                Question::Command(Box::new(launch))
            }
        };
        let (registry, token) = (self.poll.registry(), Source::Probe(id).token());
        self.health
            .probes
            .begin(now, id, (question, ipv6), health, (registry, token))
    }

    fn probe_launch(
        &self,
        worker: &Worker,
        config: &AppConfig,
        words: &[std::ffi::OsString],
    ) -> io::Result<Launch> {
        let cwd = worker.release.cwd.clone();
        let program = program_of(words, config, cwd.as_deref());
        let program = program.map_err(|error| io::Error::other(error.to_string()))?;
        let identity = config.identity.as_ref();
        Ok(Launch {
            program: program.path,
            args: words.to_vec(),
            env: of_probe(std::env::vars_os(), config, (worker.slot, worker.pid)),
            cwd,
            identity: identity.map(|identity| Credentials {
                uid: identity.uid,
                gid: identity.gid,
                groups: identity.groups.clone(),
            }),
            nofile: Some(self.open_files.original),
            cpu: None,
            death_signal: Some(Signal::SIGKILL),
        })
    }

    /// What came of asking a worker.
    fn probed(&mut self, id: WorkerId, outcome: Outcome) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (app, pid) = (worker.app, worker.pid);
        let who = format!("{}: worker {pid}", self.place(app, worker.slot));
        match outcome {
            Outcome::Nothing | Outcome::Well(0) => {}
            Outcome::Give(given) => self.give(id, given),
            Outcome::Well(failed) => info!("{who} is well again, after {failed} failed checks"),
            Outcome::Unable(error) => {
                let error = error.to_string();
                // Of the primary's own troubles each is said once.
                if self.health.unable.as_ref() != Some(&error) {
                    warn!("the health of {who} could not be checked: {error}");
                    self.health.unable = Some(error);
                }
            }
            Outcome::Ill(failures, why) => self.failed_check(id, (failures, &why), &who),
        }
    }

    fn failed_check(&mut self, id: WorkerId, (failures, why): (u32, &str), who: &str) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.is_ready()) else {
            return;
        };
        let Some(health) = &self.apps[worker.app].config.health else {
            return;
        };
        let most = health.failures;
        if failures >= most && self.renew(id) {
            error!("{who} {why}; after {failures} failed checks in a row it is replaced");
        } else if failures == 1 {
            warn!("{who} {why} (failed check 1 of {most})");
        } else {
            debug!("{who} {why} (failed check {failures} of {most})");
        }
    }

    fn give(&mut self, id: WorkerId, given: Given) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let listening = worker.bindings.iter().find(|binding| binding.listening);
        self.apps[worker.app].dispatcher.send(Command::Probe {
            worker: id,
            listener: listening.map(|binding| binding.listener),
            socket: given.socket,
            peer: to_wire(&given.peer),
            local: to_wire(&given.local),
        });
    }
}
