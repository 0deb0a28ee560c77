//! The upgrade in place (scenarios G6 to G13, G17): the primary becomes another program, same pid, and neither
//! clients nor workers notice; whatever cannot take over changes nothing.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

const BINARY: &str = env!("CARGO_BIN_EXE_forkfront");

/// An executable file of the site's own.
fn executable(site: &Site, name: &str, bytes: &[u8]) -> PathBuf {
    let path = site.file(name);
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

fn script(site: &Site, name: &str, lines: &str) -> PathBuf {
    executable(site, name, format!("#!/bin/sh\n{lines}\n").as_bytes())
}

fn words(pid: u32, file: &str) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/{file}")).expect("/proc")
}

#[test]
fn under_mixed_load_nobody_notices() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &[]);
    let before = (balancer.workers(), words(balancer.pid(), "cmdline"));
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(300);
    for _ in 0..5 {
        let dealt = balancer.status().dealt;
        let said = balancer.command(&["upgrade"]).done();
        assert!(said.stdout.contains("upgraded from"), "{said}");
        load.proceed(100);
        let status = balancer.status();
        assert_eq!(status.pid, balancer.pid());
        assert!(status.dealt > dealt, "counters go on");
        assert!(status.slots.iter().all(|slot| slot.restarts == 0));
    }
    load.stop().smooth();
    let after = (balancer.workers(), words(balancer.pid(), "cmdline"));
    assert_eq!(after, before);
    balancer.finish();
}

#[test]
fn twenty_in_a_row_leave_no_descriptor_behind_and_no_worker_stops_printing() {
    // G10, G11; the census of `finish` compares descriptors with those at the start.
    let site = Site::new();
    let line =
        "i=0; while :; do i=$((i+1)); echo \"chat $i end\"; sleep 0.005; done & exec node HTTP";
    let line = line.replace("HTTP", &server("http.js"));
    let balancer = Balancer::start(&site, &["run", "-n", "2", "--", "sh", "-c", &line]);
    let workers = balancer.workers();
    for _ in 0..20 {
        balancer.command(&["upgrade"]).done();
    }
    assert_eq!(balancer.workers(), workers);
    for pid in &workers {
        let prefix = format!(" {pid}] chat ");
        let count = || balancer.output().matches(&prefix).count();
        let now = count();
        eventually("it goes on printing", || (count() > now + 20).then_some(()));
        let output = balancer.output();
        let numbers: Vec<u64> = output
            .lines()
            .filter_map(|line| line.split_once(&prefix))
            .map(|(_, rest)| rest.strip_suffix(" end").expect("a whole line"))
            .map(|number| number.parse().expect("a number"))
            .collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "each line once, in order");
    }
    balancer.finish();
}

#[test]
fn what_cannot_take_over_is_refused_and_nothing_has_changed() {
    // G6, G7.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let workers = balancer.workers();
    let plain = site.file("plain");
    fs::write(&plain, "no program").expect("a file");
    let busy = executable(&site, "busy", b"#!/bin/sh\n");
    let _writer = fs::OpenOptions::new()
        .append(true)
        .open(&busy)
        .expect("open");
    let mut other_state = fs::read(BINARY).expect("the binary");
    replace_all(&mut other_state, b"forkfrnt", b"forkfrnT");
    let table = [
        (site.file("none"), "No such file"),
        (site.directory.clone(), "no executable file"),
        (plain, "no executable file"),
        (executable(&site, "text", b"no program"), "exit code 127"),
        (busy, "Text file busy"),
        ("/bin/true".into(), "does not say so"),
        ("/bin/false".into(), "exit code 1"),
        (script(&site, "aborts", "kill -ABRT $$"), "SIGABRT"),
        (executable(&site, "older", &other_state), "another program"),
        (script(&site, "sleeps", "exec sleep 60"), "within 5 s"),
    ];
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    for (binary, part) in table {
        let binary = binary.display().to_string();
        let words = ["upgrade", "--binary", &binary];
        balancer
            .command(&words)
            .failed(1, &[part, "goes on as it was"]);
        load.proceed(20);
    }
    load.stop().smooth();
    assert_eq!(balancer.workers(), workers);
    balancer.finish();
}

fn replace_all(bytes: &mut [u8], what: &[u8], with: &[u8]) {
    let mut found = 0;
    for at in 0..bytes.len() - what.len() {
        if bytes[at..].starts_with(what) {
            bytes[at..at + what.len()].copy_from_slice(with);
            found += 1;
        }
    }
    assert!(found > 0, "the binary has those bytes");
}

#[test]
fn one_that_panics_while_it_takes_over_gives_way_to_the_former() {
    // G7: after the exec there is no old image any more, but a way back to its program.
    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 2, &[]);
    let workers = balancer.workers();
    let mut bytes = fs::read(BINARY).expect("the binary");
    // No thread can have this name: the panic comes when the state is read and half taken over.
    replace_all(&mut bytes, b"forkfront-logs", b"forkfront\0logs");
    let bad = executable(&site, "bad", &bytes).display().to_string();
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    for _ in 0..2 {
        let words = ["upgrade", "--binary", &bad];
        balancer
            .command(&words)
            .failed(1, &["could not take over", "null byte"]);
        load.proceed(20);
    }
    balancer.command(&["upgrade"]).done();
    load.proceed(20);
    load.stop().smooth();
    assert_eq!(balancer.workers(), workers);
    balancer.at_rest();
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait(), Some(0));
    eventually("both panics are told of", || {
        (balancer.output().matches("panicked at").count() == 2).then_some(())
    });
}

#[test]
fn another_path_is_remembered_and_a_replaced_file_is_what_counts() {
    // G8.
    let site = Site::new();
    let copy = |name: &str| executable(&site, name, &fs::read(BINARY).expect("the binary"));
    let new = copy("new");
    let balancer = Balancer::nodes(&site, 2, &[]);
    let runs = || fs::read_link(format!("/proc/{}/exe", balancer.pid())).expect("/proc");
    let path = new.display().to_string();
    balancer.command(&["upgrade", "--binary", &path]).done();
    assert_eq!(runs(), new);
    // As a package manager does it: another file by the same name.
    fs::rename(copy("newer"), &new).expect("rename");
    assert!(runs().to_string_lossy().ends_with("(deleted)"));
    balancer.command(&["upgrade"]).done();
    assert_eq!(runs(), new);
    renewed(&balancer, site.to());
    assert_eq!(runs(), new);
    balancer.finish();
}

#[test]
fn workers_that_start_or_drain_go_on_with_it() {
    let site = Site::new().env("ON_TERM", "close");
    let balancer = Balancer::nodes(&site, 2, &["--drain-timeout", "60s"]);
    let old = balancer.workers();
    let mut endless: Vec<Endless> = (0..2).map(|_| Endless::open(site.to())).collect();
    balancer.reload().done();
    let status = balancer.status();
    assert!(!status.leaving.is_empty(), "{status:#?}");
    // Without a connection, the worker that is replaced now would be gone too soon to be seen leaving.
    endless.extend((0..2).map(|_| Endless::open(site.to())));
    let restart = balancer.begin(&["restart", "0"]);
    let upgrade = balancer.begin(&["upgrade"]);
    restart.end().done();
    upgrade.end().done();
    assert_eq!(balancer.status().leaving.len(), status.leaving.len() + 1);
    assert!(endless.iter_mut().all(Endless::is_alive));
    send(balancer.workers()[1], Signal::SIGKILL);
    balancer.command(&["upgrade"]).done();
    balancer.until("the dead one has a successor", |status| {
        status.slots[1].restarts > 0 && status.slots[1].pid.is_some()
    });
    drop(endless);
    balancer.gone(&old);
    balancer.left();
    balancer.finish();
}

#[test]
fn a_worker_that_dies_in_the_very_moment_is_replaced() {
    // G12.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let mut random = Random::seeded();
    for _ in 0..6 {
        let victim = balancer.workers()[random.below(2) as usize];
        let upgrade = balancer.begin(&["upgrade"]);
        std::thread::sleep(Duration::from_micros(random.below(80_000)));
        send(victim, Signal::SIGKILL);
        upgrade.end().done();
        balancer.replaced(&[victim]);
    }
    balancer.finish();
}

#[test]
fn signals_in_any_moment_are_neither_lost_nor_deadly() {
    // G13.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let generation = balancer.status().generation;
    let mut random = Random::seeded();
    let load = Load::start(site.to(), 3, 1, DEADLINE);
    for _ in 0..3 {
        let upgrade = balancer.begin(&["upgrade"]);
        for _ in 0..40 {
            let signal = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGCHLD];
            balancer.signal(signal[random.below(3) as usize]);
            std::thread::sleep(Duration::from_micros(random.below(3_000)));
        }
        upgrade.end().done();
    }
    balancer.until("all that was asked for is done", |status| {
        status.operation.is_none() && status.leaving.is_empty()
    });
    assert!(balancer.status().generation > generation);
    load.stop().clean();
    balancer.finish();
}

#[test]
fn others_who_wait_are_answered_by_the_next_image() {
    // G17.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let mut endless = Endless::open(site.to());
    let slot = balancer
        .status()
        .slots
        .iter()
        .position(|slot| slot.open > 0);
    let slot = slot.expect("a slot has it").to_string();
    let drain = balancer.begin(&["drain", &slot]);
    balancer.until("the slot is drained", |status| {
        status.slots.iter().any(|slot| slot.drained)
    });
    let upgrades: Vec<Begun> = (0..3).map(|_| balancer.begin(&["upgrade"])).collect();
    let reload = balancer.begin(&["restart", if slot == "0" { "1" } else { "0" }]);
    for upgrade in upgrades {
        let said = upgrade.end().done();
        assert!(said.stdout.contains("upgraded from"), "{said}");
    }
    reload.end().done();
    assert!(endless.is_alive());
    drop(endless);
    drain.end().done();
    balancer.command(&["upgrade"]).done();
    assert!(balancer.status().slots.iter().any(|slot| slot.drained));
    balancer.command(&["resume", &slot]).done();
    balancer.finish();
}

#[test]
fn a_stop_wins() {
    let site = Site::new();
    let sleeps = script(&site, "sleeps", "exec sleep 60")
        .display()
        .to_string();
    let mut balancer = Balancer::nodes(&site, 2, &[]);
    let upgrade = balancer.begin(&["upgrade", "--binary", &sleeps]);
    balancer.under_way("upgrade");
    let begun = Instant::now();
    balancer.signal(Signal::SIGTERM);
    upgrade.end().failed(1, &["told to stop"]);
    assert_eq!(balancer.wait(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "nobody waits for the trial"
    );
    balancer.nothing_left();
}

#[test]
fn stopped_at_any_moment_of_it_all_is_gone() {
    let mut random = Random::seeded();
    for _ in 0..4 {
        let site = Site::new();
        let mut balancer = Balancer::nodes(&site, 2, &[]);
        let upgrade = balancer.begin(&["upgrade"]);
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        balancer.signal(Signal::SIGTERM);
        upgrade.end();
        assert_eq!(balancer.wait(), Some(0));
        balancer.nothing_left();
    }
}

#[test]
fn names_rules_and_unix_sockets_go_along() {
    let site = Site::new();
    let socket = site.file("web.sock");
    let listen = format!("unix:{}", socket.display());
    let balancer = Balancer::nodes(
        &site,
        2,
        &["-l", &listen, "--sticky", "ip", "--balance", "idle"],
    );
    let before = balancer.status();
    balancer.command(&["upgrade"]).done();
    let after = balancer.status();
    assert_eq!(
        (after.name, after.sticky, after.balance),
        (before.name, before.sticky, before.balance)
    );
    assert_eq!(after.listeners.len(), before.listeners.len());
    assert!(after.uptime_s >= before.uptime_s);
    std::os::unix::net::UnixStream::connect(&socket).expect("it listens");
    balancer.finish();
    assert!(!socket.exists(), "unlinked at the end");
}
