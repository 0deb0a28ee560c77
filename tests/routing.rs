//! Where connections go, changed while everything runs: by the file, by hand, over an upgrade; and what `status`
//! says of it.

mod common;

use std::fs;

use common::*;
use forkfront::config::Balance;

/// What a file can say about it all, beside the app itself.
const ALL: &str = "balance = \"least-connections\"\nsticky = \"header:X-Forwarded-For\"\nsticky-down = \"hold\"\n\
                   sticky-bound = 1.25\nwebsocket-sticky = true\nproxy-protocol = true\n\
                   trusted-proxies = [\"192.0.2.0/24\", \"2001:db8::7\"]\nheader-complete = true\n\
                   peek-timeout = \"2s\"\nmax-peeked = 100\nsteal-after = \"700ms\"\n";

/// Writes a file of two workers in which `more` is said.
fn write(site: &Site, more: &str) -> String {
    let (bind, port, server) = (site.bind(), site.port, server("http.js"));
    let text = format!(
        "[[app]]\nname = \"web\"\ncommand = [\"node\", \"{server}\"]\nlisten = \"{bind}\"\nworkers = 2\nenv.PORT = {port}\n{more}\n"
    );
    let path = site.file("site.toml");
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

fn start<'a>(site: &'a Site, more: &str) -> Balancer<'a> {
    let file = write(site, more);
    Balancer::start(site, &["run", "--config", &file])
}

fn reread(balancer: &Balancer<'_>, more: &str) -> Finished {
    write(balancer.site, more);
    balancer.command(&["reload", "--changes-only"])
}

#[test]
fn all_of_it_changes_by_the_file_and_costs_no_worker() {
    let site = Site::new();
    let balancer = start(&site, "");
    let workers = balancer.workers();
    let before = balancer.status();
    assert_eq!((before.keys, before.websocket_sticky), (None, false));
    let done = reread(&balancer, ALL).done();
    for line in ALL.lines() {
        let key = line.split(' ').next().expect("a key");
        assert!(done.stdout.contains(key), "no {key} in {done}");
    }
    let status = balancer.status();
    assert_eq!(status.sticky.as_deref(), Some("header:x-forwarded-for"));
    assert_eq!(status.balance, Balance::LeastConnections);
    assert!(status.websocket_sticky && status.keys.is_some());
    assert_eq!(
        (&status.apps[0].sticky, status.apps[0].keys),
        (&status.sticky, status.keys)
    );
    slots(&balancer, site.to());
    // What does not go together changes nothing.
    let wrong = reread(&balancer, "sticky = \"sni\"\nwebsocket-sticky = true");
    wrong.failed(
        1,
        &["site.toml:8:20: 'websocket-sticky' cannot be kept with sticky = \"sni\""],
    );
    assert_eq!(balancer.status().sticky, status.sticky);
    // And back.
    reread(&balancer, "").done();
    let after = balancer.status();
    assert_eq!(
        (after.sticky, after.keys, after.balance),
        (None, None, Balance::RoundRobin)
    );
    in_turn(&slots(&balancer, site.to()));
    assert_eq!(balancer.workers(), workers);
    balancer.finish();
}

#[test]
fn what_was_set_by_hand_stays_until_it_is_against_the_file() {
    let site = Site::new();
    let balancer = start(&site, "sticky = \"ip\"");
    let sticky = || balancer.status().sticky.expect("a key");
    balancer
        .command(&["set", "sticky", "cookie:session"])
        .done();
    reread(
        &balancer,
        "sticky = \"ip\"\nsticky-bound = 2\nbalance = \"idle\"",
    )
    .done();
    assert_eq!(sticky(), "cookie:session");
    assert_eq!(balancer.status().balance, Balance::Idle);
    balancer
        .command(&["set", "sticky", "route:session"])
        .failed(
            1,
            &["--sticky-bound cannot be kept with --sticky route:session"],
        );
    // Nothing holds sticky-bound any more, and it comes back with the next key.
    balancer.command(&["set", "sticky", "off"]).done();
    assert_eq!(balancer.status().sticky, None);
    balancer.command(&["set", "sticky", "alpn"]).done();
    balancer.command(&["upgrade"]).done();
    assert_eq!(sticky(), "alpn");
    reread(&balancer, "sticky = \"ip\"\nwebsocket-sticky = true").done();
    assert_eq!(sticky(), "ip");
    assert!(balancer.status().websocket_sticky);
    balancer.finish();
}

#[test]
fn what_does_not_go_together_is_not_set() {
    let site = Site::new();
    let flags = ["--websocket-sticky", "--sticky-down", "hold"];
    let balancer = Balancer::nodes(&site, 2, &flags);
    // The usual key.
    let sticky = || balancer.status().sticky.expect("a key");
    assert_eq!(sticky(), "ip");
    for (key, part) in [
        ("sni", "--websocket-sticky cannot be kept with --sticky sni"),
        ("off", "there is always a key"),
    ] {
        balancer.command(&["set", "sticky", key]).failed(1, &[part]);
        assert_eq!(sticky(), "ip");
    }
    // What is no WebSocket has its turn, whatever the key is.
    in_turn(&slots(&balancer, site.to()));
    for key in [
        "header:x-user",
        "cookie:a",
        "query:a",
        "path:2",
        "route:a",
        "proxy",
        "ip/24,56",
    ] {
        balancer.command(&["set", "sticky", key]).done();
        assert_eq!(sticky(), key);
    }
    in_turn(&slots(&balancer, site.to()));
    let keys = balancer.status().keys.expect("something is sticky");
    assert_eq!(keys.balanced, 2 * TURNS);
    balancer.finish();
}

#[test]
fn it_is_told_by_what_keys_and_how_evenly() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "path:1"]);
    assert_eq!(balancer.status().evenness, None);
    // One path from many addresses, then many paths from one.
    let from = |host| std::net::Ipv4Addr::new(127, 201, 7, host).into();
    let slot = |outcome| match outcome {
        Outcome::Ok(answer) => answer.slot.expect("node knows its slot"),
        other => panic!("{other:?}"),
    };
    let served: Vec<u16> = (1..=20)
        .map(|host| slot(ask_from(from(host), site.to(), 7)))
        .collect();
    assert!(served.iter().all(|slot| *slot == served[0]), "{served:?}");
    let status = balancer.status();
    assert_eq!(status.evenness, Some(4.0));
    let others: Vec<u16> = (1..=20)
        .map(|id| slot(ask_from(from(1), site.to(), id)))
        .collect();
    assert!(others.iter().any(|slot| *slot != served[0]), "{others:?}");
    // No path at all: by the address, which is one.
    for _ in 0..3 {
        let body = Client::asking(site.to(), 1, "").body();
        body.expect("an answer");
    }
    let status = balancer.status();
    let keys = status.keys.expect("something is sticky");
    assert_eq!(
        (keys.found.path, keys.fallback.absent, keys.reading),
        (40, 3, 0)
    );
    assert_eq!(status.apps[0].keys, status.keys);
    let busiest = status.slots.iter().map(|slot| slot.dealt).max();
    let busiest = busiest.expect("slots") as f64 * 4.0 / 43.0;
    let evenness = status.evenness.expect("dealt");
    assert!((evenness - busiest).abs() < 0.001, "{evenness} {busiest}");
    let said = balancer.command(&["status"]).done();
    for line in [
        "keys: 40 by path, 3 by ip instead (3 had none)\n",
        &format!("busiest slot: {evenness:.2} of its share\n"),
    ] {
        assert!(said.stdout.contains(line), "no {line:?} in {said}");
    }
    // The counts go along with an upgrade.
    balancer.command(&["upgrade"]).done();
    assert_eq!(balancer.status().keys, Some(keys));
    balancer.command(&["set", "sticky", "off"]).done();
    assert_eq!(balancer.status().keys, None);
    balancer.finish();
}
