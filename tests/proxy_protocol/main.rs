//! `--proxy-protocol`: who is believed, what is taken off and what is not, and who the client then is. M2 to M4 of
//! the failure catalogue, and real proxies in front.

#[path = "../common/mod.rs"]
mod common;

mod forms;
mod real;
mod who;

use std::net::{IpAddr, SocketAddr};

use common::*;

/// Where the proxies of a test come from.
const TRUSTED: &str = "127.9.0.0/16";
/// Long enough that whoever waits for the end of it fails the test.
const FOREVER: [&str; 2] = ["--peek-timeout", "1h"];

/// The `n`th trusted proxy.
fn proxy(n: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0x7f09_0000 + n).into()
}

/// `n` workers of `file` behind trusted proxies.
#[track_caller]
fn behind<'a>(site: &'a Site, file: &str, n: u16, flags: &[&str]) -> Balancer<'a> {
    let (n, server) = (n.to_string(), server(file));
    let mut words = vec![
        "run",
        "-n",
        &n,
        "--proxy-protocol",
        "--trusted-proxies",
        TRUSTED,
    ];
    words.extend(flags);
    words.extend(["--", "node", &server]);
    Balancer::start(site, &words)
}

/// What each header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 by its parts: version and command, family and transport, and what follows the length.
fn v2_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("fits").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

/// The addresses of a header of version 2, and their family.
fn addresses(source: SocketAddr, to: SocketAddr) -> (u8, Vec<u8>) {
    let ports = [source.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    match (source.ip(), to.ip()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (0x11, [&one.octets()[..], &other.octets(), &ports].concat())
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (0x21, [&one.octets()[..], &other.octets(), &ports].concat())
        }
        both => panic!("{both:?}"),
    }
}

/// A header of version 2: `source` speaks to `to`, and `more` behind the addresses.
fn v2(source: SocketAddr, to: SocketAddr, more: &[u8]) -> Vec<u8> {
    let (family, addresses) = addresses(source, to);
    v2_of(0x21, family, &[&addresses[..], more].concat())
}

/// The `n`th client as a proxy tells of it.
fn told(n: u32) -> SocketAddr {
    SocketAddr::new(client(n), 40_000 + n as u16)
}
