//! M2: a header is believed from those who are trusted, and demanded of them; it is nothing but bytes from anybody
//! else. The client is then who the header says: for stickiness, for the count, for the server.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use super::*;

/// Slot and address of the peer, as the server that speaks first has them.
#[track_caller]
fn greeting(client: &mut Raw) -> (u16, String) {
    let line = client.line();
    let words: Vec<&str> = line.split(' ').collect();
    (words[0].parse().expect("a slot"), words[2].to_string())
}

#[test]
fn a_forged_header_is_bytes() {
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    for n in 0..6 {
        let forged = [
            proxy_v1(told(50)),
            v2(told(50), site.to(), b""),
            v2_of(0x20, 0, b""),
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY TCP4 nonsense".to_vec(),
            b"".to_vec(),
        ];
        let sent = [&forged[n as usize][..], b"and what it says"].concat();
        let mut one = Raw::sending(client(n), site.to(), &sent);
        assert_eq!(greeting(&mut one).1, client(n).to_string());
        one.finish_sending();
        assert_eq!(one.rest(), sent);
    }
    let keys = balancer.keys();
    assert_eq!(
        (keys.number("/proxied"), keys.number("/refused")),
        (0, 0),
        "{keys:?}"
    );
    balancer.finish();
}

#[test]
fn without_a_header_a_trusted_peer_is_closed() {
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    let sent: [&[u8]; 12] = [
        b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"P",
        b"PROXX TCP4",
        b"PROXY TCP5 ",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
        b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n",
        b"proxy UNKNOWN\r\n",
        b"\x16\x03\x01\x02\0\x01",
        b"\r\n\r\n\0\r\nQUIT\r",
        &[b'P'; 300],
    ];
    for (n, sent) in sent.iter().enumerate() {
        let mut one = Raw::sending(proxy(n as u32), site.to(), sent);
        if *sent == b"P" {
            // That could become one: what ends it is the end.
            one.finish_sending();
        }
        assert_eq!(one.rest(), b"", "{:?}", String::from_utf8_lossy(sent));
    }
    let status = balancer.status();
    assert_eq!(
        (status.closed_by_policy, status.dealt, status.held),
        (12, 0, 0)
    );
    assert_eq!(balancer.keys().number("/refused"), 12);
    balancer.says("127.9.0.0");
    // Somebody who cannot be silenced does not fill the disk.
    for n in 0..300 {
        Raw::sending(proxy(n), site.to(), b"GET / HTTP/1.1\r\n\r\n").rest();
    }
    let lines = balancer
        .output()
        .lines()
        .filter(|line| line.contains("127.9."))
        .count();
    assert!(lines < 60, "{lines} lines about 312 connections");
    balancer.finish();
}

#[test]
fn the_server_sees_the_client_and_what_it_sent() {
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    for n in 0..10 {
        let header = if n % 2 == 0 {
            proxy_v1(told(n))
        } else {
            v2(told(n), site.to(), b"")
        };
        let payload = if n % 3 == 0 {
            &b""[..]
        } else {
            b"PROXY UNKNOWN\r\nis mine"
        };
        let mut one = Raw::sending(proxy(n), site.to(), &[&header[..], payload].concat());
        assert_eq!(greeting(&mut one).1, client(n).to_string());
        one.finish_sending();
        assert_eq!(one.rest(), payload);
    }
    assert_eq!(balancer.keys().number("/proxied"), 10);
    balancer.finish();
}

#[test]
fn a_proxy_is_trusted_whichever_way_its_address_is_written() {
    // M1: on a socket for both families an IPv4 peer has a mapped address, and so has the client it tells of.
    let site = Site::on("::");
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    let him = client(5);
    let mapped: SocketAddr = format!("[::ffff:{him}]:4000").parse().expect("an address");
    let six: SocketAddr = "[2001:db8::7]:4000".parse().expect("an address");
    for (source, seen) in [
        (told(5), format!("::ffff:{him}")),
        (mapped, format!("::ffff:{him}")),
        (six, "2001:db8::7".to_string()),
    ] {
        for header in [proxy_v1(source), v2_like(source)] {
            let mut one = Raw::sending(proxy(1), site.to(), &header);
            assert_eq!(greeting(&mut one).1, seen);
        }
    }
    // And who is not trusted is none by being mapped.
    let forged = proxy_v1(told(50));
    let mut one = Raw::sending(client(6), site.to(), &forged);
    assert_eq!(greeting(&mut one).1, format!("::ffff:{}", client(6)));
    assert_eq!(one.exactly(forged.len()), forged);
    drop(one);
    balancer.finish();
}

/// A header of version 2 for this client, to an address of the same family.
fn v2_like(source: SocketAddr) -> Vec<u8> {
    v2(source, source, b"")
}

#[test]
fn a_proxy_on_the_same_machine_by_a_unix_socket() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let site = Site::new();
    let path = site.file("front.sock");
    let (bound, file) = (
        format!("unix:{}={}", path.display(), site.port),
        server("echo.js"),
    );
    let words = [
        "run",
        "-n",
        "4",
        "-l",
        &bound,
        "--sticky",
        "ip",
        "--proxy-protocol",
        "--trusted-proxies",
        "unix",
    ];
    let all = [&words[..], &FOREVER, &["--", "node", &file]].concat();
    let balancer = Balancer::start(&site, &all);
    let ask = |header: &[u8]| {
        let mut stream = UnixStream::connect(&path).expect("connected");
        stream.write_all(header).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("FIN");
        let mut all = String::new();
        // Closed with something unread: a reset.
        let _ = stream.read_to_string(&mut all);
        all
    };
    let mut used = BTreeSet::new();
    for n in 0..16 {
        let (one, other) = (ask(&proxy_v1(told(n))), ask(&v2(told(n), site.to(), b"")));
        assert_eq!(one, other, "one client, one slot");
        let words: Vec<&str> = one.trim_end().split(' ').collect();
        assert_eq!(words[2], client(n).to_string());
        used.insert(words[0].to_string());
    }
    assert!(used.len() > 1);
    assert_eq!(ask(b"GET / HTTP/1.1\r\n\r\n"), "");
    let keys = balancer.keys();
    assert_eq!(
        (keys.number("/proxied"), keys.number("/refused")),
        (32, 1),
        "{keys:?}"
    );
    balancer.finish();
}

#[test]
fn the_client_has_its_slot_whichever_way_it_comes() {
    // Directly, and through this proxy and that: `--sticky ip` is by the true source.
    let site = Site::new();
    let balancer = behind(
        &site,
        "http.js",
        4,
        &[&FOREVER[..], &["--sticky", "ip"]].concat(),
    );
    let direct: Vec<u16> = (0..30)
        .map(|n| Raw::sending(client(n), site.to(), &get("1", "")).slot())
        .collect();
    assert!(direct.iter().collect::<BTreeSet<_>>().len() > 1);
    let through = |n: u32, header: Vec<u8>| {
        let mut one = Raw::sending(proxy(n % 5), site.to(), &header);
        one.send(&get("1", ""));
        one.slot()
    };
    let first: Vec<u16> = (0..30).map(|n| through(n, proxy_v1(told(n)))).collect();
    let second: Vec<u16> = (0..30)
        .map(|n| through(n + 1, v2(told(n), site.to(), b"")))
        .collect();
    assert_eq!((&first, &second), (&direct, &direct));
    balancer.finish();
}

#[test]
fn a_key_behind_the_header() {
    // First the one is taken off, then the other is looked at and left; in one segment, in two, in many.
    let site = Site::new();
    let balancer = behind(
        &site,
        "echo.js",
        4,
        &[&FOREVER[..], &["--sticky", "cookie:sid"]].concat(),
    );
    let request = |name: u32| get("1", &format!("Cookie: sid=s{name}\r\n"));
    let mut used = BTreeSet::new();
    for name in 0..12 {
        let slots = (0..5).map(|way| {
            let (header, request) = (v2(told(way), site.to(), b""), request(name));
            let mut one = Raw::connect(proxy(way), site.to());
            match way {
                0 => one.send(&[&header[..], &request].concat()),
                1 => {
                    one.send(&header);
                    one.send(&request);
                }
                2 => one.drip(&[&header[..], &request].concat()),
                3 => {
                    one.send(&[&header[..], &request[..20]].concat());
                    one.send(&request[20..]);
                }
                _ => one = Raw::sending(client(way), site.to(), &request),
            }
            let (slot, peer) = greeting(&mut one);
            assert_eq!(peer, client(way).to_string(), "way {way}");
            one.finish_sending();
            assert_eq!(one.rest(), request, "way {way}");
            slot
        });
        let slots: BTreeSet<u16> = slots.collect();
        assert_eq!(slots.len(), 1, "s{name}: {slots:?}");
        used.extend(slots);
    }
    assert!(used.len() > 1);
    let keys = balancer.keys();
    assert_eq!(
        (keys.number("/proxied"), keys.found("cookie")),
        (48, 60),
        "{keys:?}"
    );
    balancer.finish();
}

#[test]
fn the_source_outlives_the_worker_and_the_primary() {
    // Taken off once, the header is nowhere but in what is known of the connection.
    let site = Site::new();
    let flags = [
        &FOREVER[..],
        &["--sticky", "cookie:sid", "--steal-after", "60s"],
    ]
    .concat();
    let balancer = behind(&site, "echo.js", 2, &flags);
    let workers = balancer.workers();
    let begun = |n: u32| {
        let header = proxy_v1(told(n));
        Raw::sending(
            proxy(n),
            site.to(),
            &[&header[..], b"GET / HTTP/1.1\r\nCoo"].concat(),
        )
    };
    let mut all: Vec<Raw> = (0..20).map(begun).collect();
    // And some of which not even the header is there.
    let header = proxy_v1(told(77));
    let mut half: Vec<Raw> = (0..10)
        .map(|n| Raw::sending(proxy(n), site.to(), &header[..9]))
        .collect();
    balancer.reads(30);
    balancer.command(&["upgrade"]).done();
    balancer.reads(30);
    send_all(&workers, Signal::SIGSTOP);
    for one in &mut all {
        one.send(b"kie: sid=a\r\n\r\n");
    }
    balancer.until("queued", |status| {
        status.slots.iter().map(|slot| slot.queued).sum::<u64>() == 20
    });
    send_all(&workers, Signal::SIGKILL);
    let mut slots = BTreeSet::new();
    for (n, one) in all.iter_mut().enumerate() {
        let (slot, peer) = greeting(one);
        assert_eq!(peer, client(n as u32).to_string());
        slots.insert(slot);
        one.finish_sending();
        assert_eq!(one.rest(), b"GET / HTTP/1.1\r\nCookie: sid=a\r\n\r\n");
    }
    assert_eq!(slots.len(), 1);
    for one in &mut half {
        one.send(&[&header[9..], b"GET / HTTP/1.1\r\nCookie: sid=a\r\n\r\n"].concat());
        let (slot, peer) = greeting(one);
        assert!(
            slots.contains(&slot) && peer == client(77).to_string(),
            "{slot} {peer}"
        );
    }
    let keys = balancer.keys();
    assert_eq!(
        (keys.number("/proxied"), keys.found("cookie")),
        (30, 30),
        "{keys:?}"
    );
    drop(half);
    balancer.finish();
}

#[test]
fn a_header_that_the_server_reads_itself() {
    // `--sticky proxy`: looked at, not taken off.
    let site = Site::new();
    let (words, file) = (["--sticky", "proxy"], server("echo.js"));
    let run = ["run", "-n", "4", "--trusted-proxies", TRUSTED];
    let all = [&run[..], &words, &FOREVER, &["--", "node", &file]].concat();
    let balancer = Balancer::start(&site, &all);
    let mut used = BTreeSet::new();
    for n in 0..16 {
        let direct = Raw::sending(client(n), site.to(), b"GET").greeted_by();
        for header in [proxy_v1(told(n)), v2(told(n), site.to(), b"")] {
            let sent = [&header[..], b"and more"].concat();
            let mut one = Raw::connect(proxy(n), site.to());
            one.drip(&sent);
            let (slot, peer) = greeting(&mut one);
            assert_eq!((slot, peer), (direct, proxy(n).to_string()));
            one.finish_sending();
            assert_eq!(one.rest(), sent);
            // From others it is a claim.
            let claimed = Raw::sending(client(n), site.to(), &proxy_v1(told(n + 1))).greeted_by();
            assert_eq!(claimed, direct);
        }
        used.insert(direct);
    }
    assert!(used.len() > 1);
    assert_eq!(balancer.keys().found("proxy"), 32);
    balancer.finish();
}
