//! `X-Forwarded-For` as real proxies write it.

use super::*;

/// Where the proxy connects from.
const PROXY: &str = "127.9.0.7";

#[test]
fn behind_haproxy_and_nginx_a_client_keeps_its_slot() {
    let site = Site::new();
    let flags = [
        "--sticky",
        "header:x-forwarded-for",
        "--trusted-proxies",
        "127.9.0.0/16",
        "--peek-timeout",
        "1h",
    ];
    let balancer = Balancer::nodes(&site, 4, &flags);
    let source = PROXY.parse().expect("an address");
    let asked = |to, n: u32, headers: &str| Raw::sending(client(n), to, &get("1", headers)).slot();
    // Reused connections would be those of whoever came first.
    let how = "mode http\n option forwardfor\n http-reuse never";
    for front in [
        Front::haproxy(&site, how, source, ""),
        Front::nginx(&site, source),
    ] {
        for n in 0..20 {
            let direct = asked(site.to(), n, "");
            assert_eq!(asked(front.to, n, ""), direct, "client {n}");
            // What a client says itself is before what the proxy adds.
            let claim = "X-Forwarded-For: 127.200.0.1, 127.9.0.99\r\n";
            assert_eq!(asked(front.to, n, claim), direct, "client {n}, which lies");
        }
    }
    assert_eq!(balancer.keys().found("header"), 80);
    balancer.finish();
}
