//! What one hand-off costs: the record, one message through a channel, and bursts of them; and how long an
//! upgrade keeps the dispatcher from handing off.

use std::hint::black_box;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forkfront::config::Routing;
use forkfront::policy::ids::{ListenerId, SlotId, WorkerId};
use forkfront::primary::dispatcher::{Dispatcher, Settings};
use forkfront::primary::messages::{Command, Seat};
use forkfront::sys::board::Board;
use forkfront::sys::channel::Channel;
use forkfront::sys::fdpass::{Received, Sent, receive, send};
use forkfront::sys::handover::Luggage;
use forkfront::wire::{Address, Kind, Record};
use mio::{Poll, Token, Waker};

fn record(c: &mut Criterion) {
    let record = Record {
        connection: 7,
        ..Record::control(Kind::Connection, 0)
    };
    let bytes = record.encode();
    c.bench_function("record encode", |b| b.iter(|| black_box(&record).encode()));
    c.bench_function("record decode", |b| {
        b.iter(|| Record::decode(black_box(&bytes)));
    });
}

fn channel(c: &mut Criterion) {
    let channel = Channel::new(256).expect("a socket pair");
    let passed = TcpListener::bind("127.0.0.1:0").expect("a TCP socket to pass");
    let bytes = Record::control(Kind::Connection, 0).encode();
    let mut group = c.benchmark_group("send, receive, close");
    for burst in [1u64, 16, 256] {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(BenchmarkId::from_parameter(burst), |b| {
            b.iter(|| {
                for _ in 0..burst {
                    let sent = send(channel.ours.as_fd(), &bytes, Some(passed.as_fd()));
                    assert!(matches!(sent, Sent::Done));
                }
                let mut buffer = [0; Record::LEN];
                for _ in 0..burst {
                    let received = receive(channel.theirs.as_fd(), &mut buffer, false);
                    assert!(matches!(
                        received,
                        Ok(Received::Message { fd: Some(_), .. })
                    ));
                }
            });
        });
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
        fd_ceiling: i32::MAX,
        peek_room: usize::MAX,
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
            kept = Some(thawed.expect("what was frozen"));
        });
    });
    dispatcher = kept.take().expect("thawed");
    let held = dispatcher.snapshot().expect("it answers").held;
    assert_eq!(held, HELD, "none was lost on the way");
    dispatcher.join();
}

criterion_group!(benches, record, channel, standstill);
criterion_main!(benches);
