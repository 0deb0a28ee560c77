//! `--sticky ip`: the slot belongs to the client, not the process.

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use common::*;
use nix::sys::signal::Signal;

/// The slot that answers each of `clients`.
#[track_caller]
fn slots(site: &Site, clients: impl Iterator<Item = IpAddr>) -> BTreeMap<IpAddr, u16> {
    clients
        .enumerate()
        .map(|(id, from)| match ask_from(from, site.to(), id as u64) {
            Outcome::Ok(answer) => (from, answer.slot.expect("node knows its slot")),
            other => panic!("{from}: {other:?}"),
        })
        .collect()
}

fn clients(count: u32) -> impl Iterator<Item = IpAddr> {
    (0..count).map(|n| Ipv4Addr::from(0x7fc0_0000 + n * 257).into())
}

#[test]
fn a_client_keeps_its_slot_through_crashes() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "ip"]);
    let before = slots(&site, clients(200));
    let mut counts = [0; 4];
    before
        .values()
        .for_each(|slot| counts[usize::from(*slot)] += 1);
    assert!(counts.iter().all(|count| *count > 20), "uneven: {counts:?}");
    assert_eq!(slots(&site, clients(200)), before);
    let worker = balancer.workers()[1];
    send(worker, Signal::SIGKILL);
    balancer.replaced(&[worker]);
    assert_eq!(slots(&site, clients(200)), before);
    balancer.finish();
}

#[test]
fn a_prefix_is_one_client() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "ip/24"]);
    let neighbours = (1..60).map(|n| Ipv4Addr::new(127, 200, 7, n).into());
    let seen: std::collections::BTreeSet<u16> = slots(&site, neighbours).into_values().collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    balancer.finish();
}

#[test]
fn mapped_and_plain_addresses_are_the_same_client() {
    // M1: the same address by a dual-stack and by an IPv4 listener.
    let outside = Site::new();
    let site = Site::on("::");
    let (port, other) = (
        site.port.to_string(),
        format!("{}={}", outside.bind(), site.port),
    );
    let words = [
        "run",
        "-n",
        "4",
        "-l",
        &port,
        "-l",
        &other,
        "--sticky",
        "ip",
        "--",
        "node",
        &server("http.js"),
    ];
    let balancer = Balancer::start(&site, &words);
    assert_eq!(slots(&site, clients(40)), slots(&outside, clients(40)));
    balancer.finish();
}
