//! Which hop of X-Forwarded-For is the client.

use super::*;

const TRUSTED: &str = "10.0.0.0/8,2001:db8:1::/48";

#[track_caller]
fn client(trusted: &str, of: &str, headers: &str) -> String {
    let mut sniffer = sniffer_with("header:X-Forwarded-For", |routing| {
        if !trusted.is_empty() {
            routing.trusted_proxies = trusted.parse().unwrap();
        }
    });
    let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
    settled(&mut sniffer, head.as_bytes(), &peer(of)).0
}

fn chain(hops: &str) -> String {
    format!("X-Forwarded-For: {hops}\r\n")
}

#[test]
fn with_trusted_proxies_the_first_other_hop_from_the_right() {
    for (hops, expected) in [
        ("198.51.100.7", "Header 198.51.100.7"),
        ("198.51.100.7, 10.1.1.1", "Header 198.51.100.7"),
        ("198.51.100.7,10.1.1.1,\t10.2.2.2 ", "Header 198.51.100.7"),
        ("1.2.3.4, 198.51.100.7, 10.1.1.1", "Header 198.51.100.7"),
        ("10.3.3.3, 10.1.1.1", "Header 10.3.3.3"),
        ("10.3.3.3, 198.51.100.7, 10.1.1.1", "Header 198.51.100.7"),
        ("198.51.100.7:4711, 10.1.1.1:80", "Header 198.51.100.7:4711"),
        ("\"198.51.100.7\"", "Header 198.51.100.7"),
        ("2001:db8::7", "Header 2001:db8::7"),
        ("[2001:db8::7]", "Header 2001:db8::7"),
        ("[2001:db8::7]:80, 2001:db8:1::1", "Header [2001:db8::7]:80"),
        ("\"[2001:db8::7]:80\"", "Header [2001:db8::7]:80"),
        (
            "::ffff:198.51.100.7, ::ffff:10.1.1.1",
            "Header ::ffff:198.51.100.7",
        ),
        ("nonsense, 198.51.100.7", "Header 198.51.100.7"),
        (", 198.51.100.7 ,, 10.1.1.1,", "Header 198.51.100.7"),
        ("198.51.100.7, unknown", "Absent"),
        ("198.51.100.7, unknown, 10.1.1.1", "Absent"),
        ("198.51.100.07", "Absent"),
        ("198.51.100.7:", "Absent"),
        ("198.51.100.7:65536", "Absent"),
        ("[198.51.100.7]", "Absent"),
        ("[::1", "Absent"),
        ("fe80::1%eth0", "Absent"),
        ("host.example", "Absent"),
        ("\u{e4}", "Absent"),
        ("", "Absent"),
        (",", "Absent"),
    ] {
        assert_eq!(
            client(TRUSTED, "10.9.9.9", &chain(hops)),
            expected,
            "{hops}"
        );
    }
}

#[test]
fn several_headers_are_one_chain() {
    let headers = [chain("1.1.1.1, 198.51.100.7"), chain("10.1.1.1"), chain("")].concat();
    let said = client(TRUSTED, "10.9.9.9", &headers);
    assert_eq!(said, "Header 198.51.100.7");
}

#[test]
fn who_is_not_trusted_is_not_believed_nor_waited_for() {
    let mut sniffer = sniffer_with("header:x-forwarded-for", |routing| {
        routing.trusted_proxies = TRUSTED.parse().unwrap();
    });
    let reading = sniffer.read(b"", &peer("192.0.2.1"), false);
    assert_eq!(words(reading), "Absent");
    let reading = sniffer.read(b"", &peer("::ffff:10.0.0.1"), false);
    assert_eq!(words(reading), "more");
    assert_eq!(
        words(sniffer.read(b"", &Address::default(), false)),
        "Absent"
    );
}

#[test]
fn whoever_comes_over_a_unix_socket_can_be_trusted() {
    let mut sniffer = sniffer_with("header:x-forwarded-for", |routing| {
        routing.trusted_proxies = "unix".parse().unwrap();
    });
    let head = b"GET / HTTP/1.1\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n";
    let reading = sniffer.read(head, &Address::default(), false);
    assert_eq!(words(reading), "Header 198.51.100.7");
}

#[test]
fn without_trusted_proxies_the_last_hop_whoever_says_so() {
    for (hops, expected) in [
        ("1.1.1.1, 198.51.100.7", "Header 198.51.100.7"),
        ("1.1.1.1, 10.1.1.1", "Header 10.1.1.1"),
        ("1.1.1.1, unknown", "Absent"),
    ] {
        assert_eq!(client("", "192.0.2.1", &chain(hops)), expected, "{hops}");
    }
    assert_eq!(client("", "192.0.2.1", ""), "Absent");
}
