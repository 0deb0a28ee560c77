//! The supervisor: the main thread's loop and everything that it owns.
//!
//! Waits on one poll for signals, worker exits, the rendezvous, the control socket and the dispatcher's
//! reports; executes what the policy decides. Never touches a connection and never waits for anything but that
//! poll. [`boot`] makes it, [`run`](Supervisor::run) is its life, one file per kind of source does the rest.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use log::{debug, info};
use mio::{Events, Poll};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::policy::deadlines::{Deadlines, Moment};
use crate::policy::ids::{AppId, SlotId, WorkerId};
use crate::policy::lifecycle::Event;
use crate::primary::app::{App, Apps, Means};
use crate::primary::health::Health;
use crate::primary::logs::{Logs, Place};
use crate::primary::metrics::Metrics;
use crate::primary::rendezvous::Rendezvous;
use crate::primary::rundir::RunDir;
use crate::primary::verbs::Clients;
use crate::primary::workers::Workers;
use crate::primary::workers::census::Census;
use crate::sys::limits::OpenFiles;
use crate::sys::signals::Signals;

mod awake;
mod backends;
pub mod boot;
mod commands;
mod deaths;
mod diagnosis;
pub mod frozen;
mod health;
mod join;
mod launch;
mod lives;
mod metrics;
mod notices;
mod operations;
mod probes;
mod report;
mod reports;
mod signals;
mod source;
mod stop;
mod telling;
mod words;

use awake::{AwakeClock, LONGEST_SLEEP};
use operations::Operations;
use source::Source;
use telling::Telling;

/// What the supervisor waits for by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Timer {
    /// The deadline of a worker's state, or the next look at what a dead one left.
    Worker(WorkerId),
    /// A worker that has not joined yet is to be looked at.
    Diagnose(WorkerId),
    /// A slot may start its next worker.
    Start,
    /// A slot may be well again.
    Recovery,
    /// A worker that took a slot over may have shown that it lives.
    Settle,
    /// Count the open connections again.
    Census(AppId),
    /// Look at the workers that are limited.
    Look,
    /// Ask a worker how it is, or give up waiting for what one says.
    Probe,
    /// The end of an app waits no longer for open connections.
    StopWaiting(AppId),
    /// The operation that is under way may go on.
    Operation,
    /// Slots that are being drained are to be looked at.
    Watch,
    /// Changes of backends are to be looked at.
    Backends,
    /// The trial of a new program takes too long.
    Trial,
    /// What is under way takes so long that people are told how far it is.
    Tell,
    /// The service manager is to be told that we live.
    Pulse,
    /// It is to be told how we are, or that what takes long goes on.
    Notice,
}

/// Everything the main thread owns.
#[derive(Debug)]
pub struct Supervisor {
    config: Config,
    apps: Apps,
    means: Means,
    /// Where workers are started whose app does not say, by the words that led here.
    home: Option<PathBuf>,
    /// What an upgrade goes on as, if nothing else is said.
    binary: PathBuf,
    open_files: OpenFiles,
    poll: Poll,
    signals: Signals,
    run_dir: RunDir,
    rendezvous: Rendezvous,
    commands: Clients,
    logs: Logs,
    workers: Workers,
    /// What lives of the workers, once it was asked for in this turn of the loop.
    census: Option<Rc<Census>>,
    /// Children may have ended that are nobody's first process.
    strays: bool,
    /// What was found out about workers that are late.
    late: HashMap<WorkerId, String>,
    deadlines: Deadlines<Timer>,
    clock: AwakeClock,
    started: Instant,
    operations: Operations,
    /// A stop of the whole primary has begun.
    stopping: bool,
    /// It was said how to go on.
    announced: bool,
    /// What else people were told of what takes its time.
    telling: Telling,
    last_look: report::LastLook,
    /// How the workers are.
    health: Health,
    /// What is counted, and who reads it.
    metrics: Metrics,
    failure: Option<Error>,
}

impl Supervisor {
    /// Runs until a stop is done.
    ///
    /// # Errors
    /// The sentence for `main`: no worker could ever be started, or the poll itself failed.
    pub fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(256);
        self.start_workers();
        self.feel_pulses();
        while !self.is_done() {
            let sleep = self.sleep();
            match self.poll.poll(&mut events, sleep) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::io("cannot wait for events", &error));
                }
                _ => self.clock.tick(Instant::now(), sleep),
            };
            self.census = None;
            let ready: Vec<Source> = events
                .iter()
                .filter_map(|event| Source::decode(event.token()))
                .collect();
            self.hear_signals();
            for source in ready {
                self.on_ready(source);
            }
            self.on_deadlines();
            self.reap();
            self.close_ended();
            self.start_workers();
            self.plan_look();
            self.plan_probes();
            self.plan_telling();
            self.tell_manager();
        }
        self.farewell()
    }

    fn on_ready(&mut self, source: Source) {
        match source {
            // Read each turn, before anything else.
            Source::Signals => {}
            Source::Reports => self.hear_reports(),
            Source::Rendezvous => self.hear_workers(),
            Source::Control => self.hear_commands(),
            Source::Exit(worker) => self.exited(worker),
            Source::Trial => self.trial_ended(),
            Source::Probe(worker) => self.hear_probe(worker),
            Source::Metrics => self.hear_readers(),
        }
    }

    /// How long the poll may sleep: until the next deadline, and not so long that a stop of ours would hide.
    fn sleep(&mut self) -> Option<Duration> {
        let now = self.clock.now();
        let ours = self.deadlines.earliest().map(|at| at.since(now));
        let wall = [
            self.rendezvous.deadline(),
            self.commands.deadline(),
            self.metrics.deadline(),
        ];
        let theirs = wall
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        // Rounded up to the poll's unit: a sleep that ends just before a deadline would be followed by
        // sleeps of nothing.
        let round_up = |sleep: Duration| (sleep + Duration::from_micros(999)).min(LONGEST_SLEEP);
        ours.into_iter().chain(theirs).min().map(round_up)
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn on_deadlines(&mut self) {
        while let Some(timer) = self.deadlines.due(self.clock.now()) {
            match timer {
                Timer::Worker(id) if self.is_mourned(id) => self.mourn(id),
                Timer::Worker(id) => {
                    self.note_lateness(id);
                    self.happen(id, Event::Deadline);
                }
                Timer::Diagnose(id) => self.diagnose(id),
                // The starts of this turn follow.
                Timer::Start => {}
                Timer::Recovery => self.watch_recovery(),
                Timer::Settle => self.settle(),
                Timer::Census(app) => self.take_census(app),
                Timer::Look => self.look_at_workers(),
                Timer::Probe => self.ask_workers(),
                Timer::StopWaiting(app) => self.stop_waiting(app),
                Timer::Operation => self.advance(),
                Timer::Watch => self.look_at_watches(),
                Timer::Backends => self.look_at_backends(),
                Timer::Trial => self.trial_is_late(),
                Timer::Tell => self.tell_how_far(),
                Timer::Pulse => self.feel_pulses(),
                // It is told at the end of this turn.
                Timer::Notice => {}
            }
        }
        let now = Instant::now();
        if self.rendezvous.deadline().is_some_and(|at| at <= now) {
            self.hear_workers();
        }
        if self.commands.deadline().is_some_and(|at| at <= now) {
            self.hear_commands();
        }
        if self.metrics.deadline().is_some_and(|at| at <= now) {
            self.hear_readers();
        }
    }

    fn is_mourned(&self, id: WorkerId) -> bool {
        self.workers
            .get(id)
            .is_some_and(|worker| worker.exit.is_some())
    }

    /// In front of a sentence about an app, where there are several: `web: `.
    fn label(&self, app: &App) -> String {
        match self.apps.count() {
            0 | 1 => String::new(),
            _ => format!("{}: ", app.config.name),
        }
    }

    /// What stands in front of the lines of a slot's workers: `0`, or `web:0` where there are several apps.
    fn tag(&self, app: AppId, slot: SlotId) -> String {
        match self.apps.get(app) {
            Some(app) if self.apps.count() > 1 => format!("{}:{slot}", app.config.name),
            _ => slot.to_string(),
        }
    }

    /// Whose lines a slot's are.
    fn log_place(&self, app: AppId, slot: SlotId) -> Place {
        Place {
            app: self.apps[app].config.name.as_str().into(),
            slot: slot.0,
            named: self.apps.count() > 1,
        }
    }

    /// A slot for people: `slot 0`, or `slot web:0` where there are several apps.
    fn place(&self, app: AppId, slot: SlotId) -> String {
        format!("slot {}", self.tag(app, slot))
    }

    /// This primary's name, as `--name` takes it.
    fn name(&self) -> String {
        let name = self.run_dir.name().map(str::to_owned);
        name.unwrap_or_else(|| std::process::id().to_string())
    }

    /// The last words: to clients that wait for the end, and to the log.
    fn farewell(mut self) -> Result<()> {
        self.reap();
        for id in self.apps.ids() {
            self.close(id);
        }
        let result = match self.failure.take() {
            Some(error) => {
                self.telling.notices.last_words(&error.to_string());
                Err(error)
            }
            None => {
                self.telling.notices.last_words("stopped");
                info!("stopped");
                Ok(())
            }
        };
        self.commands.stopped(result.as_ref().err());
        debug!("removing {}", self.run_dir.control_path().display());
        drop(self.run_dir);
        self.logs.flush(Instant::now() + boot::FLUSH_PATIENCE);
        result
    }
}
