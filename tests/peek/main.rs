//! Keys that are read from a connection's first bytes: the real binary, real servers, and clients of every kind
//! that there is on the open network.

#[path = "../common/mod.rs"]
mod common;

mod bytes;
mod changes;
mod complete;
mod forwarded;
mod keys;
mod odd;
mod places;
mod tls;
mod wakes;

use common::*;

/// `n` workers of the server that speaks first and echoes.
#[track_caller]
fn echoes<'a>(site: &'a Site, n: u16, flags: &[&str]) -> Balancer<'a> {
    let (n, server) = (n.to_string(), server("echo.js"));
    let mut words = vec!["run", "-n", &n];
    words.extend(flags);
    words.extend(["--", "node", &server]);
    Balancer::start(site, &words)
}

/// The slot that a node worker has for a client that sends `bytes` from the `n`th address.
#[track_caller]
fn slot(site: &Site, n: u32, bytes: &[u8]) -> u16 {
    Raw::sending(client(n), site.to(), bytes).slot()
}

/// A request with this user.
fn user(name: impl std::fmt::Display) -> Vec<u8> {
    get("1", &format!("X-User: {name}\r\n"))
}
