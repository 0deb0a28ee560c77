//! One session of the demo at a real socket, with a clock of the test's own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::routes::Identity;
use super::session::{
    HEAD_TIMEOUT, IDLE_TIMEOUT, LINGER_TIMEOUT, Session, Site, Turn, WRITE_TIMEOUT,
};
use crate::worker::{Listener, Options};

const SECOND: Duration = Duration::from_secs(1);
const ASK: &[u8] = b"GET /api/none HTTP/1.1\r\nHost: a\r\n\r\n";

struct Stage {
    client: TcpStream,
    session: Session,
    site: Site,
    now: Instant,
    _listener: Listener,
}

impl Stage {
    fn new() -> Self {
        let options = Options::new().nonblocking_connections(true);
        let listener = options.bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr()).unwrap();
        client.set_read_timeout(Some(20 * SECOND)).unwrap();
        let connection = listener.accept().unwrap().unwrap();
        let now = Instant::now();
        Self {
            client,
            session: Session::new(connection, 1, now),
            site: Site {
                identity: Identity::of_this_process(),
                served: 0,
                finishing: false,
            },
            now,
            _listener: listener,
        }
    }

    /// Sends, then lets the session go on until `enough` of its state.
    fn send(&mut self, bytes: &[u8], mut enough: impl FnMut(&Self, Turn) -> bool) {
        self.client.write_all(bytes).unwrap();
        let stuck = Instant::now() + 10 * SECOND;
        loop {
            let turn = self.session.advance(&mut self.site, self.now);
            if enough(self, turn) {
                return;
            }
            assert!(Instant::now() < stuck, "the session gets no further");
            std::thread::yield_now();
        }
    }

    /// Sends requests until `count` are answered in all.
    fn ask(&mut self, bytes: &[u8], count: u64) {
        self.send(bytes, |it, _| it.site.served == count);
        self.session.advance(&mut self.site, self.now);
    }

    fn is_late_after(&self, time: Duration) -> bool {
        let just_before = self.now + time - Duration::from_millis(1);
        assert!(!self.session.is_late(just_before), "late too early");
        self.session.is_late(self.now + time)
    }
}

#[test]
fn a_client_that_drips_its_request_is_late_all_the_same() {
    let mut stage = Stage::new();
    assert!(stage.is_late_after(HEAD_TIMEOUT));
    stage.send(b"GET", |_, _| true);
    stage.now += SECOND;
    stage.send(b" / HT", |_, turn| turn == Turn::Waiting);
    assert!(stage.session.is_late(stage.now + HEAD_TIMEOUT));
}

#[test]
fn between_requests_there_is_more_patience() {
    let mut stage = Stage::new();
    stage.ask(ASK, 1);
    assert!(stage.is_late_after(IDLE_TIMEOUT));
    stage.now += 30 * SECOND;
    stage.ask(ASK, 2);
    assert!(stage.is_late_after(IDLE_TIMEOUT));
}

#[test]
fn a_client_that_does_not_read_stops_itself_and_is_late() {
    let mut stage = Stage::new();
    let page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
    stage.client.set_nonblocking(true).unwrap();
    // Neither side takes more: nothing is served however often both try.
    let (mut served, mut in_vain) = (0, 0);
    while in_vain < 100 {
        let _ = stage.client.write(&page);
        while stage.session.advance(&mut stage.site, stage.now) == Turn::Again {}
        in_vain = if stage.site.served == served {
            in_vain + 1
        } else {
            0
        };
        served = stage.site.served;
    }
    assert!(stage.is_late_after(WRITE_TIMEOUT));
}

#[test]
fn an_ended_answer_is_not_lost_to_what_the_client_still_sends() {
    let mut stage = Stage::new();
    let refused = [&b"GARBAGE\r\n\r\n"[..], &[b'x'; 30_000]].concat();
    stage.send(&refused, |_, turn| turn == Turn::Waiting);
    assert!(stage.is_late_after(LINGER_TIMEOUT));
    let mut answer = String::new();
    stage.client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    stage.client.shutdown(Shutdown::Both).unwrap();
    stage.send(b"", |_, turn| turn == Turn::Over);
}

#[test]
fn a_leaving_worker_ends_idle_clients_and_waits_for_new_ones() {
    let mut new = Stage::new();
    new.site.finishing = true;
    assert_eq!(new.session.finish(new.now), Turn::Waiting);
    new.ask(ASK, 1);
    let mut answer = String::new();
    new.client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");

    let mut idle = Stage::new();
    idle.ask(ASK, 1);
    idle.session.finish(idle.now);
    let mut answer = String::new();
    idle.client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("\r\nConnection: keep-alive\r\n"),
        "{answer}"
    );
}

#[test]
fn a_silent_websocket_is_pinged_and_then_given_up() {
    let mut stage = Stage::new();
    let upgrade = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stage.send(upgrade, |it, _| it.session.is_websocket());
    let mut received = [0; 512];
    let length = stage.client.read(&mut received).unwrap();
    let answer = String::from_utf8_lossy(&received[..length]);
    // The key and its answer are the example of RFC 6455 §1.3.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));

    assert_eq!(stage.session.push("{}", stage.now), Turn::Waiting);
    stage.now += 20 * SECOND;
    assert_eq!(stage.session.push("{}", stage.now), Turn::Waiting);
    let mut frames = [0; 10];
    stage.client.read_exact(&mut frames).unwrap();
    assert_eq!(&frames, b"\x81\x02{}\x89\x00\x81\x02{}");
    assert!(!stage.session.is_late(stage.now));
    // A masked pong with nothing in it.
    stage.send(b"\x8a\x80\x01\x02\x03\x04", |it, _| {
        !it.session.is_late(it.now + 44 * SECOND)
    });
    assert!(stage.session.is_late(stage.now + 45 * SECOND));
}
