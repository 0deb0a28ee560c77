//! The start of a primary: everything is checked and opened here, in this order, before the first worker is
//! started; what fails here fails in one sentence and leaves nothing behind.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Waker};

use super::frozen::watch_signals;
use super::source::Source;
use super::{AwakeClock, Supervisor};
use crate::config::{AppConfig, Config};
use crate::error::{Error, Result};
use crate::policy::deadlines::Deadlines;
use crate::primary::app::room::{Beside, Room};
use crate::primary::app::{Apps, Means, Prepared, release};
use crate::primary::backends::resolve::circle;
use crate::primary::metrics::{self, Metrics};
use crate::primary::rendezvous::Rendezvous;
use crate::primary::rundir::{self, RunDir};
use crate::primary::upgrade;
use crate::primary::verbs::Clients;
use crate::primary::workers::Workers;
use crate::primary::{listeners, logs};
use crate::shim_image::SHIM;
use crate::sys::{inherited, limits};

/// How long the last lines may take to be written before the primary goes without them.
pub const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Checks and opens everything. Must be called by the main thread, before any other thread is started.
///
/// # Errors
/// One sentence: a command that cannot be run, an address that cannot be listened on, a name that is taken, a
/// limit that is too low.
pub fn boot(config: Config) -> Result<Supervisor> {
    // First of all: the descriptors of LISTEN_FDS have fixed numbers.
    let inherited =
        inherited::take().map_err(|error| Error::io("cannot use LISTEN_FDS", &error))?;
    let home = release::logical_directory();
    let open_files = limits::raise_open_files()
        .map_err(|error| Error::io("cannot read the limit of open files", &error))?;
    let apps: Vec<_> = config.apps.iter().collect();
    let beside = Beside {
        inherited: inherited.len(),
        metrics: metrics::descriptors(config.metrics.as_ref()),
    };
    let room = Room::of(&apps, beside, open_files.now)?;
    let listen = |app: &&AppConfig| (app.name.clone(), app.listen.clone());
    let listen: Vec<_> = apps.iter().map(listen).collect();
    let inherited = listeners::share_out(inherited, &listen);
    if let Some(why) = circle(&config.apps) {
        return Err(Error::failed(why));
    }
    let mut prepared = Vec::new();
    for (app, inherited) in apps.into_iter().zip(inherited) {
        let mut app = Prepared::new(app.clone(), inherited, home.as_deref())?;
        app.resolve()?;
        prepared.push(app);
    }
    let prepared_logs = logs::Prepared::new(&config.logs).map_err(Error::failed)?;
    let readers = config.metrics.as_ref().map(metrics::open).transpose()?;
    let mut run_dir = RunDir::create(&rundir::Wish {
        name: config.name.as_deref(),
        control: config.control.as_deref(),
        workers_uids: &users(&config),
        image: SHIM,
    })?;
    if let Some(port) = prepared.iter().find_map(Prepared::first_port) {
        run_dir.claim_name(port)?;
    }
    let opened = Opened {
        prepared,
        room,
        home,
        open_files,
        run_dir,
        prepared_logs,
        metrics: Metrics::new(readers, Duration::ZERO),
    };
    assemble(config, opened).map_err(|error| Error::io("cannot start the primary", &error))
}

/// Whom the workers of all apps run as, if not as the primary does.
pub fn users(config: &Config) -> Vec<u32> {
    let identities = config.apps.iter().filter_map(|app| app.identity.as_ref());
    identities.map(|who| who.uid).collect()
}

/// What is open when nothing can fail any more but for want of descriptors or memory.
struct Opened {
    prepared: Vec<Prepared>,
    room: Room,
    home: Option<PathBuf>,
    open_files: limits::OpenFiles,
    run_dir: RunDir,
    prepared_logs: logs::Prepared,
    metrics: Metrics,
}

fn assemble(config: Config, opened: Opened) -> io::Result<Supervisor> {
    let Opened {
        prepared,
        room,
        home,
        open_files,
        run_dir,
        prepared_logs,
        metrics,
    } = opened;
    let poll = Poll::new()?;
    let watch = |fd: RawFd, source: Source| {
        let readable = Interest::READABLE;
        poll.registry()
            .register(&mut SourceFd(&fd), source.token(), readable)
    };
    // Before any thread is started: a thread that did not block a signal could be the one to get it.
    let signals = watch_signals(&poll)?;
    let logs = logs::start(config.log_level, prepared_logs)?;
    let rendezvous = Rendezvous::new(run_dir.rendezvous_socket()?)?;
    watch(rendezvous.as_raw_fd(), Source::Rendezvous)?;
    let commands = Clients::new(run_dir.control_socket()?)?;
    watch(commands.as_raw_fd(), Source::Control)?;
    super::metrics::watch(&poll, &metrics)?;
    let means = Means {
        room,
        waker: Arc::new(Waker::new(poll.registry(), Source::Reports.token())?),
        cpus: limits::cpus(),
        hash_key: (super::lives::random(), super::lives::random()),
    };
    let now = Instant::now();
    Ok(Supervisor {
        apps: Apps::start(prepared, &means)?,
        means,
        home,
        binary: upgrade::own_path(),
        open_files,
        poll,
        signals,
        run_dir,
        rendezvous,
        commands,
        logs,
        workers: Workers::default(),
        census: None,
        strays: false,
        late: Default::default(),
        deadlines: Deadlines::default(),
        clock: AwakeClock::new(now),
        started: now,
        operations: Default::default(),
        stopping: false,
        announced: false,
        telling: Default::default(),
        last_look: Default::default(),
        health: Default::default(),
        metrics,
        failure: None,
        config,
    })
}
