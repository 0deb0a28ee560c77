//! The preload shim alone, with the test as its primary: what the real one never sends, and what a server
//! sees when there is no primary at all. What a server sees when all is well is `tests/conformance.rs`.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::*;
use forkfront::wire::{Address, Answer, Family, Kind, Outcome, Record, Verb};

/// Binds and listens as asked, says how that went, then answers each connection with what it was sent.
const SERVER: &str = r#"
import errno, socket, sys
server = socket.socket()
try:
    server.bind(("127.0.0.1", int(sys.argv[1])))
    server.listen()
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
    sys.exit()
print("listening", flush=True)
while True:
    connection, address = server.accept()
    connection.sendall(b"%s " % address[0].encode() + connection.recv(10))
    connection.close()
"#;

/// A client, and the socket that its connection was accepted as.
fn connection() -> (TcpStream, OwnedFd) {
    let door = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(door.local_addr().expect("bound")).expect("connect");
    let (accepted, _) = door.accept().expect("accept");
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("time-out");
    (client, accepted.into())
}

/// Starts [`SERVER`] on `port` of 127.0.0.1.
fn worker(place: &Place, port: u16) -> Preloaded {
    place.server(&["python3", "-c", SERVER, &port.to_string()])
}

fn record() -> Record {
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&[192, 0, 2, 33]);
    Record {
        peer: Address {
            family: Family::V4,
            port: 4444,
            ip,
            ..Address::default()
        },
        ..Record::control(Kind::Connection, 0)
    }
}

#[track_caller]
fn is_served(mut client: TcpStream) {
    client.write_all(b"hello").expect("write");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "192.0.2.33 hello");
}

/// The server has a listening socket of its own at this port, and sees its client by the kernel's word.
#[track_caller]
fn serves_by_itself(port: u16) {
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("its own listener");
    client.write_all(b"hello").expect("write");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "127.0.0.1 hello");
}

#[test]
fn messages_that_no_primary_sends_cost_nothing() {
    let place = Place::new();
    let mut server = worker(&place, 7777);
    let dealer = place.channel();
    let asked = dealer.asked.address;
    assert_eq!((asked.family, asked.port), (Family::V4, 7777));
    server.says("listening");

    let (client, accepted) = connection();
    dealer.deal(&record(), &accepted);
    drop(accepted);
    is_served(client);
    let before = server.descriptors();

    let good = record().encode();
    let (mut version, mut kind) = (good, good);
    version[0] = 99;
    kind[1] = 99;
    let (_held, stray) = connection();
    for bytes in [
        &b""[..],
        &b"x"[..],
        &good[..Record::LEN - 1],
        &version[..],
        &kind[..],
    ] {
        dealer.post(bytes, &[stray.as_fd()]);
        dealer.post(bytes, &[stray.as_fd(), stray.as_fd(), stray.as_fd()]);
    }
    dealer.post(&Record::control(Kind::Wake, 0).encode(), &[]);
    dealer.post(&Record::control(Kind::Drain, 0).encode(), &[stray.as_fd()]);
    dealer.post(&good, &[]);
    let many: Vec<_> = (0..100).map(|_| stray.as_fd()).collect();
    dealer.post(b"many", &many);

    let (client, accepted) = connection();
    let several = [accepted.as_fd(), stray.as_fd(), stray.as_fd()];
    dealer.post(&good, &several);
    drop(accepted);
    is_served(client);
    let (client, accepted) = connection();
    dealer.post(&good, &[accepted.as_fd()]);
    drop(accepted);
    is_served(client);
    assert_eq!(server.descriptors(), before, "descriptors of the server");
    assert_eq!(dealer.board.open(), 0);
    // The record without its connection, and the hundred for which there was no room.
    assert_eq!(dealer.board.truncated.load(Relaxed), 2);
}

#[test]
fn the_primary_decides_about_bind() {
    let place = Place::new();
    let mut refused = worker(&place, 7778);
    place.answer(Verb::Bind, &Answer::errno(libc::EADDRINUSE), &[]);
    refused.says("EADDRINUSE");

    let port = Site::on("127.0.0.1").port;
    let mut own = worker(&place, port);
    place.answer(Verb::Bind, &Answer::plain(Outcome::PassThrough), &[]);
    // A listening socket may be the primary's too, so it is asked once more: this one is not.
    place.answer(Verb::Recognise, &Answer::errno(libc::EINVAL), &[]);
    own.says("listening");
    serves_by_itself(port);
}

#[test]
fn a_primary_that_is_gone_is_said_in_one_sentence() {
    let place = Place::new();
    std::fs::remove_file(place.directory.join("join.sock")).expect("it was there");
    let mut server = worker(&place, 7779);
    server.says("ECONNREFUSED");
    let text = server.complaints();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("does not answer"), "{text}");
    assert!(text.contains("join.sock"), "{text}");
}

#[test]
fn without_a_primary_in_the_environment_nothing_changes() {
    let place = Place::new();
    let port = Site::on("127.0.0.1").port;
    let mut server = place.changed_server(&["python3", "-c", SERVER, &port.to_string()], |_| {});
    server.says("listening");
    serves_by_itself(port);
}

/// What the shim may want from the program it is loaded into: nothing that glibc and musl do not both have.
#[test]
fn it_needs_no_library_and_no_version() {
    let place = Place::new();
    let list = |program: &str, option: &str| {
        let image = place.directory.join("shim.so");
        let output = Command::new(program).arg(option).arg(image).output();
        String::from_utf8(output.expect("binutils").stdout).expect("text")
    };
    let dynamic = list("readelf", "-dW");
    for word in ["NEEDED", "TEXTREL", "RPATH", "RUNPATH"] {
        assert!(!dynamic.contains(word), "{word} in\n{dynamic}");
    }
    assert!(!list("readelf", "-VW").contains("Version needs"));
    let symbols = list("nm", "-D");
    let undefined: Vec<&str> = symbols
        .lines()
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("U ")
                .or(line.trim_start().strip_prefix("w "))
        })
        .collect();
    let shared = [
        "__errno_location",
        // Weak, and asked for only where there is no dlsym.
        "__fork",
        "bcmp",
        "clock_gettime",
        "dlsym",
        "environ",
        "memcpy",
        "memmove",
        "memset",
        "recvmsg",
        "strlen",
    ];
    assert!(!undefined.is_empty());
    for symbol in undefined {
        assert!(shared.contains(&symbol), "{symbol} is not everywhere");
    }
}
