//! What holds for any bytes: no panic, an answer at the end, and one answer only.

use super::*;
use crate::random::Random;

const KEYS: [&str; 11] = [
    "header:x-user",
    "header:x-forwarded-for",
    "cookie:sid",
    "query:sid",
    "path:2",
    "route:sid",
    "sni",
    "alpn",
    "proxy",
    "proxy/24",
    "ip",
];

fn right() -> Vec<Vec<u8>> {
    let browser = b"GET /a/b?sid=q.1&EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nX-User: anna\r\n\
        X-Forwarded-For: 198.51.100.7, \"[::1]:80\"\r\nCookie: a=b; sid=\"c.2\"\r\nConnection: upgrade\r\n\
        Upgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let hello = tls::hello(&[
        tls::alpn(&[b"\x0a\x0a", b"h2", b"http/1.1"]),
        tls::name(b"A.example."),
        tls::extension(43, b"\x02\x03\x04"),
    ]);
    vec![
        browser.to_vec(),
        b"\r\nPOST http://h/a?sid=1 HTTP/1.0\nCookie: sid=3\n\nbody".to_vec(),
        hello.clone(),
        tls::records(&hello[5..], 7),
        [proxy::V1, browser].concat(),
        [proxy::v2(0x21, 0x11, &proxy::V4_ADDRESSES), hello].concat(),
        Vec::new(),
    ]
}

const INSERTS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b";",
    b",",
    b"=",
    b"\"",
    b"?",
    b"sid=",
    b"Cookie: sid=9\r\n",
    b"\0",
    b"\xff\xff",
    b"\x16\x03\x01\0\x01\x01",
    b"PROXY ",
];

fn sniffers() -> Vec<Sniffer> {
    let plain = KEYS
        .iter()
        .filter(|key| **key != "ip")
        .map(|key| sniffer(key));
    let websockets = KEYS
        .iter()
        .map(|key| sniffer_with(key, |routing| routing.websocket_sticky = true));
    plain.chain(websockets).collect()
}

/// One answer, found at some length, is the answer at every greater one.
fn walk(random: &mut Random, sniffers: &mut [Sniffer], bytes: &[u8]) {
    let mut cuts: Vec<usize> = (0..6).map(|_| random.below(bytes.len() + 1)).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let peer = peer("192.0.2.1");
    for sniffer in sniffers {
        let mut said: Option<String> = None;
        for &upto in &cuts {
            let now = words(sniffer.read(&bytes[..upto], &peer, false));
            let last = words(sniffer.read(&bytes[..upto], &peer, true));
            assert_ne!(last, "more", "{sniffer:?} {}", bytes.escape_ascii());
            match &said {
                None if now != "more" => said = Some(now),
                // What was wrong in a line is seen again where the next line ends.
                Some(said) if now != *said && (said != "Unreadable" || now != "more") => {
                    panic!("{said}, then {now}: {sniffer:?} {}", bytes.escape_ascii());
                }
                _ => {}
            }
        }
    }
    let mut complete = false;
    for &upto in &cuts {
        complete |= Sniffer::complete(&bytes[..upto]);
    }
    assert!(!complete || Sniffer::complete(bytes) || !bytes.ends_with(b"\n"));
}

fn walks(rounds: usize, seed: u64) {
    let mut random = Random(seed);
    let right = right();
    let mut sniffers = sniffers();
    for _ in 0..rounds {
        let mut bytes = random.pick(&right).clone();
        random.damage(&mut bytes, &INSERTS);
        walk(&mut random, &mut sniffers, &bytes);
    }
    for _ in 0..rounds / 10 {
        let length = random.below(64);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        random.damage(&mut bytes, &INSERTS);
        walk(&mut random, &mut sniffers, &bytes);
    }
}

#[test]
fn nearly_right_bytes_have_one_answer() {
    walks(3_000, 0x0005_eed0_0002);
}

#[test]
#[ignore = "long: some minutes"]
fn many_nearly_right_bytes_have_one_answer() {
    for seed in 0..20 {
        walks(20_000, seed);
    }
}

#[test]
fn every_beginning_of_what_is_right_has_one_answer() {
    for bytes in right() {
        for sniffer in &mut sniffers() {
            settled(sniffer, &bytes, &peer("192.0.2.1"));
        }
    }
}
