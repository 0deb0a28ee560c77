//! A9: a connection that was read from is forgotten by the primary's poll before it is handed over (KF19: what was
//! not taken out in time wakes it at every byte, for as long as the worker keeps the connection).

use std::time::{Duration, Instant};

use super::*;

/// How often the dispatcher has gone to sleep and come back.
#[track_caller]
fn wakes(primary: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{primary}/task")).expect("threads");
    let mut of_dispatcher = tasks.filter_map(|task| {
        let directory = task.ok()?.path();
        let name = std::fs::read_to_string(directory.join("comm")).ok()?;
        (name.trim() == "dispatcher").then(|| std::fs::read_to_string(directory.join("status")))
    });
    let status = of_dispatcher
        .next()
        .expect("a dispatcher")
        .expect("its status");
    let switches = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    switches.expect("counted").trim().parse().expect("a number")
}

#[test]
fn what_was_handed_over_wakes_the_primary_no_more() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--sticky", "query:u", "--peek-timeout", "1h"]);
    many_connections();
    // Each head is waited for, so that each connection was in the poll; the last thousand stay.
    let mut kept = Vec::new();
    for _ in 0..10 {
        let begun = |n| Raw::sending(client(n), site.to(), b"GET /1?u=");
        kept = (0..1000).map(begun).collect::<Vec<Raw>>();
        balancer.reads(1000);
        for (n, one) in kept.iter_mut().enumerate() {
            one.send(format!("{n} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        }
        kept.iter_mut().for_each(|one| _ = one.slot());
    }
    assert_eq!(balancer.keys().found("query"), 10_000);
    let before = wakes(balancer.pid());
    let (start, mut asked) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        for one in &mut kept {
            one.send(b"GET /2 HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        kept.iter_mut().for_each(|one| _ = one.slot());
        asked += kept.len();
    }
    let woken = wakes(balancer.pid()) - before;
    println!(
        "{asked} requests on connections that were handed over: {woken} wake-ups of the dispatcher"
    );
    assert!(asked >= 1000 && woken < 100, "{woken} wake-ups");
    drop(kept);
    balancer.finish();
}
