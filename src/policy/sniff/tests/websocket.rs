//! Which requests are sticky where only WebSockets and engine.io are, with any key.

use super::*;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

#[track_caller]
fn said(key: &str, line: &str, headers: &str) -> (String, usize) {
    let mut sniffer = sniffer_with(key, |routing| routing.websocket_sticky = true);
    let head = format!("{line}\r\n{headers}\r\n");
    settled(&mut sniffer, head.as_bytes(), &peer("192.0.2.1"))
}

#[test]
fn websockets_are_told_from_other_requests() {
    let sticky = "Ip 192.0.2.1:40000";
    for (line, headers, expected) in [
        ("GET /chat HTTP/1.1", UPGRADE, sticky),
        (
            "GET / HTTP/1.1",
            "upgrade:WebSocket\r\nconnection:keep-alive, UPGRADE\r\n",
            sticky,
        ),
        (
            "GET / HTTP/1.1",
            "Connection: x\r\nConnection: upgrade\r\nUpgrade: h2c, websocket/13\r\n",
            sticky,
        ),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\n", "anybody"),
        ("GET / HTTP/1.1", "Connection: upgrade\r\n", "anybody"),
        (
            "GET / HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
            "anybody",
        ),
        (
            "GET / HTTP/1.1",
            "Connection: upgraded\r\nUpgrade: websocket\r\n",
            "anybody",
        ),
        (
            "GET / HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: websockets\r\n",
            "anybody",
        ),
        ("GET / HTTP/1.1", "Host: h\r\n", "anybody"),
        ("POST / HTTP/1.1", UPGRADE, "anybody"),
        (
            "GET /socket.io/?EIO=4&transport=polling&t=x HTTP/1.1",
            "",
            sticky,
        ),
        (
            "POST /any/?transport=polling&sid=1&EIO=3 HTTP/1.1",
            "",
            sticky,
        ),
        (
            "OPTIONS /engine.io/?EIO=4&transport=polling HTTP/1.1",
            "",
            sticky,
        ),
        ("GET /socket.io/?EIO=4 HTTP/1.1", "", "anybody"),
        ("GET /socket.io/?transport=polling HTTP/1.1", "", "anybody"),
        ("GET /EIO=4&transport=polling HTTP/1.1", "", "anybody"),
        ("GET /socket.io/socket.io.js HTTP/1.1", "", "anybody"),
        ("GET / HTTP/3.0", "", "Unreadable"),
    ] {
        assert_eq!(said("ip", line, headers).0, expected, "{line} {headers}");
    }
}

#[test]
fn what_the_first_line_tells_is_not_waited_for() {
    for line in [
        "GET /?EIO=4&transport=polling HTTP/1.1",
        "POST /upload HTTP/1.1",
    ] {
        assert_eq!(said("ip", line, "Host: h\r\n").1, line.len() + 2);
    }
}

#[test]
fn any_key_goes_with_it() {
    let line = "GET /room/7?EIO=4&transport=websocket&id=q HTTP/1.1";
    let headers = "X-User: u\r\nCookie: sid=c.5\r\nX-Forwarded-For: 198.51.100.7\r\n";
    for (key, expected) in [
        ("header:x-user", "Header u"),
        ("header:x-forwarded-for", "Header 198.51.100.7"),
        ("cookie:sid", "Cookie c.5"),
        ("query:id", "Query q"),
        ("path:1", "Path /room"),
        ("route:sid", "Route 5"),
        ("proxy", "Absent"),
        ("sni", "Unreadable"),
        ("cookie:none", "Absent"),
        ("route:none", "anybody"),
    ] {
        let upgrade = [headers, UPGRADE].concat();
        assert_eq!(said(key, line, &upgrade).0, expected, "{key}");
        let plain = "GET /room/7?id=q HTTP/1.1";
        assert_eq!(said(key, plain, headers).0, "anybody", "{key}");
        assert_eq!(said(key, plain, &upgrade).0, expected, "{key}");
    }
}

#[test]
fn the_request_behind_a_proxy_header_is_looked_at() {
    let mut sniffer = sniffer_with("proxy", |routing| routing.websocket_sticky = true);
    for (headers, expected) in [(UPGRADE, "Proxy 198.51.100.7:5000"), ("", "anybody")] {
        let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        for header in [
            super::proxy::V1.to_vec(),
            super::proxy::v2(0x21, 0x11, &super::proxy::V4_ADDRESSES),
        ] {
            let bytes = [header, head.clone().into_bytes()].concat();
            let (said, at) = settled(&mut sniffer, &bytes, &peer("192.0.2.1"));
            assert_eq!((said.as_str(), at), (expected, bytes.len()));
        }
    }
}

#[test]
fn tls_cannot_be_looked_into() {
    let hello = tls::hello(&[tls::name(b"a.example")]);
    for (key, expected) in [
        ("ip", "Unreadable"),
        ("cookie:sid", "Unreadable"),
        ("sni", "Sni a.example"),
    ] {
        let mut sniffer = sniffer_with(key, |routing| routing.websocket_sticky = true);
        let (said, _) = settled(&mut sniffer, &hello, &peer("192.0.2.1"));
        assert_eq!(said, expected, "{key}");
    }
}
