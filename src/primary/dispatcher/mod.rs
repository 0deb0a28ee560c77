//! The dispatcher thread: accepts, chooses, hands off, reads back. It waits for nothing but the kernel:
//! commands come over a channel with a waker, reports go up over another, and nothing here logs,
//! allocates per connection, forks, or touches a file.
//!
//! `state` is the loop; `lane` is one listener with its seats, `closing` its end; `seat` is one worker on one
//! listener, `places` which of them a slot is dealt by; `peek` is where those wait of which something has to be read
//! first; `choice` finds the seat for a connection, `deal` sends it there; in `waiting` are those whose slot does not
//! take them yet; `recall` gets connections back; `probe` sends the primary's own; `frozen` is all of it as values, to
//! go on with later. This file is the handle
//! that the main thread holds.

mod burst;
mod choice;
mod closing;
mod deal;
mod frozen;
mod lane;
mod peek;
mod places;
mod probe;
mod recall;
mod seat;
mod state;
#[cfg(test)]
mod tests;
mod waiting;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::{Poll, Token, Waker};
use serde::{Deserialize, Serialize};

use crate::config::{Routing, Speed};
use crate::policy::ids::{ListenerId, WorkerId};
use crate::primary::app::room::Room;
use crate::primary::messages::{Command, Report, Snapshot};
use crate::primary::pulse::Pulse;
use crate::sys::board::Board;
use crate::sys::handover::Luggage;
pub use frozen::Frozen;
use peek::Place;
use state::State;

/// What the dispatcher is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Number of slots.
    pub slots: usize,
    /// Where connections go.
    pub routing: Routing,
    /// Secret of that hash, for the life of the primary.
    pub hash_key: (u64, u64),
    /// Most connections queued for one worker on one listener.
    pub queue_cap: usize,
    /// Most connections held here while no worker takes them.
    pub max_held: usize,
    /// Age at which a queue that does not move is read back.
    pub steal_after: Duration,
    /// How long connections that come densely may gather before they are accepted; 0: never.
    #[serde(default = "usual_gather_max")]
    pub gather_max: Duration,
    /// Accepting stops at this descriptor number, so that the rest of the primary never runs out.
    pub fd_ceiling: RawFd,
    /// Most connections whose first bytes are waited for, as far as descriptors go.
    pub peek_room: usize,
    /// The workers are proxies of ours: whoever wakes the dispatcher up finishes first.
    #[serde(default)]
    pub for_proxies: bool,
}

/// What another version did not know.
fn usual_gather_max() -> Duration {
    Speed::default().gather_max
}

impl Settings {
    /// As far as descriptors go.
    fn fit(&mut self, room: Room) {
        self.queue_cap = room.queue_cap;
        self.fd_ceiling = room.fd_ceiling;
        self.peek_room = room.peeked;
    }
}

/// The main thread's hold on the dispatcher.
#[derive(Debug)]
pub struct Dispatcher {
    commands: Sender<Command>,
    waker: Waker,
    /// Gives everything back if it ends by [`Command::Freeze`].
    thread: Thread,
    pulse: Pulse,
}

/// Where the dispatcher's state is.
#[derive(Debug)]
enum Thread {
    /// Here: it was thawed and waits for [`Dispatcher::go_on`].
    Waits(Box<State>),
    /// With the thread.
    Runs(JoinHandle<Option<State>>),
    /// In the luggage.
    Frozen,
}

/// How long a snapshot may take before the main thread goes on without it.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(2);

impl Dispatcher {
    /// Starts the thread. Reports go to `reports`, and `up` is woken after each.
    ///
    /// # Errors
    /// Those of epoll_create(2), eventfd(2) and of starting a thread.
    pub fn start(settings: Settings, reports: Sender<Report>, up: Arc<Waker>) -> io::Result<Self> {
        let mut this = Self::prepare(reports, up, |poll, inbox, reports| {
            Ok(State::new(settings, poll, inbox, reports))
        })?;
        this.go_on()?;
        Ok(this)
    }

    /// Ends the thread and packs all that it has: no connection is touched, and none is accepted until
    /// [`Dispatcher::thaw`]. What it has reported, and nobody has taken from `heard`, is reported again then.
    pub fn freeze(&mut self, heard: &Receiver<Report>, luggage: &mut Luggage<'_>) -> Frozen {
        self.send(Command::Freeze);
        let state = match std::mem::replace(&mut self.thread, Thread::Frozen) {
            Thread::Runs(thread) => match thread.join() {
                Ok(state) => state,
                Err(panic) => std::panic::resume_unwind(panic),
            },
            // Here, as far as the command just sent: others may have come before it.
            Thread::Waits(state) => state.run(),
            Thread::Frozen => unreachable!("it is thawed before it is frozen again"),
        };
        let state = state.expect("it ends by Freeze, since nothing was sent before that ends it");
        Frozen::of(state, heard.try_iter().collect(), luggage)
    }

    /// Takes over where a dispatcher was frozen, to [go on](Dispatcher::go_on) there. `board` knows the scoreboard
    /// of each worker that lives.
    ///
    /// # Errors
    /// Those of [`Dispatcher::start`]; `InvalidData` if the parts of `frozen` do not fit together or to the
    /// luggage.
    pub fn thaw(
        frozen: Frozen,
        luggage: &mut Luggage<'_>,
        board: impl Fn(WorkerId) -> Option<Arc<Board>>,
        reports: Sender<Report>,
        up: Arc<Waker>,
    ) -> io::Result<Self> {
        Self::prepare(reports, up, |poll, inbox, reports| {
            frozen.thaw(luggage, board, poll, inbox, reports)
        })
    }

    /// Starts the thread of one that was thawed: from here on it accepts.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn go_on(&mut self) -> io::Result<()> {
        if let Thread::Waits(state) = std::mem::replace(&mut self.thread, Thread::Frozen) {
            let thread = std::thread::Builder::new()
                .name("dispatcher".into())
                .spawn(|| state.run())?;
            self.thread = Thread::Runs(thread);
        }
        Ok(())
    }

    fn prepare(
        sender: Sender<Report>,
        up: Arc<Waker>,
        state: impl FnOnce(Poll, Receiver<Command>, Reports) -> io::Result<State>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Source::Commands.token())?;
        let (commands, inbox) = unbounded();
        let state = state(poll, inbox, Reports { sender, up })?;
        Ok(Self {
            commands,
            waker,
            thread: Thread::Waits(Box::new(state)),
            pulse: Pulse::default(),
        })
    }

    /// Sends a command; it is carried out in order, after what is being done.
    pub fn send(&self, command: Command) {
        // The thread ends only by `Quit`, after which nobody cares.
        if self.commands.send(command).is_ok() {
            self.waker
                .wake()
                .expect("an eventfd can always be written once more");
        }
    }

    /// Whether the thread has come round since it was last asked; asks again.
    pub fn feel_pulse(&mut self) -> bool {
        let felt = self.pulse.is_felt();
        let beat = self.pulse.ask();
        self.send(Command::Beat(beat));
        felt
    }

    /// The state as of now; `None` if the thread does not answer.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.send(Command::Snapshot(sender));
        receiver.recv_timeout(SNAPSHOT_TIMEOUT).ok()
    }

    /// Ends the thread and waits for it.
    pub fn join(self) {
        self.send(Command::Quit);
        // A panic aborts the release build; in a debug build it has been printed already.
        if let Thread::Runs(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

/// What can be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Commands,
    /// A listener, and which of its sockets.
    Listener(ListenerId, u16),
    /// A connection whose first bytes are waited for.
    Peeked(Place),
}

/// Set in the token of such a connection, and in no listener's.
const PEEKED: usize = 1 << 62;

impl Source {
    fn token(self) -> Token {
        match self {
            Source::Commands => Token(usize::MAX - 1),
            Source::Listener(id, door) => Token(usize::from(id.0) | usize::from(door) << 16),
            Source::Peeked(Place { key, number }) => {
                Token(PEEKED | (number as usize) << 32 | key as usize)
            }
        }
    }

    /// Total: a token nobody gave out is a listener that no lane is found for.
    fn of(token: Token) -> Option<Self> {
        if token == Source::Commands.token() {
            return Some(Source::Commands);
        }
        if token.0 & PEEKED != 0 {
            let number = (token.0 & !PEEKED) >> 32;
            let key = token.0 as u32;
            return Some(Source::Peeked(Place {
                key,
                number: u32::try_from(number).ok()?,
            }));
        }
        let door = u16::try_from(token.0 >> 16).ok()?;
        Some(Source::Listener(ListenerId(token.0 as u16), door))
    }
}

/// The way up.
#[derive(Debug)]
struct Reports {
    sender: Sender<Report>,
    up: Arc<Waker>,
}

impl Reports {
    fn send(&self, report: Report) {
        if self.sender.send(report).is_ok() {
            self.up
                .wake()
                .expect("an eventfd can always be written once more");
        }
    }
}
