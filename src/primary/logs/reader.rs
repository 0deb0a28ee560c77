//! The log thread: drains the workers' pipes, always, so that no worker ever blocks on printing, and takes our own
//! lines.
//!
//! It holds the pipes, cuts them into lines and leaves those with the sinks and in the ring, from which it shows
//! them to followers. It is told what to do over a channel with a waker behind it, so that the main thread hands
//! over a pipe without waiting. For an upgrade it stands still and shows what it has ([`Still`]).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use log::LevelFilter;
use mio::Waker;
use socket2::Socket;

use super::frozen::{FrozenFollower, FrozenPipe, FrozenReader, FrozenWorker, Reading};
use super::logger::{self, OwnLines};
use super::outputs::Outputs;
use super::{Counts, Place, Wish};
use crate::primary::pulse::Beat;
use crate::protocol::line::{Stream, tag};
use crate::sys::handover::{Bytes, Kind, Luggage};
use thread::Thread;

mod follower;
mod tails;
mod thread;

/// How long a question for last lines waits for the thread.
const TAIL_PATIENCE: Duration = Duration::from_millis(100);

enum Order {
    Attach {
        place: Place,
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
    /// Lines go here from now on.
    Use(Outputs),
    /// Shows a client what it wishes to see.
    Show(Socket, Wish),
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
    ring: Option<OwnedFd>,
    followers: Vec<(Arc<Socket>, Reading)>,
    own: Arc<OwnLines>,
}

#[derive(Debug)]
struct ShownPipe {
    number: usize,
    end: Arc<OwnedFd>,
    stream: Stream,
    worker: usize,
    place: Place,
    pid: u32,
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
            ring,
            followers,
            own,
        } = &self.shown;
        let pipes = pipes.iter().map(|pipe| {
            let Place { app, slot, named } = &pipe.place;
            let words = tag(named.then_some(&**app), *slot);
            FrozenPipe {
                number: pipe.number,
                end: luggage.lend(Kind::Pipe, pipe.end.as_fd()),
                stream: pipe.stream,
                worker: pipe.worker,
                app: app.to_string(),
                slot: Some(*slot),
                named: *named,
                pid: pipe.pid,
                prefix: Bytes(format!("[{words} {}] ", pipe.pid).into_bytes()),
                partial: Bytes(pipe.partial.clone()),
            }
        });
        FrozenReader {
            pipes: pipes.collect(),
            workers: workers.clone(),
            ended: ended.clone(),
            next: *next,
            ring: ring
                .as_ref()
                .map(|ring| luggage.lend(Kind::Memfd, ring.as_fd())),
            followers: followers
                .iter()
                .map(|(socket, reading)| FrozenFollower {
                    socket: luggage.lend(Kind::Control, socket.as_fd()),
                    reading: reading.clone(),
                })
                .collect(),
            own: own.waiting(),
        }
    }
}

/// The way to the thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Reader {
    orders: Sender<Order>,
    waker: Arc<Waker>,
    own: Arc<OwnLines>,
}

impl Reader {
    pub fn start(outputs: Outputs, counts: Arc<Counts>) -> io::Result<Self> {
        let (reader, thread) = Self::new(outputs, counts)?;
        thread.start(Vec::new(), None)?;
        Ok(reader)
    }

    /// As another image left it.
    pub fn thaw(
        outputs: Outputs,
        counts: Arc<Counts>,
        frozen: FrozenReader,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Self> {
        let (reader, mut thread) = Self::new(outputs, counts)?;
        let ring = frozen.ring.map(|ring| luggage.take(ring, Kind::Memfd));
        let more = thread.thaw(frozen, luggage)?;
        thread.start(more, ring.transpose()?)?;
        Ok(reader)
    }

    fn new(outputs: Outputs, counts: Arc<Counts>) -> io::Result<(Self, Thread)> {
        let (orders, received) = unbounded();
        let (thread, waker, own) = Thread::new(received, outputs, counts)?;
        Ok((Self { orders, waker, own }, thread))
    }

    /// From now on the `log` macros lead here.
    pub fn install_logger(&self, level: LevelFilter) {
        logger::install(self.own.clone(), level);
    }

    /// Makes the thread stand still; `None` if it did not before `deadline`, and goes on.
    pub fn stand_still(&self, deadline: Instant) -> Option<Still> {
        let (answer, shown) = bounded(1);
        let (_resume, resume) = bounded(0);
        self.order(Order::Stand { answer, resume });
        let shown = shown.recv_deadline(deadline).ok()?;
        Some(Still { shown, _resume })
    }

    pub fn attach(&self, place: Place, pid: u32, stdout: OwnedFd, stderr: OwnedFd) {
        self.order(Order::Attach {
            place,
            pid,
            pipes: [(Stream::Stdout, stdout), (Stream::Stderr, stderr)],
        });
    }

    pub fn tail(&self, pid: u32) -> Vec<String> {
        let (answer, lines) = bounded(1);
        self.order(Order::Tail { pid, answer });
        lines.recv_timeout(TAIL_PATIENCE).unwrap_or_default()
    }

    pub fn use_outputs(&self, outputs: Outputs) {
        self.order(Order::Use(outputs));
    }

    pub fn show(&self, client: Socket, wish: Wish) {
        self.order(Order::Show(client, wish));
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
