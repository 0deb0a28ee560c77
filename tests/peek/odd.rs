//! Clients that send nothing, too little, too much at a time or something else altogether: each is served, by its
//! address, and costs nothing while it waits.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// A beginning that could still become anything.
const HALF: &[u8] = b"GET /1 HTTP/1.1\r\nHost: test\r\nX-Us";

/// The other half.
const REST: &[u8] = b"er: alice\r\nConnection: close\r\n\r\n";

#[test]
fn who_waits_for_the_server_is_served_after_the_time() {
    let site = Site::new();
    let flags = ["--sticky", "header:x-user", "--peek-timeout", "1500ms"];
    let balancer = echoes(&site, 4, &flags);
    let silent = |n| Raw::connect(client(n), site.to());
    let mut first: Vec<Raw> = (0..12).map(silent).collect();
    assert!(first.iter_mut().all(Raw::is_silent), "dealt too early");
    let placed: Vec<u16> = first.iter_mut().map(Raw::greeted_by).collect();
    let mut again: Vec<Raw> = (0..12).map(silent).collect();
    // Half a head is no more of a key than none.
    again.iter_mut().step_by(2).for_each(|one| one.send(HALF));
    let second: Vec<u16> = again.iter_mut().map(Raw::greeted_by).collect();
    assert_eq!(placed, second, "by the address");
    assert!(BTreeSet::from_iter(placed).len() > 1);
    let keys = balancer.keys();
    assert_eq!(
        (keys.fallback("timed_out"), keys.reading()),
        (24, 0),
        "{keys:?}"
    );
    for (n, mut one) in again.into_iter().enumerate() {
        one.send(b"late, but whole");
        one.finish_sending();
        let sent = if n % 2 == 0 { HALF } else { b"" };
        assert_eq!(one.rest(), [sent, b"late, but whole"].concat());
    }
    drop(first);
    balancer.finish();
}

#[test]
fn what_cannot_be_a_request_waits_for_nothing() {
    // No time could make a key of these: were they waited for, this test would take an hour.
    let site = Site::new();
    let balancer = echoes(
        &site,
        4,
        &["--sticky", "header:x-user", "--peek-timeout", "1h"],
    );
    let odd: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\x55\x55",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x80\x61\x62\xff\xfe",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"EHLO relay.example\r\n",
    ];
    for n in 0..4 {
        let slots: BTreeSet<u16> = odd
            .iter()
            .map(|sent| Raw::sending(client(n), site.to(), sent).greeted_by())
            .collect();
        assert_eq!(slots.len(), 1, "client {n} by its address: {slots:?}");
    }
    let keys = balancer.keys();
    assert_eq!(
        (keys.fallback("unreadable"), keys.reading()),
        (20, 0),
        "{keys:?}"
    );
    balancer.finish();
    let site = Site::new();
    let balancer = echoes(&site, 2, &["--sticky", "sni", "--peek-timeout", "1h"]);
    for sent in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"S",
        b"\x15\x03\x03",
        b"\x16\x04",
        b"\x16\x03\x01\0\x02\x02\0",
    ] {
        Raw::sending(client(1), site.to(), sent).greeted_by();
    }
    assert_eq!(balancer.keys().fallback("unreadable"), 5);
    balancer.finish();
}

#[test]
fn the_end_of_what_a_client_sends_is_not_the_end_of_the_client() {
    // Half-closed with nothing, with half a head and with a whole one: all go on at once, and get their answer.
    let site = Site::new();
    let balancer = echoes(
        &site,
        4,
        &["--sticky", "header:x-user", "--peek-timeout", "1h"],
    );
    let whole = user("alice");
    let mut slots = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for _ in 0..5 {
        for (kind, sent) in [&b""[..], HALF, &whole].into_iter().enumerate() {
            let (slot, back) = Raw::connect(client(7), site.to()).echo(sent);
            assert_eq!(back, sent);
            slots[kind].insert(slot);
        }
    }
    assert!(slots.iter().all(|one| one.len() == 1), "{slots:?}");
    assert_eq!(slots[0], slots[1], "both by the address");
    let keys = balancer.keys();
    assert_eq!((keys.found("header"), keys.reading()), (5, 0), "{keys:?}");
    balancer.finish();
}

#[test]
fn clients_that_go_before_they_have_said_anything_leave_nothing() {
    let site = Site::new();
    let balancer = echoes(
        &site,
        2,
        &["--sticky", "header:x-user", "--peek-timeout", "1h"],
    );
    for round in 1..=5 {
        let mut clients: Vec<Raw> = (0..100)
            .map(|n| Raw::connect(client(n), site.to()))
            .collect();
        clients.iter_mut().step_by(2).for_each(|one| one.send(HALF));
        balancer.reads(100);
        let (gone, closed): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .enumerate()
            .partition(|(n, _)| n % 4 < 2);
        gone.into_iter().for_each(|(_, one)| one.reset());
        drop(closed);
        balancer.reads(0);
        let status = balancer.status();
        assert_eq!((status.accepted, status.held), (round * 100, 0));
        // Whoever has reset needs no worker; who has closed may have sent something that matters.
        assert_eq!(status.client_gone, round * 50);
    }
    balancer.finish();
}

#[test]
fn waiting_heads_cost_no_time() {
    // C5, A9: half a head makes its descriptor readable for as long as it lies there.
    let site = Site::new();
    let balancer = echoes(
        &site,
        2,
        &["--sticky", "header:x-user", "--peek-timeout", "1h"],
    );
    let mut clients: Vec<Raw> = (0..300)
        .map(|n| Raw::connect(client(n), site.to()))
        .collect();
    clients.iter_mut().for_each(|one| one.send(HALF));
    balancer.reads(300);
    let before = cpu_ticks(balancer.pid());
    std::thread::sleep(Duration::from_secs(1));
    let ticks = cpu_ticks(balancer.pid()) - before;
    assert!(ticks < 10, "{ticks}0 ms of CPU in a second of waiting");
    let slots: BTreeSet<u16> = clients
        .iter_mut()
        .map(|one| {
            one.send(REST);
            one.greeted_by()
        })
        .collect();
    assert_eq!(slots.len(), 1);
    drop(clients);
    balancer.finish();
}

#[test]
fn no_more_than_so_many_are_read_at_a_time() {
    let site = Site::new();
    let flags = [
        "--sticky",
        "header:x-user",
        "--peek-timeout",
        "1h",
        "--max-peeked",
        "8",
    ];
    let balancer = echoes(&site, 4, &flags);
    let mut clients: Vec<Raw> = (0..40)
        .map(|n| Raw::connect(client(n), site.to()))
        .collect();
    // The oldest go on by their addresses; the last 8 may still say something.
    let placed: Vec<u16> = clients[..32].iter_mut().map(Raw::greeted_by).collect();
    let keys = balancer.keys();
    assert_eq!(
        (keys.fallback("crowded"), keys.reading()),
        (32, 8),
        "{keys:?}"
    );
    assert!(clients[32..].iter_mut().all(Raw::is_silent));
    let slots: BTreeSet<u16> = clients[32..]
        .iter_mut()
        .map(|one| {
            one.send(&user("alice"));
            one.greeted_by()
        })
        .collect();
    assert_eq!(slots.len(), 1);
    assert_eq!(balancer.keys().found("header"), 8);
    let mut again: Vec<Raw> = (0..40)
        .map(|n| Raw::connect(client(n), site.to()))
        .collect();
    let second: Vec<u16> = again[..32].iter_mut().map(Raw::greeted_by).collect();
    assert_eq!(placed, second, "by the address");
    drop((clients, again));
    balancer.finish();
}

#[test]
fn who_is_being_read_is_not_held_back_and_holds_nobody_back() {
    // More heads on their way than --max-held: the listener stays open, and whole requests pass them by.
    let site = Site::new();
    let flags = [
        "--sticky",
        "header:x-user",
        "--peek-timeout",
        "1h",
        "--max-held",
        "2",
    ];
    let balancer = Balancer::nodes(&site, 2, &flags);
    let mut half: Vec<Raw> = (0..100)
        .map(|n| Raw::sending(client(n), site.to(), HALF))
        .collect();
    balancer.reads(100);
    let status = balancer.status();
    assert_eq!(
        (status.held, status.listeners[0].backlog),
        (100, 0),
        "{status:#?}"
    );
    Crowd::gather(site.to(), 0..100).answers().all_answered(100);
    half.iter_mut().for_each(|one| one.send(REST));
    let slots: BTreeSet<u16> = half.iter_mut().map(Raw::slot).collect();
    assert_eq!(slots.len(), 1);
    balancer.finish();
}

#[test]
fn hundreds_of_drips_at_a_time() {
    // Each of the heads comes in seventy pieces, all at once.
    let site = Site::new();
    let balancer = Balancer::nodes(
        &site,
        4,
        &["--sticky", "header:x-user", "--peek-timeout", "1h"],
    );
    let mut clients: Vec<(Vec<u8>, Raw)> = (0..500)
        .map(|n| (user(n % 50), Raw::connect(client(n), site.to())))
        .collect();
    let longest = clients
        .iter()
        .map(|(head, _)| head.len())
        .max()
        .unwrap_or(0);
    for at in 0..longest {
        for (head, one) in &mut clients {
            if let Some(byte) = head.get(at) {
                one.send(&[*byte]);
            }
        }
    }
    let slots: Vec<u16> = clients.iter_mut().map(|(_, one)| one.slot()).collect();
    assert!(slots[50..].iter().eq(&slots[..450]), "{slots:?}");
    assert_eq!(BTreeSet::from_iter(slots).len(), 4);
    let keys = balancer.keys();
    assert_eq!((keys.found("header"), keys.reading()), (500, 0), "{keys:?}");
    balancer.finish();
}

#[test]
fn who_says_nothing_keeps_nobody_out_when_descriptors_are_scarce() {
    // D1: as many descriptors as are open; half of them by clients that are waited for.
    let site = Site::new();
    let flags = ["--sticky", "header:x-user", "--peek-timeout", "1h"];
    let balancer = Balancer::nodes(&site, 2, &flags);
    let half = |n| Raw::sending(client(n), site.to(), HALF);
    let mut clients: Vec<Raw> = (0..100).map(half).collect();
    balancer.reads(100);
    let most = descriptors(balancer.pid())
        .keys()
        .max()
        .map_or(0, |most| most + 1);
    let limit = |soft: u32| {
        let pid = balancer.pid().to_string();
        let mut prlimit = std::process::Command::new("prlimit");
        prlimit.args(["--pid", &pid, &format!("--nofile={soft}:")]);
        assert!(prlimit.status().expect("prlimit").success());
    };
    limit(most);
    let before = cpu_ticks(balancer.pid());
    Crowd::gather(site.to(), 0..200).answers().all_answered(200);
    let ticks = cpu_ticks(balancer.pid()) - before;
    limit(1024);
    assert!(ticks < 100, "{ticks}0 ms of CPU");
    for one in &mut clients {
        one.send(REST);
        one.slot();
    }
    balancer.finish();
}
