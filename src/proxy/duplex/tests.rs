//! Sessions between real sockets: a client and a backend as threads, and between them a duplex on a poll of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::*;

/// Nothing here takes that long.
const LONGEST: Duration = Duration::from_secs(20);

/// The outer end of a connection and ours.
fn connection() -> (TcpStream, TcpStream) {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let outer = TcpStream::connect(door.local_addr().unwrap()).unwrap();
    let (inner, _) = door.accept().unwrap();
    inner.set_nonblocking(true).unwrap();
    (outer, inner)
}

/// Gives a session its turns until it is over.
fn pump(client: &impl AsFd, backend: &impl AsFd, duplex: &mut Duplex) -> End {
    let mut poll = Poll::new().unwrap();
    let both = Interest::READABLE | Interest::WRITABLE;
    for (at, fd) in [(0, client.as_fd()), (1, backend.as_fd())] {
        let fd = fd.as_raw_fd();
        let registry = poll.registry();
        registry
            .register(&mut SourceFd(&fd), Token(at), both)
            .unwrap();
    }
    let (mut events, mut tools) = (Events::with_capacity(8), Tools::new());
    let mut wait = Some(LONGEST);
    loop {
        poll.poll(&mut events, wait).unwrap();
        assert!(!events.is_empty() || wait != Some(LONGEST), "nothing moves");
        for event in &events {
            let side = [Side::Client, Side::Backend][event.token().0];
            duplex.note(side, event);
        }
        wait = match duplex.advance(client.as_fd(), backend.as_fd(), &mut tools) {
            Turn::Waiting => Some(LONGEST),
            Turn::Again => Some(Duration::ZERO),
            Turn::Over(end) => return end,
        }
    }
}

#[test]
fn what_is_said_first_goes_first_and_each_side_hears_the_other_to_its_end() {
    let (mut client, inner_client) = connection();
    let (mut backend, inner_backend) = connection();
    let proxy = thread::spawn(move || {
        let mut duplex = Duplex::new(Splice::Off, Box::from(*b"first "));
        let end = pump(&inner_client, &inner_backend, &mut duplex);
        (end, duplex.take_moved())
    });
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    backend.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "first question");
    backend.write_all(b"answer").unwrap();
    drop(backend);
    heard.clear();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "answer");
    assert_eq!(
        proxy.join().unwrap(),
        (End::Done, Moved { up: 14, down: 6 })
    );
}
