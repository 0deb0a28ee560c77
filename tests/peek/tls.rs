//! Keys in a ClientHello: real TLS from end to end, past a primary that has no key of it.

use std::collections::BTreeSet;
use std::process::Command;

use super::*;

#[track_caller]
fn servers<'a>(site: &'a Site, key: &str) -> Balancer<'a> {
    let server = server("tls.js");
    let words = [
        "run",
        "-n",
        "4",
        "--sticky",
        key,
        "--peek-timeout",
        "1h",
        "--",
        "node",
        &server,
    ];
    Balancer::start(site, &words)
}

#[test]
fn the_server_name() {
    let site = certified();
    let balancer = servers(&site, "sni");
    let names: Vec<String> = (0..16).map(|n| format!("shop{n}.example")).collect();
    let clients: Vec<(&str, &str, &str)> = names
        .iter()
        .flat_map(|name| PIECES.map(|pieces| (&**name, "h2,http/1.1", pieces)))
        .collect();
    let said = hellos(&site, true, &clients);
    for (one, (name, ..)) in said.iter().zip(&clients) {
        assert_eq!(
            (&*one.name, &*one.protocol),
            (*name, "http/1.1"),
            "TLS is the server's"
        );
    }
    let used: Vec<BTreeSet<u16>> = said
        .chunks(PIECES.len())
        .map(|one| one.iter().map(|said| said.slot).collect())
        .collect();
    assert!(used.iter().all(|slots| slots.len() == 1), "{used:?}");
    assert!(used.into_iter().flatten().collect::<BTreeSet<_>>().len() > 1);
    assert_eq!(balancer.keys().found("sni"), clients.len() as u64);
    // The name is one name in capitals too (RFC 6066, section 3).
    let capitals = hellos(&site, true, &[("SHOP3.example", "-", "whole")]);
    assert_eq!(capitals[0].slot, said[3 * PIECES.len()].slot);
    // No name: by the address.
    let nameless = hellos(&site, true, &[("-", "-", "whole"); 16]);
    let again = hellos(&site, true, &[("-", "-", "bytes"); 16]);
    assert_eq!(nameless, again);
    let slots: BTreeSet<u16> = nameless.iter().map(|said| said.slot).collect();
    assert!(slots.len() > 1, "{slots:?}");
    assert_eq!(balancer.keys().fallback("absent"), 32);
    balancer.finish();
}

#[test]
fn the_protocols_offered() {
    let site = certified();
    let balancer = servers(&site, "alpn");
    let offers = [
        "h2,http/1.1",
        "http/1.1",
        "h2",
        "acme-tls/1",
        "http/1.1,h2",
        "x1,h2",
        "x2,h2",
        "x3,h2",
        "x4,h2",
        "x5,h2",
        "x6,h2",
        "x7,h2",
    ];
    let clients: Vec<(&str, &str, &str)> = offers
        .iter()
        .flat_map(|offer| PIECES.map(|pieces| ("shop.example", *offer, pieces)))
        .collect();
    let said = hellos(&site, true, &clients);
    let slots: Vec<BTreeSet<u16>> = said
        .chunks(PIECES.len())
        .map(|one| one.iter().map(|said| said.slot).collect())
        .collect();
    assert!(slots.iter().all(|slots| slots.len() == 1), "{slots:?}");
    assert!(slots.into_iter().flatten().collect::<BTreeSet<_>>().len() > 1);
    let without = hellos(
        &site,
        false,
        &[("a.example", "-", "whole"), ("b.example", "-", "halves")],
    );
    assert_eq!(without[0].slot, without[1].slot, "by the address");
    let keys = balancer.keys();
    assert_eq!(
        (keys.found("alpn"), keys.fallback("absent")),
        (48, 2),
        "{keys:?}"
    );
    balancer.finish();
}

#[test]
fn curl_and_openssl_find_the_slot_of_their_name() {
    let site = certified();
    let balancer = servers(&site, "sni");
    for n in 0..6 {
        let name = format!("shop{n}.example");
        let python = hellos(&site, false, &[(&name, "-", "whole")]);
        let curl = Command::new("curl")
            .args([
                "-sk",
                "--max-time",
                "30",
                "--interface",
                &client(n).to_string(),
            ])
            .args(["--resolve", &format!("{name}:{}:{}", site.port, site.host)])
            .arg(format!("https://{name}:{}/", site.port))
            .output()
            .expect("curl");
        let said = Said::read(String::from_utf8_lossy(&curl.stdout).trim());
        assert_eq!((&said.name, said.slot), (&name, python[0].slot));
        let script = format!(
            "printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' | timeout 30 openssl s_client -quiet -ign_eof \
             -connect {} -servername {name} 2>/dev/null",
            site.to()
        );
        let openssl = Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("sh");
        let text = String::from_utf8_lossy(&openssl.stdout).into_owned();
        let said = Said::read(text.lines().last().expect("an answer"));
        assert_eq!((&said.name, said.slot), (&name, python[0].slot));
    }
    balancer.finish();
}

#[test]
fn tls_to_a_key_of_http_and_http_to_a_key_of_tls_go_by_the_address() {
    let site = certified();
    let balancer = servers(&site, "cookie:sid");
    let said = hellos(&site, true, &[("a.example", "-", "whole"); 12]);
    let again = hellos(&site, true, &[("b.example", "h2", "halves"); 12]);
    let slots = |said: &[Said]| said.iter().map(|one| one.slot).collect::<Vec<_>>();
    assert_eq!(slots(&said), slots(&again));
    assert_eq!(balancer.keys().fallback("unreadable"), 24);
    balancer.finish();
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "sni", "--peek-timeout", "1h"]);
    let slots = || {
        (0..12)
            .map(|n| slot(&site, n, &user(n)))
            .collect::<Vec<_>>()
    };
    assert_eq!(slots(), slots());
    assert_eq!(balancer.keys().fallback("unreadable"), 24);
    balancer.finish();
}
