//! Tests of [`super`]; nothing else calls them.

use super::*;

fn loopback(text: &str) -> Heard {
    hear(text.as_bytes(), Names::Loopback)
}

fn code(text: &str) -> u16 {
    match loopback(text) {
        Heard::Refused(refusal) => refusal.code,
        Heard::Request(..) => 200,
        Heard::Part => 0,
    }
}

fn get(target: &str) -> Heard {
    loopback(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

#[test]
fn every_resource_is_found() {
    let table = [
        ("/", Resource::Page),
        ("/?from=here", Resource::Page),
        ("http://127.0.0.1:9100", Resource::Page),
        ("/metrics", Resource::Metrics),
        ("http://localhost/metrics?a=b", Resource::Metrics),
        ("/status", Resource::Status),
        ("/healthz", Resource::Health),
        ("/readyz", Resource::Ready(Enough::Workers(1))),
        ("/readyz?min=3", Resource::Ready(Enough::Workers(3))),
        ("/readyz?min=75%25", Resource::Ready(Enough::Percent(75))),
    ];
    for (target, resource) in table {
        let Heard::Request(request, length) = get(target) else {
            panic!("{target}: {:?}", get(target));
        };
        assert_eq!(request.resource, resource, "{target}");
        assert_eq!(length, target.len() + 34);
        assert!(request.keep && !request.head_only);
    }
}

#[test]
fn what_follows_is_another_request() {
    let one = "HEAD /status HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 0\r\nConnection: x, Close\r\n\r\n";
    let Heard::Request(request, length) = loopback(&format!("{one}GET /")) else {
        panic!("no request");
    };
    assert_eq!(length, one.len());
    assert!(request.head_only && !request.keep);
    let Heard::Request(request, _) = loopback("GET / HTTP/1.0\r\n\r\n") else {
        panic!("no request");
    };
    assert!(!request.keep, "HTTP/1.0 asks once");
}

#[test]
fn a_part_is_waited_for() {
    let whole = "GET /metrics HTTP/1.1\r\nHost: localhost:9100\r\nA: b\r\n\r\n";
    for length in 0..whole.len() {
        assert_eq!(code(&whole[..length]), 0, "{:?}", &whole[..length]);
    }
    assert_eq!(code(whole), 200);
}

#[test]
fn what_is_no_request_of_ours_is_refused() {
    let host = "Host: localhost\r\n";
    let many = "A: b\r\n".repeat(65);
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_MAX));
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(HEAD_MAX));
    let table: &[(u16, String)] = &[
        (404, format!("GET /secret HTTP/1.1\r\n{host}\r\n")),
        (404, format!("GET /metrics/ HTTP/1.1\r\n{host}\r\n")),
        (404, format!("GET //metrics HTTP/1.1\r\n{host}\r\n")),
        (404, format!("GET * HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /readyz?min=lots HTTP/1.1\r\n{host}\r\n")),
        (405, format!("POST /metrics HTTP/1.1\r\n{host}\r\n")),
        (405, format!("OPTIONS * HTTP/1.1\r\n{host}\r\n")),
        (405, format!("get / HTTP/1.1\r\n{host}\r\n")),
        (400, "GET / HTTP/1.1\r\n\r\n".into()),
        (400, format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        (
            400,
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\n"),
        ),
        (
            400,
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: 1\r\n\r\n"),
        ),
        (
            400,
            format!("GET / HTTP/1.1\r\n{host}Content-Length: +0\r\n\r\n"),
        ),
        (
            400,
            format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
        ),
        (400, format!("GET / HTTP/1.1\r\n{host} folded\r\n\r\n")),
        (
            400,
            format!("GET / HTTP/1.1\r\n{host}Content-Length : 0\r\n\r\n"),
        ),
        (400, "GET / HTTP/1.1\nHost: localhost\n\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: localhost\n".into()),
        (505, format!("GET / HTTP/2.0\r\n{host}\r\n")),
        (400, "\x16\x03\x01\x02\x00\x01\x00".into()),
        (505, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".into()),
        (431, format!("GET / HTTP/1.1\r\n{host}{many}\r\n")),
        (431, endless),
        (431, long[..HEAD_MAX].into()),
    ];
    for (expected, text) in table {
        assert_eq!(code(text), *expected, "{:?}", &text[..text.len().min(90)]);
    }
}

#[test]
fn a_name_from_elsewhere_is_refused_on_loopback_only() {
    let named = |host: &str, names| {
        hear(
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
            names,
        )
    };
    for good in [
        "localhost",
        "LocalHost.:9100",
        "web.localhost",
        "127.0.0.1",
        "127.0.0.1:9100",
        "[::1]:9100",
        "10.0.0.1",
    ] {
        assert!(
            matches!(named(good, Names::Loopback), Heard::Request(..)),
            "{good}"
        );
    }
    for bad in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:9100",
        "evil.example:127",
        "localhost:evil",
        "localhost:",
        "[::1",
        "[evil]",
        "",
        "localhost@evil.example",
    ] {
        let Heard::Refused(refusal) = named(bad, Names::Loopback) else {
            panic!("{bad} was answered");
        };
        assert_eq!(refusal.code, 421, "{bad}");
        assert!(
            matches!(named(bad, Names::Any), Heard::Request(..)),
            "{bad}"
        );
    }
    let both = "GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(code(both), 421);
}

#[test]
fn no_bytes_make_it_panic() {
    let mut chance = oorandom::Rand64::new(1);
    let mut random = || chance.rand_u64();
    let alphabet = b"GET /metrics?min=1% HTTP/1.1\r\nHost: [::1]:80\r\n\r\n\0\xff";
    for _ in 0..50_000 {
        let length = random() as usize % 80;
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| alphabet[random() as usize % alphabet.len()])
            .collect();
        if random() % 2 == 0 {
            bytes.splice(0..0, b"GET / HTTP/1.1\r\nHost:".iter().copied());
        }
        hear(&bytes, Names::Loopback);
    }
}
