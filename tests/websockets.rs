//! WebSockets with the real thing: socket.io (long-polling, then an upgrade: a session of several connections, which
//! must all reach one worker), the node package ws and the python package websockets.

mod common;

use common::*;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

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
    assert_eq!(clients.upgraded_from(&former), slots, "after a reload");
    clients.all_say();
    let worker = balancer.workers()[2];
    send(worker, Signal::SIGKILL);
    balancer.replaced(&[worker]);
    assert_eq!(clients.upgraded_from(&[worker]), slots, "after a crash");
    clients.all_say();
}

#[test]
fn without_stickiness_socketio_fails() {
    let site = socketio_site();
    let balancer = socketio(&site, &[]);
    let mut clients = Sockets::io(site.to(), 24, &json!({ "one": true }));
    let seen = clients.tell("settle 5000");
    assert!(seen.iter().any(|one| !one.connected), "{seen:#?}");
    assert!(strays(&site) > 0);
    clients.leave();
    balancer.finish();
}

#[test]
fn without_stickiness_socketio_works_by_websocket_alone() {
    let site = socketio_site();
    let balancer = socketio(&site, &[]);
    let options = json!({ "from": "one", "more": { "transports": ["websocket"] } });
    let mut clients = Sockets::io(site.to(), 24, &options);
    even(&clients.upgraded());
    clients.all_say();
    clients.leave();
    balancer.finish();
}

#[test]
fn sticky_addresses_keep_socketio_sessions_together() {
    let site = socketio_site();
    let balancer = socketio(&site, &["--sticky", "ip"]);
    let mut clients = Sockets::io(site.to(), 60, &json!({}));
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

/// Behind `flags`: 60 clients that all connect by polling and an upgrade, with no request going astray, again when they
/// connect anew, after a reload and after a crash, each to the slot that it had; everything else goes in turn.
#[track_caller]
fn together(flags: &[&str], options: &Value) -> Vec<u16> {
    let site = socketio_site();
    let balancer = socketio(&site, &[&["--websocket-sticky"], flags].concat());
    let mut clients = Sockets::io(site.to(), 60, options);
    let slots = clients.upgraded();
    clients.all_say();
    let plain: Vec<u16> = (0..40)
        .map(|id| match ask_from(address_of(1), site.to(), id) {
            Outcome::Ok(answer) => answer.slot.expect("the server knows its slot"),
            other => panic!("{other:?}"),
        })
        .collect();
    even(&plain);
    clients.again();
    assert_eq!(clients.upgraded(), slots);
    assert_eq!(strays(&site), 0);
    lasts(&balancer, &mut clients, &slots);
    clients.leave();
    balancer.finish();
    slots
}

#[test]
fn websocket_sticky_by_address() {
    everywhere(&together(&[], &json!({})));
}

#[test]
fn websocket_sticky_with_connections_kept_alive() {
    everywhere(&together(&[], &json!({ "kept": true })));
}

#[test]
fn websocket_sticky_of_one_address() {
    let slots = together(&[], &json!({ "from": "one" }));
    assert!(slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
}

#[test]
fn websocket_sticky_by_what_clients_add_to_the_query() {
    let options = json!({ "from": "one", "uid": "query" });
    everywhere(&together(&["--sticky", "query:uid"], &options));
}

#[test]
fn websocket_sticky_by_a_header_of_the_clients() {
    let options = json!({ "from": "one", "uid": "header", "kept": true });
    everywhere(&together(&["--sticky", "header:X-User"], &options));
}

#[test]
fn polling_alone_lasts_through_a_reload() {
    let site = socketio_site();
    let balancer = socketio(&site, &["--websocket-sticky"]);
    let options = json!({ "more": { "transports": ["polling"] } });
    let mut clients = Sockets::io(site.to(), 40, &options);
    let slots = slots_of(&clients.settle());
    everywhere(&slots);
    clients.all_say();
    assert_eq!(strays(&site), 0);
    let former = balancer.workers();
    balancer.reload().done();
    balancer.gone(&former);
    clients.tell("renewed 30000");
    assert_eq!(slots_of(&clients.settle()), slots);
    clients.all_say();
    clients.leave();
    balancer.finish();
}

#[test]
fn clients_that_come_while_a_reload_goes_on() {
    let site = socketio_site();
    let balancer = socketio(&site, &["--websocket-sticky"]);
    let former = balancer.workers();
    let reload = balancer.begin(&["reload"]);
    let mut clients = Sockets::io(site.to(), 60, &json!({}));
    everywhere(&clients.upgraded());
    reload.end().done();
    balancer.gone(&former);
    everywhere(&clients.upgraded_from(&former));
    clients.all_say();
    clients.leave();
    balancer.finish();
}

#[test]
fn the_slot_in_socketios_own_session_id() {
    let site = socketio_site();
    let file = site.file("chat.js");
    std::fs::write(&file, readme("// chat.js")).expect("written");
    let listen = format!("{}=8080", site.bind());
    let flags = ["-l", &listen, "--sticky", "route:sid"];
    let balancer = four(&site, &flags, &["node", &file.display().to_string()]);
    let mut clients = Sockets::io(site.to(), 60, &json!({ "from": "one" }));
    everywhere(&clients.upgraded());
    let unmoved = clients.settle();
    assert!(unmoved.iter().all(|one| one.connects == 1), "{unmoved:#?}");
    let former = balancer.workers();
    balancer.reload().done();
    balancer.gone(&former);
    everywhere(&clients.upgraded_from(&former));
    clients.leave();
    balancer.finish();
}

#[test]
fn websockets_in_tls_are_sticky_by_address() {
    let site = socketio_site();
    let directory = site.directory.display().to_string();
    let files = ["-keyout", "key.pem", "-out", "cert.pem"];
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=chat"])
        .args(files)
        .current_dir(&directory)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let site = site.env("TLS", directory);
    let balancer = socketio(&site, &["--websocket-sticky"]);
    let url = format!("https://{}", site.to());
    let mut clients = Sockets::start("socketio_clients.js", &url, 40, &json!({}));
    let slots = clients.upgraded();
    everywhere(&slots);
    assert_eq!(strays(&site), 0);
    clients.leave();
    balancer.finish();
}

/// Plain WebSockets in turn and, by address, each with its slot; a reload and a crash.
#[track_caller]
fn plain(command: &[&str]) {
    let site = socketio_site();
    let balancer = four(&site, &[], command);
    let mut clients = Sockets::start(
        "ws_clients.js",
        &format!("ws://{}", site.to()),
        60,
        &json!({}),
    );
    even(&clients.upgraded());
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
