//! Nothing is allocated for a connection, once the dispatcher is warm.

#[path = "common/dealing.rs"]
mod dealing;

use std::alloc::System;

use dealing::Dealing;
use forkfront::config::{Balance, Routing};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLIENTS: u64 = 4;
const EACH: u64 = 500;

/// Allocations of the whole process while `count` connections come; those of the clients' threads are known.
fn allocations(dealing: &Dealing, each: u64) -> usize {
    let before = ALLOCATOR.stats();
    dealing.visit(CLIENTS, each);
    let after = ALLOCATOR.stats();
    after.allocations + after.reallocations - before.allocations - before.reallocations
}

fn by(balance: Balance, sticky: &str) -> Routing {
    Routing {
        balance,
        sticky: (!sticky.is_empty()).then(|| sticky.parse().expect("a key")),
        ..Routing::default()
    }
}

// One test, since the allocator counts what all threads do.
#[test]
fn a_connection_allocates_nothing() {
    for (slots, routing) in [
        (1, by(Balance::RoundRobin, "")),
        (8, by(Balance::RoundRobin, "")),
        (8, by(Balance::LeastConnections, "")),
        (8, by(Balance::Idle, "")),
        (8, by(Balance::RoundRobin, "ip")),
        (64, by(Balance::RoundRobin, "ip/24")),
    ] {
        let what = format!("{slots} slots, {routing:?}");
        let dealing = Dealing::start(slots, routing);
        dealing.visit(CLIENTS, EACH);
        // The threads of the clients allocate some when they start, however many connections they make.
        let start = allocations(&dealing, 0);
        let few = allocations(&dealing, EACH);
        assert!(
            few <= start,
            "{what}: {few} for {}, {start} for none",
            CLIENTS * EACH
        );
        let dealt: u64 = dealing.snapshot().slots.iter().map(|slot| slot.dealt).sum();
        assert_eq!(dealt, 2 * CLIENTS * EACH, "{what}");
    }
}
