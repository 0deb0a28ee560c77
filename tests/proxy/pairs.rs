//! Sessions whose two ends are both here, so that it is known what each has seen of the other: ends in every order
//! (F1, F2), resets, and sides that read nothing (F3).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use socket2::SockRef;

/// A backend that is this test.
struct Here {
    listener: TcpListener,
    to: String,
}

impl Here {
    #[track_caller]
    fn new(site: &Site) -> Self {
        let listener = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
        let to = listener.local_addr().expect("bound").to_string();
        Self { listener, to }
    }

    /// A new session: the client's end and the backend's.
    #[track_caller]
    fn pair(&self, site: &Site) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(site.to()).expect("connected");
        let (backend, _) = self.listener.accept().expect("led there");
        for stream in [&client, &backend] {
            stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
            stream.set_write_timeout(Some(DEADLINE)).expect("time-out");
        }
        (client, backend)
    }
}

/// Everything until the end, which is no reset.
#[track_caller]
fn all_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end and no reset");
    all
}

#[track_caller]
fn say(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("said");
    stream.shutdown(Shutdown::Write).expect("ended");
}

fn reset(stream: TcpStream) {
    let socket = SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).expect("a socket");
}

/// Who says what it has to say and ends first; the other does so when it has heard that.
#[derive(Clone, Copy, Debug)]
enum First {
    Client,
    Backend,
    Both,
    /// And is gone then: the other says nothing.
    ClientAlone,
}

#[test]
fn every_order_of_ends_with_every_size() {
    const SIZES: [(usize, usize); 8] = [
        (0, 0),
        (1, 0),
        (0, 1),
        (65_536, 1),
        (1, 65_536),
        (10 << 20, 0),
        (0, 10 << 20),
        (10 << 20, 10 << 20),
    ];
    let site = Site::new();
    let here = Here::new(&site);
    let balancer = behind(&site, &here.to, &[]);
    let random = {
        let mut random = Random::of(7);
        let words = (0..(10 << 20) / 8 + 1).flat_map(|_| random.next().to_le_bytes());
        words.collect::<Vec<u8>>()
    };
    for (up, down) in SIZES {
        let (up, down) = (&random[..up], &random[random.len() - down..]);
        for first in [
            First::Client,
            First::Backend,
            First::Both,
            First::ClientAlone,
        ] {
            let (client, backend) = here.pair(&site);
            // What a side has heard; it speaks before or after that.
            let side = |stream: TcpStream, words: &[u8], begins: bool, ends: bool| {
                std::thread::scope(|scope| {
                    let speaker = begins.then(|| scope.spawn(|| say(&stream, words)));
                    let heard = match ends {
                        true => all_of(&stream),
                        false => Vec::new(),
                    };
                    match speaker {
                        Some(speaker) => speaker.join().expect("said"),
                        None => say(&stream, words),
                    }
                    heard
                })
            };
            let alone = matches!(first, First::ClientAlone);
            let down = if alone { &[][..] } else { down };
            let (heard_here, heard_there) = std::thread::scope(|scope| {
                let begins = !matches!(first, First::Backend);
                let client = scope.spawn(move || side(client, up, begins, !alone));
                let begins = matches!(first, First::Backend | First::Both);
                let backend = scope.spawn(move || side(backend, down, begins, true));
                let heard_here = client.join().expect("the client");
                (heard_here, backend.join().expect("the backend"))
            });
            let sizes = (heard_there.len(), heard_here.len());
            assert_eq!(sizes, (up.len(), down.len()), "{first:?}");
            assert!(
                heard_there == up && heard_here == down,
                "{first:?}: other bytes"
            );
        }
    }
    balancer.finish();
}

#[test]
fn last_bytes_and_the_end_in_one_segment_after_a_half_close() {
    let site = Site::new();
    let here = Here::new(&site);
    let balancer = behind(&site, &here.to, &[]);
    for round in 0..60 {
        let (client, backend) = here.pair(&site);
        let (first, mut last) = match round % 2 {
            0 => (client, backend),
            _ => (backend, client),
        };
        first.shutdown(Shutdown::Write).expect("half closed");
        assert!(all_of(&last).is_empty());
        // Corked: the end goes with the bytes (tcp(7)).
        let corked = SockRef::from(&last).set_tcp_cork(true);
        corked.expect("a socket of TCP");
        let bytes = vec![round as u8; 1 + round * 100];
        last.write_all(&bytes).expect("said");
        drop(last);
        assert_eq!(all_of(&first), bytes, "round {round}");
    }
    balancer.finish();
}

#[test]
fn a_clients_reset_is_a_reset_for_its_backend() {
    let site = Site::new();
    let here = Here::new(&site);
    let balancer = behind(&site, &here.to, &[]);
    for round in 0..40 {
        let (mut client, mut backend) = here.pair(&site);
        // Idle, after some bytes, after a half-close, and while the backend talks and is not heard.
        match round % 4 {
            1 => client.write_all(b"some").expect("said"),
            2 => client.shutdown(Shutdown::Write).expect("half closed"),
            3 => backend.write_all(&[7; 100_000]).expect("said"),
            _ => {}
        }
        reset(client);
        let end = loop {
            match backend.read(&mut [0; 16]) {
                // The half-close may have come before the reset did.
                Ok(0) if round % 4 == 2 => match backend.write(b"?") {
                    Ok(_) => {}
                    Err(error) => break error.kind(),
                },
                Ok(0) => panic!("round {round}: an end"),
                Ok(_) => {}
                Err(error) => break error.kind(),
            }
        };
        let known = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(known.contains(&end), "round {round}: {end:?}");
    }
    balancer.finish();
}

#[test]
fn what_a_backend_has_taken_is_never_tried_at_another() {
    let site = Site::new();
    let here = Here::new(&site);
    let other = Backends::tcp(&site, 1);
    let to = format!("{},{}", here.to, other.to(""));
    let balancer = behind(&site, &to, &["--balance", "first"]);
    for (says, connects) in [(&b""[..], 1), (b"a question", 2)] {
        let (mut client, mut backend) = here.pair(&site);
        // Reset sooner, it would be a connect that has not come about: nothing was sent, and another is tried.
        balancer.until("it is known to be connected", |status| {
            status.backends[0].connects == connects
        });
        client.write_all(says).expect("said");
        let mut heard = vec![0; says.len()];
        backend.read_exact(&mut heard).expect("heard");
        reset(backend);
        let end = client.read(&mut [0; 16]).expect_err("no end");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }
    let status = balancer.until("they have left", |status| status.backends[0].open == 0);
    let counts: Vec<_> = { status.backends.iter() }
        .map(|one| (one.connects, one.failures, one.retried))
        .collect();
    assert_eq!(counts, [(2, 0, 0), (0, 0, 0)]);
    balancer.finish();
}

#[test]
fn who_reads_nothing_costs_no_time_and_little_memory_and_goes_on_where_it_was() {
    const SESSIONS: usize = 8;
    const WHOLE: usize = 24 << 20;
    let site = Site::new();
    let here = Here::new(&site);
    let balancer = proxy(&site, &here.to, "1", &[]);
    let worker = balancer.workers()[0];
    let before = rss_kib(worker);
    // Half of them talk up, the others down.
    let (listeners, talkers): (Vec<_>, Vec<_>) = (0..SESSIONS)
        .map(|n| {
            let (client, backend) = here.pair(&site);
            let (listener, talker) = match n % 2 {
                0 => (client, backend),
                _ => (backend, client),
            };
            let talk = std::thread::spawn(move || say(&talker, &vec![n as u8; WHOLE]));
            (listener, talk)
        })
        .unzip();
    let moved = |status: &forkfront::status::Status| {
        let backend = &status.backends[0];
        backend.bytes_in + backend.bytes_out
    };
    let mut last = 0;
    balancer.until("all stand still", |status| {
        let now = moved(status);
        let same = std::mem::replace(&mut last, now) == now;
        same && now > SESSIONS as u64 * 65_536
    });
    // A worker that had no core just then looked the same: a second counts if nothing moved in the whole of it.
    let ticks = eventually("nothing moves for a second", || {
        let before = cpu_ticks(worker);
        std::thread::sleep(Duration::from_millis(1000));
        let ticks = cpu_ticks(worker) - before;
        let now = moved(&balancer.status());
        let same = std::mem::replace(&mut last, now) == now;
        same.then_some(ticks)
    });
    assert!(
        ticks <= 5,
        "{ticks} ticks of 10 ms in a second of standing still"
    );
    // What it keeps for each is bounded, in buffers here or in pipes there.
    let grown = rss_kib(worker).saturating_sub(before);
    assert!(grown < SESSIONS as u64 * 600, "{grown} KiB more");
    let hearers: Vec<_> = { listeners.into_iter() }
        .map(|listener| std::thread::spawn(move || all_of(&listener)))
        .collect();
    for (n, hearer) in hearers.into_iter().enumerate() {
        let heard = hearer.join().expect("heard");
        let same = heard == vec![n as u8; WHOLE];
        assert!(same, "session {n}: {} bytes", heard.len());
    }
    for talker in talkers {
        talker.join().expect("said");
    }
    balancer.finish();
}
