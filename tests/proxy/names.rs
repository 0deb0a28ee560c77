//! TLS that goes through: its server name says where a client belongs, and the backends alone have a key of it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use super::*;

/// A server of HTTPS, of this number; it ends with the value.
struct Https(Child);

impl Https {
    #[track_caller]
    fn start(site: &Site, at: SocketAddr, number: usize) -> Self {
        let mut command = Command::new("node");
        command.arg(server("tls.js")).envs(site.env.clone());
        command.env("HOST", at.ip().to_string());
        command.env("PORT", at.port().to_string());
        command.env("FORKFRONT_SLOT", number.to_string());
        let this = Self(command.stdin(Stdio::null()).spawn().expect("node"));
        eventually("it listens", || TcpStream::connect(at).ok());
        this
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The backend of each of these names, whose clients come from everywhere, each in all of these pieces.
#[track_caller]
fn backends_of(site: &Site, names: &[String], pieces: &[&str]) -> Vec<u16> {
    let clients: Vec<(&str, &str, &str)> = names
        .iter()
        .flat_map(|name| pieces.iter().map(|way| (&**name, "h2,http/1.1", *way)))
        .collect();
    let said = hellos(site, true, &clients);
    for (one, (name, ..)) in said.iter().zip(&clients) {
        let seen = (&*one.name, &*one.protocol);
        assert_eq!(seen, (*name, "http/1.1"), "TLS is the backend's");
    }
    let one_of = |all: &[Said]| {
        let slots: BTreeSet<u16> = all.iter().map(|said| said.slot).collect();
        assert_eq!(slots.len(), 1, "{all:?}");
        all[0].slot
    };
    said.chunks(pieces.len()).map(one_of).collect()
}

#[test]
fn a_server_name_has_one_backend_and_only_those_of_one_that_leaves_move() {
    let site = certified();
    let addresses: Vec<SocketAddr> = { site.ports(3).into_iter() }
        .map(|port| SocketAddr::new(site.to().ip(), port))
        .collect();
    let start = |(number, at): (usize, &SocketAddr)| Https::start(&site, *at, number);
    let _servers: Vec<Https> = addresses.iter().enumerate().map(start).collect();
    let to: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let flags = ["--sticky", "sni", "--peek-timeout", "1h"];
    let balancer = behind(&site, &to.join(","), &flags);
    let names: Vec<String> = (0..10).map(|n| format!("shop{n}.example")).collect();
    let first = backends_of(&site, &names, &["whole"]);
    assert_eq!(backends_of(&site, &names[..2], &PIECES), first[..2]);
    let used: BTreeSet<u16> = first.iter().copied().collect();
    assert!(used.len() > 1, "{first:?}");
    // The name is one name in capitals too (RFC 6066, section 3).
    let capitals = hellos(&site, false, &[("SHOP3.example", "-", "whole")]);
    assert_eq!(capitals[0].slot, first[3]);

    let leaver = first[0];
    let its = &to[usize::from(leaver)];
    balancer.command(&["backend", "drain", its]).done();
    let meanwhile = backends_of(&site, &names, &["whole"]);
    for (now, before) in meanwhile.iter().zip(&first) {
        let moved = now != before;
        assert_eq!(moved, *before == leaver, "{first:?}, {meanwhile:?}");
    }
    balancer.command(&["backend", "resume", its]).done();
    assert_eq!(backends_of(&site, &names, &["whole"]), first);

    // Without a name it is the address.
    let nameless = hellos(&site, true, &[("-", "-", "whole"); 6]);
    assert_eq!(hellos(&site, true, &[("-", "-", "bytes"); 6]), nameless);
    balancer.finish();
}
