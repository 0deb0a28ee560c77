//! Each format by a table of examples, fed a byte at a time, and all of them by what holds for any bytes.

use super::*;

mod forwarded;
mod http;
mod proxy;
mod random;
mod route;
mod tls;
mod walk;
mod websocket;

/// Whatever may stand behind a decided beginning.
const TAILS: [&[u8]; 5] = [
    b"x",
    b"\r\n\r\n",
    b"\0\xff",
    b": ",
    b"GET /other HTTP/1.1\r\nCookie: sid=other.9\r\n\r\n",
];

/// A sniffer for this key, changed as `change` wants.
fn sniffer_with(key: &str, change: impl FnOnce(&mut Routing)) -> Sniffer {
    let mut routing = Routing {
        sticky: Some(key.parse().unwrap()),
        ..Routing::default()
    };
    change(&mut routing);
    Sniffer::new(&routing).unwrap()
}

fn sniffer(key: &str) -> Sniffer {
    sniffer_with(key, |_| ())
}

fn peer(ip: &str) -> Address {
    endpoint(SocketAddr::new(ip.parse().unwrap(), 40_000))
}

/// An address as one would write it, without a port if it is 0.
fn written(address: &Address) -> String {
    let [a, b, c, d, ..] = address.ip;
    let ip = match address.family {
        Family::None => return "nobody".into(),
        Family::V4 => IpAddr::from([a, b, c, d]),
        Family::V6 => IpAddr::from(address.ip),
    };
    match address.port {
        0 => ip.to_string(),
        port => SocketAddr::new(ip, port).to_string(),
    }
}

/// A reading in a few words.
fn words(reading: Reading<'_>) -> String {
    let Reading::Done(found) = reading else {
        return "more".into();
    };
    match found {
        Found::Key { kind, bytes } => {
            let bytes = bytes.escape_ascii().to_string();
            format!("{kind:?} {}", bytes.replace("\\\"", "\""))
        }
        Found::Address { kind, address } => format!("{kind:?} {}", written(&address)),
        Found::Slot { kind, slot } => format!("{kind:?} {slot}"),
        Found::Anybody => "anybody".into(),
        Found::Fallback(why) => format!("{why:?}"),
    }
}

/// What is said of `bytes` in the end, and after how many of them. They come one at a time; what is said must stay,
/// whatever comes then, and with the end in sight something must be said.
#[track_caller]
fn settled(sniffer: &mut Sniffer, bytes: &[u8], peer: &Address) -> (String, usize) {
    let mut said = None;
    for upto in 0..=bytes.len() {
        let now = words(sniffer.read(&bytes[..upto], peer, false));
        if said.is_none() && now != "more" {
            said = Some((now.clone(), upto));
        }
        let last = words(sniffer.read(&bytes[..upto], peer, true));
        let expected = if now == "more" { "Unreadable" } else { &now };
        assert_eq!(last, expected, "at the end, {upto}");
    }
    let Some((said, at)) = said else {
        return ("more".into(), bytes.len());
    };
    assert_eq!(words(sniffer.read(bytes, peer, false)), said, "all of it");
    for tail in TAILS {
        let longer = [bytes, tail].concat();
        let now = words(sniffer.read(&longer, peer, false));
        // What was wrong in a line is seen again where the next line ends.
        let waits = said == "Unreadable" && now == "more";
        assert!(now == said || waits, "{now} with {tail:?}, not {said}");
    }
    (said, at)
}

#[track_caller]
fn expect(key: &str, bytes: &[u8], expected: &str) {
    let (said, _) = settled(&mut sniffer(key), bytes, &peer("192.0.2.1"));
    assert_eq!(said, expected, "{key} of {}", bytes.escape_ascii());
}

#[test]
fn nothing_is_read_where_nothing_has_to_be() {
    let none = Routing::default();
    assert!(Sniffer::new(&none).is_none());
    let by_address = Routing {
        sticky: Some("ip/24".parse().unwrap()),
        proxy_protocol: true,
        ..Routing::default()
    };
    assert!(Sniffer::new(&by_address).is_none());
}

#[test]
fn a_shield_alone_reads_no_key() {
    let mut shield = Sniffer::new(&Routing {
        header_complete: true,
        ..Routing::default()
    });
    let shield = shield.as_mut().unwrap();
    assert_eq!(
        words(shield.read(b"", &peer("192.0.2.1"), false)),
        "anybody"
    );
    let mut by_address = sniffer_with("ip", |routing| routing.header_complete = true);
    let said = words(by_address.read(b"", &peer("192.0.2.1"), false));
    assert_eq!(said, "Ip 192.0.2.1:40000");
}

#[test]
fn what_is_complete_is_told_from_what_is_not() {
    let hello = tls::hello(&[]);
    let (v1, v2) = (proxy::V1, proxy::v2(0x21, 0x11, &proxy::V4_ADDRESSES));
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice();
    let complete = [
        request.to_vec(),
        b"\r\nget /lower HTTP/1.0\n\nbody".to_vec(),
        hello.clone(),
        [v1, request].concat(),
        [v2.as_slice(), request].concat(),
        [v1, &hello].concat(),
        b"SSH-2.0-x\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n".to_vec(),
        b"\0\0\0".to_vec(),
        b"PROXY TCP5 ".to_vec(),
        vec![b'a'; HEAD_MAX],
    ];
    for bytes in &complete {
        assert!(Sniffer::complete(bytes), "{}", bytes.escape_ascii());
    }
    let heads = &complete[..6];
    for head in heads {
        // Without its last byte, which the second one's body makes several.
        for upto in 0..head.len() - if head.ends_with(b"body") { 5 } else { 1 } {
            assert!(
                !Sniffer::complete(&head[..upto]),
                "{}",
                head[..upto].escape_ascii()
            );
        }
    }
}
