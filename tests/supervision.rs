//! Workers die, crash in a loop, start slowly, leave orphans, start clean (scenarios B and I).

mod common;

use std::time::{Duration, Instant};

use common::*;
use forkfront::status::SlotState;
use nix::sys::signal::Signal;

#[test]
fn a_crash_loop_in_one_slot_is_slowed_down_and_leaves_the_rest_alone() {
    // B1.
    let site = Site::new();
    let mended = site.file("mended");
    let line = slot_1_until(&mended, "exit 3");
    let mut balancer = Balancer::shells(&site, 3, &[], &line);
    balancer.until("the others ready, slot 1 failing", |status| {
        let ready = status
            .slots
            .iter()
            .filter(|slot| slot.state == SlotState::Ready)
            .count();
        let why = status.slots[1].why.as_deref().unwrap_or_default();
        ready == 2 && status.slots[1].restarts >= 3 && why.contains("exit code 3")
    });
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    let before = balancer.status().slots[1].restarts;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        load.proceed(50);
    }
    let after = balancer.status().slots[1].restarts;
    assert!(after - before <= 8, "{} starts in 4 s", after - before);
    balancer.dealt_in_turn(&load.stop().clean().tally, 2);
    std::fs::write(&mended, "").expect("written");
    balancer.all_ready();
    balancer.finish();
}

#[test]
fn all_killed_at_once_under_load_refuses_nobody() {
    // B2.
    let site = Site::new();
    let journal = site.file("journal");
    let site = site.env("JOURNAL", journal.display());
    let balancer = Balancer::nodes(&site, 2, &[]);
    let load = Load::start(site.to(), 8, 1, DEADLINE);
    let mut kills = Vec::new();
    for _ in 0..8 {
        load.proceed(100);
        let workers = balancer.workers();
        for &worker in &workers {
            kills.push((worker, Instant::now()));
            send(worker, Signal::SIGKILL);
        }
        balancer.replaced(&workers);
    }
    load.proceed(100);
    let report = load.stop();
    report.explained(&journal, &kills);
    balancer.finish();
}

#[test]
fn a_command_that_disappears_is_named_and_comes_back() {
    // B4.
    let site = Site::new();
    let program = site.file("server");
    let place = |there: bool| {
        use std::os::unix::fs::PermissionsExt;
        if there {
            std::fs::write(
                &program,
                format!("#!/bin/sh\nexec node {}\n", server("http.js")),
            )
            .expect("written");
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
                .expect("mode");
        } else {
            std::fs::remove_file(&program).expect("removed");
        }
    };
    place(true);
    let path = program.display().to_string();
    let balancer = Balancer::start(&site, &["run", "-n", "2", "--", &path]);
    place(false);
    let victim = balancer.workers()[1];
    send(victim, Signal::SIGKILL);
    balancer.until("slot 1 says why it waits", |status| {
        let why = status.slots[1].why.as_deref().unwrap_or_default();
        status.slots[1].state == SlotState::Waiting && why.contains("No such file")
    });
    Crowd::gather(site.to(), 0..20)
        .answers()
        .all_answered(20)
        .even(1, 0);
    place(true);
    balancer.finish();
}

#[test]
fn orphans_of_workers_are_collected() {
    // B6: each worker leaves 200 grandchildren to the subreaper.
    let site = Site::new();
    let line = "for i in $(seq 200); do (sh -c 'exit 0' &) ; done; exec node HTTP";
    let mut balancer = Balancer::shells(&site, 2, &[], line);
    balancer.all_ready();
    eventually("no zombies", || {
        children_in_state_z(balancer.pid()).is_empty().then_some(())
    });
    balancer.finish();
}

#[test]
fn a_worker_that_ends_on_purpose_is_replaced_and_nothing_fails() {
    // B8.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    for id in 0..4 {
        let load = Load::start(site.to(), 4, 1000 * id, DEADLINE);
        load.proceed(50);
        load.stop().clean();
        let ended = Client::asking(site.to(), id, "exit").answered_by().pid;
        Crowd::gather(site.to(), 100_000..100_030)
            .answers()
            .all_answered(30);
        balancer.replaced(&[ended]);
    }
    balancer.finish();
}

#[test]
fn nobody_waits_for_a_worker_that_is_not_up() {
    // B14: slot 1 listens after 4 s.
    let site = Site::new();
    let line = "[ $FORKFRONT_SLOT = 1 ] && sleep 4; exec node HTTP";
    let mut balancer = Balancer::shells(&site, 2, &[], line);
    balancer.until("slot 0 ready", |status| {
        status
            .slots
            .first()
            .is_some_and(|slot| slot.state == SlotState::Ready)
    });
    let tally = Crowd::gather(site.to(), 0..50).answers();
    assert_eq!(balancer.status().slots[1].state, SlotState::Starting);
    tally.all_answered(50).even(1, 0);
    assert!(
        tally.slowest() < Duration::from_secs(3),
        "{:?}",
        tally.slowest()
    );
    balancer.all_ready();
    balancer.finish();
}

#[test]
fn a_worker_starts_clean() {
    // I2, I3, I6, D6: mask, dispositions, limits, descriptors, session, environment.
    let site = Site::new()
        .env("LISTEN_PID", 1)
        .env("NOTIFY_SOCKET", "/nowhere")
        .env("WATCHDOG_USEC", 1);
    let words = [
        "run",
        "-n",
        "2",
        "--env",
        "COLOUR=green",
        "--cwd",
        "/",
        "--",
        "python3",
        &server("hygiene.py"),
    ];
    let balancer = Balancer::start(&site, &words);
    for id in 0..2 {
        let client = Client::asking(site.to(), id, "");
        let body = client.body().expect("answered");
        let seen: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            u64::from_str_radix(seen["blocked"].as_str().expect("hex"), 16),
            Ok(0),
            "{body}"
        );
        // Python itself ignores SIGPIPE (13) and SIGXFSZ (25).
        let ignored = u64::from_str_radix(seen["ignored"].as_str().expect("hex"), 16).expect("hex");
        assert_eq!(ignored & !(1 << 12 | 1 << 24), 0, "{body}");
        let (soft, hard) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                .expect("limit");
        assert_eq!(seen["nofile"], serde_json::json!([soft, hard]), "{body}");
        assert_eq!(seen["session"], seen["pid"], "{body}");
        assert_eq!(seen["cwd"], "/", "{body}");
        assert_eq!(seen["fds"]["0"], "/dev/null", "{body}");
        let fds = seen["fds"].as_object().expect("descriptors");
        let sockets = fds.values().filter(|link| {
            link.as_str()
                .is_some_and(|link| link.starts_with("socket:"))
        });
        assert_eq!(sockets.count(), 0, "{body}");
        let env = seen["env"].as_object().expect("environment");
        for gone in ["LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            assert!(!env.contains_key(gone), "{gone} in {body}");
        }
        assert_eq!(env["COLOUR"], "green");
        assert_eq!(env["FORKFRONT_WORKERS"], "2");
        assert_eq!(env["FORKFRONT_GENERATION"], "1");
        assert!(["0", "1"].contains(&env["FORKFRONT_SLOT"].as_str().expect("text")));
    }
    balancer.finish();
}

#[test]
fn grandchildren_die_with_their_worker() {
    // I5.
    let site = Site::new();
    let mut balancer =
        Balancer::shells(&site, 1, &[], "sleep 1000 & sleep 1000 & node HTTP; exit 1");
    balancer.all_ready();
    let worker = balancer.workers()[0];
    assert!(members_of(worker).len() >= 4, "{:?}", members_of(worker));
    send(worker, Signal::SIGKILL);
    eventually("the whole session has gone", || {
        members_of(worker).is_empty().then_some(())
    });
    balancer.finish();
}
