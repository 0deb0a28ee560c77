//! WebSockets with the real thing: socket.io (long-polling, then an upgrade: a session of several connections, which
//! must all reach one worker), the node package ws and the python package websockets.

mod common;

use common::*;
use nix::sys::signal::Signal;
use serde_json::json;

/// A site whose workers find the npm packages; what engine.io did not know is written down.
fn site() -> Site {
    let site = Site::new();
    let journal = site.file("journal").display().to_string();
    site.env("NODE_PATH", node_modules())
        .env("JOURNAL", journal)
}

/// Four workers of the socket.io server.
#[track_caller]
fn socketio<'a>(site: &'a Site, flags: &[&str]) -> Balancer<'a> {
    four(site, flags, &["node", &server("socketio.js")])
}

#[track_caller]
fn four<'a>(site: &'a Site, flags: &[&str], command: &[&str]) -> Balancer<'a> {
    let fixed = ["run", "-n", "4", "--drain-timeout", "1s"];
    // A client whose slot is down for longer is served by another one: the worker's start must not take as long.
    let fixed = [&fixed[..], &["--steal-after", "20s"]].concat();
    Balancer::start(site, &[&fixed[..], flags, &["--"], command].concat())
}

/// Requests that reached a worker which did not know their session.
fn strays(site: &Site) -> usize {
    let journal = std::fs::read_to_string(site.file("journal")).unwrap_or_default();
    journal.lines().count()
}

/// Each of four slots has some.
#[track_caller]
fn everywhere(slots: &[u16]) {
    let counts = spread(slots, 4);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

/// A reload, then a `kill -9`, with connected clients: all connect again, to the slot that they had.
#[track_caller]
fn lasts(balancer: &Balancer<'_>, clients: &mut Sockets, slots: &[u16]) {
    let former = balancer.workers();
    balancer.reload().done();
    balancer.gone(&former);
    assert_eq!(clients.upgraded(), slots, "after a reload");
    clients.all_say();
    let worker = balancer.workers()[2];
    send(worker, Signal::SIGKILL);
    balancer.replaced(&[worker]);
    assert_eq!(clients.upgraded(), slots, "after a crash");
    clients.all_say();
}

#[test]
fn without_stickiness_socketio_fails() {
    let site = site();
    let balancer = socketio(&site, &[]);
    let mut clients = Sockets::io(&site, 24, &json!({ "one": true }));
    let seen = clients.settle();
    assert!(seen.iter().any(|one| !one.connected), "{seen:#?}");
    assert!(strays(&site) > 0);
    clients.leave();
    balancer.finish();
}

#[test]
fn without_stickiness_socketio_works_by_websocket_alone() {
    let site = site();
    let balancer = socketio(&site, &[]);
    let options = json!({ "from": "one", "more": { "transports": ["websocket"] } });
    let mut clients = Sockets::io(&site, 24, &options);
    assert_eq!(spread(&clients.upgraded(), 4), [6; 4]);
    clients.all_say();
    clients.leave();
    balancer.finish();
}

#[test]
fn sticky_addresses_keep_socketio_sessions_together() {
    let site = site();
    let balancer = socketio(&site, &["--sticky", "ip"]);
    let mut clients = Sockets::io(&site, 60, &json!({}));
    let slots = clients.upgraded();
    everywhere(&slots);
    clients.all_say();
    clients.again();
    assert_eq!(clients.upgraded(), slots);
    assert_eq!(strays(&site), 0);
    lasts(&balancer, &mut clients, &slots);
    clients.leave();
    balancer.finish();
}

/// Plain WebSockets in turn and, by address, each with its slot; a reload and a crash.
#[track_caller]
fn plain(command: &[&str]) {
    let site = site();
    let balancer = four(&site, &[], command);
    let mut clients = Sockets::ws(&site, 60);
    assert_eq!(spread(&clients.upgraded(), 4), [15; 4]);
    clients.all_say();
    balancer.command(&["set", "sticky", "ip"]).done();
    clients.again();
    let slots = clients.upgraded();
    everywhere(&slots);
    clients.all_say();
    lasts(&balancer, &mut clients, &slots);
    clients.leave();
    balancer.finish();
}

#[test]
fn ws() {
    plain(&["node", &server("ws.js")]);
}

#[test]
fn python_websockets() {
    plain(&[&python(), "-B", &server("websocket.py")]);
}
