//! Tests of [`super`] on real sockets and directories; nothing else calls them.

use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::path::PathBuf;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, RecvMsg, SockFlag, SockType, UnixAddr, connect, recvmsg,
    send, socket,
};

use super::*;
use crate::primary::socket_file::{Shape, SocketFile, listen_at};
use crate::wire::{Address, Outcome, Verb};

struct Place {
    rendezvous: Rendezvous,
    file: SocketFile,
}

impl Place {
    fn open(test: &str) -> Self {
        let name = format!("forkfront-join-{test}-{}", std::process::id());
        let path: PathBuf = std::env::temp_dir().join(name);
        let shape = Shape {
            kind: SockType::SeqPacket,
            mode: 0o600,
            backlog: None,
        };
        let (listener, file) = listen_at(&path, shape).unwrap();
        let rendezvous = Rendezvous::new(listener).unwrap();
        Self { rendezvous, file }
    }

    fn connect(&self) -> OwnedFd {
        let caller = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        connect(
            caller.as_raw_fd(),
            &UnixAddr::new(self.file.path()).unwrap(),
        )
        .unwrap();
        caller
    }

    fn ask(&self, message: &[u8]) -> OwnedFd {
        let caller = self.connect();
        // The primary may have closed the connection already.
        let _ = send(caller.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL);
        caller
    }

    fn ready(&mut self) -> Vec<Joining> {
        self.rendezvous.ready(Instant::now())
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
}

fn request() -> Request {
    Request {
        verb: Verb::Bind,
        v6only: true,
        reuse_port: false,
        native: false,
        nonblocking: true,
        worker: 7,
        number: 0,
        address: Address::default(),
        inode: 0,
    }
}

fn option() -> SocketOption {
    SocketOption {
        level: 1,
        name: 2,
        len: 4,
        value: [1; 16],
    }
}

/// A request with so many options.
fn message(options: usize) -> Vec<u8> {
    let mut bytes = request().encode().to_vec();
    for _ in 0..options {
        bytes.extend_from_slice(&option().encode());
    }
    bytes
}

#[test]
fn a_request_is_answered_with_descriptors() {
    let mut place = Place::open("answer");
    for options in [0, 1, MAX_OPTIONS] {
        let caller = place.ask(&message(options));
        let mut asked = place.ready();
        assert_eq!(asked.len(), 1);
        let joining = asked.remove(0);
        assert_eq!(joining.request, request());
        assert_eq!(joining.options, vec![option(); options]);
        assert_eq!(joining.pid, std::process::id());
        assert_eq!(joining.uid, nix::unistd::getuid().as_raw());
        let answer = Answer::plain(Outcome::Channel);
        let gift = std::fs::File::open("/dev/null").unwrap();
        joining
            .connection
            .reply(&answer, &[gift.as_fd(), gift.as_fd()])
            .unwrap();
        let mut buffer = [0; 256];
        let mut control = nix::cmsg_space!([RawFd; 2]);
        let mut vectors = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received: RecvMsg<'_, '_, ()> =
            recvmsg(caller.as_raw_fd(), &mut vectors, Some(&mut control), flags).unwrap();
        let fds: usize = received
            .cmsgs()
            .unwrap()
            .map(|control| match control {
                ControlMessageOwned::ScmRights(fds) => fds.len(),
                _ => 0,
            })
            .sum();
        let length = received.bytes;
        assert_eq!(fds, 2);
        assert_eq!(Answer::decode(&buffer[..length]), Some(answer));
    }
    assert_eq!(place.rendezvous.refused(), 0);
}

#[test]
fn what_is_no_request_is_closed_without_an_answer() {
    let mut place = Place::open("garbage");
    let too_many = message(MAX_OPTIONS + 1);
    let mut half_an_option = message(1);
    half_an_option.truncate(Request::LEN + 5);
    let mut other_version = message(0);
    other_version[0] ^= 0xff;
    let cases: [&[u8]; 6] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 60_000],
        &too_many,
        &half_an_option,
        &other_version,
    ];
    for (index, case) in cases.iter().enumerate() {
        let caller = place.ask(case);
        assert!(place.ready().is_empty());
        assert_eq!(place.rendezvous.refused(), index as u64 + 1);
        let mut buffer = [0; 8];
        let heard = recv(caller.as_raw_fd(), &mut buffer, MsgFlags::empty());
        // ECONNRESET if what it had sent was not read to the end.
        assert!(matches!(heard, Ok(0) | Err(Errno::ECONNRESET)), "{heard:?}");
    }
}

#[test]
fn descriptors_that_come_along_are_never_received() {
    let mut place = Place::open("gifts");
    let before = Place::open_descriptors();
    let gift = std::fs::File::open("/dev/null").unwrap();
    let many = vec![gift.as_raw_fd(); 253];
    let bytes = message(0);
    for _ in 0..20 {
        let caller = place.connect();
        sendmsg::<()>(
            caller.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            &[ControlMessage::ScmRights(&many)],
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        assert_eq!(place.ready().len(), 1);
    }
    // Other tests open and close in the meantime, but not thousands.
    assert!(Place::open_descriptors() < before + 1_000);
}

#[test]
fn slow_callers_are_dropped_and_hold_nobody_up() {
    let mut place = Place::open("slow");
    let slow = place.connect();
    assert!(place.ready().is_empty());
    let deadline = place.rendezvous.deadline().unwrap();
    let quick = place.ask(&message(0));
    assert_eq!(place.ready().len(), 1);
    drop(quick);
    assert!(place.rendezvous.ready(deadline).is_empty());
    assert_eq!(place.rendezvous.refused(), 1);
    assert!(place.rendezvous.deadline().is_none());
    let mut buffer = [0; 8];
    assert_eq!(
        recv(slow.as_raw_fd(), &mut buffer, MsgFlags::empty()),
        Ok(0)
    );
}

#[test]
fn a_late_request_is_heard() {
    let mut place = Place::open("late");
    let callers: Vec<_> = (0..5).map(|_| place.connect()).collect();
    assert!(place.ready().is_empty());
    for caller in &callers {
        send(caller.as_raw_fd(), &message(0), MsgFlags::empty()).unwrap();
    }
    assert_eq!(place.ready().len(), 5);
}

#[test]
fn a_crowd_of_silent_ones_keeps_nobody_out() {
    let mut place = Place::open("crowd");
    let late = place.connect();
    assert!(place.ready().is_empty());
    let silent: Vec<_> = (0..3 * MOST_CALLERS).map(|_| place.connect()).collect();
    // Heard although it is the first to go: it has asked by then.
    send(late.as_raw_fd(), &message(0), MsgFlags::empty()).unwrap();
    let waiting = place.ask(&message(0));
    // The backlog is looked at again without an event.
    let now = Instant::now();
    let heard: usize = (0..5).map(|_| place.rendezvous.ready(now).len()).sum();
    assert_eq!(heard, 2);
    assert_eq!(place.rendezvous.refused(), 2 * MOST_CALLERS as u64);
    assert_eq!(place.rendezvous.callers.len(), MOST_CALLERS);
    drop((silent, waiting));
}

#[test]
fn random_bytes_never_hurt() {
    let mut place = Place::open("random");
    let mut chance = oorandom::Rand64::new(1);
    let mut random = || chance.rand_u64();
    let mut understood = 0;
    for _ in 0..20_000 {
        let mut bytes = message(random() as usize % (MAX_OPTIONS + 2));
        for _ in 0..random() % 4 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        if random() % 3 == 0 {
            bytes.truncate(random() as usize % (bytes.len() + 1));
        }
        understood += usize::from(decode(&bytes).is_some());
    }
    assert!(understood > 1_000);
    for _ in 0..500 {
        let bytes: Vec<u8> = (0..random() % 200).map(|_| random() as u8).collect();
        drop(place.ask(&bytes));
        place.ready();
    }
    let _caller = place.ask(&message(2));
    assert_eq!(place.ready().len(), 1);
}

#[test]
fn many_callers_from_other_threads_are_all_answered() {
    const CALLERS: usize = 8;
    const ROUNDS: usize = 50;
    let mut place = Place::open("many");
    let path = place.file.path().to_owned();
    let threads: Vec<_> = (0..CALLERS)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                for _ in 0..ROUNDS {
                    let kind = SockType::SeqPacket;
                    let caller =
                        socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
                    connect(caller.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
                    send(caller.as_raw_fd(), &message(0), MsgFlags::empty()).unwrap();
                    let mut buffer = [0; 128];
                    let length = recv(caller.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
                    assert_eq!(Answer::decode(&buffer[..length]), Some(Answer::errno(5)));
                }
            })
        })
        .collect();
    // As the supervisor does: one descriptor in a set of its own, edge-triggered, and a deadline.
    let mut poll = Poll::new().unwrap();
    let fd = place.rendezvous.as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&fd), Token(1), Interest::READABLE)
        .unwrap();
    let mut events = Events::with_capacity(4);
    let mut answered = 0;
    while answered < CALLERS * ROUNDS {
        poll.poll(&mut events, Some(Duration::from_secs(5)))
            .unwrap();
        assert!(!events.is_empty(), "an event is missing after {answered}");
        for joining in place.ready() {
            joining.connection.reply(&Answer::errno(5), &[]).unwrap();
            answered += 1;
        }
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn callers_cross_an_upgrade_wherever_they_are() {
    let mut place = Place::open("upgrade");
    let silent = place.connect();
    assert!(place.ready().is_empty());
    let _in_backlog = place.ask(&request().encode());
    let mut luggage = Luggage::default();
    let frozen = serde_json::to_string(&place.rendezvous.freeze(&mut luggage)).unwrap();
    let mut luggage = crate::sys::handover::crossed(&luggage);
    let listener = place.rendezvous.listener.try_clone().unwrap();
    let frozen = serde_json::from_str(&frozen).unwrap();
    place.rendezvous = Rendezvous::thaw(listener.into(), frozen, &mut luggage).unwrap();
    drop(luggage);
    assert!(place.rendezvous.deadline().is_some());
    assert_eq!(place.ready().len(), 1);
    send(
        silent.as_raw_fd(),
        &request().encode(),
        MsgFlags::MSG_NOSIGNAL,
    )
    .unwrap();
    assert_eq!(place.ready().len(), 1);
}
