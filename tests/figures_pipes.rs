//! What streams get when there are many of them and the user's pipes are few (D8), full size: ignored by `cargo test`,
//! run and printed by `scripts/figures`. Needs root, to be nobody.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::*;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Streams at one time, of which the last number is D8's.
const STREAMS: [usize; 3] = [100, 500, 2000];
const MEASURED: Duration = Duration::from_secs(5);
/// Written at a time, bytes.
const PART: usize = 128 * 1024;

/// Says without end whatever to whoever connects, in one thread.
fn talker(listener: TcpListener, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    listener.set_nonblocking(true).expect("mode");
    let mut listener = mio::net::TcpListener::from_std(listener);
    std::thread::spawn(move || {
        let (mut poll, mut events) = (Poll::new().expect("a poll"), Events::with_capacity(512));
        let door = Token(usize::MAX - 1);
        let registry = poll.registry().try_clone().expect("a registry");
        let interest = Interest::READABLE;
        registry
            .register(&mut listener, door, interest)
            .expect("watched");
        let mut streams: Vec<TcpStream> = Vec::new();
        let part = vec![7; PART];
        while !stop.load(Relaxed) {
            let _ = poll.poll(&mut events, Some(Duration::from_millis(100)));
            for event in &events {
                if event.token() == door {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let (token, writable) = (Token(streams.len()), Interest::WRITABLE);
                        registry
                            .register(&mut stream, token, writable)
                            .expect("watched");
                        streams.push(stream);
                    }
                } else if let Some(stream) = streams.get_mut(event.token().0) {
                    while matches!(stream.write(&part), Ok(1..)) {}
                }
            }
        }
    })
}

/// Reads all that comes of so many streams, in one thread, and counts it; each of them, too.
struct Readers {
    stop: Arc<AtomicBool>,
    counted: Arc<[AtomicU64]>,
    thread: JoinHandle<()>,
}

impl Readers {
    fn start(to: SocketAddr, count: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let counted: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
        let (its_stop, its_counted) = (Arc::clone(&stop), Arc::clone(&counted));
        let connect = |_| {
            let stream = std::net::TcpStream::connect_timeout(&to, DEADLINE).expect("connected");
            stream.set_nonblocking(true).expect("mode");
            TcpStream::from_std(stream)
        };
        let streams: Vec<TcpStream> = (0..count).map(connect).collect();
        let thread = std::thread::spawn(move || read_all(streams, &its_counted, &its_stop));
        Self {
            stop,
            counted,
            thread,
        }
    }

    fn counts(&self) -> Vec<u64> {
        self.counted
            .iter()
            .map(|count| count.load(Relaxed))
            .collect()
    }
}

fn read_all(mut streams: Vec<TcpStream>, counted: &[AtomicU64], stop: &AtomicBool) {
    let (mut poll, mut events) = (Poll::new().expect("a poll"), Events::with_capacity(512));
    for (n, stream) in streams.iter_mut().enumerate() {
        let registry = poll.registry();
        registry
            .register(stream, Token(n), Interest::READABLE)
            .expect("watched");
    }
    let mut part = vec![0; PART];
    while !stop.load(Relaxed) {
        let _ = poll.poll(&mut events, Some(Duration::from_millis(100)));
        for event in &events {
            let n = event.token().0;
            loop {
                match streams[n].read(&mut part) {
                    Ok(count @ 1..) => _ = counted[n].fetch_add(count as u64, Relaxed),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    other => panic!("stream {n}: {other:?}"),
                }
            }
        }
    }
}

/// A proxy of this user with two workers, between such streams for a while: what all have got together, MB/s, and the
/// one that got the least of its fair share, percent.
#[track_caller]
fn measure(nobody: bool, splice: &str, count: usize) -> (f64, f64) {
    let site = Site::new();
    let listener = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
    let at = listener.local_addr().expect("bound").to_string();
    let stop = Arc::<AtomicBool>::default();
    let talker = talker(listener, Arc::clone(&stop));
    let binary = site.file("forkfront");
    std::fs::copy(env!("CARGO_BIN_EXE_forkfront"), &binary).expect("copied");
    let owner = nix::unistd::Uid::from_raw(if nobody { NOBODY } else { 0 });
    nix::unistd::chown(&site.directory.join("run"), Some(owner), None).expect("chown");
    let home = format!("XDG_RUNTIME_DIR={}", site.directory.join("run").display());
    let ids = [format!("--reuid={owner}"), format!("--regid={owner}")];
    let front = ["setpriv", &ids[0], &ids[1], "--clear-groups", "env", &home];
    let listen = site.bind();
    let words = [
        "proxy", "-n", "2", "-l", &listen, "--to", &at, "--splice", splice,
    ];
    let mut balancer = Balancer::spawn_behind(&site, &front, &binary, &words);
    balancer.all_ready();
    let readers = Readers::start(site.to(), count);
    eventually("every stream flows", || {
        readers
            .counts()
            .iter()
            .all(|count| *count > 1 << 20)
            .then_some(())
    });
    let (before, began) = (readers.counts(), Instant::now());
    std::thread::sleep(MEASURED);
    let (after, seconds) = (readers.counts(), began.elapsed().as_secs_f64());
    let each: Vec<u64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    let (sum, least) = (
        each.iter().sum::<u64>() as f64,
        each.iter().min().expect("one"),
    );
    readers.stop.store(true, Relaxed);
    readers.thread.join().expect("readers");
    stop.store(true, Relaxed);
    talker.join().expect("the talker");
    balancer.until("no session is open", |status| status.backends[0].open == 0);
    balancer.finish();
    (
        sum / 1e6 / seconds,
        100.0 * *least as f64 * count as f64 / sum,
    )
}

#[test]
#[ignore = "a figure: about two minutes"]
fn streams_of_a_user_whose_pipes_are_few() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: nobody else can be had");
        return;
    }
    many_connections();
    for count in STREAMS {
        for (user, nobody, splice) in [
            ("root", false, "on"),
            ("nobody", true, "on"),
            ("nobody", true, "auto"),
            ("nobody", true, "off"),
        ] {
            let (all, least) = measure(nobody, splice, count);
            println!(
                "{count} streams, {user}, --splice {splice}: {all:.0} MB/s, {:.2} MB/s each; the least {least:.0} % of \
                 its share",
                all / count as f64
            );
        }
    }
}
