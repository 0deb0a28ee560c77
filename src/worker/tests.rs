//! A listener at a real channel, with this test as its primary: the other side of each contract.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::join::Membership;
use super::supply::Supply;
use super::{End, Listener, Options, Stopper, Stream};
use crate::sys::address::to_wire;
use crate::sys::board::Board;
use crate::sys::channel::{Channel, queued};
use crate::sys::clock::now_ns;
use crate::sys::fdpass::{Sent, send};
use crate::wire::{Address, Kind, Record};

/// The primary's side.
struct Primary {
    channel: Channel,
    board: Board,
}

impl Primary {
    fn with(options: &Options, stopper: Option<Stopper>) -> (Self, Listener) {
        let channel = Channel::new(32).unwrap();
        let board = Board::create(1, 9).unwrap();
        let theirs = channel.theirs.try_clone().unwrap();
        let copy = Board::open(board.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let supply = Supply::dealt(theirs, copy, 0, Membership::nowhere(), options).unwrap();
        let asked = "127.0.0.1:80".parse().unwrap();
        let listener = Listener::new(supply, asked, stopper).unwrap();
        (Self { channel, board }, listener)
    }

    fn new() -> (Self, Listener) {
        Self::with(&Options::new(), None)
    }

    fn deal(&self, id: u64, peer: Address, socket: &impl AsFd) {
        let record = Record {
            connection: id,
            attempt: 2,
            accepted_at: now_ns() - 5_000_000,
            peer,
            local: to_wire(&"0.0.0.0:80".parse().unwrap()),
            ..Record::control(Kind::Connection, 0)
        };
        self.post(&record, Some(socket.as_fd().try_clone_to_owned().unwrap()));
    }

    fn control(&self, kind: Kind) {
        self.post(&Record::control(kind, 0), None);
    }

    fn post(&self, record: &Record, fd: Option<OwnedFd>) {
        let sent = send(
            self.channel.ours.as_fd(),
            &record.encode(),
            fd.as_ref().map(AsFd::as_fd),
        );
        assert!(matches!(sent, Sent::Done), "{sent:?}");
    }

    /// Both ends of the channel gone, as when the primary dies.
    fn die(self) {}
}

/// A client and the primary's end of its connection.
fn connected() -> (TcpStream, TcpStream, SocketAddr) {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(door.local_addr().unwrap()).unwrap();
    let (accepted, peer) = door.accept().unwrap();
    (client, accepted, peer)
}

fn is_empty(listener: &Listener) -> bool {
    matches!(listener.try_accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_connection_comes_with_what_the_primary_knew_and_is_counted_until_dropped() {
    let (primary, listener) = Primary::new();
    let (mut client, accepted, peer) = connected();
    primary.deal(41, to_wire(&peer), &accepted);
    drop(accepted);
    let mut connection = listener.accept().unwrap().unwrap();
    assert_eq!(connection.peer(), Some(peer));
    assert!(!connection.is_proxied());
    let ticket = connection.ticket();
    assert_eq!((ticket.id(), ticket.attempt()), (41, 2));
    assert_eq!(ticket.local(), Some("0.0.0.0:80".parse().unwrap()));
    assert!(ticket.waited() >= Duration::from_millis(5));
    connection.write_all(b"hello").unwrap();
    assert_eq!((primary.board.open(), primary.board.taken_in_all()), (1, 1));

    let (stream, ticket) = connection.into_parts();
    drop(stream);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello");
    assert_eq!(primary.board.open(), 1);
    drop(ticket);
    assert_eq!(primary.board.open(), 0);
}

#[test]
fn a_unix_client_has_no_address() {
    let (primary, listener) = Primary::new();
    let (_client, accepted) = UnixStream::pair().unwrap();
    primary.deal(1, Address::default(), &accepted);
    let connection = listener.accept().unwrap().unwrap();
    assert_eq!(connection.peer(), None);
    assert!(matches!(connection.stream(), Stream::Unix(_)));
}

#[test]
fn a_proxys_connection_has_the_client_that_the_proxy_named() {
    let (primary, listener) = Primary::new();
    let client: SocketAddr = "[2001:db8::7]:4321".parse().unwrap();
    let record = Record {
        proxied: true,
        peer: to_wire(&client),
        local: to_wire(&"0.0.0.0:80".parse().unwrap()),
        ..Record::control(Kind::Connection, 0)
    };
    let (_proxy, accepted, proxy) = connected();
    primary.post(&record, Some(accepted.into()));
    let connection = listener.accept().unwrap().unwrap();
    assert_eq!(connection.peer(), Some(client));
    assert!(connection.is_proxied() && connection.ticket().is_proxied());
    let Stream::Tcp(socket) = connection.stream() else {
        panic!("not {connection:?}");
    };
    assert_eq!(socket.peer_addr().unwrap(), proxy);

    // Through a Unix socket, where the listener has no address.
    let local = Address::default();
    let (_proxy, accepted) = UnixStream::pair().unwrap();
    primary.post(&Record { local, ..record }, Some(accepted.into()));
    let connection = listener.accept().unwrap().unwrap();
    assert_eq!(connection.peer(), Some(client));
    assert!(matches!(connection.stream(), Stream::Unix(_)));
}

#[test]
fn connections_come_in_the_mode_that_was_asked_for() {
    for wanted in [false, true] {
        let options = Options::new().nonblocking_connections(wanted);
        let (primary, listener) = Primary::with(&options, None);
        let (client, accepted, peer) = connected();
        primary.deal(1, to_wire(&peer), &accepted);
        let mut connection = listener.accept().unwrap().unwrap();
        drop(accepted);
        let reader = thread::spawn(move || connection.read(&mut [0; 8]));
        if wanted {
            let read = reader.join().unwrap();
            assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
        } else {
            drop(client);
            assert_eq!(reader.join().unwrap().unwrap(), 0);
        }
    }
}

#[test]
fn what_is_queued_before_a_drain_is_taken_and_then_every_thread_returns() {
    let (primary, listener) = Primary::new();
    let listener = Arc::new(listener);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let listener = Arc::clone(&listener);
            thread::spawn(move || listener.incoming().map(Result::unwrap).count())
        })
        .collect();
    let clients: Vec<_> = (0..20).map(|_| connected()).collect();
    for (id, (_, accepted, peer)) in clients.iter().enumerate() {
        primary.deal(id as u64, to_wire(peer), accepted);
    }
    primary.control(Kind::Wake);
    primary.control(Kind::Drain);
    let taken: usize = threads.into_iter().map(|it| it.join().unwrap()).sum();
    assert_eq!(taken, 20);
    assert_eq!(listener.ended(), Some(End::Drained));
    assert!(listener.accept().unwrap().is_none());
}

#[test]
fn a_dead_primary_ends_the_listener_once_the_queue_is_taken() {
    let (primary, listener) = Primary::new();
    let (_client, accepted, peer) = connected();
    primary.deal(1, to_wire(&peer), &accepted);
    primary.die();
    assert!(listener.accept().unwrap().is_some());
    assert!(listener.accept().unwrap().is_none());
    assert_eq!(listener.ended(), Some(End::PrimaryGone));
}

#[test]
fn a_stopped_listener_leaves_its_queue_to_the_primary() {
    let stopper = Stopper::new().unwrap();
    let (primary, listener) = Primary::with(&Options::new(), Some(stopper.clone()));
    let (_client, accepted, peer) = connected();
    stopper.stop();
    primary.deal(1, to_wire(&peer), &accepted);
    assert!(listener.accept().unwrap().is_none());
    assert_eq!(listener.ended(), Some(End::Stopped));
    drop(listener);
    assert_eq!(queued(primary.channel.theirs.as_fd()).unwrap(), 1);
}

#[test]
fn garbage_is_an_error_of_its_own_and_the_next_connection_is_fine() {
    let (primary, listener) = Primary::new();
    let (_client, accepted, peer) = connected();
    let sent = send(
        primary.channel.ours.as_fd(),
        &[7; 300],
        Some(accepted.as_fd()),
    );
    assert!(matches!(sent, Sent::Done));
    primary.deal(1, to_wire(&peer), &accepted);
    let garbage = listener.try_accept().unwrap_err();
    assert_eq!(garbage.kind(), ErrorKind::InvalidData);
    assert!(listener.try_accept().unwrap().is_some());
    assert!(is_empty(&listener));
}

#[test]
fn an_event_loop_is_woken_by_connections_and_by_the_end() -> io::Result<()> {
    let stopper = Stopper::new()?;
    let (primary, mut listener) = Primary::with(&Options::new(), Some(stopper.clone()));
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let registry = poll.registry();
    registry.register(&mut listener, Token(5), Interest::READABLE)?;
    assert!(is_empty(&listener));

    let (_client, accepted, peer) = connected();
    primary.deal(1, to_wire(&peer), &accepted);
    poll.poll(&mut events, None)?;
    assert!(events.iter().all(|event| event.token() == Token(5)));
    assert!(listener.try_accept()?.is_some());
    assert!(is_empty(&listener));

    let sleeping = listener.sleeping();
    assert!(primary.board.is_asleep());
    let waker = thread::spawn(move || stopper.stop());
    poll.poll(&mut events, None)?;
    drop(sleeping);
    assert!(!primary.board.is_asleep());
    assert!(listener.try_accept()?.is_none());
    waker.join().unwrap();
    Ok(())
}
