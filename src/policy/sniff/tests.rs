//! Each format by a table of examples, and all of them by what holds for every format.

use super::*;

fn sniffer(key: &str) -> Sniffer {
    let routing = Routing {
        sticky: Some(key.parse().unwrap()),
        ..Routing::default()
    };
    Sniffer::new(&routing).unwrap()
}

#[test]
fn a_cookie_is_a_key() {
    let head = b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=1; sid=\"abc\"\r\n\r\n";
    let found = Found::Key {
        kind: Kind::Cookie,
        bytes: b"abc",
    };
    let mut sniffer = sniffer("cookie:sid");
    let peer = Address::default();
    assert_eq!(sniffer.read(head, &peer, false), Reading::Done(found));
    let cut = sniffer.read(&head[..20], &peer, false);
    assert_eq!(cut, Reading::More);
}
