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
    balancer.finish();
}
