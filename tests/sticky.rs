//! `--sticky ip`: the slot belongs to the client, not the process; and what becomes of the client while the slot is
//! down, or has more than its share.

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use common::*;
use forkfront::status::SlotState;
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

/// Three slots of which any does not start while its file `broken-SLOT` is there.
#[track_caller]
fn breakable<'a>(site: &'a Site, flags: &[&str]) -> Balancer<'a> {
    let (broken, script) = (site.file("broken").display().to_string(), server("http.js"));
    let line = format!("[ -e {broken}-$FORKFRONT_SLOT ] && exit 3; exec node {script}");
    let fixed = ["run", "-n", "3", "--sticky", "ip"];
    Balancer::start(site, &[&fixed, flags, &["--", "sh", "-c", &line]].concat())
}

/// Slot 1 is killed and does not come back until [`mend`].
fn take_down(site: &Site, balancer: &Balancer<'_>) {
    std::fs::write(site.file("broken-1"), "").expect("written");
    send(balancer.workers()[1], Signal::SIGKILL);
    balancer.until("slot 1 has no worker", |status| {
        status.slots[1].state != SlotState::Ready
    });
}

fn mend(site: &Site, balancer: &Balancer<'_>) {
    std::fs::remove_file(site.file("broken-1")).expect("removed");
    balancer.command(&["restart", "1"]).done();
}

/// The clients of slot 1.
fn of_slot_1(placed: &BTreeMap<IpAddr, u16>) -> Vec<IpAddr> {
    let of = placed.iter().filter(|(_, slot)| **slot == 1);
    of.map(|(client, _)| *client).collect()
}

#[test]
fn reload_restart_and_upgrade_move_nobody() {
    let site = Site::new().env("ON_TERM", "close");
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "ip", "--sticky-down", "hold"]);
    let before = slots(&site, clients(120));
    for words in [&["reload"][..], &["restart", "2"], &["upgrade"]] {
        std::thread::scope(|scope| {
            let command = scope.spawn(|| balancer.command(words).done());
            // The old worker serves until the new one does.
            while !command.is_finished() {
                let served = slots(&site, clients(20));
                assert!(served.iter().all(|(client, slot)| before[client] == *slot));
            }
            command.join().expect("no panic");
        });
        assert_eq!(slots(&site, clients(120)), before, "{words:?}");
    }
    balancer.finish();
}

#[test]
fn a_slot_down_for_long_lets_its_clients_go_at_once_and_gets_them_back() {
    let site = Site::new();
    let balancer = breakable(&site, &["--steal-after", "1s"]);
    let before = slots(&site, clients(90));
    let homeless = of_slot_1(&before);
    assert!(homeless.len() >= 8, "{before:?}");
    take_down(&site, &balancer);
    // The first may wait for --steal-after, the others know by then.
    slots(&site, homeless.iter().copied().take(1));
    let start = Instant::now();
    let spilled = slots(&site, clients(90));
    assert!(start.elapsed() < Duration::from_secs(homeless.len() as u64));
    for (client, slot) in &before {
        assert_eq!(
            *slot != 1,
            spilled[client] == *slot,
            "only those of slot 1 move"
        );
    }
    mend(&site, &balancer);
    assert_eq!(slots(&site, clients(90)), before, "all come back");
    balancer.finish();
}

#[test]
fn held_clients_are_answered_by_their_own_slot_when_it_is_back() {
    let site = Site::new();
    let balancer = breakable(&site, &["--sticky-down", "hold", "--steal-after", "50ms"]);
    let before = slots(&site, clients(60));
    let (held, others): (Vec<_>, Vec<_>) = clients(60).partition(|client| before[client] == 1);
    take_down(&site, &balancer);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = held
            .iter()
            .map(|&client| {
                scope.spawn({
                    let site = &site;
                    move || ask_from(client, site.to(), 1)
                })
            })
            .collect();
        balancer.until("all are held", |status| status.held == held.len() as u64);
        let served = slots(&site, others.iter().copied());
        assert!(served.iter().all(|(client, slot)| before[client] == *slot));
        assert_eq!(balancer.status().held, held.len() as u64);
        mend(&site, &balancer);
        for answer in waiting {
            match answer.join().expect("no panic") {
                Outcome::Ok(answer) => assert_eq!(answer.slot, Some(1)),
                other => panic!("{other:?}"),
            }
        }
    });
    balancer.finish();
}

#[test]
fn nobody_is_held_for_a_slot_that_was_given_up() {
    let site = Site::new();
    let flags = [
        "--sticky",
        "ip",
        "--sticky-down",
        "hold",
        "--restart",
        "never",
        "--steal-after",
        "30s",
    ];
    let balancer = Balancer::nodes(&site, 3, &flags);
    let before = slots(&site, clients(40));
    send(balancer.workers()[1], Signal::SIGKILL);
    balancer.until("slot 1 was given up", |status| {
        matches!(
            status.slots[1].state,
            SlotState::Failed | SlotState::Stopped
        )
    });
    let start = Instant::now();
    let spilled = slots(&site, clients(40));
    assert!(start.elapsed() < Duration::from_secs(20), "nobody waited");
    assert!(
        spilled
            .iter()
            .all(|(client, slot)| *slot != 1 && (before[client] == 1 || before[client] == *slot))
    );
    assert!(!balancer.status().slots[1].drained);
    balancer.command(&["restart", "1"]).done();
    assert_eq!(slots(&site, clients(40)), before, "all come back");
    balancer.finish();
}

#[test]
fn one_address_with_very_many_connections_melts_no_slot() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "ip", "--sticky-bound", "1.25"]);
    let from = Ipv4Addr::new(127, 9, 9, 9).into();
    let open: Vec<(Client, u16)> = (0..40)
        .map(|id| {
            let mut client =
                Client::connect_from(Some(from), site.to(), id, DEADLINE).expect("connected");
            match client.exchange(id) {
                Outcome::Ok(answer) => (client, answer.slot.expect("node knows its slot")),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let mut counts = [0; 4];
    open.iter()
        .for_each(|(_, slot)| counts[usize::from(*slot)] += 1);
    // A quarter more than a fourth, rounded up.
    assert!(counts.iter().all(|count| *count <= 13), "{counts:?}");
    let home = open[0].1;
    drop(open);
    balancer.until("all are closed", |status| {
        status.slots.iter().all(|slot| slot.open == 0)
    });
    assert_eq!(slots(&site, std::iter::once(from)), [(from, home)].into());
    balancer.finish();
}

#[test]
fn a_change_of_weight_moves_clients_only_to_or_from_the_slot_that_changed() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &["--sticky", "ip"]);
    let before = slots(&site, clients(150));
    balancer.command(&["set", "weight", "0=300"]).done();
    let after = slots(&site, clients(150));
    let moved: Vec<_> = before
        .iter()
        .filter(|(client, slot)| after[*client] != **slot)
        .collect();
    assert!(moved.iter().all(|(client, _)| after[*client] == 0));
    // From a third of all to three fifths: four parts in fifteen, 40 of 150, 5.4 off in one standard deviation.
    assert!((15..=65).contains(&moved.len()), "{} moved", moved.len());
    balancer.command(&["set", "weight", "0=100"]).done();
    assert_eq!(slots(&site, clients(150)), before, "all come back");
    balancer.finish();
}
