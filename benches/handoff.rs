//! What one hand-off costs: the record, one message through a channel and bursts of them, either end alone and with
//! the receiver asleep; and how long an upgrade keeps the dispatcher from handing off.

use std::hint::black_box;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forkfront::config::{Routing, Speed};
use forkfront::policy::ids::{ListenerId, SlotId, WorkerId};
use forkfront::primary::dispatcher::{Dispatcher, Settings};
use forkfront::primary::messages::{Command, Seat};
use forkfront::sys::board::Board;
use forkfront::sys::channel::Channel;
use forkfront::sys::fdpass::{Received, Sent, receive, send, send_many};
use forkfront::sys::handover::Luggage;
use forkfront::wire::{Address, Belongs, Family, Kind, Record};
use mio::{Poll, Token, Waker};

fn record(c: &mut Criterion) {
    let whole = Record {
        connection: 7,
        proxied: true,
        peer: Address {
            family: Family::V6,
            ip: [0x20; 16],
            port: 40_000,
            ..Address::default()
        },
        belongs: Belongs::Key(u64::MAX / 3),
        ..Record::control(Kind::Connection, 0)
    };
    for (name, record) in [
        ("", Record::control(Kind::Connection, 0)),
        (", proxied and with a key", whole),
    ] {
        let bytes = record.encode();
        assert!(Record::decode(&bytes).is_some(), "it can be read");
        c.bench_function(&format!("record encode{name}"), |b| {
            b.iter(|| black_box(&record).encode());
        });
        c.bench_function(&format!("record decode{name}"), |b| {
            b.iter(|| Record::decode(black_box(&bytes)));
        });
    }
}

/// Bursts of hand-offs: one at a time, up to a queue's length.
const BURSTS: [u64; 3] = [1, 16, 256];

fn send_all(channel: &Channel, passed: &TcpListener, bytes: &[u8], burst: u64) {
    for _ in 0..burst {
        let sent = send(channel.ours.as_fd(), bytes, Some(passed.as_fd()));
        assert!(matches!(sent, Sent::Done));
    }
}

fn receive_all(theirs: BorrowedFd<'_>, burst: u64, wait: bool) {
    let mut buffer = [0; Record::LEN];
    for _ in 0..burst {
        let received = receive(theirs, &mut buffer, wait);
        assert!(matches!(
            received,
            Ok(Received::Message { fd: Some(_), .. })
        ));
    }
}

fn channel(c: &mut Criterion) {
    let channel = Channel::new(256).expect("a socket pair");
    let passed = TcpListener::bind("127.0.0.1:0").expect("a TCP socket to pass");
    let bytes = Record::control(Kind::Connection, 0).encode();
    let mut group = c.benchmark_group("send, receive, close");
    for burst in BURSTS {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(BenchmarkId::from_parameter(burst), |b| {
            b.iter(|| {
                send_all(&channel, &passed, &bytes, burst);
                receive_all(channel.theirs.as_fd(), burst, false);
            });
        });
    }
    group.finish();
    // Each half alone; the other one is done while no clock runs.
    for half in ["send", "receive, close"] {
        let mut group = c.benchmark_group(half);
        for burst in BURSTS {
            group.throughput(Throughput::Elements(burst));
            group.bench_function(BenchmarkId::from_parameter(burst), |b| {
                b.iter_custom(|rounds| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        let start = Instant::now();
                        send_all(&channel, &passed, &bytes, burst);
                        let sent = Instant::now();
                        receive_all(channel.theirs.as_fd(), burst, false);
                        spent += if half == "send" {
                            sent - start
                        } else {
                            sent.elapsed()
                        };
                    }
                    spent
                });
            });
        }
        group.finish();
    }
}

/// A burst by one system call each, against one call for the whole of it.
fn burst(c: &mut Criterion) {
    let channel = Channel::new(256).expect("a socket pair");
    let passed = TcpListener::bind("127.0.0.1:0").expect("a TCP socket to pass");
    let bytes = Record::control(Kind::Connection, 0).encode();
    for together in [false, true] {
        let name = if together { "sendmmsg" } else { "sendmsg" };
        let mut group = c.benchmark_group(format!("burst by {name}"));
        for burst in [1, 2, 4, 8, 16, 32] {
            group.throughput(Throughput::Elements(burst));
            group.bench_function(BenchmarkId::from_parameter(burst), |b| {
                b.iter_custom(|rounds| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        let start = Instant::now();
                        if together {
                            let messages = (0..burst).map(|_| (&bytes[..], passed.as_fd()));
                            let sent = send_many(channel.ours.as_fd(), messages);
                            assert_eq!(sent as u64, burst);
                        } else {
                            send_all(&channel, &passed, &bytes, burst);
                        }
                        spent += start.elapsed();
                        receive_all(channel.theirs.as_fd(), burst, false);
                    }
                    spent
                });
            });
        }
        group.finish();
    }
}

/// Until somebody asleep in recvmsg(2) has taken all of a burst: with few in it, what it costs to wake him up.
fn woken(c: &mut Criterion) {
    let channel = Channel::new(256).expect("a socket pair");
    let passed = TcpListener::bind("127.0.0.1:0").expect("a TCP socket to pass");
    let bytes = Record::control(Kind::Connection, 0).encode();
    let mut group = c.benchmark_group("send until a sleeper has taken all");
    for burst in BURSTS {
        let theirs = channel.theirs.try_clone().expect("a descriptor");
        let (wanted, wants) = crossbeam_channel::unbounded::<()>();
        let (taken, takes) = crossbeam_channel::unbounded();
        let sleeper = std::thread::spawn(move || {
            while wants.recv().is_ok() {
                receive_all(theirs.as_fd(), burst, true);
                if taken.send(()).is_err() {
                    return;
                }
            }
        });
        group.throughput(Throughput::Elements(burst));
        group.bench_function(BenchmarkId::from_parameter(burst), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    wanted.send(()).expect("it waits");
                    // Time for it to fall asleep, which no clock here counts.
                    std::thread::sleep(Duration::from_micros(100));
                    let start = Instant::now();
                    send_all(&channel, &passed, &bytes, burst);
                    takes.recv().expect("all are taken");
                    spent += start.elapsed();
                }
                spent
            });
        });
        drop(wanted);
        sleeper.join().expect("it ends");
    }
    group.finish();
}

const SLOTS: usize = 64;

fn settings() -> Settings {
    Settings {
        slots: SLOTS,
        routing: Routing::default(),
        hash_key: (1, 2),
        queue_cap: 128,
        max_held: 256,
        steal_after: Duration::from_secs(60),
        gather_max: Speed::default().gather_max,
        fd_ceiling: i32::MAX,
        peek_room: usize::MAX,
        for_proxies: false,
    }
}

/// Gives a dispatcher one worker per slot, and a listener that none of them serves; who connects there is held.
fn furnish(dispatcher: &Dispatcher, board: &Arc<Board>) -> SocketAddr {
    for slot in 0..SLOTS as u16 {
        let Channel { ours, theirs } = Channel::new(128).expect("a socket pair");
        dispatcher.send(Command::Admit(Seat {
            slot: SlotId(slot),
            worker: WorkerId(slot.into()),
            listener: ListenerId(0),
            channel: 0,
            ours,
            kept: theirs,
            board: board.clone(),
            native: false,
        }));
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let at = listener.local_addr().expect("its address");
    listener.set_nonblocking(true).expect("its mode");
    dispatcher.send(Command::AddListener {
        id: ListenerId(1),
        socket: listener.into(),
        local: Address::default(),
    });
    at
}

fn standstill(c: &mut Criterion) {
    const HELD: u64 = 100;
    let poll = Poll::new().expect("an epoll");
    let up = Arc::new(Waker::new(poll.registry(), Token(0)).expect("an eventfd"));
    let (reports, heard) = crossbeam_channel::unbounded();
    let start = Dispatcher::start(settings(), reports.clone(), up.clone());
    let mut dispatcher = start.expect("a thread");
    let board = Arc::new(Board::create(0, 0).expect("a memfd"));
    let at = furnish(&dispatcher, &board);
    let connect = |_| TcpStream::connect(at).expect("a connection");
    let _clients: Vec<TcpStream> = (0..HELD).map(connect).collect();
    while dispatcher.snapshot().expect("it answers").held != HELD {}
    let mut luggage = Luggage::default();
    let mut kept = Some(dispatcher);
    c.bench_function("freeze and thaw, 64 workers and 100 held", |b| {
        b.iter(|| {
            let frozen = kept.take().expect("thawed").freeze(&heard, &mut luggage);
            let (reports, up) = (reports.clone(), up.clone());
            let board = |_| Some(board.clone());
            let thawed = Dispatcher::thaw(frozen, &mut luggage, board, reports, up);
            let mut thawed = thawed.expect("what was frozen");
            thawed.go_on().expect("a thread");
            kept = Some(thawed);
        });
    });
    dispatcher = kept.take().expect("thawed");
    let held = dispatcher.snapshot().expect("it answers").held;
    assert_eq!(held, HELD, "none was lost on the way");
    dispatcher.join();
}

criterion_group!(benches, record, channel, burst, woken, standstill);
criterion_main!(benches);
