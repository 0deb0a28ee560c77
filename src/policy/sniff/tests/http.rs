//! Headers, cookies, parameters and paths of requests, and what is none.

use super::*;

fn request(first: &str, headers: &str) -> Vec<u8> {
    format!("{first}\r\n{headers}\r\n").into_bytes()
}

#[test]
fn headers() {
    for (headers, expected) in [
        ("X-User: anna\r\n", "Header anna"),
        ("x-USER:anna\r\n", "Header anna"),
        ("X-User: \t anna b \t\r\n", "Header anna b"),
        ("X-User: \"anna\"\r\n", "Header \"anna\""),
        ("Host: h\r\nX-User: anna\r\nX-User: bert\r\n", "Header anna"),
        ("X-User: \u{e4}\r\n", "Header \\xc3\\xa4"),
        ("X-User: anna\nHost: h\n", "Header anna"),
        ("", "Absent"),
        ("X-User:\r\n", "Absent"),
        ("X-User:  \r\n", "Absent"),
        ("X-User-Name: anna\r\n", "Absent"),
        ("X-User : anna\r\n", "Unreadable"),
        ("X-User\r\n", "Unreadable"),
        ("Host: h\r\n folded: anna\r\n", "Unreadable"),
        ("X-User: an\0na\r\n", "Unreadable"),
        ("X-User: an\rna\r\n", "Unreadable"),
    ] {
        expect(
            "header:X-User",
            &request("GET / HTTP/1.1", headers),
            expected,
        );
    }
}

#[test]
fn cookies() {
    for (headers, expected) in [
        ("Cookie: sid=1\r\n", "Cookie 1"),
        ("cookie:sid=1\r\n", "Cookie 1"),
        ("Cookie: a=0; sid=1; b=2\r\n", "Cookie 1"),
        ("Cookie: a=0;sid=1;\r\n", "Cookie 1"),
        ("Cookie: a=0\r\nCookie: sid=1\r\n", "Cookie 1"),
        ("Cookie: sid=1; sid=2\r\nCookie: sid=3\r\n", "Cookie 1"),
        ("Cookie: sid = 1 \r\n", "Cookie 1"),
        ("Cookie: sid=\"1; 2\"\r\n", "Cookie \"1"),
        ("Cookie: sid=\"1\"\r\n", "Cookie 1"),
        ("Cookie: sid=\"\r\n", "Cookie \""),
        ("Cookie: sid=a=b==\r\n", "Cookie a=b=="),
        ("Cookie: ;;; sid=1\r\n", "Cookie 1"),
        ("Cookie: sid; sid=1\r\n", "Cookie 1"),
        ("Cookie: sid\r\n", "Absent"),
        ("Cookie: SID=1; xsid=2; sidx=3; =4; a=sid=5\r\n", "Absent"),
        ("Cookie: sid=\r\n", "Absent"),
        ("Cookie: sid=\"\"\r\n", "Absent"),
        ("Set-Cookie: sid=1\r\n", "Absent"),
        ("", "Absent"),
    ] {
        expect("cookie:sid", &request("GET / HTTP/1.1", headers), expected);
    }
}

#[test]
fn parameters() {
    for (target, expected) in [
        ("/?id=1", "Query 1"),
        ("/a/b?x=y&id=1&id=2", "Query 1"),
        ("/?a=?id=0&id=1", "Query 1"),
        ("/?id=a%20b%26", "Query a%20b%26"),
        ("/?id=a=b", "Query a=b"),
        ("http://host/?id=1", "Query 1"),
        ("http://host?id=1", "Query 1"),
        ("*?id=1", "Query 1"),
        ("/", "Absent"),
        ("/id=1", "Absent"),
        ("/?", "Absent"),
        ("/?id", "Absent"),
        ("/?id=", "Absent"),
        ("/?ID=1&xid=2&i%64=3", "Absent"),
        ("host:443", "Absent"),
    ] {
        let line = format!("GET {target} HTTP/1.1");
        expect("query:id", &request(&line, "Host: h\r\n"), expected);
    }
}

#[test]
fn paths() {
    for (target, one, two) in [
        ("/a", "Path /a", "Path /a"),
        ("/a/b", "Path /a", "Path /a/b"),
        ("/a/b/c?d/e", "Path /a", "Path /a/b"),
        ("/a/", "Path /a", "Path /a/"),
        ("/a//b", "Path /a", "Path /a/"),
        ("//a/b", "Absent", "Path //a"),
        ("/a?b/c", "Path /a", "Path /a"),
        ("/A/%62;x=1/..", "Path /A", "Path /A/%62;x=1"),
        ("http://host:80/a/b/c", "Path /a", "Path /a/b"),
        ("http://host/", "Absent", "Absent"),
        ("http://host", "Absent", "Absent"),
        ("http://host?/a/b", "Absent", "Absent"),
        ("/", "Absent", "Absent"),
        ("//", "Absent", "Absent"),
        ("/?a=/b/c", "Absent", "Absent"),
        ("*", "Absent", "Absent"),
        ("host:443", "Absent", "Absent"),
    ] {
        let head = request(&format!("OPTIONS {target} HTTP/1.1"), "Host: h\r\n");
        expect("path:1", &head, one);
        expect("path:2", &head, two);
        expect("path:255", &head, &expect_all(target));
    }
}

/// What all segments of a target make.
fn expect_all(target: &str) -> String {
    let path = target.strip_prefix("http://host").unwrap_or(target);
    let path = path.strip_prefix(":80").unwrap_or(path);
    let path = path.split('?').next().unwrap();
    let has_segments = path.starts_with('/') && path.contains(|c| c != '/');
    if has_segments {
        format!("Path {path}")
    } else {
        "Absent".into()
    }
}

#[test]
fn the_first_line_is_enough_for_what_it_has() {
    let line = b"gEt /a?id=1 HTTP/1.0\r\n";
    for key in ["query:id", "path:1"] {
        let (_, at) = settled(&mut sniffer(key), line, &peer("192.0.2.1"));
        assert_eq!(at, line.len());
        let garbage = [line.as_slice(), b"\0\0\0\0\n"].concat();
        let (_, at) = settled(&mut sniffer(key), &garbage, &peer("192.0.2.1"));
        assert_eq!(at, line.len());
    }
}

#[test]
fn only_the_first_of_several_requests_counts() {
    let first = request("GET / HTTP/1.1", "Host: h\r\n");
    let second = request("GET /?sid=2 HTTP/1.1", "Cookie: sid=2\r\nX-User: 2\r\n");
    let both = [first.clone(), second].concat();
    for key in ["cookie:sid", "header:x-user", "query:sid"] {
        expect(key, &both, "Absent");
    }
    let (_, at) = settled(&mut sniffer("cookie:sid"), &both, &peer("192.0.2.1"));
    assert_eq!(at, first.len());
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    for empty in ["\r\n", "\n", "\r\n\r\n\n\r\n"] {
        let head = format!("{empty}GET /?id=1 HTTP/1.1\r\nCookie: sid=1\r\n\r\n");
        expect("cookie:sid", head.as_bytes(), "Cookie 1");
        expect("query:id", head.as_bytes(), "Query 1");
    }
}

#[test]
fn any_method_is_one() {
    for method in [
        "GET",
        "get",
        "X",
        "M-SEARCH",
        "PROPFIND",
        "a!#$%&'*+-.^_`|~9",
    ] {
        let head = request(&format!("{method} / HTTP/1.1"), "Cookie: sid=1\r\n");
        expect("cookie:sid", &head, "Cookie 1");
    }
}

/// What is certainly no HTTP, and by which byte that is certain.
#[test]
fn what_is_no_http_is_known_at_once() {
    for (bytes, at) in [
        (b"\x16\x03\x01\x02".as_slice(), 1),
        (b"\0", 1),
        (b" GET / HTTP/1.1\r\n", 1),
        (b"\r\n\r\n\0\r\nQUIT\n", 5),
        (b"\rx", 2),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 20),
        (b"*1\r\n$4\r\nPING\r\n", 3),
        (b"GET /\r\n", 6),
        (b"GET / HTTP/2.0\r\n", 12),
        (b"GET / HTTP/1.2\r\n", 14),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 12),
        (b"GET  / HTTP/1.1\r\n", 5),
        (b"HTTP/1.1 200 OK\r\n", 5),
        (b"\x80\x2e\x01\x03\x01", 1),
        (b"\xff\xfd\x18", 1),
    ] {
        for key in ["cookie:sid", "header:x", "query:q", "path:1", "route:r"] {
            let (said, when) = settled(&mut sniffer(key), bytes, &peer("192.0.2.1"));
            assert_eq!(said, "Unreadable", "{}", bytes.escape_ascii());
            assert_eq!(when, at, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn heads_of_any_length_that_fits_are_read() {
    let mut headers: String = (0..126).map(|n| format!("h{n}: x\r\n")).collect();
    headers += "Cookie: sid=1\r\n";
    expect_once(&headers, "Cookie 1");
    headers += "last: x\r\n";
    expect_once(&headers, "Cookie 1");
    headers += "too: many\r\n";
    expect_once(&headers, "Unreadable");
    let long = format!("long: {}\r\nCookie: sid=1\r\n", "x".repeat(HEAD_MAX - 100));
    expect_once(&long, "Cookie 1");
}

/// As [`expect`], but all at once.
fn expect_once(headers: &str, expected: &str) {
    let head = request("GET / HTTP/1.1", headers);
    let mut sniffer = sniffer("cookie:sid");
    let said = words(sniffer.read(&head, &peer("192.0.2.1"), true));
    assert_eq!(said, expected);
}

#[test]
fn a_head_that_does_not_end_is_unreadable_in_the_end() {
    let head = request("GET / HTTP/1.1", "Cookie: sid=1\r\n");
    let mut sniffer = sniffer("cookie:sid");
    let cut = &head[..head.len() - 1];
    let reading = sniffer.read(cut, &peer("192.0.2.1"), false);
    assert_eq!(words(reading), "more");
    let reading = sniffer.read(cut, &peer("192.0.2.1"), true);
    assert_eq!(words(reading), "Unreadable");
}
