//! E3: what the worker reads is byte for byte what the client sent, however it came.

use std::collections::BTreeSet;

use super::*;

/// `count` bytes that never repeat in step with any buffer.
fn noise(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.next() as u8).collect()
}

#[track_caller]
fn same(sent: &[u8], back: &[u8]) {
    let differs = back.iter().zip(sent).position(|(one, other)| one != other);
    let counts = (sent.len(), back.len());
    assert!(
        back == sent,
        "sent and back {counts:?}, first difference at {differs:?}"
    );
}

/// Says that it will send no more, and gets back exactly `sent` (the greeting is read already).
#[track_caller]
fn echoed(mut client: Raw, sent: &[u8]) {
    client.finish_sending();
    same(sent, &client.rest());
}

#[test]
fn a_head_in_two_segments_wherever_it_is_cut() {
    let site = Site::new();
    let balancer = echoes(
        &site,
        3,
        &["--sticky", "cookie:sid", "--peek-timeout", "60s"],
    );
    let head = get("path?a=b", "Cookie: a=b; sid=alice; c=d\r\nX-Last: 1\r\n");
    let mut cut: Vec<(usize, Raw)> = (1..head.len())
        .map(|at| {
            let source = client(at as u32);
            (at, Raw::sending(source, site.to(), &head[..at]))
        })
        .collect();
    let all = cut.len() as u64;
    // All have been looked at; those whose cookie was whole may have gone on already.
    balancer.until("all accepted", |status| status.accepted == all);
    for (at, client) in &mut cut {
        client.send(&head[*at..]);
    }
    let slots: BTreeSet<u16> = cut
        .iter_mut()
        .map(|(_, client)| client.greeted_by())
        .collect();
    assert_eq!(slots.len(), 1, "{slots:?}");
    cut.into_iter()
        .for_each(|(_, client)| echoed(client, &head));
    assert_eq!(balancer.keys().found("cookie"), all);
    balancer.finish();
}

#[test]
fn a_head_byte_by_byte() {
    let site = Site::new();
    let balancer = echoes(&site, 3, &["--sticky", "header:x-user"]);
    for name in ["alice", "bob", "carol", "dave"] {
        let (head, body) = (user(name), b"and more\r\n\r\nthan a head");
        let mut whole = Raw::sending(client(1), site.to(), &head);
        let mut dripping = Raw::connect(client(2), site.to());
        dripping.drip(&head);
        dripping.drip(body);
        assert_eq!(dripping.greeted_by(), whole.greeted_by(), "{name}");
        echoed(dripping, &[&head[..], body].concat());
        echoed(whole, &head);
    }
    assert_eq!(balancer.keys().found("header"), 8);
    balancer.finish();
}

#[test]
fn a_big_body_right_behind_the_head() {
    let site = Site::new();
    let balancer = echoes(&site, 3, &["--sticky", "header:x-user"]);
    let mut random = Random::seeded();
    for size in [0, 1, 16 * 1024, 100_000, 8 << 20] {
        let head = format!("POST / HTTP/1.1\r\nX-User: u{size}\r\nContent-Length: {size}\r\n\r\n");
        let sent = [head.into_bytes(), noise(&mut random, size)].concat();
        let client = Raw::connect(client(size as u32 % 999), site.to());
        // More than the buffers hold: it is being sent while the head is looked at, handed over and echoed.
        let (_, back) = client.echo(&sent);
        same(&sent, &back);
    }
    assert_eq!(balancer.keys().found("header"), 5);
    balancer.finish();
}

#[test]
fn pipelined_requests_are_all_answered_by_the_slot_of_the_first() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "header:x-user"]);
    for first in 0..16 {
        let requests: String = (0..20)
            .map(|n| {
                format!(
                    "GET /{n} HTTP/1.1\r\nHost: test\r\nX-User: u{}\r\n\r\n",
                    first + n
                )
            })
            .collect();
        let mut client = Raw::sending(client(first), site.to(), requests.as_bytes());
        let alone = slot(&site, 99, &user(format!("u{first}")));
        for n in 0..20 {
            let body = client.body();
            let words: Vec<&str> = body.split(' ').collect();
            assert_eq!((words[0], words[2]), (&*alone.to_string(), &*n.to_string()));
        }
    }
    balancer.finish();
}

#[test]
fn anything_that_is_no_request_arrives_as_it_was() {
    // Whatever was sent: the server gets it all, and the end of it.
    let site = Site::new();
    let balancer = echoes(&site, 3, &["--sticky", "query:u", "--peek-timeout", "60s"]);
    let mut random = Random::seeded();
    let mut asked = 0;
    let mut try_out = |sent: &[u8]| {
        asked += 1;
        let mut client = Raw::connect(client(asked), site.to());
        for part in sent.chunks(1 + random.below(3000) as usize) {
            client.send(part);
        }
        client.finish_sending();
        client.greeted_by();
        same(sent, &client.rest());
    };
    let fixed: [&[u8]; 12] = [
        b"\r\n\r\n\r\n",
        b"\0",
        b"\n",
        b" ",
        b"GET",
        b"GET / HTTP/1.1\r\nHo",
        b"GET /\r\n",
        b"GET /?u=1 HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02",
    ];
    fixed.iter().for_each(|sent| try_out(sent));
    let mut sizes = Random::seeded();
    for _ in 0..40 {
        let size = 1 + sizes.below(40_000) as usize;
        let sent = noise(&mut sizes, size);
        try_out(&sent);
    }
    let keys = balancer.keys();
    let all = keys.fallback("absent") + keys.fallback("unreadable");
    assert_eq!((all, keys.reading()), (52, 0), "{keys:?}");
    balancer.finish();
}

#[test]
fn a_head_longer_than_what_is_read_goes_on_unread() {
    let site = Site::new();
    let balancer = echoes(
        &site,
        3,
        &["--sticky", "header:x-user", "--peek-timeout", "60s"],
    );
    let long = |count: usize, end: &str| {
        let filler = format!("X-Filler: {}\r\n", "f".repeat(count));
        format!("GET / HTTP/1.1\r\n{filler}X-User: alice\r\n{end}").into_bytes()
    };
    let mut placed = BTreeSet::new();
    // Just within, just beyond, far beyond and never ended: the last two wait for nothing.
    for (count, end) in [
        (15 * 1024, "\r\n"),
        (17 * 1024, "\r\n"),
        (200 * 1024, "\r\n"),
        (200 * 1024, ""),
    ] {
        let sent = long(count, end);
        let mut client = Raw::connect(client(3), site.to());
        client.send(&sent[..1000]);
        let (slot, back) = client.echo(&sent[1000..]);
        same(&sent, &back);
        placed.insert((count > 16 * 1024, slot));
    }
    let keys = balancer.keys();
    assert_eq!(
        (keys.found("header"), keys.fallback("unreadable")),
        (1, 3),
        "{keys:?}"
    );
    assert_eq!(
        placed.iter().filter(|(long, _)| *long).count(),
        1,
        "by the address: {placed:?}"
    );
    balancer.finish();
}
