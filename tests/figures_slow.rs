//! The figure of slow clients, full size: ignored by `cargo test`, run and printed by `scripts/figures`. Small
//! versions are among the scenarios (tests/peek).

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::*;

/// How many send a byte a second.
const SLOW: u32 = 5000;
/// How long each of the two loads is looked at.
const PERIOD: Duration = Duration::from_secs(15);
/// Normal clients at a time, and the pause of each after an answer: a load that leaves time on a small machine.
const NORMAL: u32 = 4;
const PAUSE: Duration = Duration::from_millis(4);

/// How long each of the normal clients' requests took, from before the connect to the last byte, sorted.
fn normal(site: &Site) -> Vec<Duration> {
    let start = Instant::now();
    let one = |client_number: u32| {
        let mut took = Vec::new();
        while start.elapsed() < PERIOD {
            let begun = Instant::now();
            let sid = format!("Cookie: sid=s{}\r\n", took.len());
            Raw::sending(client(client_number), site.to(), &get("1", &sid)).slot();
            took.push(begun.elapsed());
            std::thread::sleep(PAUSE);
        }
        took
    };
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..NORMAL).map(|n| scope.spawn(move || one(n))).collect();
        clients
            .into_iter()
            .flat_map(|one| one.join().expect("a client"))
            .collect()
    });
    took.sort_unstable();
    took
}

/// Sends each a byte of a head that does not end, once a second, evenly over the second, until told to stop.
fn drip(clients: &mut [Raw], stop: &AtomicBool) {
    let head = b"GET /a/page/with/a/long/name?and=a&query=too HTTP/1.1\r\nHost: test\r\nCookie: theme=dark; lang=en";
    let start = Instant::now();
    for (second, byte) in head.iter().enumerate() {
        for (at, one) in clients.iter_mut().enumerate() {
            if at % 50 == 0 {
                let due = second as u64 * 1000 + at as u64 * 1000 / u64::from(SLOW);
                let rest = Duration::from_millis(due).saturating_sub(start.elapsed());
                std::thread::sleep(rest);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
            one.send(&[*byte]);
        }
    }
}

#[test]
#[ignore = "figure"]
fn five_thousand_clients_that_send_a_byte_a_second() {
    let site = Site::new();
    let flags = [
        "--sticky",
        "cookie:sid",
        "--peek-timeout",
        "2m",
        "--max-peeked",
        "6000",
    ];
    let balancer = Balancer::nodes(&site, 2, &flags);
    many_connections();
    let pid = balancer.pid();
    let tell = |what: &str, took: &[Duration], ticks: u64| {
        let at = |share: f64| took[(took.len() as f64 * share) as usize];
        println!(
            "{what}: {} requests in {PERIOD:?}: median {:?}, p99 {:?}, slowest {:?}; primary {} KiB resident, {}0 ms CPU",
            took.len(),
            at(0.5),
            at(0.99),
            took[took.len() - 1],
            rss_kib(pid),
            ticks
        );
    };
    let before = cpu_ticks(pid);
    let quiet = normal(&site);
    tell("quiet", &quiet, cpu_ticks(pid) - before);
    let mut slow: Vec<Raw> = (0..SLOW)
        .map(|n| Raw::connect(client(n), site.to()))
        .collect();
    balancer.reads(u64::from(SLOW));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| drip(&mut slow, &stop));
        let before = cpu_ticks(pid);
        let beside = normal(&site);
        tell("beside 5,000 slow ones", &beside, cpu_ticks(pid) - before);
        assert_eq!(balancer.keys().reading(), u64::from(SLOW));
        stop.store(true, Ordering::Relaxed);
    });
    drop(slow);
    balancer.until("the slow ones have gone", |status| status.held == 0);
    println!("after they have gone: {} KiB resident", rss_kib(pid));
    balancer.finish();
}
