//! The dispatcher thread: accepts, chooses, hands off, reads back. It waits for nothing but the kernel:
//! commands come over a channel with a waker, reports go up over another, and nothing here logs,
//! allocates per connection, forks, or touches a file.
//!
//! `seat` is one worker on one listener; `lane` is one listener with its seats; `deal` chooses and sends;
//! `recall` gets connections back; this file is the loop and the handle that the main thread holds.

mod deal;
mod lane;
mod recall;
mod seat;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::config::{Balance, Sticky};
use crate::policy::affinity::Affinity;
use crate::policy::ids::ListenerId;
use crate::primary::messages::{Command, Report, SlotCounts, Snapshot};
use crate::sys::clock;
use deal::Hand;
use lane::{Door, Lane};
use seat::SeatState;

/// What the dispatcher is to do, fixed for its life.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of slots.
    pub slots: usize,
    /// Who gets the next connection.
    pub balance: Balance,
    /// The consistent hash in front of it.
    pub sticky: Option<Sticky>,
    /// Secret of that hash.
    pub hash_key: (u64, u64),
    /// Most connections queued for one worker on one listener.
    pub queue_cap: usize,
    /// Most connections held here while no worker takes them.
    pub max_held: usize,
    /// Age at which a queue that does not move is read back.
    pub steal_after: Duration,
    /// Accepting stops at this descriptor number, so that the rest of the primary never runs out.
    pub fd_ceiling: RawFd,
}

/// The main thread's hold on the dispatcher.
#[derive(Debug)]
pub struct Dispatcher {
    commands: Sender<Command>,
    waker: Waker,
    thread: JoinHandle<()>,
}

/// How long a snapshot may take before the main thread goes on without it.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(2);

impl Dispatcher {
    /// Starts the thread. Reports go to `reports`, and `up` is woken after each.
    ///
    /// # Errors
    /// Those of epoll_create(2), eventfd(2) and of starting a thread.
    pub fn start(settings: Settings, reports: Sender<Report>, up: Arc<Waker>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Source::Commands.token())?;
        let (commands, inbox) = unbounded();
        let state = State::new(
            settings,
            poll,
            inbox,
            Reports {
                sender: reports,
                up,
            },
        );
        let thread = std::thread::Builder::new()
            .name("dispatcher".into())
            .spawn(|| state.run())?;
        Ok(Self {
            commands,
            waker,
            thread,
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
        let _ = self.thread.join();
    }
}

/// What can be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Commands,
    /// A listener, and which of its sockets.
    Listener(ListenerId, u16),
}

impl Source {
    fn token(self) -> Token {
        match self {
            Source::Commands => Token(usize::MAX - 1),
            Source::Listener(id, door) => Token(usize::from(id.0) | usize::from(door) << 16),
        }
    }

    /// Total: a token nobody gave out is a listener that no lane is found for.
    fn of(token: Token) -> Option<Self> {
        if token == Source::Commands.token() {
            return Some(Source::Commands);
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

/// Everything the thread owns.
#[derive(Debug)]
struct State {
    settings: Settings,
    poll: Poll,
    inbox: Receiver<Command>,
    reports: Reports,
    affinity: Option<Affinity>,
    lanes: Vec<Lane>,
    seats: Slab<SeatState>,
    /// Seats whose connections are being got back, oldest first.
    recalled: VecDeque<usize>,
    /// Not before this: there was no descriptor for what comes back.
    recall_from: u64,
    held: VecDeque<Hand>,
    slots: Vec<SlotCounts>,
    /// Some seat may have something queued: keep looking at how the queues move.
    watching: bool,
    next_look: u64,
    /// When to try again what the weather prevented.
    retry_at: Option<u64>,
    last_connection: u64,
    closed_by_policy: u64,
    client_gone: u64,
    finishing: Finishing,
    quit: bool,
}

/// How far a graceful end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finishing {
    No,
    Asked,
    Reported,
}

impl State {
    fn new(settings: Settings, poll: Poll, inbox: Receiver<Command>, reports: Reports) -> Self {
        let affinity = settings
            .sticky
            .map(|sticky| Affinity::new(sticky, settings.hash_key));
        Self {
            affinity,
            poll,
            inbox,
            reports,
            lanes: Vec::new(),
            seats: Slab::new(),
            recalled: VecDeque::new(),
            recall_from: 0,
            held: VecDeque::with_capacity(settings.max_held + 1),
            slots: vec![SlotCounts::default(); settings.slots],
            watching: false,
            next_look: 0,
            retry_at: None,
            last_connection: 0,
            closed_by_policy: 0,
            client_gone: 0,
            finishing: Finishing::No,
            quit: false,
            settings,
        }
    }

    /// The loop: wait, commands, what was held up, new connections, a look at the queues.
    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        while !self.quit {
            match self.poll.poll(&mut events, self.patience()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("epoll_wait on our own epoll fd cannot fail: {error}"),
            }
            for event in &events {
                if let Some(Source::Listener(id, door)) = Source::of(event.token())
                    && let Some(lane) = self.lane_mut(id)
                    && let Some(door) = lane.doors.get_mut(usize::from(door))
                {
                    door.readable = true;
                }
            }
            self.obey();
            self.retry_held();
            self.pump_recalled();
            self.accept_round();
            self.look_at_queues();
            self.finish_if_dry();
        }
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&self) -> Option<Duration> {
        let now = clock::now_ns();
        let mut lanes = self.lanes.iter().enumerate();
        let backlog = lanes.any(|(index, lane)| lane.wants_accept(now) && self.has_room(index));
        let recalled = self.next_recalled().is_some();
        if backlog || (recalled && now >= self.recall_from) {
            return Some(Duration::ZERO);
        }
        let doors = self.lanes.iter().flat_map(|lane| &lane.doors);
        let resumes = doors.filter_map(|door| door.paused_until);
        let look = self.watching.then_some(self.next_look);
        let recall = recalled.then_some(self.recall_from);
        let next = resumes.chain(look).chain(self.retry_at).chain(recall);
        let next = next.min()?;
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    fn obey(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::AddListener { id, socket, local } => self.add_listener(id, socket, local),
                Command::Admit(seat) => self.admit(seat),
                Command::Evict { worker, listener } => self.evict(worker, listener),
                Command::Resume { worker, listener } => self.resume(worker, listener),
                Command::Forget(worker) => self.forget(worker),
                Command::Wake {
                    worker,
                    listener,
                    count,
                } => self.wake(worker, listener, count),
                Command::Ipv4Only(id, only) => {
                    if let Some(lane) = self.lane_mut(id) {
                        lane.ipv4_only = only;
                    }
                }
                Command::Finish => self.finish(),
                // The asker may have given up waiting.
                Command::Snapshot(reply) => drop(reply.send(self.snapshot())),
                Command::Quit => self.quit = true,
            }
        }
    }

    /// The first socket of a listener makes its lane, further ones lead into it.
    fn add_listener(
        &mut self,
        id: ListenerId,
        socket: std::os::fd::OwnedFd,
        local: crate::wire::Address,
    ) {
        let slots = self.settings.slots;
        let index = self.lanes.iter().position(|lane| lane.id == id);
        let index = index.unwrap_or_else(|| {
            self.lanes.push(Lane::new(id, slots));
            self.lanes.len() - 1
        });
        let doors = &mut self.lanes[index].doors;
        let fd = socket.as_raw_fd();
        let token = Source::Listener(id, doors.len() as u16).token();
        let registered =
            self.poll
                .registry()
                .register(&mut SourceFd(&fd), token, Interest::READABLE);
        match registered {
            Ok(()) => doors.push(Door::new(socket, local)),
            Err(error) => self.reports.send(Report::ListenerFailed {
                listener: id,
                error,
            }),
        }
    }

    fn lane_mut(&mut self, id: ListenerId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }

    /// Accepts what has come, deals it, and closes the listeners for good.
    fn finish(&mut self) {
        for index in 0..self.lanes.len() {
            self.drain_backlog(index);
            self.close_listener(index);
        }
        self.finishing = Finishing::Asked;
        self.watching = true;
    }

    /// Out of the epoll first: another copy of the descriptor would keep the events coming (KF19).
    fn close_listener(&mut self, index: usize) {
        for door in &mut self.lanes[index].doors {
            door.readable = false;
            door.paused_until = None;
            if let Some(socket) = door.socket.take() {
                let fd = socket.as_raw_fd();
                // Should the kernel refuse: the events of a listener that is not there any more are not heeded.
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
            }
        }
    }

    fn finish_if_dry(&mut self) {
        if self.finishing == Finishing::Asked
            && self.held.is_empty()
            && self.recalled.is_empty()
            && self.seats.iter().all(|(_, seat)| seat.exact_queue() == 0)
        {
            self.finishing = Finishing::Reported;
            self.reports.send(Report::Dry);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut slots = self.slots.clone();
        for (_, seat) in &self.seats {
            slots[seat.slot()].queued += seat.queued();
        }
        Snapshot {
            held: self.held.len() as u64,
            closed_by_policy: self.closed_by_policy,
            client_gone: self.client_gone,
            accepted: self
                .lanes
                .iter()
                .map(|lane| (lane.id, lane.accepted))
                .collect(),
            slots,
        }
    }
}
