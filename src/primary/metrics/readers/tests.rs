//! Tests of [`super`] on real sockets; nothing else calls them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use super::super::reader::{ANSWER_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT};
use super::*;
use crate::primary::listeners::door;

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct House {
    readers: Readers,
    at: SocketAddr,
    /// The body of every answer.
    body: Rc<Vec<u8>>,
}

impl House {
    fn open() -> Self {
        let wish = door::Wish {
            v6only: false,
            reuse_address: true,
            options: &[],
            own_user: true,
        };
        let mut door = door::bind_tcp("127.0.0.1:0".parse().unwrap(), &wish).unwrap();
        door.listen(1024).unwrap();
        Self {
            at: door.text().parse().unwrap(),
            readers: Readers::new(door).unwrap(),
            body: Rc::new(b"ok\n".to_vec()),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        let patience = Some(Duration::from_secs(5));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    /// One turn at `now`; how many were answered.
    fn turn(&mut self, now: Instant) -> usize {
        let asked = self.readers.ready(now);
        for (reader, _) in &asked {
            let reply = Reply::of("text/plain", Rc::clone(&self.body));
            self.readers.answer(*reader, reply, now);
        }
        asked.len()
    }

    /// Turns until nothing more is to be done now.
    fn settle(&mut self) -> usize {
        let mut answered = 0;
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            answered += self.turn(Instant::now());
            let soon = Instant::now() + Duration::from_millis(500);
            if self
                .readers
                .reception
                .deadline(std::iter::empty())
                .is_none_or(|at| at > soon)
            {
                break;
            }
        }
        answered
    }
}

/// What comes until the connection ends, or nothing more comes.
fn rest(mut client: &TcpStream) -> String {
    let mut text = Vec::new();
    let _ = client.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

fn one_answer(mut client: &TcpStream) -> String {
    let mut text = Vec::new();
    let mut part = [0; 1024];
    while !text.ends_with(b"ok\n") {
        let length = client.read(&mut part).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..length]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_connection_asks_again_and_all_at_once() {
    let mut house = House::open();
    let mut client = house.connect();
    client.write_all(&GET[..20]).unwrap();
    assert_eq!(house.settle(), 0);
    client.write_all(&GET[20..]).unwrap();
    assert_eq!(house.settle(), 1);
    let answer = one_answer(&client);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nConnection: keep-alive\r\n"),
        "{answer}"
    );
    client.write_all(&GET.repeat(100)).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(house.settle(), 100);
    assert_eq!(rest(&client).matches("HTTP/1.1 200").count(), 100);
    house.settle();
    assert!(house.readers.readers.is_empty());
}

#[test]
fn a_refusal_is_read_even_by_who_goes_on_sending() {
    let mut house = House::open();
    let mut client = house.connect();
    let endless = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'x'; 100_000]].concat();
    client.write_all(&endless).unwrap();
    assert_eq!(house.settle(), 0);
    assert!(rest(&client).starts_with("HTTP/1.1 431 "));
    drop(client);
    house.settle();
    assert!(house.readers.readers.is_empty());
    let mut client = house.connect();
    client.write_all(GET).unwrap();
    assert_eq!(house.settle(), 1);
    assert_eq!(house.readers.counts().1.requests, 2, "a refusal counts");
}

#[test]
fn every_wait_has_its_end() {
    let mut house = House::open();
    let silent = house.connect();
    let mut half = house.connect();
    half.write_all(b"GET /").unwrap();
    let mut idle = house.connect();
    idle.write_all(GET).unwrap();
    assert_eq!(house.settle(), 1);
    one_answer(&idle);
    assert_eq!(house.readers.readers.len(), 3);
    let mut later = Instant::now() + HEAD_TIMEOUT;
    assert!(house.readers.deadline().unwrap() <= later);
    house.turn(later);
    assert_eq!(rest(&silent), "");
    assert!(rest(&half).starts_with("HTTP/1.1 408 "));
    assert_eq!(house.readers.counts().1.requests, 2, "both were answered");
    later += HEAD_TIMEOUT;
    house.turn(later);
    assert_eq!(house.readers.readers.len(), 1);
    house.turn(later + IDLE_TIMEOUT);
    assert!(house.readers.readers.is_empty());
}

#[test]
fn too_many_are_told_so_and_the_silent_give_way() {
    let mut house = House::open();
    let crowd: Vec<_> = (0..4 * MOST_READERS).map(|_| house.connect()).collect();
    house.settle();
    assert_eq!(house.readers.readers.len(), MOST_READERS);
    assert_eq!(house.readers.counts.crowded_out as usize, 3 * MOST_READERS);
    assert_eq!(rest(&crowd[0]), "");
    let mut client = house.connect();
    client.write_all(GET).unwrap();
    assert_eq!(house.settle(), 1);
    one_answer(&client);
}

#[test]
fn who_never_reads_gives_way_and_costs_no_copy() {
    let mut house = House::open();
    house.body = Rc::new(vec![b'x'; 32 * 1024 * 1024]);
    let mut deaf: Vec<_> = (0..MOST_READERS).map(|_| house.connect()).collect();
    for client in &mut deaf {
        client.write_all(GET).unwrap();
    }
    house.settle();
    assert_eq!(Rc::strong_count(&house.body), MOST_READERS + 1);
    let refused = house.connect();
    house.settle();
    assert!(rest(&refused).starts_with("HTTP/1.1 503 "));
    let client = house.connect();
    let later = Instant::now() + STUCK;
    house.turn(later);
    assert_eq!(Rc::strong_count(&house.body), MOST_READERS);
    house.turn(later + ANSWER_TIMEOUT + STUCK);
    assert_eq!(Rc::strong_count(&house.body), 1, "all have had their time");
    drop(client);
}

#[test]
fn a_moment_has_its_end_however_fast_they_ask() {
    let mut house = House::open();
    let mut client = house.connect();
    client.write_all(&GET.repeat(150)).unwrap();
    let now = Instant::now();
    let asked: usize = (0..1000).map(|_| house.turn(now)).sum();
    assert!(asked as u32 <= DEEDS_PER_MOMENT, "{asked}");
    assert!(house.readers.deadline().unwrap() > now);
    assert!(house.turn(now + MOMENT) > 0);
}

#[test]
fn readers_cross_an_upgrade_in_the_middle_of_everything() {
    let mut house = House::open();
    house.body = Rc::new(vec![b'y'; 8 * 1024 * 1024]);
    let (mut half, mut slow) = (house.connect(), house.connect());
    half.write_all(&GET[..30]).unwrap();
    slow.write_all(GET).unwrap();
    assert_eq!(house.settle(), 1);
    let late = house.connect();
    let mut luggage = Luggage::default();
    let frozen = serde_json::to_string(&house.readers.freeze(&mut luggage)).unwrap();
    let mut luggage = crate::sys::handover::crossed(&luggage);
    let frozen: FrozenReaders = serde_json::from_str(&frozen).unwrap();
    house.readers = Readers::thaw(frozen, &mut luggage).unwrap();
    drop(luggage);
    let length = house.body.len();
    house.body = Rc::new(b"ok\n".to_vec());
    half.write_all(&GET[30..]).unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; length];
        slow.read_exact(&mut all).unwrap();
    });
    let end = Instant::now() + Duration::from_secs(10);
    while !reader.is_finished() && Instant::now() < end {
        house.turn(Instant::now());
        std::thread::yield_now();
    }
    reader.join().unwrap();
    one_answer(&half);
    let mut late = late;
    late.write_all(GET).unwrap();
    house.settle();
    one_answer(&late);
}
