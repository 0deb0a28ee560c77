//! Proxies that others wrote, in front: HAProxy with either version of the header and with its health checks, nginx
//! where it has the stream module, curl.

use std::process::Command;

use super::*;

/// HAProxy, with these words behind the server's address.
#[track_caller]
fn haproxy(site: &Site, words: &str) -> Front {
    Front::haproxy(site, "mode tcp", proxy(7), words)
}

/// The slot that answers a client which comes through `front`, and the address that the server has of it.
#[track_caller]
fn asked_by(front: &Front, n: u32) -> (u16, String) {
    let slot = Raw::sending(client(n), front.to, &get("1", "")).slot();
    let address = Raw::sending(client(n), front.to, &get("address", "")).body();
    (
        slot,
        address.split(' ').next().unwrap_or_default().to_string(),
    )
}

/// What holds whatever proxy is in front.
#[track_caller]
fn transparent(site: &Site, front: &Front) {
    for n in 0..20 {
        let direct = Raw::sending(client(n), site.to(), &get("1", "")).slot();
        assert_eq!(asked_by(front, n), (direct, client(n).to_string()));
    }
}

const STICKY: [&str; 2] = ["--sticky", "ip"];

#[test]
fn haproxy_with_either_version() {
    let site = Site::new();
    let balancer = behind(&site, "http.js", 4, &STICKY);
    let versions = [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ];
    for words in versions {
        transparent(&site, &haproxy(&site, words));
    }
    let keys = balancer.keys();
    assert!(keys.number("/proxied") >= 120, "{keys:?}");
    assert_eq!(keys.number("/refused"), 0, "{keys:?}");
    balancer.finish();
}

#[test]
fn health_checks_of_haproxy_are_no_clients() {
    // It says LOCAL (v2) or PROXY UNKNOWN or its own address (v1), and goes.
    let site = Site::new();
    let balancer = behind(&site, "http.js", 2, &STICKY);
    for words in [
        "send-proxy-v2 check inter 50ms",
        "send-proxy check inter 50ms",
    ] {
        let front = haproxy(&site, words);
        let accepted = balancer.status().accepted;
        balancer.until("checked twenty times", |status| {
            status.accepted > accepted + 20
        });
        transparent(&site, &front);
    }
    assert_eq!(balancer.keys().number("/refused"), 0);
    balancer.finish();
}

#[test]
fn haproxy_without_a_header_is_refused() {
    let site = Site::new();
    let balancer = behind(&site, "http.js", 2, &FOREVER);
    let front = haproxy(&site, "");
    assert_eq!(Raw::sending(client(1), front.to, &get("1", "")).rest(), b"");
    assert!(balancer.status().closed_by_policy > 0);
    drop(front);
    balancer.finish();
}

#[test]
fn a_reload_behind_haproxy() {
    let site = Site::new().env("ON_TERM", "close");
    let balancer = behind(&site, "http.js", 3, &STICKY);
    let front = haproxy(&site, "send-proxy-v2");
    let load = Load::start(front.to, 4, 1, DEADLINE);
    load.proceed(100);
    balancer.reload().done();
    balancer.command(&["upgrade"]).done();
    load.proceed(100);
    load.stop().clean();
    transparent(&site, &front);
    drop(front);
    balancer.finish();
}

#[test]
fn nginx_as_a_stream_proxy() {
    let site = Site::new();
    let balancer = behind(&site, "http.js", 4, &STICKY);
    let front = Front::nginx_stream(&site, proxy(9));
    transparent(&site, &front);
    drop(front);
    balancer.finish();
}

#[test]
fn curl_as_its_own_proxy() {
    // Its header tells of itself; what counts is that its answer is whole.
    let site = Site::new();
    let balancer = behind(&site, "http.js", 2, &FOREVER);
    let done = Command::new("curl")
        .args([
            "-s",
            "--max-time",
            "30",
            "--haproxy-protocol",
            "--interface",
            &proxy(4).to_string(),
        ])
        .arg(format!("http://{}/address", site.to()))
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.starts_with(&proxy(4).to_string()), "{text}");
    assert_eq!(balancer.keys().number("/proxied"), 1);
    balancer.finish();
}
