//! Sessions between real sockets: a client and a backend as threads, and between them a duplex on a poll of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::*;
use crate::random::Random;

mod closing;
mod resets;
mod walks;

/// Nothing here takes that long.
const LONGEST: Duration = Duration::from_secs(20);
const WAYS_TO_MOVE: [Splice; 3] = [Splice::Auto, Splice::On, Splice::Off];
const MIB: usize = 1024 * 1024;

/// What is sent: a part of this.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random(7);
    // A period that no buffer, packet or page divides.
    let mut period: Vec<u8> = (0..8_000)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    period.truncate(63_997);
    period.repeat(11 * MIB / period.len())
});

/// The outer end of a connection and ours.
fn connection() -> (TcpStream, OwnedFd) {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let outer = TcpStream::connect(door.local_addr().unwrap()).unwrap();
    outer.set_read_timeout(Some(LONGEST)).unwrap();
    outer.set_write_timeout(Some(LONGEST)).unwrap();
    let (inner, _) = door.accept().unwrap();
    inner.set_nonblocking(true).unwrap();
    inner.set_nodelay(true).unwrap();
    (outer, inner.into())
}

/// As a TCP stream, for whom it makes no difference until it asks for an address.
fn unix_connection() -> (TcpStream, OwnedFd) {
    let (outer, inner) = UnixStream::pair().unwrap();
    outer.set_read_timeout(Some(LONGEST)).unwrap();
    outer.set_write_timeout(Some(LONGEST)).unwrap();
    inner.set_nonblocking(true).unwrap();
    (OwnedFd::from(outer).into(), inner.into())
}

/// How a session went.
#[derive(Debug)]
struct Ran {
    end: End,
    moved: Moved,
    /// Turns that moved something, and turns that did not.
    turns: (usize, usize),
    /// Of those that did not: turns that no event was the reason of.
    unasked: usize,
}

/// Gives a session its turns until it is over; then closes its sockets as the loop does.
fn pump(mut duplex: Duplex, client: OwnedFd, backend: OwnedFd) -> Ran {
    let mut poll = Poll::new().unwrap();
    for (at, fd) in [(0, &client), (1, &backend)] {
        let fd = fd.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let registry = poll.registry();
        registry
            .register(&mut SourceFd(&fd), Token(at), interest)
            .unwrap();
    }
    let (mut events, mut tools) = (Events::with_capacity(8), Tools::new());
    let (mut moved, mut turns, mut unasked) = (Moved::default(), (0, 0), 0);
    let mut wait = Some(LONGEST);
    let end = loop {
        poll.poll(&mut events, wait).unwrap();
        assert!(!events.is_empty() || wait != Some(LONGEST), "nothing moves");
        for event in &events {
            let side = [Side::Client, Side::Backend][event.token().0];
            duplex.note(side, event);
        }
        let turn = duplex.advance(client.as_fd(), backend.as_fd(), &mut tools);
        let Moved { up, down } = duplex.take_moved();
        (moved.up, moved.down) = (moved.up + up, moved.down + down);
        if up + down > 0 {
            turns.0 += 1;
        } else {
            turns.1 += 1;
            unasked += usize::from(events.is_empty());
        }
        wait = match turn {
            Turn::Waiting => Some(LONGEST),
            Turn::Again => Some(Duration::ZERO),
            Turn::Over(end) => break end,
        }
    };
    match end {
        End::Done => assert!(!duplex.pending() && duplex.is_half_closed()),
        End::Reset(side) | End::Broken(side, _) => reset_on_close(match side {
            Side::Client => &backend,
            Side::Backend => &client,
        }),
    }
    Ran {
        end,
        moved,
        turns,
        unasked,
    }
}

/// A session on a thread of its own.
fn start(splice: Splice, first: &[u8], client: OwnedFd, backend: OwnedFd) -> JoinHandle<Ran> {
    let first = Box::from(first);
    thread::spawn(move || pump(Duplex::new(splice, first), client, backend))
}

/// The first `count` bytes come, and then the end.
#[track_caller]
fn expect(mut from: &TcpStream, count: usize) {
    let mut heard = Vec::with_capacity(count + 1);
    from.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), count);
    assert!(heard == BYTES[..count], "the bytes are others");
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Duplex>() <= 128, "{}", size_of::<Duplex>());
}

#[test]
fn what_is_said_first_goes_first_in_one_packet_with_the_clients_first() {
    for splice in WAYS_TO_MOVE {
        let (mut client, inner_client) = connection();
        let (mut backend, inner_backend) = connection();
        client.write_all(b"question").unwrap();
        let session = start(splice, b"first ", inner_client, inner_backend);
        let mut heard = [0; 100];
        let count = backend.read(&mut heard).unwrap();
        assert_eq!(&heard[..count], b"first question");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(backend.read(&mut heard).unwrap(), 0);
        backend.write_all(b"answer").unwrap();
        drop(backend);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        let ran = session.join().unwrap();
        assert_eq!((ran.end, ran.moved), (End::Done, Moved { up: 14, down: 6 }));
    }
}

#[test]
fn what_is_said_first_does_not_wait_for_the_client() {
    for first in [10, MIB].map(|count| &BYTES[..count]) {
        let (client, inner_client) = connection();
        let (mut backend, inner_backend) = connection();
        let session = start(Splice::Auto, first, inner_client, inner_backend);
        let mut heard = vec![0; first.len()];
        backend.read_exact(&mut heard).unwrap();
        assert!(heard == first);
        drop((client, backend));
        assert_eq!(session.join().unwrap().end, End::Done);
    }
}

#[test]
fn small_exchanges_take_a_turn_for_each_message() {
    const EXCHANGES: usize = 50;
    for splice in WAYS_TO_MOVE {
        let (mut client, inner_client) = connection();
        let (mut backend, inner_backend) = connection();
        let session = start(splice, b"", inner_client, inner_backend);
        let mut heard = [0; 100];
        for _ in 0..EXCHANGES {
            client.write_all(b"question").unwrap();
            backend.read_exact(&mut heard[..8]).unwrap();
            backend.write_all(b"answer").unwrap();
            client.read_exact(&mut heard[..6]).unwrap();
        }
        drop((client, backend));
        let ran = session.join().unwrap();
        assert!(ran.turns.0 <= 2 * EXCHANGES, "{ran:?}");
        // Nothing but the start and the two ends.
        assert!(ran.turns.1 <= 4, "{ran:?}");
    }
}

#[test]
fn a_slow_reader_holds_up_a_fast_writer_without_a_spin() {
    const COUNT: usize = 10 * MIB;
    for splice in WAYS_TO_MOVE {
        let (client, inner_client) = connection();
        let (mut backend, inner_backend) = connection();
        let session = start(splice, b"", inner_client, inner_backend);
        let writer = thread::spawn(move || {
            backend.write_all(&BYTES[..COUNT]).unwrap();
            backend
        });
        let (mut heard, mut buffer) = (0, vec![0; 200_000]);
        while heard < COUNT {
            let count = (&client).read(&mut buffer).unwrap();
            assert!(buffer[..count] == BYTES[heard..heard + count]);
            heard += count;
            // The pace of a slow reader.
            thread::sleep(Duration::from_millis(2));
        }
        drop(writer.join().unwrap());
        drop(client);
        let ran = session.join().unwrap();
        assert_eq!(ran.moved.down, COUNT as u64);
        // What arrives while the reader is awaited is an event each, and there is a bound to what can arrive.
        assert!(ran.turns.1 <= 100, "{splice:?}: {ran:?}");
    }
}
