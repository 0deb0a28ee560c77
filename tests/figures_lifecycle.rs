//! The figures of reloads, limits and operations that meet, full size: ignored by `cargo test`, run and printed by
//! `scripts/figures`. Each has a small version among the scenarios.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::*;

#[test]
#[ignore = "figure"]
fn a_hundred_reloads_back_to_back() {
    let site = Site::graceful();
    let balancer = Balancer::nodes(&site, 2, &["--drain-timeout", "1s"]);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(500);
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        slowest = slowest.max(balancer.reload().done().took);
    }
    let took = start.elapsed();
    balancer.left();
    let report = load.stop();
    println!(
        "100 reloads of 2 workers in {:.1} s (slowest {slowest:?}) under {:?}\n{report}",
        took.as_secs_f64(),
        Mix::CI
    );
    assert_eq!(balancer.status().generation, 101);
    report.clean();
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn a_hundred_upgrades_back_to_back() {
    let site = Site::graceful();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let workers = balancer.workers();
    let table = format!("/proc/{}/fd", balancer.pid());
    let descriptors = || fs::read_dir(&table).expect("/proc").count();
    let before = descriptors();
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(500);
    let start = Instant::now();
    let mut pauses: Vec<f64> = (0..100)
        .map(|_| pause_of(&balancer.command(&["upgrade"]).done().stdout))
        .collect();
    let took = start.elapsed();
    let report = load.stop();
    pauses.sort_by(f64::total_cmp);
    let after = eventually("no client is connected", || {
        let now = descriptors();
        (now <= before).then_some(now)
    });
    println!(
        "100 upgrades in {:.1} s under {:?}: nobody accepted for {:.1} ms (median), {:.1} ms (longest); \
         {before} descriptors before, {after} after\n{report}",
        took.as_secs_f64(),
        Mix::CI,
        pauses[50],
        pauses[99]
    );
    assert_eq!(balancer.workers(), workers);
    report.clean();
    balancer.finish();
}

/// How long nobody was accepted, by the primary's own word, ms.
fn pause_of(said: &str) -> f64 {
    let (_, rest) = said.split_once("accepted for ").expect("it says so");
    let (number, _) = rest.split_once(" ms").expect("in milliseconds");
    number.parse().expect("a number")
}

#[test]
#[ignore = "figure"]
fn reloads_to_what_fails_and_to_what_never_listens() {
    let site = Site::graceful();
    let (fails, hangs) = (site.file("fails"), site.file("hangs"));
    let line = format!(
        "[ -e {} ] && {{ echo no such module; exit 7; }}; [ -e {} ] && exec sleep 1000; exec node {}",
        fails.display(),
        hangs.display(),
        server("http.js")
    );
    let flags = ["run", "-n", "4", "--ready-timeout", "5s", "--"];
    let words = [&flags[..], &["sh", "-c", &line]].concat();
    let balancer = Balancer::start(&site, &words);
    let before = balancer.workers();
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(500);
    for (what, file) in [("fails", &fails), ("never listens", &hangs)] {
        fs::write(file, "").expect("written");
        for _ in 0..5 {
            let failed = balancer.reload().failed(1, &["slot 0"]);
            println!(
                "to a command that {what}: exit {:?} after {:?}: {}",
                failed.code,
                failed.took,
                failed.stderr.lines().last().unwrap_or_default()
            );
            assert_eq!(balancer.workers(), before, "the old ones are untouched");
        }
        fs::remove_file(file).expect("removed");
        load.proceed(500);
    }
    let report = load.stop();
    println!("{report}");
    report.clean();
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn a_leaking_worker_under_load() {
    let site = Site::graceful().env("LEAK_KIB", 8);
    let balancer = Balancer::nodes(&site, 2, &["--max-memory", "160M", "--drain-timeout", "1s"]);
    let mix = Mix {
        short: 1,
        kept: 3,
        slow: 2,
    };
    let load = Load::mixed(site.to(), mix, 1, DEADLINE);
    let start = Instant::now();
    let mut most = 0;
    while start.elapsed() < Duration::from_secs(60) {
        let status = balancer.status();
        let largest = status.slots.iter().map(|slot| slot.rss_bytes).max();
        most = most.max(largest.unwrap_or(0));
        load.proceed(100);
    }
    let restarts: u64 = balancer
        .status()
        .slots
        .iter()
        .map(|slot| slot.restarts)
        .sum();
    balancer.left();
    let report = load.stop();
    println!(
        "{restarts} workers replaced in {:.1} s at --max-memory 160M, the largest seen had {} MiB\n{report}",
        start.elapsed().as_secs_f64(),
        most >> 20
    );
    assert!(restarts > 0, "nothing leaked");
    report.clean();
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn a_thousand_pairs_of_operations() {
    let count =
        std::env::var("FORKFRONT_TEST_PAIRS").map_or(1000, |n| n.parse().expect("a number"));
    let site = Site::graceful();
    let mut random = Random::seeded();
    let flags = ["--drain-timeout", "500ms", "--max-old", "4"];
    let balancer = Balancer::nodes(&site, 3, &flags);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    let mut pairs = Pairs::default();
    let start = Instant::now();
    for _ in 0..count {
        pairs.one(&balancer, &mut random);
    }
    let took = start.elapsed();
    pairs.as_at_first(&balancer, 3);
    let report = load.stop();
    println!(
        "{count} pairs in {:.1} s\ndone {:?}\ngiven up, as the other of the pair explains {:?}\n{report}",
        took.as_secs_f64(),
        pairs.done,
        pairs.given_up
    );
    let (by_journal, by_time) = report.explained(&site.file("journal"), &pairs.kills);
    println!(
        "{} workers killed; resets explained by the killed worker's journal: {by_journal}, by the moment of a kill \
         (accepted, not yet written to the journal): {by_time}, not explained: 0",
        pairs.kills.len()
    );
    balancer.finish();
}
