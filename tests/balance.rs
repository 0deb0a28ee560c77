//! The policies other than round robin.

mod common;

use std::time::Duration;

use common::*;

/// A kept-alive connection and the process that serves it.
fn kept(site: &Site, id: u64) -> (Client, u32) {
    let mut client = Client::connect(site.to(), id, DEADLINE).expect("connected");
    match client.exchange(id) {
        Outcome::Ok(answer) => (client, answer.pid),
        other => panic!("{id}: {other:?}"),
    }
}

#[test]
fn least_connections_fills_up_who_has_fewest() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &["--balance", "least-connections"]);
    let mut open: Vec<(Client, u32)> = (0..30).map(|id| kept(&site, id)).collect();
    let mut tally = Tally::default();
    open.iter().for_each(|(_, pid)| {
        tally.count(
            Outcome::Ok(Answer {
                slot: None,
                pid: *pid,
            }),
            Duration::ZERO,
        )
    });
    tally.even(3, 0);
    // All connections of one worker end: the next ten are all its own.
    let worker = open[0].1;
    open.retain(|(_, pid)| *pid != worker);
    balancer.until("the closes are seen", |status| {
        status
            .slots
            .iter()
            .any(|slot| slot.pid == Some(worker) && slot.open == 0)
    });
    for id in 100..110 {
        let (client, pid) = kept(&site, id);
        assert_eq!(pid, worker, "connection {id}");
        open.push((client, pid));
    }
    drop(open);
    balancer.finish();
}

#[test]
fn idle_keeps_fast_requests_away_from_a_busy_worker() {
    // C3: four workers, one in a busy loop of 2 s.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--balance", "idle"]);
    let busy = Client::asking(site.to(), 1, "spin");
    balancer.until("somebody spins", |status| {
        status.slots.iter().any(|slot| slot.open == 1)
    });
    let tally = Crowd::gather(site.to(), 100..300).answers();
    tally.all_answered(200).even(3, 200);
    assert!(
        tally.slowest() < Duration::from_millis(1000),
        "{:?}",
        tally.slowest()
    );
    busy.body().expect("answered");
    balancer.finish();
}

#[test]
fn kernel_shares_the_listening_socket() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--balance", "kernel"]);
    let load = Load::start(site.to(), 8, 1, DEADLINE);
    load.proceed(400);
    load.stop().clean().tally.even(2, 100_000);
    balancer.finish();
}

#[test]
fn kernel_refuses_nobody_while_all_workers_restart() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--balance", "kernel"]);
    let workers = balancer.workers();
    for &worker in &workers {
        send(worker, nix::sys::signal::Signal::SIGKILL);
    }
    Crowd::gather(site.to(), 0..50).answers().all_answered(50);
    balancer.replaced(&workers);
    balancer.finish();
}
