//! M3 and M4: headers in pieces, late, never, of every form that the specification allows, and of some that it does
//! not. What follows a header is the server's from its first byte on.

use std::time::{Duration, Instant};

use super::*;

/// One thing behind the addresses of a header of version 2.
fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("fits").to_be_bytes();
    [&[kind], &length[..], value].concat()
}

/// CRC-32C (Castagnoli), as RFC 4960, appendix B, has it.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0x82f6_3b78
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

/// A header with a checksum of itself, `off` by so much.
fn checked(source: SocketAddr, to: SocketAddr, off: u32) -> Vec<u8> {
    let mut header = v2(
        source,
        to,
        &[tlv(0x03, &[0; 4]), tlv(0xe0, b"behind it")].concat(),
    );
    let crc = crc32c(&header).wrapping_add(off).to_be_bytes();
    let at = 16 + 12 + 3;
    header[at..at + 4].copy_from_slice(&crc);
    header
}

/// What a connection from a trusted proxy comes to when it begins with `header`: the address of the peer, as the
/// server sees it, if the server sees it. What is behind the header must arrive whole.
#[track_caller]
fn outcome(site: &Site, header: &[u8]) -> Option<String> {
    let payload = b"\r\n\r\n\0\r\nQUIT\n is what I say";
    let mut one = Raw::sending(proxy(1), site.to(), &[header, payload].concat());
    one.finish_sending();
    let all = one.rest();
    let end = all.iter().position(|byte| *byte == b'\n')?;
    assert_eq!(&all[end + 1..], payload, "{header:?}");
    let line = String::from_utf8_lossy(&all[..end]).into_owned();
    line.split(' ').nth(2).map(str::to_string)
}

#[test]
fn every_form_of_a_header() {
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    let (him, to) = (told(3), site.to());
    let six: SocketAddr = "[2001:db8::7]:4000".parse().expect("an address");
    let (_, both) = addresses(him, to);
    let known = [
        tlv(0x01, b"h2"),
        tlv(0x02, b"shop.example"),
        tlv(0x05, b"id"),
        tlv(0x30, b"ns"),
    ]
    .concat();
    let secured = tlv(
        0x20,
        &[&[1, 0, 0, 0, 0][..], &tlv(0x21, b"TLSv1.3")].concat(),
    );
    let (own, client) = (Some(proxy(1).to_string()), Some(him.ip().to_string()));
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    let table: [(&str, Vec<u8>, &Option<String>); 17] = [
        ("v1", proxy_v1(him), &client),
        ("UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec(), &own),
        (
            "UNKNOWN with addresses",
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            &own,
        ),
        ("UNKNOWN, as long as can be", long.into_bytes(), &own),
        ("v2", v2(him, to, b""), &client),
        ("what is known", v2(him, to, &known), &client),
        ("TLS", v2(him, to, &secured), &client),
        (
            "what is not known",
            v2(him, to, &tlv(0xef, &[7; 600])),
            &client,
        ),
        ("NOOP", v2(him, to, &tlv(0x04, &[0; 2000])), &client),
        ("empty", v2(him, to, &tlv(0xe1, b"")), &client),
        ("checksum", checked(him, to, 0), &client),
        ("LOCAL", v2_of(0x20, 0, b""), &own),
        ("LOCAL with addresses", v2_of(0x20, 0x11, &both), &own),
        ("LOCAL with whatever", v2_of(0x20, 0xff, &[9; 40]), &own),
        ("UNSPEC", v2_of(0x21, 0, b""), &own),
        ("UNSPEC with whatever", v2_of(0x21, 0, &[9; 40]), &own),
        ("of Unix", v2_of(0x21, 0x31, &[b'/'; 216]), &own),
    ];
    for (what, header, expected) in &table {
        assert_eq!(&&outcome(&site, header), expected, "{what}");
    }
    // A server that bound IPv4 has no room for an IPv6 client's address: that is nobody it knows.
    for header in [proxy_v1(six), v2(six, six, b"")] {
        assert_eq!(outcome(&site, &header).as_deref(), Some("0.0.0.0"));
    }
    assert_eq!(balancer.status().closed_by_policy, 0);
    balancer.finish();
}

#[test]
fn headers_that_are_none() {
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    let (him, to) = (told(3), site.to());
    let (_, both) = addresses(him, to);
    let mut beyond = v2(him, to, b"");
    beyond[14..16].copy_from_slice(&[0xff, 0xff]);
    let wrong = [
        ("version 1 in version 2", v2_of(0x11, 0x11, &both)),
        ("version 3", v2_of(0x31, 0x11, &both)),
        ("no command", v2_of(0x22, 0x11, &both)),
        ("addresses cut off", v2_of(0x21, 0x11, &both[..11])),
        ("no addresses", v2_of(0x21, 0x11, b"")),
        ("half of IPv6", v2_of(0x21, 0x21, &both)),
        ("checksum", checked(him, to, 1)),
        ("longer than what comes", beyond),
        (
            "a line without end",
            format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes(),
        ),
        (
            "two spaces",
            b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        ),
        ("no CR", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n".to_vec()),
        (
            "a port too high",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 2\r\n".to_vec(),
        ),
        (
            "an address in octal",
            b"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        ),
        ("NUL", b"PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n".to_vec()),
    ];
    for (what, header) in &wrong {
        assert_eq!(outcome(&site, header), None, "{what}");
    }
    let status = balancer.status();
    assert_eq!(
        (status.closed_by_policy, status.dealt),
        (wrong.len() as u64, 0)
    );
    balancer.finish();
}

#[test]
fn a_header_of_the_greatest_length() {
    // 65,535 bytes of things nobody needs: taken off whole or refused, and never partly.
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    let (him, to) = (told(3), site.to());
    for size in [4_000, 16_000, 16_384, 65_535 - 12 - 3] {
        let came = outcome(&site, &v2(him, to, &tlv(0xee, &vec![b'\n'; size])));
        println!("{size}: {came:?}");
        assert!(
            came.is_none_or(|peer| peer == him.ip().to_string()),
            "{size}"
        );
    }
    assert_eq!(
        outcome(&site, &v2(him, to, &tlv(0xee, &[1; 4_000]))),
        Some(him.ip().to_string())
    );
    assert_eq!(balancer.status().held, 0);
    balancer.finish();
}

#[test]
fn things_that_overrun_their_header_take_nothing_that_follows_it() {
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    let (him, to) = (told(3), site.to());
    for more in [
        &[0x01, 0xff, 0xff][..],
        &[0x01, 0, 9, b'x'],
        &[0x20, 0, 2, 1, 1],
        &[0xe0],
        &[0xe0, 0],
    ] {
        let came = outcome(&site, &v2(him, to, more));
        assert!(
            came.is_none_or(|peer| peer == him.ip().to_string()),
            "{more:?}"
        );
    }
    assert_eq!(balancer.status().held, 0);
    balancer.finish();
}

#[test]
fn headers_byte_by_byte_from_many_at_a_time() {
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &FOREVER);
    let payload = b"what follows";
    let mut all: Vec<(Vec<u8>, Raw)> = (0..600)
        .map(|n| {
            let header = match n % 3 {
                0 => proxy_v1(told(n)),
                1 => v2(told(n), site.to(), b""),
                _ => v2(told(n), site.to(), &tlv(0xe0, &[n as u8; 20])),
            };
            (header, Raw::connect(proxy(n), site.to()))
        })
        .collect();
    for at in 0..80 {
        for (header, one) in &mut all {
            if let Some(byte) = [&header[..], payload].concat().get(at) {
                one.send(&[*byte]);
            }
        }
    }
    for (n, (header, one)) in all.iter_mut().enumerate() {
        let sent = (header.len() + payload.len()).min(80);
        one.send(&[&header[..], payload].concat()[sent..]);
        let line = one.line();
        assert!(line.ends_with(&format!(" {}", client(n as u32))), "{line}");
        one.finish_sending();
        assert_eq!(one.rest(), payload);
    }
    assert_eq!(balancer.keys().number("/proxied"), 600);
    balancer.finish();
}

#[test]
fn a_header_that_never_comes_is_waited_for_three_seconds() {
    // The specification asks for 3 s at least, whatever else is asked for.
    let site = Site::new();
    let balancer = behind(&site, "echo.js", 2, &["--peek-timeout", "100ms"]);
    let start = Instant::now();
    let header = proxy_v1(told(1));
    let mut silent: Vec<Raw> = (0..30).map(|n| Raw::connect(proxy(n), site.to())).collect();
    silent
        .iter_mut()
        .step_by(2)
        .for_each(|one| one.send(&header[..20]));
    for one in &mut silent {
        assert_eq!(one.rest(), b"");
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2900), "closed after {took:?}");
    let status = balancer.status();
    assert_eq!((status.closed_by_policy, status.held), (30, 0));
    balancer.finish();
}
