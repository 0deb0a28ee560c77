//! `forkfront proxy`: who gets a session, how it gets there, and how long it may take, with the real binary and real
//! backends that say who they are.

#[path = "../common/mod.rs"]
mod common;

mod backends;
mod checks;
mod choice;
mod endings;
mod many;
mod names;
mod pairs;
mod patience;
mod retries;
mod shortage;
mod sources;
mod ways;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use backends::Backends;
use common::*;
use forkfront::status::{BackendState, Status};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Socket, Type};

/// Nothing but sessions finds out how backends are, and nothing comes of it.
const ALONE: [&str; 4] = ["--check", "off", "--eject-after", "0"];

/// So many workers before these backends.
#[track_caller]
fn proxy<'a>(site: &'a Site, to: &str, n: &str, flags: &[&str]) -> Balancer<'a> {
    let listen = site.bind();
    let words = ["proxy", "-l", &listen, "--to", to, "-n", n];
    Balancer::start(site, &[&words[..], flags].concat())
}

/// Two workers before these backends, which only sessions know.
#[track_caller]
fn behind<'a>(site: &'a Site, to: &str, flags: &[&str]) -> Balancer<'a> {
    proxy(site, to, "2", &[&ALONE[..], flags].concat())
}

/// A client from an address of its own.
#[track_caller]
fn come(site: &Site, n: u32) -> Raw {
    Raw::connect(client(n), site.to())
}

/// So many clients that stay, and the backend of each.
#[track_caller]
fn stay(site: &Site, count: u32) -> Vec<(Raw, u16)> {
    (0..count)
        .map(|n| {
            let mut client = come(site, n);
            let backend = client.greeted_by();
            (client, backend)
        })
        .collect()
}

/// How many of them each backend has.
fn shares(stayed: &[(Raw, u16)], backends: u16) -> Vec<usize> {
    let of = |backend| stayed.iter().filter(|(_, its)| *its == backend).count();
    (0..backends).map(of).collect()
}

/// An address that nobody listens at.
fn nowhere(site: &Site) -> String {
    format!("{}:{}", site.host, site.ports(1)[0])
}

/// A network of this thread's own, and of all that it starts. Whoever is not root, or may not make namespaces, has
/// none: said, since nothing is tested then.
#[track_caller]
fn own_network() -> bool {
    let up = ["link", "set", "lo", "up"];
    let tried = Command::new("unshare")
        .args(["--net", "ip"])
        .args(up)
        .output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        eprintln!(
            "not root, or namespaces are forbidden, or there is no ip(8): no network of our own can be had here, so \
             nothing is tested"
        );
        return false;
    }
    unshare(CloneFlags::CLONE_NEWNET).expect("a network");
    let up = Command::new("ip").args(up).status();
    assert!(up.expect("ip").success());
    true
}

/// All of them are well, and no connect counts as failed.
#[track_caller]
fn nobody_is_blamed(status: &Status) {
    for one in &status.backends {
        let faults = (one.failures, one.retried, one.ejections, one.checks_bad);
        assert_eq!(
            (one.state, faults),
            (BackendState::Up, (0, 0, 0, 0)),
            "{one:#?}"
        );
    }
}

/// A backend whose backlog is full, so that no handshake comes about, and what is to be kept for that.
#[track_caller]
fn unanswering(site: &Site) -> (SocketAddr, (Socket, TcpStream)) {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let host: IpAddr = site.host.parse().expect("an address");
    full.bind(&SocketAddr::new(host, 0).into()).expect("bound");
    full.listen(0).expect("listening");
    let address = full.local_addr().expect("bound");
    let address = address.as_socket().expect("of IP");
    let first = TcpStream::connect(address).expect("the only one");
    (address, (full, first))
}
