//! The primary itself: signalled, stopped, killed, started twice, its output unread (scenarios C4, C5, H, I1).

mod common;

use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

#[test]
fn workers_go_and_do_not_spin_when_the_primary_is_killed() {
    // H3, L11.
    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 2, &[]);
    balancer.signal(Signal::SIGKILL);
    assert_eq!(balancer.wait(), None);
    balancer.workers_gone(Duration::from_secs(10));
}

#[test]
fn a_second_primary_of_the_same_name_is_refused() {
    // H4.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
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
    let mut balancer = Balancer::nodes(&site, 2, &[]);
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
        let mut balancer = Balancer::nodes(&site, 2, &["--drain-timeout", "100s"]);
        let mut endless = Endless::open(site.to());
        balancer.until("it is counted", |status| {
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
            start.elapsed() < Duration::from_secs(15),
            "{signals:?} took {:?}",
            start.elapsed()
        );
        assert!(endless.ends_within(DEADLINE), "cut off, as asked");
        balancer.nothing_left();
    }
}

#[test]
fn harmless_signals_by_the_thousand_change_nothing() {
    // I1.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
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
