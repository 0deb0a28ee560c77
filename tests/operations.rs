//! Operations that meet (scenario G4): reloads while one is under way, a stop in the middle, workers that are
//! killed at the worst moment, and pairs of everything at random offsets.

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::*;
use forkfront::config::Balance;
use nix::sys::signal::Signal;

/// Node workers that finish what they have begun and whose start can be held up.
struct Held<'a> {
    balancer: Balancer<'a>,
    hold: PathBuf,
    broken: PathBuf,
}

impl<'a> Held<'a> {
    fn start(site: &'a Site, n: &str) -> Self {
        let (hold, broken) = (site.file("hold"), site.file("broken"));
        let line = format!(
            "while [ -e {} ]; do sleep 0.05; done; [ -e {} ] && exit 7; exec node {}",
            hold.display(),
            broken.display(),
            server("http.js")
        );
        let flags = ["run", "--drain-timeout", "1s", "-n", n];
        let words = [&flags[..], &["--", "sh", "-c", &line]].concat();
        let balancer = Balancer::start(site, &words);
        Self {
            balancer,
            hold,
            broken,
        }
    }

    fn hold(&self) {
        fs::write(&self.hold, "").expect("written");
    }

    fn go_on(&self) {
        fs::remove_file(&self.hold).expect("removed");
    }

    /// Begins a reload whose first successor is held up, and returns that one's pid.
    fn reload_held_up(&self) -> (Begun, u32) {
        let before = self.balancer.workers();
        self.hold();
        let reload = self.balancer.begin(&["reload"]);
        let successor = eventually("a successor", || {
            self.balancer.others(&before).first().copied()
        });
        self.balancer.under_way("reload");
        (reload, successor)
    }

    /// Begins `words` and waits until that client is the `nth` that waits.
    fn queue(&self, words: &[&str], nth: usize) -> Begun {
        let begun = self.balancer.begin(words);
        eventually("the client waits", || {
            (guests(self.balancer.pid()) >= nth).then_some(())
        });
        begun
    }
}

#[test]
fn reloads_that_wait_are_one() {
    let site = Site::graceful();
    let held = Held::start(&site, "2");
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    let (first, _) = held.reload_held_up();
    let second = held.queue(&["reload"], 2);
    let third = held.queue(&["reload"], 3);
    held.go_on();
    first.end().done();
    second.end().done();
    third.end().done();
    assert_eq!(held.balancer.status().generation, 3);
    load.stop().smooth();
    held.balancer.finish();
}

#[test]
fn each_client_of_a_reload_that_fails_is_told_the_truth() {
    let site = Site::graceful();
    let held = Held::start(&site, "2");
    let before = held.balancer.workers();
    let (first, _) = held.reload_held_up();
    let second = held.queue(&["reload"], 2);
    fs::write(&held.broken, "").expect("written");
    held.go_on();
    first.end().failed(1, &["slot 0", "exit code 7"]);
    second.end().failed(1, &["slot 0", "exit code 7"]);
    assert_eq!(held.balancer.workers(), before);
    fs::remove_file(&held.broken).expect("mended");
    held.balancer.finish();
}

#[test]
fn different_operations_take_their_turn() {
    let site = Site::graceful();
    let held = Held::start(&site, "2");
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    let (reload, _) = held.reload_held_up();
    let scale = held.queue(&["scale", "3"], 2);
    let set = held.queue(&["set", "balance", "least-connections"], 3);
    let restart = held.queue(&["restart", "2"], 4);
    held.go_on();
    for begun in [reload, scale, set, restart] {
        begun.end().done();
    }
    let status = held.balancer.status();
    assert_eq!((status.slots.len(), status.generation), (3, 2));
    assert_eq!(status.balance, Balance::LeastConnections);
    assert_eq!(status.slots[2].restarts, 1);
    held.balancer.scale(2);
    load.stop().smooth();
    held.balancer.finish();
}

#[test]
fn a_stop_wins_over_what_is_under_way_and_what_waits() {
    for by_command in [true, false] {
        let site = Site::graceful();
        let mut held = Held::start(&site, "2");
        let slow = Client::asking(site.to(), 1, "slow");
        held.balancer.until("the slow request is served", |status| {
            status.slots.iter().map(|slot| slot.open).sum::<u64>() == 1
        });
        let (reload, _) = held.reload_held_up();
        let scale = held.queue(&["scale", "3"], 2);
        if by_command {
            held.balancer.command(&["stop"]).done();
        } else {
            held.balancer.signal(Signal::SIGTERM);
        }
        reload.end().failed(1, &["stop"]);
        scale.end().failed(1, &["stop"]);
        assert!(slow.body().expect("answered").ends_with("slow\n"));
        assert_eq!(held.balancer.wait(), Some(0));
        held.balancer.nothing_left();
    }
}

#[test]
fn a_successor_that_is_killed_ends_the_reload_and_nothing_else() {
    let site = Site::graceful();
    let held = Held::start(&site, "2");
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    let before = held.balancer.workers();
    let (reload, successor) = held.reload_held_up();
    send(successor, Signal::SIGKILL);
    reload.end().failed(1, &["slot 0", "SIGKILL"]);
    held.go_on();
    assert_eq!(held.balancer.workers(), before);
    load.proceed(100);
    load.stop().smooth();
    held.balancer.finish();
}

#[test]
fn an_old_worker_that_is_killed_in_its_reload_is_followed_by_its_successor() {
    for victim in [0, 1] {
        let site = Site::graceful();
        let held = Held::start(&site, "2");
        let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
        load.proceed(100);
        let before = held.balancer.workers();
        let (reload, successor) = held.reload_held_up();
        let kills = [(before[victim], Instant::now())];
        send(before[victim], Signal::SIGKILL);
        held.balancer.until("the death is known", |status| {
            status.slots[victim].pid != Some(before[victim])
        });
        load.proceed(100);
        held.go_on();
        reload.end().done();
        let status = held.balancer.replaced(&before);
        assert_eq!(status.slots[0].pid, Some(successor));
        load.proceed(100);
        load.stop().explained(&site.file("journal"), &kills);
        held.balancer.finish();
    }
}

#[test]
fn an_old_worker_that_is_killed_while_it_leaves_disturbs_nobody() {
    let site = Site::graceful();
    let balancer = Balancer::nodes(&site, 2, &["--drain-timeout", "60s"]);
    let mut socket = Endless::open(site.to());
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    balancer.reload().done();
    let leaving = balancer.status().leaving;
    assert!(
        leaving.iter().any(|old| old.pid == socket.pid),
        "{leaving:#?}"
    );
    send(socket.pid, Signal::SIGKILL);
    assert!(socket.ends_within(Duration::from_secs(5)));
    balancer.left();
    let restarts: Vec<u64> = balancer
        .status()
        .slots
        .iter()
        .map(|slot| slot.restarts)
        .collect();
    assert_eq!(restarts, [1, 1], "one each, by the reload");
    load.proceed(100);
    load.stop().clean();
    balancer.finish();
}

#[test]
fn a_client_that_goes_away_changes_nothing() {
    let site = Site::graceful();
    let held = Held::start(&site, "2");
    let before = held.balancer.workers();
    let (reload, _) = held.reload_held_up();
    reload.interrupt();
    held.go_on();
    held.balancer.replaced(&before);
    held.balancer.until("the reload is done", |status| {
        status.operation.is_none() && status.generation == 2
    });
    held.balancer.finish();
}

#[test]
fn a_storm_of_signals_is_a_few_reloads() {
    let site = Site::graceful();
    let held = Held::start(&site, "2");
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    let (reload, _) = held.reload_held_up();
    for _ in 0..300 {
        held.balancer.signal(Signal::SIGUSR2);
        held.balancer.signal(Signal::SIGHUP);
    }
    held.go_on();
    reload.end().done();
    let status = held
        .balancer
        .until("all is done", |status| status.operation.is_none());
    assert!(
        (2..=4).contains(&status.generation),
        "{}",
        status.generation
    );
    load.proceed(100);
    load.stop().smooth();
    held.balancer.finish();
}

#[test]
fn a_pause_of_the_primary_is_not_held_against_a_successor() {
    // C4: longer than a worker may take to get ready.
    let site = Site::graceful().env("BOOT_MS", 300);
    let balancer = Balancer::nodes(&site, 1, &["--ready-timeout", "2s"]);
    let before = balancer.workers();
    let reload = balancer.begin(&["reload"]);
    eventually("a successor", || {
        (!balancer.others(&before).is_empty()).then_some(())
    });
    balancer.signal(Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..50);
    std::thread::sleep(Duration::from_secs(3));
    balancer.signal(Signal::SIGCONT);
    crowd.answers().all_answered(50);
    reload.end().done();
    balancer.left();
    balancer.finish();
}

#[test]
fn pairs_of_operations_at_random_offsets() {
    // T11, small: figures_lifecycle.rs has 1,000.
    let site = Site::graceful();
    let mut random = Random::seeded();
    let flags = ["--drain-timeout", "500ms", "--max-old", "4"];
    let balancer = Balancer::nodes(&site, 3, &flags);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    let mut pairs = Pairs::default();
    for _ in 0..12 {
        pairs.one(&balancer, &mut random);
    }
    pairs.as_at_first(&balancer, 3);
    load.proceed(100);
    let report = load.stop();
    report.explained(&site.file("journal"), &pairs.kills);
    balancer.finish();
}
