//! What it costs to see where a connection belongs by its first bytes: a browser's request, a ClientHello, a PROXY
//! header, whole and while they are still coming.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use forkfront::config::Routing;
use forkfront::policy::sniff::{HEAD_MAX, Sniffer, proxy};
use forkfront::wire::{Address, Family};

/// As a browser sends it.
const BROWSER: &[u8] = b"GET /shop/cart?session=8f14e45fceea167a5a36dedd4bea2543&page=2 HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/shop/item/4711\r\n\
    Connection: keep-alive\r\n\
    Cookie: theme=dark; consent=yes; sid=s%3A3fKz0pTq8WvLx5Yb.2.nQ7cRk1JmZ0; _ga=GA1.1.1729\r\n\
    X-Forwarded-For: 198.51.100.7, 10.1.1.1\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\
    \r\n";

const TCP4: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.9 5000 443\r\n";
const TCP6: &[u8] = b"PROXY TCP6 2001:db8:85a3::8a2e:370:7334 2001:db8::1 65000 443\r\n";

fn peer() -> Address {
    Address {
        family: Family::V4,
        port: 40_000,
        ip: [10, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ..Address::default()
    }
}

fn sniffer(key: &str) -> Sniffer {
    let routing = Routing {
        sticky: Some(key.parse().expect("a key")),
        trusted_proxies: "10.0.0.0/8".parse().expect("a network"),
        ..Routing::default()
    };
    Sniffer::new(&routing).expect("it is read")
}

/// A ClientHello of this many bytes in records of at most `record`: with post-quantum key shares it is two kilobytes.
fn hello(padding: usize, record: usize) -> Vec<u8> {
    let extension = |kind: u16, contents: &[u8]| {
        let length = contents.len() as u16;
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), contents].concat()
    };
    let extensions = [
        extension(0x0a0a, b"\0"),
        extension(51, &vec![7; padding]),
        extension(0, b"\0\x13\0\0\x10Shop.Example.com"),
        extension(16, b"\0\x0f\x02\x0a\x0a\x02h2\x08http/1.1"),
    ]
    .concat();
    let length = (extensions.len() as u16).to_be_bytes();
    let fixed = [&[3, 3][..], &[9; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
    let body = [&fixed[..], &length, &extensions].concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    let in_record =
        |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    message.chunks(record).flat_map(in_record).collect()
}

fn keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("sniff");
    let peer = peer();
    for key in [
        "cookie:sid",
        "header:x-forwarded-for",
        "route:sid",
        "query:session",
        "path:2",
    ] {
        let mut sniffer = sniffer(key);
        let name = format!("request of {} bytes by {key}", BROWSER.len());
        group.bench_function(name, |b| {
            b.iter(|| {
                black_box(sniffer.read(black_box(BROWSER), &peer, false));
            });
        });
    }
    for (key, hello) in [
        ("sni", hello(200, 1 << 14)),
        ("sni", hello(1700, 1 << 14)),
        ("sni", hello(1700, 100)),
        ("alpn", hello(1700, 1 << 14)),
    ] {
        let mut sniffer = sniffer(key);
        let records = if hello[3] == 0 && hello[4] == 100 {
            "many records"
        } else {
            "one record"
        };
        let name = format!("ClientHello of {} bytes in {records} by {key}", hello.len());
        group.bench_function(name, |b| {
            b.iter(|| {
                black_box(sniffer.read(black_box(&hello), &peer, false));
            });
        });
    }
    group.finish();
}

fn proxied(c: &mut Criterion) {
    let mut group = c.benchmark_group("PROXY header");
    let addresses = [198, 51, 100, 7, 203, 0, 113, 9, 0x13, 0x88, 1, 0xbb];
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0";
    let plain = [&fixed[..], &[12], &addresses].concat();
    let fields = [
        &fixed[..],
        &[24],
        &addresses,
        b"\x03\0\x04\0\0\0\0\x01\0\x02h2",
    ]
    .concat();
    for (name, header) in [
        ("version 1 TCP4", TCP4),
        ("version 1 TCP6", TCP6),
        ("version 2", &plain),
        ("version 2 with a (wrong) checksum", &fields),
    ] {
        group.bench_function(name, |b| b.iter(|| proxy::read(black_box(header), false)));
    }
    group.finish();
}

/// What a client can make us do that sends a byte at a time: one reading while the head is far from its end.
fn slow(c: &mut Criterion) {
    let mut group = c.benchmark_group("not yet");
    let peer = peer();
    let long = [
        &BROWSER[..BROWSER.len() - 2],
        b"x-long: ",
        &[b'x'; HEAD_MAX],
    ]
    .concat();
    for length in [100, 700, 4096, HEAD_MAX - 1] {
        let mut sniffer = sniffer("cookie:sid");
        group.bench_function(format!("request, {length} bytes so far"), |b| {
            b.iter(|| {
                black_box(sniffer.read(black_box(&long[..length]), &peer, false));
            });
        });
    }
    let lines = [
        &BROWSER[..BROWSER.len() - 2],
        &b"x-more: xxxxxxxxxxxxxxxxx\r\n".repeat(100),
    ]
    .concat();
    let mut by_cookie = sniffer("cookie:sid");
    group.bench_function(
        format!("request, {} bytes so far, at a line's end", lines.len()),
        |b| {
            b.iter(|| {
                black_box(by_cookie.read(black_box(&lines), &peer, false));
            });
        },
    );
    let hello = hello(12_000, 1);
    let mut by_name = sniffer("sni");
    group.bench_function(
        "ClientHello in records of one byte, 16,383 bytes so far",
        |b| {
            b.iter(|| {
                black_box(by_name.read(black_box(&hello[..HEAD_MAX - 1]), &peer, false));
            });
        },
    );
    group.finish();
}

criterion_group!(benches, keys, proxied, slow);
criterion_main!(benches);
