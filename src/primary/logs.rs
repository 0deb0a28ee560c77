//! What the workers print and what we say ourselves, on its way to our stdout and stderr.
//!
//! Nobody who writes here ever waits: the workers' pipes are always drained, callers of the `log` macros put
//! their line into a bounded queue, and one writer thread per output may block on it for as long as it likes.
//! What does not fit meanwhile is dropped and counted, and the count takes its place once there is room.
//!
//! The main thread owns the [`Logs`]; threads made here inherit its signal mask, so it is to be started after
//! the signals are blocked.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use log::LevelFilter;
use serde::{Deserialize, Serialize};

use crate::primary::pulse::Pulse;
use crate::sys::handover::Luggage;

mod frozen;
mod lines;
mod logger;
mod reader;
mod sink;

pub use frozen::{FrozenLogs, Standstill};
pub use logger::set_level;
use reader::Reader;
use sink::Sink;

/// The threads that carry output, and the way to them.
#[derive(Debug)]
pub struct Logs {
    reader: Reader,
    outputs: Outputs,
    pulse: Pulse,
}

/// Where lines end up. Both may be one, so that a shared file or terminal keeps the order.
#[derive(Clone, Debug)]
struct Outputs {
    stdout: Arc<Sink>,
    stderr: Arc<Sink>,
}

/// Which of a worker's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stream {
    Stdout,
    Stderr,
}

impl Outputs {
    /// Starts the writers.
    fn start(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        let one = same_file(&stdout, &stderr);
        let stdout = Sink::start("forkfront-stdout", stdout)?;
        let stderr = if one {
            Arc::clone(&stdout)
        } else {
            Sink::start("forkfront-stderr", stderr)?
        };
        Ok(Self { stdout, stderr })
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Sink>> {
        let both = !Arc::ptr_eq(&self.stdout, &self.stderr);
        std::iter::once(&self.stdout).chain(both.then_some(&self.stderr))
    }

    fn of(&self, stream: Stream) -> &Sink {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    fn flush(&self, deadline: Instant) -> bool {
        // Both, even if the first is late: it may be blocked and the other not.
        let stdout = self.stdout.flush(deadline);
        self.stderr.flush(deadline) && stdout
    }
}

/// Starts the threads and makes them the target of the `log` macros.
///
/// # Errors
/// Those of dup(2), epoll_create(2) and of starting a thread.
pub fn start(level: LevelFilter) -> io::Result<Logs> {
    let (stdout, stderr) = standard()?;
    let logs = Logs::over(stdout, stderr)?;
    logger::install(&logs.outputs.stderr, level);
    Ok(logs)
}

/// As [`start`], going on where another image has stopped.
///
/// # Errors
/// Those of [`start`]; `InvalidData` for a pipe that did not come along.
pub fn thaw(level: LevelFilter, frozen: FrozenLogs, luggage: &mut Luggage<'_>) -> io::Result<Logs> {
    let (stdout, stderr) = standard()?;
    let logs = Logs::thaw_over(stdout, stderr, frozen, luggage)?;
    logger::install(&logs.outputs.stderr, level);
    Ok(logs)
}

/// Copies of our stdout and stderr.
fn standard() -> io::Result<(OwnedFd, OwnedFd)> {
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((stdout, io::stderr().as_fd().try_clone_to_owned()?))
}

impl Logs {
    /// Starts the threads over these two outputs and leaves the `log` macros alone.
    ///
    /// # Errors
    /// Those of epoll_create(2) and of starting a thread.
    pub fn over(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        let outputs = Outputs::start(stdout, stderr)?;
        Ok(Self {
            reader: Reader::start(outputs.clone())?,
            outputs,
            pulse: Pulse::default(),
        })
    }

    fn thaw_over(
        stdout: OwnedFd,
        stderr: OwnedFd,
        frozen: FrozenLogs,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Self> {
        let outputs = Outputs::start(stdout, stderr)?;
        outputs.stdout.take_over(frozen.stdout);
        outputs.stderr.take_over(frozen.stderr.unwrap_or_default());
        Ok(Self {
            reader: Reader::thaw(outputs.clone(), frozen.reader, luggage)?,
            outputs,
            pulse: Pulse::default(),
        })
    }

    /// Takes over the read ends of a worker's stdout and stderr: drained until their end, whoever still
    /// holds the other side. `slot` stands in front of its lines.
    pub fn attach(&self, slot: String, pid: u32, stdout: OwnedFd, stderr: OwnedFd) {
        self.reader.attach(slot, pid, stdout, stderr);
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

    /// Reads what the pipes hold now and waits until all is written, or until `deadline`. False: it was not.
    pub fn flush(&self, deadline: Instant) -> bool {
        self.reader.sweep(deadline);
        self.outputs.flush(deadline)
    }
}

/// Whether both lead to the same open file, pipe or terminal.
fn same_file(one: &OwnedFd, other: &OwnedFd) -> bool {
    use nix::sys::stat::fstat;
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

/// How lines look on one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    /// People read it here and now: control bytes are made visible.
    terminal: bool,
    /// Prefixes have colours.
    colour: bool,
}

impl Look {
    fn of(output: &OwnedFd) -> Self {
        let terminal = output.is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            terminal,
            colour: terminal && !dumb && !set("NO_COLOR"),
        }
    }
}
