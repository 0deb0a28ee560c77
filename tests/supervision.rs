//! Workers die, hang, start slowly or never; the primary is stopped, signalled, killed (scenarios B, C, H, I).

mod common;

use std::time::{Duration, Instant};

use common::*;
use forkfront::status::SlotState;
use nix::sys::signal::Signal;

/// `n` workers of a shell line that sees `HTTP` as the node server.
fn shells<'a>(site: &'a Site, n: u16, flags: &[&str], line: &str) -> Balancer<'a> {
    let (n, line) = (n.to_string(), line.replace("HTTP", &server("http.js")));
    let mut words = vec!["run", "-n", &n];
    words.extend(flags);
    words.extend(["--", "sh", "-c", &line]);
    Balancer::spawn(site, &words)
}

fn nodes<'a>(site: &'a Site, n: u16) -> Balancer<'a> {
    Balancer::start(
        site,
        &[
            "run",
            "-n",
            &n.to_string(),
            "--",
            "node",
            &server("http.js"),
        ],
    )
}

#[test]
fn a_crash_loop_in_one_slot_is_slowed_down_and_leaves_the_rest_alone() {
    // B1.
    let site = Site::new();
    let mended = site.file("mended");
    let line = format!(
        "[ $FORKFRONT_SLOT = 1 ] && [ ! -e {} ] && exit 3; exec node HTTP",
        mended.display()
    );
    let mut balancer = shells(&site, 3, &[], &line);
    let status = balancer.until("the others ready, slot 1 failing", |status| {
        let ready = status
            .slots
            .iter()
            .filter(|slot| slot.state == SlotState::Ready)
            .count();
        ready == 2 && status.slots[1].restarts >= 3
    });
    assert!(
        status.slots[1]
            .why
            .as_ref()
            .is_some_and(|why| why.contains('3')),
        "{:?}",
        status.slots[1].why
    );
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    let before = balancer.status().slots[1].restarts;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        load.proceed(50);
    }
    let after = balancer.status().slots[1].restarts;
    assert!(after - before <= 8, "{} starts in 4 s", after - before);
    load.stop().clean().tally.even(2, 1);
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
    let mut balancer = nodes(&site, 2);
    let load = Load::start(site.to(), 8, 1, DEADLINE);
    let mut kills = Vec::new();
    for _ in 0..8 {
        load.proceed(100);
        for worker in balancer.workers() {
            kills.push((worker, Instant::now()));
            send(worker, Signal::SIGKILL);
        }
        balancer.all_ready();
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
    let status = balancer.until("slot 1 says why it waits", |status| {
        status.slots[1].state == SlotState::Waiting && status.slots[1].why.is_some()
    });
    let why = status.slots[1].why.clone().expect("checked");
    assert!(
        why.contains("No such file") || why.contains("not found"),
        "{why}"
    );
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
    let mut balancer = shells(&site, 2, &[], line);
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
    let mut balancer = nodes(&site, 2);
    for id in 0..4 {
        let load = Load::start(site.to(), 4, 1000 * id, DEADLINE);
        load.proceed(50);
        load.stop().clean();
        let client = Client::asking(site.to(), id, "exit");
        client.body().expect("answered");
        Crowd::gather(site.to(), 100_000..100_030)
            .answers()
            .all_answered(30);
        balancer.all_ready();
    }
    balancer.finish();
}

#[test]
fn nobody_waits_for_a_worker_that_is_not_up() {
    // B14: slot 1 listens after 4 s.
    let site = Site::new();
    let line = "[ $FORKFRONT_SLOT = 1 ] && sleep 4; exec node HTTP";
    let mut balancer = shells(&site, 2, &[], line);
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
        tally.slowest < Duration::from_secs(2),
        "{:?}",
        tally.slowest
    );
    balancer.all_ready();
    balancer.finish();
}

#[test]
fn workers_go_and_do_not_spin_when_the_primary_is_killed() {
    // H3, L11.
    let site = Site::new();
    let mut balancer = nodes(&site, 2);
    balancer.signal(Signal::SIGKILL);
    assert_eq!(balancer.wait(), None);
    balancer.workers_gone(Duration::from_secs(10));
}

#[test]
fn a_second_primary_of_the_same_name_is_refused() {
    // H4.
    let site = Site::new();
    let balancer = nodes(&site, 1);
    let control = site.control().display().to_string();
    let second = Site::new();
    let words = [
        "run",
        "--control",
        &control,
        "-n",
        "1",
        "--",
        "node",
        &server("http.js"),
    ];
    run_to_end(&second, &words).refused(&second, 1, "control.sock");
    Crowd::gather(site.to(), 0..20).answers().all_answered(20);
    balancer.finish();
}

#[test]
fn a_storm_of_term_is_one_drain() {
    // H6: the request under way is answered.
    let site = Site::new();
    let mut balancer = nodes(&site, 2);
    let client = Client::asking(site.to(), 1, "slow");
    balancer.until("the slow request is being served", |status| {
        status.slots.iter().map(|slot| slot.open).sum::<u64>() == 1
    });
    for _ in 0..1000 {
        balancer.signal(Signal::SIGTERM);
    }
    assert!(client.body().expect("answered").ends_with("slow\n"));
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn a_second_int_forces_and_quit_is_at_once() {
    for signals in [&[Signal::SIGINT, Signal::SIGINT][..], &[Signal::SIGQUIT]] {
        let site = Site::new();
        let mut balancer = nodes(&site, 2);
        let client = Client::asking(site.to(), 1, "slow");
        balancer.until("the slow request is being served", |status| {
            status.slots.iter().map(|slot| slot.open).sum::<u64>() == 1
        });
        let start = Instant::now();
        for (at, &signal) in signals.iter().enumerate() {
            if at > 0 {
                balancer.until("the stop is under way", |status| status.stopping);
            }
            balancer.signal(signal);
        }
        balancer.wait();
        assert!(
            start.elapsed() < Duration::from_millis(1500),
            "{signals:?} took {:?}",
            start.elapsed()
        );
        assert!(client.body().is_err(), "cut off, as asked");
        balancer.nothing_left();
    }
}

#[test]
fn harmless_signals_by_the_thousand_change_nothing() {
    // I1.
    let site = Site::new();
    let balancer = nodes(&site, 2);
    let before = balancer.workers();
    let mut random = Random::seeded();
    let harmless = [
        Signal::SIGCHLD,
        Signal::SIGPIPE,
        Signal::SIGUSR1,
        Signal::SIGWINCH,
        Signal::SIGCONT,
    ];
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    for _ in 0..20 {
        for _ in 0..500 {
            balancer.signal(harmless[random.below(harmless.len() as u64) as usize]);
        }
        load.proceed(20);
    }
    load.stop().clean();
    assert_eq!(balancer.workers(), before);
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
    let mut balancer = shells(&site, 1, &[], "sleep 1000 & sleep 1000 & node HTTP; exit 1");
    balancer.all_ready();
    let worker = balancer.workers()[0];
    assert!(members_of(worker).len() >= 4, "{:?}", members_of(worker));
    send(worker, Signal::SIGKILL);
    eventually("the whole session has gone", || {
        members_of(worker).is_empty().then_some(())
    });
    balancer.finish();
}

#[test]
fn a_pause_of_the_primary_is_not_held_against_the_workers() {
    // C4: longer than a worker may take to get ready.
    let site = Site::new();
    let words = [
        "run",
        "-n",
        "2",
        "--ready-timeout",
        "2s",
        "--",
        "node",
        &server("http.js"),
    ];
    let balancer = Balancer::start(&site, &words);
    let before = balancer.workers();
    balancer.signal(Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..50);
    std::thread::sleep(Duration::from_secs(3));
    balancer.signal(Signal::SIGCONT);
    crowd.answers().all_answered(50);
    assert_eq!(balancer.workers(), before);
    balancer.finish();
}

#[test]
fn output_that_nobody_reads_stalls_nothing() {
    // C5, J2: both of our streams are pipes that are never read; a worker prints 1 MiB per request.
    let site = Site::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let words = ["run", "-v", "-n", "2", "--", "node", &server("http.js")];
    let mut balancer = Balancer::spawn_changed(&site, &words, |command| {
        command
            .stdout(writer.try_clone().expect("dup"))
            .stderr(writer);
    });
    balancer.all_ready();
    for id in 0..6 {
        let client = Client::asking(site.to(), id, "print");
        client.body().expect("answered although nobody reads");
    }
    Crowd::gather(site.to(), 10..40).answers().all_answered(30);
    balancer.finish();
    drop(reader);
}
