//! PROXY headers that are taken off.

use super::*;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n";

fn from_here(settings: &mut Settings) {
    settings.routing.proxy_protocol = true;
    settings.routing.trusted_proxies = "127.0.0.1,::1".parse().unwrap();
}

fn from_elsewhere(settings: &mut Settings) {
    settings.routing.proxy_protocol = true;
    settings.routing.trusted_proxies = "192.0.2.0/24".parse().unwrap();
}

fn refused(bench: &Bench) -> (String, u64) {
    bench.report(|report| match report {
        Report::Refused {
            listener,
            peer,
            why,
            others,
        } => {
            assert_eq!(listener, LISTENER);
            assert!(peer.unwrap().ip().is_loopback());
            Some((why.into_owned(), others))
        }
        _ => None,
    })
}

#[test]
fn the_header_goes_the_client_is_known_and_what_follows_stays() {
    let bench = Bench::new(1, from_here);
    let worker = bench.hire(0, 10);
    let _clients = [
        bench.say(&[HEADER, REQUEST].concat()),
        bench.say(HEADER),
        bench.say(b"PROXY UNKNOWN\r\nhello"),
    ];
    let now = bench.wait_until_dealt(3);
    assert_eq!((now.keys.proxied, now.keys.found.ip), (3, 0));
    for (record, stream) in worker.take() {
        let follows: &[u8] = [REQUEST, b"", b"hello"][record.connection as usize - 1];
        reads(&stream, follows);
        let unknown = record.connection == 3;
        assert_eq!(record.proxied, !unknown);
        let ip: [u8; 4] = if unknown {
            [127, 0, 0, 1]
        } else {
            [192, 0, 2, 7]
        };
        assert_eq!(record.peer.ip[..4], ip);
        assert_eq!(record.belongs, Belongs::Address);
    }
}

#[test]
fn a_header_in_pieces_is_taken_off_whole() {
    let bench = Bench::new(1, from_here);
    let worker = bench.hire(0, 10);
    let mut client = bench.say(&HEADER[..1]);
    for byte in &HEADER[1..] {
        bench.wait_until_read(1);
        client.write_all(&[*byte]).unwrap();
    }
    bench.wait_until_dealt(1);
    client.write_all(b"and more").unwrap();
    let (record, stream) = worker.take().pop().unwrap();
    assert!(record.proxied);
    reads(&stream, b"and more");
}

#[test]
fn more_than_fits_beside_a_header_is_seen_after_it() {
    let bench = Bench::new(2, |settings| {
        from_here(settings);
        by_cookie(settings);
    });
    let workers = crew(&bench, 2);
    // The cookie is where the buffer ends when the header is still there.
    let start = b"GET / HTTP/1.1\r\nx: ";
    let padding = vec![b'a'; 16 * 1024 - HEADER.len() - start.len() - 2];
    let request = [start, padding.as_slice(), b"\r\ncookie: sid=x\r\n\r\n"].concat();
    let mut client = bench.say(&[HEADER, &request[..]].concat());
    bench.wait_for("decided", |now| now.held == 0 && now.accepted[0].1 == 1);
    let now = bench.snapshot();
    assert_eq!((now.keys.proxied, now.keys.found.cookie), (1, 1));
    let taken = taken(&workers);
    client.write_all(b"end").unwrap();
    reads(&taken[0].2, &[&request[..], b"end"].concat());
}

#[test]
fn from_others_it_is_not_looked_at() {
    let bench = Bench::new(1, from_elsewhere);
    let worker = bench.hire(0, 10);
    let _clients = [bench.say(HEADER), bench.say(b"")];
    let now = bench.wait_until_dealt(2);
    assert_eq!(now.keys, Keys::default());
    let (record, stream) = worker.take().swap_remove(0);
    assert!(!record.proxied);
    assert_eq!(record.peer.ip[..4], [127, 0, 0, 1]);
    reads(&stream, HEADER);
}

#[test]
fn without_a_header_a_proxy_is_refused_and_said_so_now_and_then() {
    let bench = Bench::new(1, |settings| {
        from_here(settings);
        // The standard asks for three seconds at least.
        settings.routing.peek_timeout = Duration::from_millis(10);
    });
    let _worker = bench.hire(0, 10);
    let begun = Instant::now();
    let silent = bench.say(b"");
    bench.wait_until_read(1);
    let mut wrong: Vec<TcpStream> = (0..5).map(|_| bench.say(REQUEST)).collect();
    let now = bench.wait_for("refused", |now| now.keys.refused == 5);
    assert_eq!((now.closed_by_policy, now.held), (5, 1));
    assert!(refused(&bench).0.contains("PROXY"));
    for client in &mut wrong {
        let end = client.read(&mut [0; 1]);
        assert!(!matches!(end, Ok(1..)), "{end:?}");
    }
    bench.wait_for("refused at last", |now| now.keys.refused == 6);
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let (why, others) = refused(&bench);
    assert_eq!(others, 4);
    assert!(why.contains("in time"), "{why}");
    // A look whether anybody listens is nothing to speak of.
    drop(bench.say(b""));
    let now = bench.wait_for("gone", |now| now.client_gone == 1);
    assert_eq!((now.slots[0].dealt, now.keys.refused), (0, 6));
    assert!(bench.reports.is_empty());
    drop(silent);
}

#[test]
fn rules_that_change_leave_nobody_waiting_for_a_header() {
    let bench = Bench::new(1, from_here);
    let worker = bench.hire(0, 10);
    let _clients = [bench.say(b""), bench.say(&HEADER[..9])];
    bench.wait_until_read(2);
    bench.send(Command::Route(Routing::default()));
    bench.wait_until_dealt(2);
    let streams = worker.take();
    reads(&streams[1].1, &HEADER[..9]);
}
