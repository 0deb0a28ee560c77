//! The start of a primary: everything is checked and opened here, in this order, before the first worker is
//! started; what fails here fails in one sentence and leaves nothing behind.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Waker};

use super::source::Source;
use super::{AwakeClock, Phase, Supervisor};
use crate::config::{AppConfig, Balance, Config};
use crate::error::{Error, Result};
use crate::policy::deadlines::Deadlines;
use crate::policy::fleet::Fleet;
use crate::primary::dispatcher::{self, Dispatcher};
use crate::primary::listeners::{self, Listeners};
use crate::primary::rendezvous::Rendezvous;
use crate::primary::rundir::{self, RunDir};
use crate::primary::verbs::Clients;
use crate::primary::workers::Workers;
use crate::primary::{logs, preflight};
use crate::shim_image::SHIM;
use crate::sys::signals::Signals;
use crate::sys::{inherited, limits, process};

/// How long the last lines may take to be written before the primary goes without them.
pub const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Descriptors of the primary that have nothing to do with workers or connections: its pollers, sockets and
/// directories (22 when nothing happens), and some for a start, a client of the control socket, `/proc`.
const OWN: u64 = 32;
/// Descriptors that each worker costs: pidfd, scoreboard, stdout, stderr.
const PER_WORKER: u64 = 4;
/// Descriptors that each worker costs for each listener: both ends of the channel and the copy to read back.
const PER_CHANNEL: u64 = 3;
/// Descriptors that connections never take where there are plenty: for whoever asks at the control socket
/// and at the rendezvous.
const SPARE: u64 = 128;
/// The longest queue of one worker on one listener.
const QUEUE_CAP: u64 = 1024;
/// The shortest queue that is worth a worker.
const LEAST_QUEUE: u64 = 4;

/// Checks and opens everything. Must be called by the main thread, before any other thread is started.
///
/// # Errors
/// One sentence: a command that cannot be run, an address that cannot be listened on, a name that is taken, a
/// limit that is too low.
pub fn boot(mut config: Config) -> Result<Supervisor> {
    let app = config.apps.remove(0);
    // First of all: the descriptors of LISTEN_FDS have fixed numbers.
    let inherited =
        inherited::take().map_err(|error| Error::io("cannot use LISTEN_FDS", &error))?;
    let program = preflight::resolve(
        &app.command,
        app.cwd.as_deref(),
        path_of_workers(&app).as_deref(),
        app.identity.as_ref().map(|who| (who.uid, who.gid)),
    )?;
    let open_files = limits::raise_open_files()
        .map_err(|error| Error::io("cannot read the limit of open files", &error))?;
    let named = app.listen.len().max(inherited.len()).max(1) as u64;
    let (queue_cap, fd_ceiling) = room(&app, named, open_files.now)?;
    let own_user = app
        .identity
        .as_ref()
        .is_none_or(|who| who.uid == nix::unistd::geteuid().as_raw());
    let settings = listeners::Settings {
        backlog: app.backlog,
        own_user,
    };
    let listeners = Listeners::open(&app.listen, inherited, settings)?;
    if app.balance == Balance::Kernel && listeners.shares_a_port_between_doors() {
        return Err(Error::usage(
            "with --balance kernel each port of the server has one listening socket: give it one -l",
        ));
    }
    let mut run_dir = RunDir::create(&rundir::Wish {
        name: config.name.as_deref(),
        control: config.control.as_deref(),
        workers_uid: app.identity.as_ref().map(|who| who.uid),
        image: SHIM,
    })?;
    if let Some(port) = listeners.first_port() {
        run_dir.claim_name(port)?;
    }
    let opened = Opened {
        program,
        open_files,
        queue_cap,
        fd_ceiling,
        listeners,
        run_dir,
    };
    assemble(config, app, opened).map_err(|error| Error::io("cannot start the primary", &error))
}

/// What is open when nothing can fail any more but for want of descriptors or memory.
struct Opened {
    program: preflight::Program,
    open_files: limits::OpenFiles,
    queue_cap: usize,
    fd_ceiling: RawFd,
    listeners: Listeners,
    run_dir: RunDir,
}

fn assemble(config: Config, app: AppConfig, opened: Opened) -> io::Result<Supervisor> {
    let Opened {
        program,
        open_files,
        queue_cap,
        fd_ceiling,
        listeners,
        run_dir,
    } = opened;
    let poll = Poll::new()?;
    let watch = |fd: RawFd, source: Source| {
        let readable = Interest::READABLE;
        poll.registry()
            .register(&mut SourceFd(&fd), source.token(), readable)
    };
    // Before any thread is started: a thread that did not block a signal could be the one to get it.
    let mut signals = Signals::block_and_watch()?;
    poll.registry()
        .register(&mut signals, Source::Signals.token(), Interest::READABLE)?;
    process::become_subreaper()?;
    let logs = logs::start(config.log_level)?;
    let rendezvous = Rendezvous::new(run_dir.rendezvous_socket()?)?;
    watch(rendezvous.as_raw_fd(), Source::Rendezvous)?;
    let commands = Clients::new(run_dir.control_socket()?)?;
    watch(commands.as_raw_fd(), Source::Control)?;
    let (report, reports) = crossbeam_channel::unbounded();
    let waker = Arc::new(Waker::new(poll.registry(), Source::Reports.token())?);
    let settings = dispatcher_settings(&app, queue_cap, fd_ceiling);
    let dispatcher = Dispatcher::start(settings, report, waker)?;
    let now = Instant::now();
    Ok(Supervisor {
        fleet: Fleet::new(app.workers, limits::cpus()),
        program: program.path,
        suspicion: program.suspicion,
        open_files,
        queue_cap,
        poll,
        signals,
        run_dir,
        rendezvous,
        commands,
        listeners,
        dealt: Default::default(),
        dispatcher,
        reports,
        logs,
        workers: Workers::default(),
        census: None,
        strays: false,
        late: Default::default(),
        last_words: Default::default(),
        deadlines: Deadlines::default(),
        clock: AwakeClock::new(now),
        started: now,
        phase: Phase::Serving,
        last_census: None,
        last_look: Default::default(),
        failure: None,
        config,
        app,
    })
}

fn dispatcher_settings(
    app: &AppConfig,
    queue_cap: usize,
    fd_ceiling: RawFd,
) -> dispatcher::Settings {
    dispatcher::Settings {
        slots: app.workers,
        balance: app.balance,
        sticky: app.sticky,
        hash_key: (super::lives::random(), super::lives::random()),
        queue_cap,
        max_held: app.max_held,
        steal_after: app.steal_after,
        fd_ceiling,
    }
}

/// The `PATH` by which the command is searched for: the workers' own.
fn path_of_workers(app: &AppConfig) -> Option<std::ffi::OsString> {
    let given = app.env.iter().rev();
    let mut given = given.filter(|(name, _)| name == OsStr::new("PATH"));
    let given = given.next().map(|(_, value)| value.clone());
    given.or_else(|| std::env::var_os("PATH"))
}

/// How many connections may be queued for one worker on one listener, and the descriptor number at which
/// accepting stops, as far as the limit of open files allows: it counts what is open here, and once more what
/// is in flight (KF9).
fn room(app: &AppConfig, listeners: u64, limit: u64) -> Result<(usize, RawFd)> {
    let slots = app.workers as u64;
    let held = app.max_held as u64;
    let own = OWN + held + slots * (PER_WORKER + PER_CHANNEL * listeners) + 2 * listeners;
    let channels = (slots * listeners).max(1);
    let least = own.max(channels * LEAST_QUEUE);
    if least > limit {
        return Err(Error::failed(format!(
            "{} and {held} held connections (--max-held) need {least} open files, and the limit is {limit}: raise \
             it (ulimit -Hn), or give fewer of them",
            super::words::count(slots, "worker"),
        )));
    }
    let ceiling = limit - ((limit - own) / 2).min(SPARE);
    Ok((
        (limit / channels).min(QUEUE_CAP) as usize,
        RawFd::try_from(ceiling).unwrap_or(RawFd::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_cannot_fit_is_refused_in_one_sentence() {
        let app = |workers| AppConfig {
            workers,
            ..AppConfig::new(vec!["server".into()])
        };
        assert_eq!(
            room(&app(4), 1, 1_048_576).unwrap(),
            (1024, 1_048_576 - 128)
        );
        assert_eq!(room(&app(4), 1, 1200).unwrap().0, 300);
        let error = room(&app(1000), 1, 1024).unwrap_err();
        assert!(error.to_string().contains("1000 workers"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}
