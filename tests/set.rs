//! `forkfront set` on a running primary: what it changes is seen in the next connections, in `status` and in what
//! is said; what cannot be set is refused with a reason and changes nothing.

mod common;

use common::*;
use forkfront::config::{Balance, WEIGHT};

#[test]
fn half_the_weight_gets_half_as_much() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    balancer.command(&["set", "weight", "1=50"]).done();
    let status = balancer.status();
    let weights: Vec<u16> = status.slots.iter().map(|slot| slot.weight).collect();
    assert_eq!(weights, [WEIGHT, 50]);
    let served = slots(&balancer, site.to());
    let light = served.iter().filter(|slot| **slot == 1).count();
    assert_eq!(light, served.len() / 3, "{served:?}");
    balancer
        .command(&["set", "weight", "2=50"])
        .failed(1, &["no slot 2"]);
    balancer.finish();
}

#[test]
fn policy_and_stickiness_change_at_the_next_connection() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let workers = balancer.workers();
    assert_eq!(balancer.status().apps[0].steal_after_ms, 100);
    balancer.command(&["set", "sticky", "ip"]).done();
    balancer.command(&["set", "balance", "idle"]).done();
    let status = balancer.status();
    assert_eq!(status.sticky.as_deref(), Some("ip"));
    // Where it is sticky, what is queued waits longer, unless something else was said.
    assert_eq!(status.apps[0].steal_after_ms, 500);
    assert_eq!(status.balance, Balance::Idle);
    // Each client has its own address.
    let first = slots(&balancer, site.to());
    assert_eq!(first, slots(&balancer, site.to()));
    balancer.command(&["set", "sticky", "off"]).done();
    balancer.command(&["set", "balance", "round-robin"]).done();
    in_turn(&slots(&balancer, site.to()));
    assert_eq!(balancer.status().apps[0].steal_after_ms, 100);
    let near = balancer.command(&["set", "sticky", "ip", "--app", "ap"]);
    near.failed(1, &["there is no app ap: there is app; did you mean app?"]);
    balancer
        .command(&["set", "balance", "kernel"])
        .failed(1, &["stop, and start"]);
    assert_eq!(balancer.workers(), workers);
    balancer.finish();
}

#[test]
fn more_and_less_is_said() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let is_debugging = || balancer.output().contains("forkfront: debug: ");
    assert!(!is_debugging());
    balancer.command(&["set", "log-level", "debug"]).done();
    balancer.signal(nix::sys::signal::Signal::SIGUSR1);
    eventually("more is said", || is_debugging().then_some(()));
    let said = balancer.command(&["set", "log-level", "error"]).done();
    // What is done at once is said once.
    assert_eq!(said.stdout, "set log-level error\n");
    balancer.finish();
    let site = Site::new().env("FORKFRONT_LOG", "warn");
    let balancer = Balancer::nodes(&site, 1, &[]);
    let refused = balancer.command(&["set", "log-level", "debug"]);
    refused.failed(1, &["FORKFRONT_LOG=warn"]);
    balancer.finish();
}

#[test]
fn what_the_kernel_deals_is_not_weighed_or_held_back() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--balance", "kernel"]);
    for words in [
        &["drain", "1"][..],
        &["resume", "1"],
        &["set", "weight", "1=50"],
        &["set", "sticky", "ip"],
    ] {
        balancer.command(words).failed(1, &["the kernel chooses"]);
    }
    balancer.command(&["restart", "1"]).done();
    balancer.finish();
}
