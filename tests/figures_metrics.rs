//! The figures of those who look, full size: what readers that never read and garbage at the control socket cost the
//! clients of the service. Ignored by `cargo test`, run and printed by `scripts/figures`; small versions are among the
//! scenarios (tests/metrics.rs, tests/control.rs).

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::*;

/// How long each load is looked at.
const PERIOD: Duration = Duration::from_secs(10);
/// Clients of the service at a time, and the pause of each after an answer: a load that leaves time on a small machine.
const CLIENTS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(4);
/// Readers of the metrics that ask and never read.
const DEAF: usize = 1000;
/// Connections that send garbage to the control socket.
const GARBAGE: u64 = 10_000;

/// How long each request of the service took, from before the connect to the last byte, sorted.
fn normal(site: &Site) -> Vec<Duration> {
    let start = Instant::now();
    let ids = AtomicU64::new(1);
    let one = || {
        let mut took = Vec::new();
        while start.elapsed() < PERIOD {
            let begun = Instant::now();
            let outcome = ask(site.to(), ids.fetch_add(1, Ordering::Relaxed));
            assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
            took.push(begun.elapsed());
            std::thread::sleep(PAUSE);
        }
        took
    };
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        let clients = clients.into_iter();
        clients
            .flat_map(|one| one.join().expect("a client"))
            .collect()
    });
    took.sort_unstable();
    took
}

fn tell(what: &str, balancer: &Balancer<'_>, ticks_before: u64, took: &[Duration]) {
    let at = |share: f64| took[(took.len() as f64 * share) as usize];
    let ticks = cpu_ticks(balancer.pid()) - ticks_before;
    println!(
        "{what}: {} requests in {PERIOD:?}: median {:?}, p99 {:?}, slowest {:?}; primary {} KiB resident, {}0 ms CPU, \
         {} descriptors",
        took.len(),
        at(0.5),
        at(0.99),
        took[took.len() - 1],
        rss_kib(balancer.pid()),
        ticks,
        descriptors(balancer.pid()).len(),
    );
}

/// Quiet, then while `trouble` goes on, which is told to stop at the end.
fn beside(site: &Site, balancer: &Balancer<'_>, what: &str, trouble: impl Fn(&AtomicBool) + Sync) {
    let before = cpu_ticks(balancer.pid());
    tell("quiet", balancer, before, &normal(site));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| trouble(&stop));
        let before = cpu_ticks(balancer.pid());
        tell(what, balancer, before, &normal(site));
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
#[ignore = "figure"]
fn a_thousand_readers_that_never_read() {
    let site = Site::new();
    let at = format!("{}:{}", site.host, site.ports(1)[0]);
    let balancer = Balancer::nodes(&site, 2, &["--metrics", &at]);
    many_connections();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n");
    // Each asks and does not read; one that is cut off is replaced by another.
    beside(
        &site,
        &balancer,
        "beside 1,000 readers that never read",
        |stop| {
            let mut deaf: Vec<TcpStream> = Vec::new();
            let mut asked = 0;
            while !stop.load(Ordering::Relaxed) {
                if deaf.len() >= DEAF {
                    deaf.remove(0);
                }
                if let Ok(mut one) = TcpStream::connect(&at) {
                    asked += u64::from(one.write_all(request.as_bytes()).is_ok());
                    deaf.push(one);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            println!("  {asked} asked in that time");
        },
    );
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn ten_thousand_connections_with_garbage_at_the_control_socket() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let control = site.control();
    beside(
        &site,
        &balancer,
        "beside garbage at the control socket",
        |stop| {
            let (mut sent, begun) = (0, Instant::now());
            while !stop.load(Ordering::Relaxed) && sent < GARBAGE {
                let Ok(mut one) = UnixStream::connect(&control) else {
                    continue;
                };
                let _ = one.write_all(b"GET / HTTP/1.1\r\n\xff\x00{\"verb\":\"dance\"}\n");
                let _ = one.read(&mut [0; 4096]);
                sent += 1;
                // As many as fit evenly into the time.
                let due = PERIOD.mul_f64(0.95 * sent as f64 / GARBAGE as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            println!("  {sent} connections in {:?}", begun.elapsed());
        },
    );
    balancer.finish();
}
