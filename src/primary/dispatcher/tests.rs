//! The dispatcher on real sockets; its workers are channel ends that this test receives from.

mod bursts;
mod changes;
mod closing;
mod dealing;
mod frozen;
mod peeking;
mod probes;
mod random;
mod sticky;
mod successors;
mod trouble;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::{Poll, Token, Waker};

use super::{Dispatcher, Settings, Source};
use crate::config::{Balance, Prefixes, Routing, Speed, Sticky};
use crate::policy::ids::{ListenerId, SlotId, WorkerId};
use crate::primary::messages::{Command, Report, Seat, Snapshot};
use crate::sys::board::Board;
use crate::sys::channel::Channel;
use crate::sys::fdpass::{Received, receive};
use crate::wire::{Address, Record};

const LISTENER: ListenerId = ListenerId(0);
const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    dispatcher: Option<Dispatcher>,
    reports: Receiver<Report>,
    sender: Sender<Report>,
    up: Arc<Waker>,
    at: std::net::SocketAddr,
    _poll: Poll,
}

struct Worker {
    id: WorkerId,
    end: OwnedFd,
    board: Arc<Board>,
}

fn settings() -> Settings {
    Settings {
        slots: 1,
        routing: Routing::default(),
        hash_key: (1, 2),
        queue_cap: 128,
        max_held: 256,
        steal_after: Duration::from_secs(60),
        gather_max: Speed::default().gather_max,
        fd_ceiling: i32::MAX,
        peek_room: usize::MAX,
        for_proxies: false,
    }
}

impl Bench {
    fn new(slots: usize, adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            slots,
            ..settings()
        };
        adjust(&mut settings);
        let poll = Poll::new().unwrap();
        let up = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (sender, reports) = crossbeam_channel::unbounded();
        let dispatcher = Dispatcher::start(settings, sender.clone(), up.clone()).unwrap();
        let mut bench = Self {
            dispatcher: Some(dispatcher),
            reports,
            sender,
            up,
            at: ([0; 4], 0).into(),
            _poll: poll,
        };
        bench.at = bench.listen(LISTENER);
        bench
    }

    fn listen(&self, id: ListenerId) -> std::net::SocketAddr {
        self.listen_by(id).0
    }

    /// Where, and the socket's inode.
    fn listen_by(&self, id: ListenerId) -> (std::net::SocketAddr, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let inode = nix::sys::stat::fstat(&listener).unwrap().st_ino;
        let (socket, local) = (listener.into(), Address::default());
        self.send(Command::AddListener { id, socket, local });
        (at, inode)
    }

    fn send(&self, command: Command) {
        self.dispatcher.as_ref().unwrap().send(command);
    }

    fn hire(&self, slot: u16, id: u64) -> Worker {
        self.hire_on(LISTENER, slot, id)
    }

    fn hire_on(&self, listener: ListenerId, slot: u16, id: u64) -> Worker {
        self.hire_with(listener, slot, id, Channel::new(128).unwrap())
    }

    fn hire_with(&self, listener: ListenerId, slot: u16, id: u64, channel: Channel) -> Worker {
        let board = Arc::new(Board::create(slot, id).unwrap());
        let end = channel.theirs.try_clone().unwrap();
        self.send(Command::Admit(Seat {
            slot: SlotId(slot),
            worker: WorkerId(id),
            listener,
            channel: 0,
            ours: channel.ours,
            kept: channel.theirs,
            board: board.clone(),
            native: false,
        }));
        Worker {
            id: WorkerId(id),
            end,
            board,
        }
    }

    fn connect(&self, count: usize) -> Vec<TcpStream> {
        (0..count)
            .map(|_| TcpStream::connect(self.at).unwrap())
            .collect()
    }

    /// The next report that is `wanted`, whatever else is reported before.
    #[track_caller]
    fn report<T>(&self, wanted: impl Fn(Report) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.reports.recv_deadline(deadline);
            if let Some(found) = wanted(report.expect("a report")) {
                return found;
            }
        }
    }

    fn evict(&self, worker: &Worker) {
        self.send(Command::Evict {
            worker: worker.id,
            listener: None,
        });
    }

    fn snapshot(&self) -> Snapshot {
        let snapshot = self.dispatcher.as_ref().unwrap().snapshot().unwrap();
        let accepted = snapshot.accepted_in_all();
        let dealt: u64 = snapshot.slots.iter().map(|slot| slot.dealt).sum();
        let elsewhere = snapshot.held + snapshot.closed_by_policy + snapshot.client_gone;
        assert_eq!(accepted, dealt + elsewhere, "the ledger: {snapshot:?}");
        snapshot
    }

    /// Polls until the state is as wanted.
    #[track_caller]
    fn wait_for(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.snapshot();
            if wanted(&snapshot) {
                return snapshot;
            }
            assert!(
                Instant::now() < deadline,
                "never came: {what}; now {snapshot:?}"
            );
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn wait_until_accepted(&self, count: u64) -> Snapshot {
        self.wait_for("all accepted", |now| {
            now.accepted.iter().any(|(_, n)| *n == count)
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.dispatcher.take().unwrap().join();
    }
}

impl Worker {
    /// Takes all that is queued: the numbers of the connections.
    fn numbers(&self) -> Vec<u64> {
        self.take().iter().map(|(r, _)| r.connection).collect()
    }

    /// Takes all that is queued, as the shim would.
    fn take(&self) -> Vec<(Record, TcpStream)> {
        let mut taken = Vec::new();
        let mut buffer = [0; Record::LEN];
        while let Received::Message { length, fd, .. } =
            receive(self.end.as_fd(), &mut buffer, false).unwrap()
        {
            self.board.note_taken(0, 0, 0);
            let record = Record::decode(&buffer[..length]).unwrap();
            taken.push((record, fd.expect("a connection").into()));
        }
        taken
    }
}
