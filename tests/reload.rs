//! Rolling reloads (scenarios G1, G2, G3, G5, G14): what is served meanwhile, what a new version that does not
//! come up changes (nothing), what becomes of those who leave.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::*;
use forkfront::status::Status;
use nix::sys::signal::Signal;

/// `n` ready workers of a shell line that sees `HTTP` as the node server and `BROKEN` as a file that is not there.
fn breakable<'a>(site: &'a Site, n: &str, flags: &[&str], line: &str) -> (Balancer<'a>, PathBuf) {
    let broken = site.file("broken");
    let line = line.replace("HTTP", &server("http.js"));
    let line = line.replace("BROKEN", &broken.display().to_string());
    let mut words = vec!["run", "-n", n];
    words.extend(flags);
    words.extend(["--", "sh", "-c", &line]);
    (Balancer::start(site, &words), broken)
}

/// Two reloads, each after so many more answers, until nobody is left of those who were there before.
fn renew_twice(balancer: &Balancer, load: &Load, answers: u64) {
    for _ in 0..2 {
        load.proceed(answers);
        let old = balancer.workers();
        balancer.reload().done();
        balancer.gone(&old);
    }
}

fn generations(status: &Status) -> Vec<u32> {
    status.slots.iter().map(|slot| slot.generation).collect()
}

/// Where in the journal `what` is first said of one of `pids`.
fn place(journal: &[String], what: &str, pids: &[u32]) -> Option<usize> {
    let said = |line: &String| {
        let mut words = line.split(' ');
        words.next() == Some(what)
            && words
                .next()
                .and_then(|pid| pid.parse().ok())
                .is_some_and(|pid| pids.contains(&pid))
    };
    journal.iter().position(said)
}

#[test]
fn under_mixed_load_nothing_fails_and_the_new_one_serves_before_the_old_is_told() {
    // G1.
    let site = Site::graceful();
    let balancer = Balancer::nodes(&site, 3, &[]);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(300);
    for generation in 2..=3 {
        let old = balancer.workers();
        balancer.reload().done();
        let status = balancer.status();
        assert_eq!(generations(&status), [generation; 3]);
        assert_eq!(status.generation, generation);
        let new = balancer.workers();
        assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
        let ages: Vec<f64> = status.slots.iter().map(|slot| slot.uptime_s).collect();
        assert!(ages.is_sorted_by(|a, b| a > b), "slot after slot: {ages:?}");
        let body = Client::asking(site.to(), 1, "generation").body();
        assert_eq!(body.expect("answered"), format!("{generation}\n"));
        load.proceed(300);
        balancer.left();
        balancer.gone(&old);
        let journal = fs::read_to_string(site.file("journal")).expect("a journal");
        let journal: Vec<String> = journal.lines().map(str::to_string).collect();
        for (old, new) in old.iter().zip(&new) {
            let told = place(&journal, "told", &[*old]).expect("told");
            let serves = place(&journal, "accepted", &[*new]).expect("serves");
            assert!(
                serves < told,
                "{new} accepted first at {serves}, {old} told at {told}"
            );
            let late = place(&journal[told..], "accepted", &[*old]);
            assert_eq!(late, None, "{old} accepted after it was told");
        }
    }
    load.stop().smooth();
    balancer.finish();
}

#[test]
fn one_worker_is_enough() {
    let site = Site::new();
    let words = ["run", "-n", "1", "--", &python(), &server("graceful.py")];
    let balancer = Balancer::start(&site, &words);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    renew_twice(&balancer, &load, 200);
    load.stop().smooth();
    balancer.finish();
}

#[test]
fn servers_that_die_of_the_signal_lose_no_short_connection() {
    for command in [
        vec!["node".to_string(), server("http.js")],
        vec![python(), server("loop.py")],
        vec![python(), server("blocking.py")],
    ] {
        let site = Site::new();
        let mut words = vec!["run", "-n", "2", "--"];
        words.extend(command.iter().map(String::as_str));
        let balancer = Balancer::start(&site, &words);
        let load = Load::start(site.to(), 6, 1, DEADLINE);
        renew_twice(&balancer, &load, 100);
        load.stop().smooth();
        balancer.finish();
    }
}

#[test]
fn a_new_version_that_exits_at_boot_changes_nothing() {
    // G2; then in the middle of a reload.
    let site = Site::graceful();
    let line = "[ -e BROKEN ] && [ $FORKFRONT_SLOT = $(cat BROKEN) ] && { echo no such module; exit 7; }; exec node HTTP";
    let (balancer, broken) = breakable(&site, "3", &[], line);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(200);
    let before = balancer.workers();
    fs::write(&broken, "0").expect("written");
    let failed = balancer.reload();
    let failed = failed.failed(1, &["slot 0", "exit code 7", "no such module"]);
    assert!(failed.took < Duration::from_secs(5), "{failed}");
    assert_eq!(balancer.workers(), before);
    load.proceed(200);
    fs::write(&broken, "1").expect("written");
    balancer
        .reload()
        .failed(1, &["slot 1", "exit code 7", "no such module"]);
    let after = balancer.workers();
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..]);
    fs::remove_file(&broken).expect("removed");
    balancer.reload().done();
    let mended = balancer.workers();
    assert!(
        mended
            .iter()
            .all(|pid| !before.contains(pid) && !after.contains(pid))
    );
    load.proceed(200);
    load.stop().smooth();
    balancer.left();
    balancer.finish();
}

#[test]
fn a_new_version_that_never_listens_is_given_up_at_the_ready_timeout() {
    // G3.
    let site = Site::graceful();
    let flags = ["--ready-timeout", "1500ms"];
    let line = "[ -e BROKEN ] && exec sleep 1000; exec node HTTP";
    let (balancer, broken) = breakable(&site, "2", &flags, line);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(200);
    let before = balancer.workers();
    fs::write(&broken, "").expect("written");
    let failed = balancer.reload().failed(1, &["slot 0", "1.5 s"]);
    assert!(failed.took < Duration::from_secs(8), "{failed}");
    assert_eq!(balancer.workers(), before);
    eventually("the successor has gone", || {
        balancer.others(&before).is_empty().then_some(())
    });
    load.proceed(200);
    load.stop().smooth();
    balancer.finish();
}

#[test]
fn a_command_that_cannot_be_started_changes_nothing() {
    // B4 in a reload.
    let site = Site::graceful();
    let program = site.file("server");
    let text = format!("#!/bin/sh\nexec node {}\n", server("http.js"));
    fs::write(&program, text).expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, executable).expect("mode");
    let path = program.display().to_string();
    let balancer = Balancer::start(&site, &["run", "-n", "2", "--", &path]);
    let before = balancer.workers();
    let aside = site.file("aside");
    fs::rename(&program, &aside).expect("moved");
    balancer
        .reload()
        .failed(1, &["cannot start", "no such file"]);
    assert_eq!(balancer.workers(), before);
    Crowd::gather(site.to(), 0..20).answers().all_answered(20);
    fs::rename(&aside, &program).expect("moved back");
    balancer.reload().done();
    balancer.left();
    balancer.finish();
}

#[test]
fn endless_connections_keep_a_bounded_number_of_old_generations() {
    // G5.
    let site = Site::graceful();
    let flags = [
        "--drain-timeout",
        "2s",
        "--grace",
        "300ms",
        "--max-old",
        "2",
    ];
    let balancer = Balancer::nodes(&site, 2, &flags);
    let mut sockets = Vec::new();
    for generation in 2..=7 {
        let mut both = [Endless::open(site.to()), Endless::open(site.to())];
        assert!(both.iter_mut().all(Endless::is_alive));
        sockets.extend(both);
        let done = balancer.reload().done();
        assert!(done.took < Duration::from_secs(6), "{done}");
        let status = balancer.status();
        assert_eq!(status.generation, generation);
        let old: Vec<u32> = status.leaving.iter().map(|old| old.generation).collect();
        let mut different = old.clone();
        different.dedup();
        assert!(old.len() <= 4 && different.len() <= 2, "{old:?}");
        let open: u64 = status.leaving.iter().map(|old| old.open).sum();
        assert!(
            open >= 1,
            "what remains open is shown: {:#?}",
            status.leaving
        );
    }
    let newest = sockets.split_off(10);
    assert!(
        sockets
            .iter_mut()
            .all(|socket| socket.ends_within(Duration::from_secs(5))),
        "ended at the deadline"
    );
    drop(newest);
    balancer.left();
    balancer.finish();
}

#[test]
fn an_old_worker_whose_last_connection_ends_is_told_at_once() {
    let site = Site::graceful();
    let flags = ["--drain-timeout", "60s"];
    let balancer = Balancer::nodes(&site, 1, &flags);
    let old = balancer.workers();
    let mut socket = Endless::open(site.to());
    balancer.reload().done();
    let leaving = balancer.status().leaving;
    assert_eq!(leaving.len(), 1, "{leaving:#?}");
    assert_eq!(
        (leaving[0].pid, leaving[0].open, leaving[0].slot),
        (old[0], 1, 0)
    );
    assert!(leaving[0].left_s > 40.0, "{leaving:#?}");
    assert!(socket.is_alive());
    drop(socket);
    let start = Instant::now();
    balancer.gone(&old);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    balancer.left();
    balancer.finish();
}

#[test]
fn usr2_and_hup_reload_too() {
    let site = Site::graceful();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    for signal in [Signal::SIGUSR2, Signal::SIGHUP] {
        load.proceed(100);
        let old = balancer.workers();
        balancer.signal(signal);
        balancer.replaced(&old);
        balancer.gone(&old);
    }
    assert_eq!(generations(&balancer.status()), [3, 3]);
    load.stop().smooth();
    balancer.finish();
}

#[test]
fn several_slots_at_a_time_if_wanted() {
    let site = Site::graceful().env("BOOT_MS", 700);
    let balancer = Balancer::nodes(&site, 4, &["--reload-parallel", "2"]);
    let old = balancer.workers();
    let reload = balancer.begin(&["reload"]);
    let mut most = 0;
    eventually("all renewed", || {
        let status = balancer.try_status()?;
        let now: Vec<u32> = status.slots.iter().filter_map(|slot| slot.pid).collect();
        let known: Vec<u32> = old.iter().chain(&now).copied().collect();
        most = most.max(balancer.others(&known).len());
        now.iter().all(|pid| !old.contains(pid)).then_some(())
    });
    assert_eq!(most, 2, "most successors at one time");
    reload.end().done();
    balancer.left();
    balancer.finish();
}

/// A release whose server says `name`.
fn release(directory: &Path, name: &str) -> PathBuf {
    let release = directory.join(name);
    fs::create_dir(&release).expect("release");
    let text = format!(
        "globalThis.release = '{name}';\nrequire('{}');\n",
        server("http.js")
    );
    fs::write(release.join("server.js"), text).expect("written");
    release
}

#[test]
fn a_release_behind_a_symlink_is_followed_and_the_former_may_go() {
    // G14: the primary was started in `current`, as a shell that went there would start it.
    let site = Site::graceful().env("RELEASE", "release");
    let (one, two) = (
        release(&site.directory, "one"),
        release(&site.directory, "two"),
    );
    let current = site.file("current");
    symlink(&one, &current).expect("linked");
    let mut balancer = Balancer::spawn_changed(
        &site,
        &["run", "-n", "2", "--", "node", "server.js"],
        |command| _ = command.current_dir(&current).env("PWD", &current),
    );
    balancer.all_ready();
    let served = || {
        Client::asking(site.to(), 1, "release")
            .body()
            .expect("answered")
    };
    assert_eq!(served(), format!("release one {}\n", one.display()));
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(100);
    let next = site.file("next");
    symlink(&two, &next).expect("linked");
    fs::rename(&next, &current).expect("flipped");
    let old = balancer.workers();
    balancer.reload().done();
    assert_eq!(served(), format!("release two {}\n", two.display()));
    balancer.gone(&old);
    load.stop().smooth();
    fs::remove_dir_all(&one).expect("deleted");
    let victim = balancer.workers()[0];
    send(victim, Signal::SIGKILL);
    balancer.replaced(&[victim]);
    assert_eq!(served(), format!("release two {}\n", two.display()));
    balancer.finish();
}
