//! What streams get when there are many of them and the user's pipes are few (D8), full size: ignored by `cargo test`,
//! run and printed by `scripts/figures`. Needs root, to be nobody.

mod common;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::*;
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

/// Streams at one time, of which the last number is D8's.
const STREAMS: [usize; 2] = [100, 2000];
const MEASURED: Duration = Duration::from_secs(4);
/// Written at a time, bytes.
const PART: usize = 128 * 1024;

/// Streams that are ready: each has one part of its own in every round, so that none waits for another's end.
struct Rounds {
    poll: Poll,
    events: Events,
    ready: BTreeSet<usize>,
}

impl Rounds {
    fn new() -> Self {
        let (poll, events) = (Poll::new().expect("a poll"), Events::with_capacity(1024));
        let ready = BTreeSet::new();
        Self {
            poll,
            events,
            ready,
        }
    }

    fn watch(&self, stream: &mut impl Source, n: usize, interest: Interest) {
        let watched = self.poll.registry().register(stream, Token(n), interest);
        watched.expect("watched");
    }

    /// Waits for some if there is none; `moves` says whether one may go on.
    fn round(&mut self, mut moves: impl FnMut(usize) -> bool) {
        let longest = if self.ready.is_empty() { 100 } else { 0 };
        let longest = Some(Duration::from_millis(longest));
        let _ = self.poll.poll(&mut self.events, longest);
        self.ready
            .extend(self.events.iter().map(|event| event.token().0));
        self.ready.retain(|&n| moves(n));
    }
}

/// Says without end whatever to whoever connects, in one thread.
fn talker(listener: TcpListener, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    const DOOR: usize = usize::MAX - 1;
    listener.set_nonblocking(true).expect("mode");
    let mut listener = mio::net::TcpListener::from_std(listener);
    std::thread::spawn(move || {
        let mut rounds = Rounds::new();
        rounds.watch(&mut listener, DOOR, Interest::READABLE);
        let mut streams: Vec<TcpStream> = Vec::new();
        let part = vec![7; PART];
        while !stop.load(Relaxed) {
            let mut knocked = false;
            rounds.round(|n| match n {
                DOOR => {
                    knocked = true;
                    false
                }
                n => matches!(streams[n].write(&part), Ok(1..)),
            });
            while knocked && let Ok((mut stream, _)) = listener.accept() {
                rounds.watch(&mut stream, streams.len(), Interest::WRITABLE);
                streams.push(stream);
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
    let mut rounds = Rounds::new();
    for (n, stream) in streams.iter_mut().enumerate() {
        rounds.watch(stream, n, Interest::READABLE);
    }
    let mut part = vec![0; PART];
    while !stop.load(Relaxed) {
        rounds.round(|n| match streams[n].read(&mut part) {
            Ok(count @ 1..) => {
                counted[n].fetch_add(count as u64, Relaxed);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            other => panic!("stream {n}: {other:?}"),
        });
    }
}

/// A proxy of this user with two workers, between such streams for a while: what all have got together, MB/s, and the
/// one that got the least of its fair share, percent.
#[track_caller]
fn measure(nobody: bool, splice: &str, count: usize) -> (f64, f64) {
    let site = Site::new();
    let listener = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
    // Longer than the standard library's.
    SockRef::from(&listener).listen(4096).expect("listening");
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
#[ignore = "a figure: about a minute"]
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
