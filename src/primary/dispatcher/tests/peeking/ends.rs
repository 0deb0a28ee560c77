//! Clients that go, listeners that go, the primary that stops or is upgraded, while bytes are waited for.

use std::net::Shutdown;

use super::*;

fn reset(client: TcpStream) {
    let socket = socket2::SockRef::from(&client);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_client_that_resets_is_counted_and_given_up() {
    let bench = Bench::new(1, by_cookie);
    let _worker = bench.hire(0, 10);
    let (silent, half) = (bench.say(b""), bench.say(b"GET"));
    bench.wait_until_read(2);
    reset(silent);
    reset(half);
    let now = bench.wait_for("noticed", |now| now.client_gone == 2);
    assert_eq!((now.held, now.slots[0].dealt), (0, 0));
}

#[test]
fn a_client_that_says_no_more_is_judged_by_what_it_has_said() {
    let bench = Bench::new(1, by_cookie);
    let worker = bench.hire(0, 10);
    let (silent, half) = (bench.say(b""), bench.say(b"GET / HT"));
    bench.wait_until_read(2);
    silent.shutdown(Shutdown::Write).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let now = bench.wait_until_dealt(2);
    assert_eq!(now.keys.fallback.unreadable + now.keys.fallback.absent, 2);
    for (record, stream) in worker.take() {
        reads(
            &stream,
            if record.connection == 1 {
                b""
            } else {
                b"GET / HT"
            },
        );
    }
    drop((silent, half));
}

#[test]
fn with_header_complete_one_that_has_said_nothing_and_says_no_more_is_gone() {
    let bench = Bench::new(1, by_head);
    let worker = bench.hire(0, 10);
    let (silent, half) = (bench.say(b""), bench.say(b"GET / HT"));
    bench.wait_until_read(2);
    drop(silent);
    half.shutdown(Shutdown::Write).unwrap();
    let now = bench.wait_until_dealt(1);
    let now = match now.client_gone {
        1 => now,
        _ => bench.wait_for("gone", |now| now.client_gone == 1),
    };
    assert_eq!(now.held, 0);
    assert_eq!(worker.numbers(), [2]);
}

/// There a client that closes is gone in both directions, though all that it has said is to be read.
#[test]
fn what_came_over_a_unix_socket_is_read_though_its_client_has_closed() {
    use std::os::unix::net::{UnixListener, UnixStream};
    const UNIX: ListenerId = ListenerId(3);
    let bench = Bench::new(1, by_cookie);
    let worker = bench.hire_on(UNIX, 0, 10);
    let path = std::env::temp_dir().join(format!("forkfront-peek-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (socket, local) = (listener.into(), Address::default());
    let id = UNIX;
    bench.send(Command::AddListener { id, socket, local });
    let mut client = UnixStream::connect(&path).unwrap();
    let silent = UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    bench.wait_until_read(2);
    client.write_all(REQUEST).unwrap();
    drop((client, silent));
    let now = bench.wait_until_dealt(2);
    assert_eq!(now.keys.found.cookie, 1);
    for (record, stream) in worker.take() {
        reads(&stream, if record.connection == 1 { REQUEST } else { b"" });
    }
}

#[test]
fn at_the_end_who_waits_is_dealt_at_once() {
    let bench = Bench::new(2, by_cookie);
    let workers = crew(&bench, 2);
    let _clients = [bench.say(b""), bench.say(&REQUEST[..9])];
    bench.wait_until_read(2);
    bench.send(Command::Finish);
    let now = bench.wait_until_dealt(2);
    assert_eq!((now.keys.fallback.timed_out, now.held), (2, 0));
    assert_eq!(taken(&workers).len(), 2);
    bench.report(|report| matches!(report, Report::Dry).then_some(()));
}

#[test]
fn at_the_end_a_blocking_server_is_spared_those_who_have_said_nothing() {
    let bench = Bench::new(1, by_head);
    let worker = bench.hire(0, 10);
    let _clients = [bench.say(b""), bench.say(&REQUEST[..9])];
    bench.wait_until_read(2);
    bench.send(Command::Finish);
    let now = bench.wait_until_dealt(1);
    assert_eq!((now.closed_by_policy, now.held), (1, 0));
    assert_eq!(worker.numbers(), [2]);
    bench.report(|report| matches!(report, Report::Dry).then_some(()));
}

#[test]
fn a_listener_that_goes_keeps_nobody() {
    const OTHER: ListenerId = ListenerId(7);
    let bench = Bench::new(1, by_cookie);
    let at = bench.listen(OTHER);
    let (worker, _other) = (bench.hire_on(OTHER, 0, 10), bench.hire(0, 11));
    let mut waits = TcpStream::connect(at).unwrap();
    let mut stays = bench.say(b"GET");
    bench.wait_until_read(2);
    bench.send(Command::RemoveListener(OTHER));
    waits.write_all(b"GET /").unwrap();
    bench.report(|report| matches!(report, Report::ListenerClosed(OTHER)).then_some(()));
    let now = bench.snapshot();
    assert_eq!((now.keys.reading, now.slots[0].dealt), (1, 1));
    assert_eq!(worker.numbers().len(), 1);
    stays.write_all(&REQUEST[3..]).unwrap();
    let now = bench.wait_until_dealt(2);
    assert_eq!(now.keys.found.cookie, 1);
    // With nobody left to take them they are closed.
    bench.evict(&worker);
    let at = bench.listen(ListenerId(8));
    let mut lost = TcpStream::connect(at).unwrap();
    bench.wait_until_read(1);
    bench.send(Command::RemoveListener(ListenerId(8)));
    let now = bench.wait_for("closed", |now| now.closed_by_policy == 1);
    assert_eq!((now.keys.reading, now.held), (0, 0));
    assert_eq!(lost.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_upgrade_takes_along_who_waits_and_how_far_it_was() {
    let mut bench = Bench::new(4, |settings| {
        by_cookie(settings);
        settings.routing.proxy_protocol = true;
        settings.routing.trusted_proxies = "127.0.0.1".parse().unwrap();
        settings.routing.peek_timeout = Duration::from_secs(5);
    });
    let workers = crew(&bench, 4);
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n";
    let mut taken_off = bench.say(&[header.as_slice(), b"GET / "].concat());
    let mut not_yet = bench.say(&header[..9]);
    let silent = bench.say(b"");
    bench.wait_for("one header", |now| {
        now.keys.reading == 3 && now.keys.proxied == 1
    });
    let begun = Instant::now();
    let all: Vec<&Worker> = workers.iter().collect();
    for _ in 0..3 {
        bench.freeze_and_thaw(&all);
        let now = bench.snapshot();
        assert_eq!((now.keys.reading, now.held, now.keys.proxied), (3, 3, 1));
    }
    taken_off.write_all(&REQUEST[6..]).unwrap();
    bench.wait_until_dealt(1);
    not_yet.write_all(&header[9..]).unwrap();
    not_yet.write_all(REQUEST).unwrap();
    let now = bench.wait_until_dealt(2);
    assert_eq!((now.keys.proxied, now.keys.found.cookie), (2, 2));
    let taken = taken(&workers);
    assert_eq!(taken[0].0, taken[1].0);
    for (_, record, stream) in &taken {
        assert!(record.proxied);
        assert_eq!(
            (record.peer.ip[..4].to_vec(), record.peer.port),
            (vec![192, 0, 2, 7], 1234)
        );
        reads(stream, REQUEST);
    }
    // Its time does not begin anew.
    while bench.snapshot().closed_by_policy == 0 {
        assert!(begun.elapsed() < PATIENCE, "was never refused");
        bench.freeze_and_thaw(&all);
    }
    drop(silent);
}
