//! Slots in session ids.

use super::*;

#[test]
fn a_slot_stands_behind_the_last_dot() {
    for (value, expected) in [
        ("abc.3", "Route 3"),
        ("abc.0", "Route 0"),
        (".7", "Route 7"),
        ("a.b.c.65535", "Route 65535"),
        ("\"abc.3\"", "Route 3"),
        ("abc.03", "Route 3"),
        ("s:abc.3.k2jhd/+ds", "Route 3"),
        ("s%3Aabc.3.12", "Route 3"),
        ("s%3aabc.x.3.12", "Route 3"),
        ("s%3Aabc.3", "anybody"),
        ("s.3", "Route 3"),
        ("abc.3.k2jhd", "anybody"),
        ("abc", "anybody"),
        ("abc.", "anybody"),
        ("abc.+3", "anybody"),
        ("abc.-3", "anybody"),
        ("abc.3 4", "anybody"),
        ("abc.65536", "anybody"),
        ("abc.99999999999999999999", "anybody"),
        ("abc.w3", "anybody"),
        ("3", "anybody"),
        ("", "anybody"),
    ] {
        let cookie = format!("GET / HTTP/1.1\r\nCookie: sid={value}\r\n\r\n");
        expect("route:sid", cookie.as_bytes(), expected);
        let header = format!("GET / HTTP/1.1\r\nSID: {}\r\n\r\n", value.trim_matches('"'));
        expect("route:sid", header.as_bytes(), expected);
        if !value.contains(' ') {
            let query = format!("GET /?sid={} HTTP/1.1\r\n\r\n", value.trim_matches('"'));
            expect("route:sid", query.as_bytes(), expected);
        }
    }
}

#[test]
fn cookie_then_header_then_parameter() {
    for (cookie, header, query, expected) in [
        ("a.1", "a.2", "a.3", "Route 1"),
        ("", "a.2", "a.3", "Route 2"),
        ("", "", "a.3", "Route 3"),
        ("plain", "a.2", "a.3", "Route 2"),
        ("plain", "plain", "a.3", "Route 3"),
        ("plain", "plain", "plain", "anybody"),
    ] {
        let head =
            format!("GET /?sid={query} HTTP/1.1\r\nsid: {header}\r\nCookie: sid={cookie}\r\n\r\n");
        expect("route:sid", head.as_bytes(), expected);
    }
}
