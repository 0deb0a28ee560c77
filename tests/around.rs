//! What surrounds a server's listener: wrappers that start it, helpers it starts, its other listeners, its own
//! way of closing and of stopping.

mod common;

use std::net::SocketAddr;

use common::*;
use nix::sys::signal::Signal;

#[test]
fn npm_start() {
    serves(&Site::new(), &["npm", "--prefix", &server(""), "start"]);
}

#[test]
fn shell_that_does_not_exec() {
    serves(
        &Site::new(),
        &["sh", "-c", &format!("node {}; true", server("http.js"))],
    );
}

#[test]
fn a_helper_gets_neither_the_channel_nor_the_shim() {
    let site = Site::new();
    let report = site.file("seen").display().to_string();
    let site = site.env("HELPER_REPORT", &report);
    let balancer = Balancer::start(
        &site,
        &["run", "-n", "2", "--", "python3", &server("helper.py")],
    );
    // Both listen before their helper has ended, and accept only after: until then they count as stuck.
    balancer.until("both take connections", |status| {
        ask(site.to(), 1);
        status.slots.iter().all(|slot| slot.accepted > 0)
    });
    in_turn(&slots(&balancer, site.to()));
    for slot in 0..2 {
        let text =
            std::fs::read_to_string(format!("{report}.{slot}")).expect("the helper's report");
        let seen: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // At the time of the report it has its own three sockets open; the channel is not among the inherited.
        assert_eq!(seen["peer_ok"], true, "{text}");
        assert_eq!(seen["inherited_sockets"], 0, "{text}");
        assert_eq!(seen["family"], 2, "{text}");
    }
    balancer.finish();
}

#[test]
fn other_listeners_are_left_alone() {
    let site = Site::new();
    let metrics = site.port;
    let shared = Site::new().env("METRICS", metrics).env("EXTRA", 1);
    let main = shared.port.to_string();
    let words = [
        "run",
        "-l",
        &format!("{}:{main}", shared.host),
        "-n",
        "2",
        "--",
        "node",
        &server("http.js"),
    ];
    let balancer = Balancer::start(&shared, &words);
    in_turn(&slots(&balancer, shared.to()));
    let workers = balancer.workers();
    for (slot, worker) in workers.iter().enumerate() {
        let own: SocketAddr = format!("127.0.0.1:{}", metrics + slot as u16)
            .parse()
            .expect("an address");
        for _ in 0..3 {
            let client = Client::asking(own, 1, "");
            assert_eq!(
                client.body().expect("answered"),
                format!("metrics {worker}\n")
            );
        }
    }
    let output = eventually("both say where their port 0 is", || {
        let output = balancer.output();
        (output.matches("extra ").count() == 2).then_some(output)
    });
    for line in output
        .lines()
        .filter_map(|line| Some(line.split_once("extra ")?.1))
    {
        let (port, pid) = line.split_once(' ').expect("port and pid");
        let own: SocketAddr = format!("127.0.0.1:{port}").parse().expect("an address");
        let client = Client::asking(own, 1, "");
        assert_eq!(client.body().expect("answered"), format!("extra {pid}\n"));
    }
    assert_eq!(balancer.status().listeners.len(), 1);
    balancer.finish();
}

#[test]
fn close_and_listen_again() {
    let site = Site::new();
    let balancer = Balancer::start(&site, &["run", "-n", "1", "--", "node", &server("http.js")]);
    let worker = balancer.workers()[0];
    let client = Client::asking(site.to(), 1, "relisten");
    client.body().expect("answered");
    // While it does not listen, clients wait; they are not refused.
    Crowd::gather(site.to(), 100..150)
        .answers()
        .all_answered(50);
    assert_eq!(balancer.workers(), [worker], "no restart");
    balancer.finish();
}

#[test]
fn its_own_graceful_shutdown() {
    let site = Site::new().env("ON_TERM", "close");
    let mut balancer =
        Balancer::start(&site, &["run", "-n", "2", "--", "node", &server("http.js")]);
    let client = Client::asking(site.to(), 1, "slow");
    balancer.until("the slow request is being served", |status| {
        status.slots.iter().map(|slot| slot.open).sum::<u64>() == 1
    });
    balancer.signal(Signal::SIGTERM);
    let body = client.body().expect("a request under way is answered");
    assert!(body.ends_with("slow\n"), "{body}");
    assert_eq!(balancer.wait(), Some(0));
    eventually("both have said so", || {
        (balancer.output().matches("closing ").count() == 2).then_some(())
    });
    balancer.nothing_left();
}
