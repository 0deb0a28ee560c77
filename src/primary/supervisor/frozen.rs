//! The supervisor for the next image: all that it owns, and itself made from that again.
//!
//! What is only remembered for comfort (the last look at `/proc`, what was measured of limited workers) begins
//! anew there.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Waker};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::awake::AwakeClock;
use super::operations::{FrozenOperations, Operations};
use super::source::Source;
use super::telling::Telling;
use super::{Supervisor, Timer};
use crate::config::Config;
use crate::policy::deadlines::{Deadlines, Moment};
use crate::policy::ids::WorkerId;
use crate::primary::app::frozen::{FrozenApps, FrozenDispatchers, Releases};
use crate::primary::app::release::{FrozenRelease, Release};
use crate::primary::app::room::Room;
use crate::primary::app::{Apps, Means};
use crate::primary::health::{FrozenHealth, Health};
use crate::primary::logs::{self, FrozenLogs, Standstill};
use crate::primary::metrics::{FrozenMetrics, Metrics};
use crate::primary::rendezvous::{FrozenRendezvous, Rendezvous};
use crate::primary::rundir::{FrozenRunDir, RunDir};
use crate::primary::upgrade::way_back::WayBack;
use crate::primary::verbs::{Clients, FrozenClients};
use crate::primary::workers::{FrozenWorkers, Workers};
use crate::shim_image::SHIM;
use crate::sys::handover::{self, Luggage, Ticket};
use crate::sys::limits::{self, OpenFiles};
use crate::sys::process;
use crate::sys::signals::Signals;

/// As [`Supervisor`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Frozen {
    /// The program of now, for the way back.
    pub program: Ticket,
    config: Config,
    #[serde(with = "handover::path_if_any")]
    home: Option<PathBuf>,
    #[serde(with = "handover::path")]
    binary: PathBuf,
    open_files: OpenFiles,
    room: Room,
    hash_key: (u64, u64),
    run_dir: FrozenRunDir,
    rendezvous: FrozenRendezvous,
    commands: FrozenClients,
    logs: FrozenLogs,
    releases: Vec<FrozenRelease>,
    workers: FrozenWorkers,
    apps: FrozenApps,
    /// Standing still; goes on in this image if there is to be no other.
    pub(super) dispatchers: FrozenDispatchers,
    #[serde(default)]
    late: HashMap<WorkerId, String>,
    /// Timers that another version does not know are left out.
    deadlines: Vec<(Value, Moment)>,
    now: Moment,
    uptime: Duration,
    operations: FrozenOperations,
    announced: bool,
    #[serde(default)]
    health: FrozenHealth,
    #[serde(default)]
    metrics: FrozenMetrics,
}

impl Supervisor {
    /// What the next image needs: all that there is, named one by one, so that a new one is not forgotten.
    pub(super) fn freeze<'a>(
        &'a self,
        (program, dispatchers, logs): (Ticket, FrozenDispatchers, &'a Standstill),
        luggage: &mut Luggage<'a>,
    ) -> Frozen {
        let Self {
            config,
            apps,
            means,
            home,
            binary,
            open_files,
            poll: _,
            signals: _,
            run_dir,
            rendezvous,
            commands,
            logs: _,
            workers,
            census: _,
            strays: _,
            late,
            deadlines,
            clock,
            started,
            operations,
            stopping: _,
            announced,
            telling: _,
            last_look: _,
            health,
            metrics,
            failure: _,
        } = self;
        let places = &mut Releases::default();
        Frozen {
            program,
            config: config.clone(),
            home: home.clone(),
            binary: binary.clone(),
            open_files: *open_files,
            room: means.room,
            hash_key: means.hash_key,
            run_dir: run_dir.freeze(luggage),
            rendezvous: rendezvous.freeze(luggage),
            commands: commands.freeze(luggage),
            logs: logs.freeze(luggage),
            workers: workers.freeze(luggage, |release| places.place(release)),
            apps: apps.freeze(luggage, places),
            releases: places.freeze(),
            dispatchers,
            late: late.clone(),
            deadlines: frozen_timers(deadlines),
            now: clock.now(),
            uptime: started.elapsed(),
            operations: operations.freeze(),
            announced: *announced,
            health: health.freeze(),
            metrics: metrics.freeze(luggage),
        }
    }

    /// As another image left it. All accept and read again when this returns; until then there is a way back.
    pub fn thaw(frozen: Frozen, luggage: &mut Luggage<'_>, back: &WayBack) -> Self {
        let poll = back.need("cannot wait for events", Poll::new());
        let thaw = |what| format!("cannot take over {what}");
        let signals = watch_signals(&poll);
        let signals = back.need(&thaw("the signals"), signals);
        let config = &frozen.config;
        let logs = logs::thaw(config.log_level, &config.logs, frozen.logs, luggage);
        let logs = back.need(&thaw("the workers' output"), logs);
        let run_dir = RunDir::thaw(frozen.run_dir, luggage);
        let run_dir = back.need(&thaw("the run directory"), run_dir);
        let doors = thaw_doors(&run_dir, frozen.rendezvous, frozen.commands, luggage);
        let (rendezvous, commands) = back.need(&thaw("the sockets of the run directory"), doors);
        let metrics = Metrics::thaw(frozen.metrics, luggage, frozen.uptime);
        let metrics = back.need(&thaw("who reads the metrics"), metrics);
        let releases = thaw_releases(frozen.releases);
        let workers = Workers::thaw(frozen.workers, luggage, &releases);
        let workers = back.need(&thaw("the workers"), workers);
        let waker = Waker::new(poll.registry(), Source::Reports.token());
        let means = Means {
            room: frozen.room,
            waker: Arc::new(back.need("cannot wake the main thread", waker)),
            cpus: limits::cpus(),
            hash_key: frozen.hash_key,
        };
        let parts = (&releases[..], &workers, &means);
        let apps = Apps::thaw(frozen.apps, frozen.dispatchers, luggage, parts);
        let mut this = Self {
            apps: back.need(&thaw("the apps"), apps),
            means,
            home: frozen.home,
            binary: frozen.binary,
            open_files: frozen.open_files,
            poll,
            signals,
            run_dir,
            rendezvous,
            commands,
            logs,
            workers,
            census: None,
            // Somebody may have died while nobody looked.
            strays: true,
            late: frozen.late,
            deadlines: timers(frozen.deadlines),
            clock: AwakeClock::from(frozen.now, Instant::now()),
            started: before(frozen.uptime),
            operations: Operations::thaw(frozen.operations),
            stopping: false,
            announced: frozen.announced,
            telling: Telling::taken_over(),
            last_look: Default::default(),
            health: Health::thaw(frozen.health),
            metrics,
            failure: None,
            config: frozen.config,
        };
        let watched = this.watch_all();
        back.need("cannot watch what was taken over", watched);
        back.need("cannot start a thread", this.apps.go_on());
        this
    }

    fn watch_all(&mut self) -> io::Result<()> {
        for app in self.apps.iter() {
            self.health.drains.note(&app.listeners);
        }
        let watch = |fd: RawFd, source: Source| {
            let readable = Interest::READABLE;
            let registry = self.poll.registry();
            registry.register(&mut SourceFd(&fd), source.token(), readable)
        };
        watch(self.rendezvous.as_raw_fd(), Source::Rendezvous)?;
        watch(self.commands.as_raw_fd(), Source::Control)?;
        super::metrics::watch(&self.poll, &self.metrics)?;
        // Whoever has died meanwhile is readable at once.
        let living = self.workers.iter().filter(|worker| worker.exit.is_none());
        for worker in living {
            watch(worker.pidfd().as_fd().as_raw_fd(), Source::Exit(worker.id))?;
        }
        Ok(())
    }

    /// Workers that are started from now on get our own shim; those that run keep theirs.
    pub(super) fn bring_own_shim(&mut self) {
        if let Err(error) = self.run_dir.renew_shim(SHIM) {
            warn!("{error}; new workers go on to get the former one");
        }
    }
}

fn thaw_doors(
    run_dir: &RunDir,
    rendezvous: FrozenRendezvous,
    commands: FrozenClients,
    luggage: &mut Luggage<'_>,
) -> io::Result<(Rendezvous, Clients)> {
    let rendezvous = Rendezvous::thaw(run_dir.rendezvous_socket()?, rendezvous, luggage)?;
    let commands = Clients::thaw(run_dir.control_socket()?, commands, luggage)?;
    Ok((rendezvous, commands))
}

fn thaw_releases(frozen: Vec<FrozenRelease>) -> Vec<Rc<Release>> {
    let releases = frozen.into_iter();
    releases.map(|one| Rc::new(Release::thaw(one))).collect()
}

/// Signals come as events from now on.
///
/// # Errors
/// Those of signalfd(2), epoll_ctl(2) and prctl(2).
pub(super) fn watch_signals(poll: &Poll) -> io::Result<Signals> {
    let mut signals = Signals::block_and_watch()?;
    poll.registry()
        .register(&mut signals, Source::Signals.token(), Interest::READABLE)?;
    process::become_subreaper()?;
    Ok(signals)
}

fn frozen_timers(deadlines: &Deadlines<Timer>) -> Vec<(Value, Moment)> {
    let all = deadlines.all();
    all.filter_map(|(timer, at)| Some((serde_json::to_value(timer).ok()?, at)))
        .collect()
}

fn timers(frozen: Vec<(Value, Moment)>) -> Deadlines<Timer> {
    let mut deadlines = Deadlines::default();
    for (timer, at) in frozen {
        if let Ok(timer) = serde_json::from_value(timer) {
            deadlines.set(timer, at);
        }
    }
    deadlines
}

/// So long ago, as far as this clock reaches back.
fn before(age: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(age).unwrap_or(now)
}
