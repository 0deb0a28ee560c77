//! What one hand-off costs: the record, one message through a channel, and bursts of them.

use std::hint::black_box;
use std::net::TcpListener;
use std::os::fd::AsFd;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forkfront::sys::channel::Channel;
use forkfront::sys::fdpass::{Received, Sent, receive, send};
use forkfront::wire::{Kind, Record};

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

criterion_group!(benches, record, channel);
criterion_main!(benches);
