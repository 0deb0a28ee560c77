//! The dispatcher thread with everything around it in one process: a listener, slots whose channels two threads
//! take from as servers with event loops do, clients that come one after the other. Nothing in it allocates for a
//! connection, so that what does is the dispatcher. For the benches, too.
#![allow(
    dead_code,
    reason = "included by a test and a bench, each of which uses a part"
)]

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use forkfront::config::{Routing, Speed};
use forkfront::policy::ids::{ListenerId, SlotId, WorkerId};
use forkfront::primary::dispatcher::{Dispatcher, Settings};
use forkfront::primary::messages::{Command, Report, Seat, Snapshot};
use forkfront::sys::board::Board;
use forkfront::sys::channel::Channel;
use forkfront::sys::fdpass::{Received, receive};
use forkfront::wire::{Address, Record};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Socket, Type};

const LISTENER: ListenerId = ListenerId(0);
/// Threads that take connections, whatever the number of slots: as many wake-ups for 64 slots as for 2.
const TAKERS: usize = 2;

/// A dispatcher at work.
pub struct Dealing {
    dispatcher: Option<Dispatcher>,
    /// Where clients connect.
    pub at: SocketAddr,
    takers: Vec<JoinHandle<()>>,
    /// The dispatcher's thread.
    thread: u32,
    /// Workers keep open what they take.
    keeps: Arc<AtomicBool>,
    held: Vec<TcpStream>,
    _reports: crossbeam_channel::Receiver<Report>,
    _poll: Poll,
}

impl Dealing {
    /// Deals to so many slots.
    pub fn start(slots: usize, routing: Routing) -> Self {
        let settings = Settings {
            slots,
            routing,
            hash_key: (1, 2),
            queue_cap: 128,
            max_held: 1024,
            steal_after: Duration::from_secs(60),
            gather_max: Speed::default().gather_max,
            fd_ceiling: i32::MAX,
            peek_room: usize::MAX,
            for_proxies: false,
        };
        let poll = Poll::new().expect("an epoll");
        let up = Arc::new(Waker::new(poll.registry(), Token(0)).expect("an eventfd"));
        let (sender, reports) = crossbeam_channel::unbounded();
        let before = threads();
        let dispatcher = Dispatcher::start(settings, sender, up).expect("a thread");
        let own = |thread: &u32| !before.contains(thread);
        let thread = threads().into_iter().find(own).expect("its thread");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let at = listener.local_addr().expect("its address");
        listener.set_nonblocking(true).expect("its mode");
        // SOMAXCONN: nobody is kept waiting by a full backlog.
        Socket::from(listener.try_clone().expect("a copy"))
            .listen(-1)
            .expect("its backlog");
        dispatcher.send(Command::AddListener {
            id: LISTENER,
            socket: listener.into(),
            local: Address::default(),
        });
        let keeps = Arc::new(AtomicBool::new(false));
        let mut shares: Vec<Vec<Taker>> = (0..TAKERS).map(|_| Vec::new()).collect();
        for slot in 0..slots {
            let taker = hire(&dispatcher, slot as u16, keeps.clone());
            shares[slot % TAKERS].push(taker);
        }
        let takers = shares
            .into_iter()
            .map(|share| std::thread::spawn(|| take_all(share)));
        Self {
            at,
            takers: takers.collect(),
            dispatcher: Some(dispatcher),
            thread,
            keeps,
            held: Vec::new(),
            _reports: reports,
            _poll: poll,
        }
    }

    /// So many connections from each of so many clients at a time, one after the other, each to its end.
    pub fn visit(&self, clients: u64, each: u64) {
        let at = self.at;
        std::thread::scope(|scope| {
            for client in 0..clients {
                scope.spawn(move || (0..each).for_each(|one| visit(at, client * each + one)));
            }
        });
    }

    /// So many connections more that stay open on both sides.
    pub fn hold(&mut self, count: u64) {
        let dealt = |this: &Self| {
            this.snapshot()
                .slots
                .iter()
                .map(|slot| slot.dealt)
                .sum::<u64>()
        };
        self.keeps.store(true, Relaxed);
        let before = dealt(self);
        let at = self.at;
        self.held
            .extend((0..count).map(|number| connect(at, number)));
        while dealt(self) < before + count
            || self.snapshot().slots.iter().any(|slot| slot.queued != 0)
        {
            std::thread::yield_now();
        }
        self.keeps.store(false, Relaxed);
    }

    /// What the dispatcher says.
    pub fn snapshot(&self) -> Snapshot {
        let dispatcher = self.dispatcher.as_ref().expect("it runs");
        dispatcher.snapshot().expect("it answers")
    }

    /// CPU that the dispatcher has used.
    pub fn cpu(&self) -> Duration {
        let path = format!("/proc/self/task/{}/schedstat", self.thread);
        let line = std::fs::read_to_string(path).expect("its thread lives");
        let spent = line.split(' ').next().and_then(|ns| ns.parse().ok());
        Duration::from_nanos(spent.expect("nanoseconds"))
    }
}

impl Drop for Dealing {
    fn drop(&mut self) {
        if let Some(dispatcher) = self.dispatcher.take() {
            dispatcher.join();
        }
        for taker in self.takers.drain(..) {
            taker.join().expect("a taker ends with its channels");
        }
    }
}

/// The worker's side of a slot.
struct Taker {
    end: OwnedFd,
    board: Arc<Board>,
    /// Connections that stay open.
    held: Vec<OwnedFd>,
    keeps: Arc<AtomicBool>,
}

fn hire(dispatcher: &Dispatcher, slot: u16, keeps: Arc<AtomicBool>) -> Taker {
    let Channel { ours, theirs } = Channel::new(128).expect("a socket pair");
    let board = Arc::new(Board::create(slot, slot.into()).expect("a memfd"));
    board.processes[0].pid.store(std::process::id(), Relaxed);
    let end = theirs.try_clone().expect("a descriptor");
    dispatcher.send(Command::Admit(Seat {
        slot: SlotId(slot),
        worker: WorkerId(slot.into()),
        listener: LISTENER,
        channel: 0,
        ours,
        kept: theirs,
        board: board.clone(),
        native: false,
    }));
    Taker {
        end,
        board,
        held: Vec::new(),
        keeps,
    }
}

/// An event loop over the channels of several slots, until all are closed.
fn take_all(mut slots: Vec<Taker>) {
    let mut poll = Poll::new().expect("an epoll");
    for (number, taker) in slots.iter().enumerate() {
        let end = taker.end.as_raw_fd();
        let source = &mut SourceFd(&end);
        let registered = poll
            .registry()
            .register(source, Token(number), Interest::READABLE);
        registered.expect("registered");
    }
    let mut events = Events::with_capacity(64);
    let mut open = slots.len();
    while open != 0 {
        mark(&slots, 1);
        if let Err(error) = poll.poll(&mut events, None) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        }
        mark(&slots, 0);
        for event in &events {
            if !take(&mut slots[event.token().0]) {
                open -= 1;
            }
        }
    }
}

fn mark(slots: &[Taker], asleep: u32) {
    for process in slots.iter().map(|taker| &taker.board.processes[0]) {
        process.loops.fetch_add(u64::from(asleep), Relaxed);
        process.asleep.store(asleep, Relaxed);
    }
}

/// Takes and closes all that is queued; `false` at the end.
fn take(taker: &mut Taker) -> bool {
    let mut buffer = [0; Record::LEN];
    loop {
        match receive(taker.end.as_fd(), &mut buffer, false).expect("a channel") {
            Received::Message { fd, .. } => {
                let board = &taker.board;
                board.note_opened(&board.processes[0], 1);
                board.nonblocking.store(1, Relaxed);
                board.note_taken(0, 0, forkfront::sys::clock::now_ns());
                if taker.keeps.load(Relaxed) {
                    taker.held.extend(fd);
                } else {
                    drop(fd);
                    board.note_closed(&board.processes[0], 1);
                }
            }
            Received::Empty => return true,
            Received::Closed => return false,
        }
    }
}

/// One connection, to its end.
fn visit(at: SocketAddr, number: u64) {
    let read = connect(at, number).read(&mut [0]).expect("its end");
    assert_eq!(read, 0);
}

/// One connection, from one of many addresses.
fn connect(at: SocketAddr, number: u64) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::IpBindAddressNoPort,
        &true,
    )
    .expect("IP_BIND_ADDRESS_NO_PORT");
    let [.., high, low] = (number as u32).to_be_bytes();
    let from = IpAddr::from(Ipv4Addr::new(127, 1, high & 63, low.max(1)));
    socket
        .bind(&SocketAddr::new(from, 0).into())
        .expect("a loopback address");
    socket.connect(&at.into()).expect("a connection");
    socket.into()
}

fn threads() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let names = tasks.map(|task| task.expect("a task").file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}
