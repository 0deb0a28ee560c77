//! Behind a real nginx and a real HAProxy, configured as the README has it: socket.io clients find their slot although
//! all of their connections come from the proxy.

mod common;

use common::*;
use serde_json::json;

#[track_caller]
fn four<'a>(site: &'a Site, flags: &[&str]) -> Balancer<'a> {
    let fixed = ["run", "-n", "4"];
    let server = server("socketio.js");
    Balancer::start(site, &[&fixed, flags, &["--", "node", &server]].concat())
}

/// 60 clients through `front`, from 60 addresses: all connect and keep their slots.
#[track_caller]
fn together(site: &Site, balancer: Balancer<'_>, front: Front) {
    let mut clients = Sockets::io(front.to, 60, &json!({}));
    let slots = clients.upgraded();
    let counts = spread(&slots, 4);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    clients.all_say();
    clients.again();
    assert_eq!(clients.upgraded(), slots);
    clients.leave();
    drop(front);
    let journal = std::fs::read_to_string(site.file("journal")).expect("a journal");
    assert_eq!(journal, "", "requests that went astray");
    balancer.finish();
}

const TRUSTED: [&str; 2] = ["--trusted-proxies", "127.0.0.1"];
const FORWARDED: [&str; 4] = ["--sticky", "header:X-Forwarded-For", TRUSTED[0], TRUSTED[1]];

#[test]
fn behind_nginx() {
    let site = socketio_site();
    let balancer = four(&site, &FORWARDED);
    let front = Front::nginx_as(&site, &readme("# nginx.conf"));
    together(&site, balancer, front);
}

#[test]
fn behind_nginx_by_route() {
    let site = socketio_site().env("ROUTE", 1);
    let balancer = four(&site, &["--sticky", "route:sid"]);
    let front = Front::nginx_as(&site, &readme("# nginx.conf"));
    let mut clients = Sockets::io(front.to, 60, &json!({ "from": "one" }));
    even(&clients.upgraded());
    clients.all_say();
    clients.leave();
    drop(front);
    balancer.finish();
}

#[test]
fn behind_haproxy() {
    let site = socketio_site();
    let balancer = four(&site, &FORWARDED);
    let front = Front::haproxy_as(&site, &readme("# haproxy.cfg"));
    together(&site, balancer, front);
}

#[test]
fn behind_haproxy_by_connection() {
    let site = socketio_site();
    let flags = ["--sticky", "ip", "--proxy-protocol"];
    let balancer = four(&site, &[&flags[..], &TRUSTED].concat());
    let front = Front::haproxy_as(&site, &readme("# haproxy.cfg, by connection"));
    together(&site, balancer, front);
}

#[test]
fn a_pool_of_connections_mixes_clients() {
    // Why the README's configuration ends the connection after each request.
    let site = socketio_site();
    let balancer = four(&site, &FORWARDED);
    let pool = "upstream pool { server 127.0.0.1:8080; keepalive 32; }\n";
    let http = readme("# nginx.conf").replace("''      close;", "''      '';");
    let http = pool.to_owned() + &http.replace("http://127.0.0.1:8080", "http://pool");
    let front = Front::nginx_as(&site, &http);
    let mut clients = Sockets::io(front.to, 60, &json!({ "one": true }));
    let seen = clients.tell("settle 5000");
    assert!(seen.iter().any(|one| !one.connected), "{seen:#?}");
    clients.leave();
    drop(front);
    balancer.finish();
}
