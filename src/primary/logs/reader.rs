//! The thread that drains the workers' pipes, always, so that no worker ever blocks on printing.
//!
//! It holds the pipes, cuts them into lines and leaves those with the sinks. It is told what to do over a
//! channel with a waker behind it, so that the main thread hands over a pipe without waiting. For an upgrade it
//! stands still and shows what it has ([`Still`]).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::Waker;

use super::frozen::{FrozenPipe, FrozenReader, FrozenWorker};
use super::{Outputs, Stream};
use crate::primary::pulse::Beat;
use crate::sys::handover::{Bytes, Kind, Luggage};
use thread::Thread;

mod thread;

/// How long a question for last lines waits for the thread.
const TAIL_PATIENCE: Duration = Duration::from_millis(100);

enum Order {
    Attach {
        slot: String,
        pid: u32,
        pipes: [(Stream, OwnedFd); 2],
    },
    Tail {
        pid: u32,
        answer: Sender<Vec<String>>,
    },
    Sweep {
        answer: Sender<()>,
    },
    /// Shows that it still goes round.
    Beat(Beat),
    /// Shows what it has and stands still until the other end of `resume` is gone.
    Stand {
        answer: Sender<Shown>,
        resume: Receiver<()>,
    },
}

/// What the thread has, while it stands still.
#[derive(Debug)]
struct Shown {
    pipes: Vec<ShownPipe>,
    workers: Vec<FrozenWorker>,
    ended: Vec<usize>,
    next: usize,
}

#[derive(Debug)]
struct ShownPipe {
    number: usize,
    end: Arc<OwnedFd>,
    stream: Stream,
    worker: usize,
    prefix: Vec<u8>,
    partial: Vec<u8>,
}

/// The thread stands still until this is dropped.
#[derive(Debug)]
pub struct Still {
    shown: Shown,
    _resume: Sender<()>,
}

impl Still {
    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenReader {
        let Shown {
            pipes,
            workers,
            ended,
            next,
        } = &self.shown;
        let frozen = |pipe: &'a ShownPipe| FrozenPipe {
            number: pipe.number,
            end: luggage.lend(Kind::Pipe, pipe.end.as_fd()),
            stream: pipe.stream,
            worker: pipe.worker,
            prefix: Bytes(pipe.prefix.clone()),
            partial: Bytes(pipe.partial.clone()),
        };
        FrozenReader {
            pipes: pipes.iter().map(frozen).collect(),
            workers: workers.clone(),
            ended: ended.clone(),
            next: *next,
        }
    }
}

/// The way to the thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Reader {
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

impl Reader {
    pub fn start(outputs: Outputs) -> io::Result<Self> {
        let (reader, thread) = Self::new(outputs)?;
        thread.start(Vec::new())?;
        Ok(reader)
    }

    /// As another image left it.
    pub fn thaw(
        outputs: Outputs,
        frozen: FrozenReader,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Self> {
        let (reader, mut thread) = Self::new(outputs)?;
        let more = thread.thaw(frozen, luggage)?;
        thread.start(more)?;
        Ok(reader)
    }

    fn new(outputs: Outputs) -> io::Result<(Self, Thread)> {
        let (orders, received) = unbounded();
        let (thread, waker) = Thread::new(received, outputs)?;
        Ok((Self { orders, waker }, thread))
    }

    /// Makes the thread stand still; `None` if it did not before `deadline`, and goes on.
    pub fn stand_still(&self, deadline: Instant) -> Option<Still> {
        let (answer, shown) = bounded(1);
        let (_resume, resume) = bounded(0);
        self.order(Order::Stand { answer, resume });
        let shown = shown.recv_deadline(deadline).ok()?;
        Some(Still { shown, _resume })
    }

    pub fn attach(&self, slot: String, pid: u32, stdout: OwnedFd, stderr: OwnedFd) {
        self.order(Order::Attach {
            slot,
            pid,
            pipes: [(Stream::Stdout, stdout), (Stream::Stderr, stderr)],
        });
    }

    pub fn tail(&self, pid: u32) -> Vec<String> {
        let (answer, lines) = bounded(1);
        self.order(Order::Tail { pid, answer });
        lines.recv_timeout(TAIL_PATIENCE).unwrap_or_default()
    }

    /// Waits until what the pipes hold now has been read.
    pub fn sweep(&self, deadline: Instant) {
        let (answer, done) = bounded(1);
        self.order(Order::Sweep { answer });
        let _ = done.recv_deadline(deadline);
    }

    /// The thread is to show that it still goes round.
    pub fn beat(&self, beat: Beat) {
        self.order(Order::Beat(beat));
    }

    fn order(&self, order: Order) {
        // The thread lives as long as `self`, and a waker that was written to is awake already.
        let _ = self.orders.send(order);
        let _ = self.waker.wake();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (unconnected, _) = unbounded();
        self.orders = unconnected;
        let _ = self.waker.wake();
    }
}
