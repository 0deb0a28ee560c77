//! What it costs to choose a slot: each policy, and the sticky hash, at 2 to 1,024 slots.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use forkfront::config::{Balance, Prefixes, Sticky};
use forkfront::policy::affinity::Affinity;
use forkfront::policy::affinity::bounded::Ceiling;
use forkfront::policy::rotation::{Fleet, Rotation};
use forkfront::policy::weights::Weights;
use forkfront::wire::{Address, Family};

const SLOTS: [usize; 5] = [2, 4, 16, 64, 1024];

/// Workers that keep up: nothing queued, a few connections open, all asleep.
struct Calm {
    open: Vec<u64>,
}

impl Fleet for Calm {
    fn slots(&self) -> usize {
        self.open.len()
    }
    fn takes(&self, _: usize) -> bool {
        true
    }
    fn queued(&self, _: usize) -> u64 {
        0
    }
    fn open(&self, slot: usize) -> u64 {
        self.open[slot]
    }
    fn asleep(&self, _: usize) -> bool {
        true
    }
    fn lags(&self, _: usize) -> bool {
        false
    }
    fn serves(&self, _: usize) -> bool {
        true
    }
}

/// All slots alike, and the first of them with three times the weight of the others.
fn weights(slots: usize) -> [(&'static str, Weights); 2] {
    let mut uneven = Weights::equal(slots);
    uneven.set(0, 3 * uneven.of(0));
    [("", Weights::equal(slots)), (" by weight", uneven)]
}

fn policies(c: &mut Criterion) {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Idle,
    ] {
        for slots in SLOTS {
            for (how, weights) in weights(slots) {
                let mut group = c.benchmark_group(format!("{balance:?}{how}"));
                let mut fleet = Calm {
                    open: vec![0; slots],
                };
                let mut rotation = Rotation::default();
                group.bench_function(BenchmarkId::from_parameter(slots), |b| {
                    b.iter(|| {
                        let slot = rotation
                            .choose(black_box(balance), black_box(&weights), black_box(&fleet))
                            .expect("all take");
                        fleet.open[slot] += 1;
                        slot
                    });
                });
                group.finish();
            }
        }
    }
}

fn sticky(c: &mut Criterion) {
    let affinity = Affinity::new(&Sticky::Ip(Prefixes::default()), (1, 2));
    let mut peer = Address {
        family: Family::V4,
        ..Address::default()
    };
    for slots in SLOTS {
        for (how, weights) in weights(slots) {
            let mut group = c.benchmark_group(format!("sticky ip{how}"));
            group.bench_function(BenchmarkId::from_parameter(slots), |b| {
                b.iter(|| {
                    peer.ip[3] = peer.ip[3].wrapping_add(1);
                    let key = affinity.key(black_box(&peer)).expect("an address");
                    key.choose(black_box(&weights), |_| true)
                });
            });
            group.finish();
        }
    }
}

/// With a bound, how much all have is summed up for each connection.
fn bounded(c: &mut Criterion) {
    let affinity = Affinity::new(&Sticky::Ip(Prefixes::default()), (1, 2));
    let mut peer = Address {
        family: Family::V4,
        ..Address::default()
    };
    let bound = "1.25".parse().expect("a bound");
    for slots in SLOTS {
        let weights = Weights::equal(slots);
        let fleet = Calm {
            open: vec![100; slots],
        };
        let mut group = c.benchmark_group("sticky ip, bounded");
        group.bench_function(BenchmarkId::from_parameter(slots), |b| {
            b.iter(|| {
                peer.ip[3] = peer.ip[3].wrapping_add(1);
                let key = affinity.key(black_box(&peer)).expect("an address");
                let (weights, fleet) = (black_box(&weights), black_box(&fleet));
                let ceiling = Ceiling::new(bound, weights, fleet);
                key.choose(weights, |slot| ceiling.fits(slot, weights, fleet))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, policies, sticky, bounded);
criterion_main!(benches);
