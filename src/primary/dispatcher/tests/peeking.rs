//! Connections of which something has to be read before they are dealt.

mod ends;
mod many;
mod proxies;

use super::*;
use crate::status::Keys;
use crate::wire::Belongs;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\ncookie: sid=alice\r\n\r\n";

fn by_cookie(settings: &mut Settings) {
    settings.routing.sticky = Some(Sticky::Cookie("sid".into()));
}

fn by_head(settings: &mut Settings) {
    settings.routing.header_complete = true;
}

impl Bench {
    fn say(&self, bytes: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.at).unwrap();
        client.set_nodelay(true).unwrap();
        client.write_all(bytes).unwrap();
        client
    }

    #[track_caller]
    fn wait_until_dealt(&self, count: u64) -> Snapshot {
        self.wait_for("all dealt", |now| {
            now.slots.iter().map(|slot| slot.dealt).sum::<u64>() == count
        })
    }

    #[track_caller]
    fn wait_until_read(&self, count: u64) -> Snapshot {
        self.wait_for("all waited for", |now| now.keys.reading == count)
    }
}

fn crew(bench: &Bench, slots: u16) -> Vec<Worker> {
    (0..slots)
        .map(|slot| bench.hire(slot, 10 + u64::from(slot)))
        .collect()
}

/// All that the workers got, with the slot of each.
fn taken(workers: &[Worker]) -> Vec<(usize, Record, TcpStream)> {
    let of = |(slot, worker): (usize, &Worker)| {
        let taken = worker.take().into_iter();
        taken
            .map(move |(record, stream)| (slot, record, stream))
            .collect::<Vec<_>>()
    };
    workers.iter().enumerate().flat_map(of).collect()
}

/// The server finds exactly this.
#[track_caller]
fn reads(mut stream: &TcpStream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut found).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(expected)
    );
    stream.set_nonblocking(true).unwrap();
    let more = stream.read(&mut [0; 64]);
    assert!(
        matches!(&more, Ok(0))
            || more.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "something comes behind it"
    );
}

#[test]
fn clients_with_one_cookie_meet_in_one_slot_and_the_server_reads_every_byte() {
    let bench = Bench::new(4, by_cookie);
    let workers = crew(&bench, 4);
    let _all: Vec<TcpStream> = (0..8).map(|_| bench.say(REQUEST)).collect();
    let more = [
        REQUEST,
        b"POST /next HTTP/1.1\r\ncookie: sid=bob\r\n\r\nbody",
    ]
    .concat();
    let _pipelined = bench.say(&more);
    let now = bench.wait_until_dealt(9);
    assert_eq!((now.keys.found.cookie, now.keys.reading), (9, 0));
    let taken = taken(&workers);
    for (slot, record, stream) in &taken {
        assert_eq!(*slot, taken[0].0);
        assert!(matches!(record.belongs, Belongs::Key(_)));
        assert!(!record.proxied);
        let expected = if record.connection == 9 {
            &more
        } else {
            REQUEST
        };
        reads(stream, expected);
    }
}

#[test]
fn a_head_in_pieces_is_put_together_and_nothing_is_dealt_before() {
    let bench = Bench::new(4, by_cookie);
    let workers = crew(&bench, 4);
    let whole = bench.say(REQUEST);
    bench.wait_until_dealt(1);
    let mut client = bench.say(&REQUEST[..1]);
    for byte in &REQUEST[1..] {
        let now = bench.wait_until_read(1);
        assert_eq!(
            (
                now.held,
                now.slots.iter().map(|slot| slot.dealt).sum::<u64>()
            ),
            (1, 1)
        );
        client.write_all(&[*byte]).unwrap();
    }
    bench.wait_until_dealt(2);
    let taken = taken(&workers);
    assert_eq!(taken[0].0, taken[1].0, "as the one that came whole");
    taken
        .iter()
        .for_each(|(_, _, stream)| reads(stream, REQUEST));
    drop(whole);
}

#[test]
fn what_a_request_does_not_say_is_decided_by_the_address() {
    let bench = Bench::new(4, by_cookie);
    let workers = crew(&bench, 4);
    let _clients = [
        bench.say(b"GET / HTTP/1.1\r\n\r\n"),
        bench.say(b"\x16\x03\x01\x00\xa5\x01"),
        bench.say(&[0xff; 20_000]),
    ];
    let now = bench.wait_until_dealt(3);
    assert_eq!(
        (now.keys.fallback.absent, now.keys.fallback.unreadable),
        (1, 2)
    );
    let taken = taken(&workers);
    for (slot, record, _) in &taken {
        assert_eq!((*slot, record.belongs), (taken[0].0, Belongs::Address));
    }
}

#[test]
fn who_says_nothing_is_dealt_when_the_time_is_up_and_keeps_nobody_waiting() {
    let bench = Bench::new(2, |settings| {
        by_cookie(settings);
        settings.routing.peek_timeout = Duration::from_millis(200);
    });
    let workers = crew(&bench, 2);
    let begun = Instant::now();
    let _silent = bench.connect(3);
    let _half = bench.say(&REQUEST[..20]);
    bench.wait_until_read(4);
    let _speaks = bench.say(REQUEST);
    let now = bench.wait_until_dealt(1);
    assert_eq!((now.held, now.keys.reading), (4, 4));
    let now = bench.wait_until_dealt(5);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!((now.keys.fallback.timed_out, now.held), (4, 0));
    // What a client takes its time for is not what it waits for a worker.
    let clock = crate::sys::clock::now_ns();
    for (_, record, _) in taken(&workers) {
        assert!(clock - record.accepted_at < Duration::from_secs(5).as_nanos() as u64);
    }
}

#[test]
fn with_header_complete_only_whole_heads_are_dealt() {
    let bench = Bench::new(1, |settings| {
        by_head(settings);
        settings.routing.peek_timeout = Duration::from_millis(200);
    });
    let workers = crew(&bench, 1);
    let mut silent = bench.connect(5);
    silent.push(bench.say(b"GET / HTTP/1.1\r\nhost: a\r\n"));
    let _whole = bench.say(REQUEST);
    let _strange = bench.say(b"\0\x01\x02binary");
    let now = bench.wait_until_dealt(2);
    assert_eq!(
        now.keys,
        Keys {
            reading: now.keys.reading,
            ..Keys::default()
        }
    );
    let now = bench.wait_for("closed", |now| now.closed_by_policy == 6);
    assert_eq!((now.held, now.keys.refused, now.slots[0].dealt), (0, 6, 2));
    for client in &mut silent[..5] {
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(workers[0].numbers().len(), 2);
}

#[test]
fn where_nothing_has_to_be_read_nothing_is() {
    let bench = Bench::new(1, |settings| {
        settings.routing.sticky = Some(Sticky::Ip(Prefixes::default()));
    });
    let worker = bench.hire(0, 10);
    let _silent = bench.connect(3);
    let now = bench.wait_until_dealt(3);
    assert_eq!((now.keys.found.ip, now.keys.reading), (3, 0));
    assert_eq!(worker.numbers().len(), 3);
}

#[test]
fn other_rules_judge_those_that_wait() {
    let bench = Bench::new(2, by_cookie);
    let workers = crew(&bench, 2);
    let _clients = [bench.say(b"GET /?a=1 HTTP/1.1\r\n"), bench.say(b"")];
    bench.wait_until_read(2);
    bench.send(Command::Route(Routing {
        sticky: Some(Sticky::Query("a".into())),
        ..Routing::default()
    }));
    let now = bench.wait_until_dealt(1);
    assert_eq!((now.keys.found.query, now.keys.reading), (1, 1));
    bench.send(Command::Route(Routing {
        sticky: Some(Sticky::Query("a".into())),
        peek_timeout: Duration::from_millis(50),
        ..Routing::default()
    }));
    let now = bench.wait_until_dealt(2);
    assert_eq!(now.keys.fallback.timed_out, 1);
    let _silent = bench.connect(2);
    bench.send(Command::Route(Routing {
        sticky: Some(Sticky::Query("a".into())),
        ..Routing::default()
    }));
    bench.send(Command::Route(Routing::default()));
    let now = bench.wait_until_dealt(4);
    assert_eq!((now.held, taken(&workers).len()), (0, 4));
}

#[test]
fn a_place_in_the_lane_is_told_from_every_other_source() {
    use super::super::peek::Place;
    for key in [0, 7, u32::MAX] {
        for number in [0, 1, (1 << Place::NUMBER) - 1] {
            let source = Source::Peeked(Place { key, number });
            assert_eq!(Source::of(source.token()), Some(source));
        }
    }
    let door = Source::Listener(ListenerId(u16::MAX), u16::MAX);
    for source in [Source::Commands, door] {
        assert_eq!(Source::of(source.token()), Some(source));
    }
}
