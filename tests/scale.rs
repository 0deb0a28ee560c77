//! More and fewer slots, single slots taken out, put back and renewed, and settings that change live.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::*;
use forkfront::config::{Balance, WEIGHT};
use forkfront::status::{SlotState, Status};
use nix::sys::signal::Signal;

fn graceful() -> Site {
    Site::new().env("ON_TERM", "close")
}

/// The slot that answers each of the clients `0..count`, by client.
#[track_caller]
fn slots(site: &Site, count: u64) -> BTreeMap<u64, u16> {
    let slot = |id| match ask(site.to(), id) {
        Outcome::Ok(answer) => (id, answer.slot.expect("node knows its slot")),
        other => panic!("{id}: {other:?}"),
    };
    (0..count).map(slot).collect()
}

/// Connections that each slot was dealt since `before`.
fn dealt_since(before: &Status, after: &Status) -> Vec<u64> {
    let slots = before.slots.iter().zip(&after.slots);
    slots
        .map(|(before, after)| after.dealt - before.dealt)
        .collect()
}

#[test]
fn up_and_down_under_mixed_load() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 2, &["--drain-timeout", "1s"]);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(100);
    let first = balancer.workers();
    for (to, slots) in [("4", 4), ("+1", 5), ("-3", 2), ("+1", 3), ("1", 1)] {
        balancer.command(&["scale", to]).done();
        let status = balancer.status();
        assert_eq!(status.slots.len(), slots, "{to}: {status:#?}");
        assert!(
            status
                .slots
                .iter()
                .all(|slot| slot.state == SlotState::Ready)
        );
        assert_eq!(
            status.slots[0].pid,
            Some(first[0]),
            "who stays is left alone"
        );
        load.proceed(100);
    }
    for (signal, slots) in [
        (Signal::SIGTTIN, 2),
        (Signal::SIGTTIN, 3),
        (Signal::SIGTTOU, 2),
    ] {
        balancer.signal(signal);
        balancer.until("as many as the signal asked for", |status| {
            let ready = |slot: &forkfront::status::SlotStatus| slot.state == SlotState::Ready;
            status.slots.len() == slots && status.slots.iter().all(ready)
        });
        load.proceed(100);
    }
    let report = load.stop();
    report.smooth();
    assert!(
        report.tally.by_pid().len() >= 8,
        "all had their share: {report}"
    );
    balancer.finish();
}

#[test]
fn a_size_that_cannot_be_is_refused_and_the_same_size_is_nothing() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let workers = balancer.workers();
    for wrong in ["0", "1025", "-2", "+1023", "+0", "x"] {
        let refused = balancer.command(&["scale", wrong]);
        assert!(matches!(refused.code, Some(1 | 2)), "{refused}");
        assert!(!refused.stderr.is_empty(), "{refused}");
    }
    balancer.command(&["scale", "2"]).done();
    assert_eq!(balancer.workers(), workers);
    balancer.finish();
}

#[test]
fn a_slot_that_does_not_come_up_is_named() {
    let site = graceful();
    let line = format!(
        "[ $FORKFRONT_SLOT = 1 ] && exit 3; exec node {}",
        server("http.js")
    );
    let words = ["run", "-n", "1", "--", "sh", "-c", &line];
    let balancer = Balancer::start(&site, &words);
    let before = balancer.workers();
    balancer
        .command(&["scale", "2"])
        .failed(1, &["slot 1", "exit code 3"]);
    balancer.command(&["scale", "1"]).done();
    assert_eq!(balancer.workers(), before);
    Crowd::gather(site.to(), 0..20).answers().all_answered(20);
    balancer.finish();
}

#[test]
fn sticky_clients_keep_their_slot_but_for_the_new_slots_share() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "ip"]);
    let four = slots(&site, 300);
    balancer.scale(5);
    let five = slots(&site, 300);
    let moved: Vec<u16> = four
        .keys()
        .filter(|client| four[client] != five[client])
        .map(|client| five[client])
        .collect();
    assert!(
        moved.iter().all(|slot| *slot == 4),
        "moved elsewhere: {moved:?}"
    );
    assert!(
        (20..=110).contains(&moved.len()),
        "a fifth moves: {}",
        moved.len()
    );
    balancer.reload().done();
    assert_eq!(slots(&site, 300), five, "a reload moves nobody");
    balancer.scale(4);
    assert_eq!(slots(&site, 300), four, "all back");
    balancer.finish();
}

#[test]
fn a_slot_that_is_scaled_away_finishes_what_it_has() {
    let site = graceful();
    let flags = ["--drain-timeout", "3s", "--grace", "500ms"];
    let balancer = Balancer::nodes(&site, 2, &flags);
    let mut both = [Endless::open(site.to()), Endless::open(site.to())];
    let workers = balancer.workers();
    balancer.scale(1);
    let leaving = balancer.status().leaving;
    assert_eq!(leaving.len(), 1, "{leaving:#?}");
    assert_eq!(
        (leaving[0].slot, leaving[0].pid, leaving[0].open),
        (1, workers[1], 1)
    );
    assert!(both.iter_mut().all(Endless::is_alive));
    both.sort_by_key(|socket| socket.pid != workers[1]);
    let [leaves, stays] = &mut both;
    assert_eq!((leaves.pid, stays.pid), (workers[1], workers[0]));
    assert!(leaves.ends_within(DEADLINE), "ended at the deadline");
    balancer.left();
    assert!(stays.is_alive(), "of the slot that stays");
    drop(both);
    balancer.scale(2);
    balancer.finish();
}

#[test]
fn a_drained_slot_gets_nothing_and_its_worker_lives_on() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 3, &[]);
    let workers = balancer.workers();
    let load = Load::start(site.to(), 6, 1, DEADLINE);
    load.proceed(100);
    balancer.command(&["drain", "1"]).done();
    let before = balancer.status();
    let slot = &before.slots[1];
    assert_eq!(
        (slot.drained, slot.state, slot.open),
        (true, SlotState::Drained, 0)
    );
    load.proceed(200);
    let since = dealt_since(&before, &balancer.status());
    assert!(since[0] > 0 && since[1] == 0 && since[2] > 0, "{since:?}");
    // What is drained stays so whatever worker sits there.
    balancer.command(&["restart", "1"]).done();
    balancer.reload().done();
    let before = balancer.status();
    assert!(before.slots[1].drained);
    load.proceed(200);
    assert_eq!(dealt_since(&before, &balancer.status())[1], 0);
    balancer.command(&["resume", "1"]).done();
    let before = balancer.status();
    load.proceed(200);
    assert!(dealt_since(&before, &balancer.status())[1] > 0);
    load.stop().smooth();
    let now = balancer.workers();
    assert!(
        now.iter().all(|pid| !workers.contains(pid)),
        "the reload renewed all"
    );
    balancer.finish();
}

#[test]
fn a_drain_says_when_something_remains_open() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 1, &["--drain-timeout", "700ms"]);
    let workers = balancer.workers();
    let mut socket = Endless::open(site.to());
    let failed = balancer
        .command(&["drain", "0"])
        .failed(1, &["slot 0", "1 open connection"]);
    assert!(failed.took >= Duration::from_millis(700), "{failed}");
    assert!(balancer.status().slots[0].drained);
    assert!(socket.is_alive());
    // Nobody is left to deal to: clients wait, and are served by and by.
    let crowd = Crowd::gather(site.to(), 1..30);
    balancer.until("they are held", |status| status.held == 29);
    balancer.command(&["resume", "0"]).done();
    crowd.answers().all_answered(29);
    assert_eq!(balancer.workers(), workers);
    drop(socket);
    balancer.finish();
}

#[test]
fn a_drain_waits_for_the_workers_that_had_the_slot_before() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 1, &["--drain-timeout", "100s"]);
    let socket = Endless::open(site.to());
    balancer.reload().done();
    assert_ne!(balancer.workers(), [socket.pid]);
    let drain = balancer.begin(&["drain", "0"]);
    balancer.until("nothing new is dealt", |status| status.slots[0].drained);
    drop(socket);
    let drained = drain.end().done();
    assert!(
        drained.stdout.contains("waiting for 1 open connection"),
        "{drained}"
    );
    balancer.command(&["resume", "0"]).done();
    balancer.finish();
}

#[test]
fn a_restart_renews_one_slot() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 3, &["--drain-timeout", "1s"]);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(100);
    let before = balancer.workers();
    balancer.command(&["restart", "1"]).done();
    let after = balancer.workers();
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    assert_ne!(after[1], before[1]);
    balancer.gone(&before[1..2]);
    for verb in ["restart", "drain", "resume"] {
        balancer.command(&[verb, "3"]).failed(1, &["slot 3"]);
    }
    load.stop().smooth();
    balancer.finish();
}

#[test]
fn balance_changes_live() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let mut sockets: Vec<Endless> = (0..6).map(|_| Endless::open(site.to())).collect();
    balancer
        .command(&["set", "balance", "least-connections"])
        .done();
    assert_eq!(balancer.status().balance, Balance::LeastConnections);
    // Three each; all of one worker end: the next three are its own.
    let worker = sockets[0].pid;
    sockets.retain(|socket| socket.pid != worker);
    assert_eq!(sockets.len(), 3);
    balancer.until("the ends are seen", |status| {
        status
            .slots
            .iter()
            .any(|slot| slot.pid == Some(worker) && slot.open == 0)
    });
    for _ in 0..3 {
        sockets.push(Endless::open(site.to()));
        assert_eq!(sockets.last().map(|socket| socket.pid), Some(worker));
    }
    balancer.command(&["set", "balance", "round-robin"]).done();
    in_turn(&common::slots(&balancer, site.to()));
    drop(sockets);
    let wrong = balancer.command(&["set", "balance", "fair"]);
    assert!(
        matches!(wrong.code, Some(1 | 2)) && wrong.stderr.contains("least-connections"),
        "{wrong}"
    );
    balancer.finish();
}

#[test]
fn stickiness_changes_live() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 3, &[]);
    let of_one = || (0..9).map(|_| slots(&site, 8)[&7]).collect::<Vec<u16>>();
    balancer.command(&["set", "sticky", "ip"]).done();
    assert_eq!(balancer.status().sticky.as_deref(), Some("ip"));
    let seen = of_one();
    assert!(seen.iter().all(|slot| *slot == seen[0]), "{seen:?}");
    balancer.command(&["set", "sticky", "off"]).done();
    assert_eq!(balancer.status().sticky, None);
    let seen = of_one();
    assert!(seen.iter().any(|slot| *slot != seen[0]), "{seen:?}");
    balancer.finish();
}

#[test]
fn weights_change_live_and_stay_with_the_slot() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let value = format!("0={}", WEIGHT * 3);
    balancer.command(&["set", "weight", &value]).done();
    for _ in 0..2 {
        let before = balancer.status();
        assert_eq!(before.slots[0].weight, WEIGHT * 3);
        slots(&site, 80);
        let dealt = dealt_since(&before, &balancer.status());
        assert!(
            dealt[0].abs_diff(60) <= 1 && dealt[1].abs_diff(20) <= 1,
            "{dealt:?}"
        );
        balancer.reload().done();
    }
    balancer
        .command(&["set", "weight", "7=1"])
        .failed(1, &["slot 7"]);
    balancer.finish();
}

#[test]
fn the_log_level_changes_live() {
    let site = graceful();
    let balancer = Balancer::nodes(&site, 1, &[]);
    assert!(
        !balancer.output().contains("debug: "),
        "{}",
        balancer.output()
    );
    balancer.command(&["set", "log-level", "debug"]).done();
    balancer.reload().done();
    balancer.says("debug: ");
    balancer.left();
    balancer.command(&["set", "log-level", "error"]).done();
    let victim = balancer.workers()[0];
    let so_far = balancer.output().len();
    send(victim, Signal::SIGKILL);
    balancer.replaced(&[victim]);
    assert!(
        !balancer.output()[so_far..].contains("SIGKILL"),
        "{}",
        balancer.output()
    );
    balancer.finish();
}
