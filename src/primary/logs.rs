//! What the workers print and what we say ourselves, on its way to where it is read: our stdout and stderr, log
//! files, `forkfront logs`.
//!
//! Nobody who writes here ever waits: the workers' pipes are always drained, callers of the `log` macros put
//! their line into a bounded queue, and one writer thread per output may block on it for as long as it likes.
//! What does not fit meanwhile is dropped and counted, and the count takes its place once there is room.
//!
//! The main thread owns the [`Logs`]; threads made here inherit its signal mask, so it is to be started after
//! the signals are blocked.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use log::LevelFilter;
use socket2::Socket;

use crate::config;
use crate::primary::pulse::Pulse;
use crate::protocol::LogsOf;
use crate::sys::handover::Luggage;

mod dump;
pub mod files;
mod frozen;
mod lines;
mod logger;
mod outputs;
mod reader;
mod ring;
mod sink;
mod writer;

pub use frozen::{FrozenLogs, Standstill};
pub use logger::set_level;
pub use outputs::Prepared;
use outputs::{Outputs, Streams};
use reader::Reader;

/// The threads that carry output, and the way to them.
#[derive(Debug)]
pub struct Logs {
    reader: Reader,
    outputs: Outputs,
    counts: Arc<Counts>,
    pulse: Pulse,
}

/// What was counted since the start of the primary.
#[derive(Debug, Default)]
struct Counts {
    /// Lines of the workers.
    lines: AtomicU64,
    /// Lines that an output did not take.
    lost: Arc<AtomicU64>,
}

/// Whose lines come through a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The app.
    pub app: Arc<str>,
    /// The slot.
    pub slot: u16,
    /// Several apps run, so that the app is said.
    pub named: bool,
}

/// What a client wants to see of the log.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Whose lines; all, if not said.
    pub of: Option<LogsOf>,
    /// The app that a slot without one is of.
    pub only_app: Option<String>,
    /// Only what was printed since then, ms since 1970.
    pub since: Option<i64>,
    /// Only the last of them.
    pub lines: Option<usize>,
    /// And all that follows.
    pub follow: bool,
    /// What is said if nothing is there and nothing can come.
    pub unknown: Option<String>,
}

/// Starts the threads and makes them the target of the `log` macros. Files were opened before ([`Prepared`]).
///
/// # Errors
/// Those of dup(2), epoll_create(2) and of starting a thread.
pub fn start(level: LevelFilter, prepared: Prepared) -> io::Result<Logs> {
    let logs = Logs::with(Streams::standard()?, prepared)?;
    logs.reader.install_logger(level);
    Ok(logs)
}

/// As [`start`], going on where another image has stopped. Files that cannot be opened any more are complained of,
/// and lines go to stdout and stderr then.
///
/// # Errors
/// Those of [`start`]; `InvalidData` for a pipe that did not come along.
pub fn thaw(
    level: LevelFilter,
    wish: &config::Logs,
    frozen: FrozenLogs,
    luggage: &mut Luggage<'_>,
) -> io::Result<Logs> {
    let (prepared, trouble) = match Prepared::new(wish) {
        Ok(prepared) => (prepared, None),
        Err(why) => (Prepared::without_file(wish), Some(why)),
    };
    let logs = Logs::thaw_over(Streams::standard()?, prepared, frozen, luggage)?;
    logs.reader.install_logger(level);
    if let Some(why) = trouble {
        log::error!("{why}; lines go to stdout and stderr until SIGUSR1 has it tried again");
    }
    Ok(logs)
}

impl Logs {
    /// Starts the threads over these two outputs and leaves the `log` macros alone.
    ///
    /// # Errors
    /// Those of epoll_create(2) and of starting a thread.
    pub fn over(stdout: OwnedFd, stderr: OwnedFd, prepared: Prepared) -> io::Result<Self> {
        Self::with(Streams { stdout, stderr }, prepared)
    }

    fn with(streams: Streams, prepared: Prepared) -> io::Result<Self> {
        let counts = Arc::<Counts>::default();
        let outputs = Outputs::start(streams, prepared, &counts.lost)?;
        Ok(Self {
            reader: Reader::start(outputs.clone(), counts.clone())?,
            outputs,
            counts,
            pulse: Pulse::default(),
        })
    }

    fn thaw_over(
        streams: Streams,
        prepared: Prepared,
        frozen: FrozenLogs,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Self> {
        let counts = Arc::<Counts>::default();
        counts.lines.store(frozen.lines, Relaxed);
        counts.lost.store(frozen.lost, Relaxed);
        let outputs = Outputs::start(streams, prepared, &counts.lost)?;
        outputs.take_over(frozen.stdout, frozen.stderr, frozen.files);
        let reader = Reader::thaw(outputs.clone(), counts.clone(), frozen.reader, luggage)?;
        Ok(Self {
            reader,
            outputs,
            counts,
            pulse: Pulse::default(),
        })
    }

    /// Takes over the read ends of a worker's stdout and stderr: drained until their end, whoever still
    /// holds the other side.
    pub fn attach(&self, place: Place, pid: u32, stdout: OwnedFd, stderr: OwnedFd) {
        self.reader.attach(place, pid, stdout, stderr);
    }

    /// The last lines that a worker printed, also shortly after its end. What is still in its pipes is read
    /// first; the caller waits for that a tenth of a second at most.
    pub fn tail(&self, pid: u32) -> Vec<String> {
        self.reader.tail(pid)
    }

    /// Whether the thread has come round since it was last asked; asks again.
    pub fn feel_pulse(&mut self) -> bool {
        let felt = self.pulse.is_felt();
        self.reader.beat(self.pulse.ask());
        felt
    }

    /// From now on lines look, and go, as was prepared. The files so far are written to their end.
    ///
    /// # Errors
    /// That of starting a thread; nothing has changed then.
    pub fn change(&mut self, prepared: Prepared) -> io::Result<()> {
        self.outputs.change(prepared, &self.counts.lost)?;
        self.reader.use_outputs(self.outputs.clone());
        Ok(())
    }

    /// Opens the log files anew: they were moved away. False: there is none.
    pub fn reopen(&self) -> bool {
        self.outputs.reopen()
    }

    /// Shows a client of the control socket the lines that it wishes to see, until it or they end.
    pub fn show(&self, client: Socket, wish: Wish) {
        self.reader.show(client, wish);
    }

    /// Lines that the workers have printed.
    pub fn printed(&self) -> u64 {
        self.counts.lines.load(Relaxed)
    }

    /// Lines, of theirs and ours, that an output did not take: a full pipe, a full disk.
    pub fn dropped(&self) -> u64 {
        self.counts.lost.load(Relaxed)
    }

    /// The log file, or what stands for several, if lines go there.
    pub fn file(&self) -> Option<String> {
        self.outputs.file().map(ToString::to_string)
    }

    /// Reads what the pipes hold now and waits until all is written, or until `deadline`. False: it was not.
    pub fn flush(&self, deadline: Instant) -> bool {
        self.reader.sweep(deadline);
        self.outputs.flush(deadline)
    }
}

/// ms since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

impl Streams {
    /// Copies of our stdout and stderr.
    fn standard() -> io::Result<Self> {
        Ok(Self {
            stdout: io::stdout().as_fd().try_clone_to_owned()?,
            stderr: io::stderr().as_fd().try_clone_to_owned()?,
        })
    }
}
