//! Sessions in the memory of a worker, found again by clients that come from other addresses each time: the examples
//! of the README, as they stand there, and what is behind a reverse proxy.

mod common;

use std::io::{Read, Write};
use std::net::SocketAddr;

use common::*;

/// One request of a client that keeps its cookies, from an address of its own: the slot and the count of visits that
/// the examples answer with.
fn visit(to: SocketAddr, id: u64, cookies: &mut Vec<String>) -> (u16, u32) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let mut socket = socket.expect("a socket");
    let from = SocketAddr::new(address_of(id), 0);
    socket.bind(&from.into()).expect("a loopback address");
    socket.connect(&to.into()).expect("connected");
    let cookie = match &cookies[..] {
        [] => String::new(),
        some => format!("Cookie: {}\r\n", some.join("; ")),
    };
    let head = format!("GET / HTTP/1.1\r\nHost: shop\r\n{cookie}Connection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("sent");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("answered");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    for line in head.lines() {
        if let Some(set) = line.strip_prefix("Set-Cookie: ") {
            let pair = set.split(';').next().unwrap_or_default();
            let (name, _) = pair.split_once('=').expect("a cookie");
            cookies.retain(|one| !one.starts_with(&format!("{name}=")));
            cookies.push(pair.to_owned());
        }
    }
    let words: Vec<&str> = body.trim().split([' ', ',']).collect();
    let ["slot", slot, "", "visit", count] = words[..] else {
        panic!("not what the example says: {text}");
    };
    (
        slot.parse().expect("a slot"),
        count.parse().expect("a count"),
    )
}

/// The example `file` of the README behind `--sticky KEY`: 24 clients, each request from another address.
#[track_caller]
fn example(key: &str, program: &str, mark: &str) {
    let site = Site::new().env("NODE_PATH", node_modules());
    let file = site.file(mark.split_whitespace().last().expect("a name"));
    std::fs::write(&file, readme(mark)).expect("written");
    let listen = format!("{}=8080", site.bind());
    let file = file.display().to_string();
    let flags = ["run", "-n", "4", "-l", &listen, "--steal-after", "20s"];
    let words = [&flags[..], &["--sticky", key, "--", program, &file]].concat();
    let balancer = Balancer::start(&site, &words);
    let mut clients = vec![Vec::new(); 24];
    let mut ids = 0..;
    let mut round = |clients: &mut Vec<Vec<String>>| -> Vec<(u16, u32)> {
        let ask = |cookies| visit(site.to(), ids.next().expect("endless"), cookies);
        clients.iter_mut().map(ask).collect()
    };
    let slots = |seen: &[(u16, u32)]| -> Vec<u16> { seen.iter().map(|(slot, _)| *slot).collect() };
    let first = slots(&round(&mut clients));
    even(&first);
    for count in 2..6 {
        let seen = round(&mut clients);
        assert_eq!(slots(&seen), first);
        assert!(seen.iter().all(|one| one.1 == count), "{seen:?}");
    }
    balancer.reload().done();
    for count in 1..4 {
        let seen = round(&mut clients);
        assert_eq!(slots(&seen), first, "after a reload");
        assert!(seen.iter().all(|one| one.1 == count), "{seen:?}");
    }
    balancer.finish();
}

#[test]
fn the_node_example() {
    example("route:sid", "node", "// sessions.js");
}

#[test]
fn the_python_example() {
    example("route:sid", &python(), "# sessions.py");
}

#[test]
fn the_express_example() {
    example("route:connect.sid", "node", "// shop.js");
}
