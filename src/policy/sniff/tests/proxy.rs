//! PROXY headers of both versions, and what a reader of the specification makes of nearly right ones.

use super::*;
use crate::policy::sniff::proxy::{Header, read};
use crate::random::Random;

mod haproxy;
mod reference;

pub(super) const V1: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.9 5000 443\r\n";
pub(super) const V4_ADDRESSES: [u8; 12] = [198, 51, 100, 7, 203, 0, 113, 9, 0x13, 0x88, 1, 0xbb];
const V4_WORDS: &str = "198.51.100.7:5000 203.0.113.9:443";

fn v6_addresses() -> Vec<u8> {
    let source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let destination = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    [&source[..], &destination, &V4_ADDRESSES[8..]].concat()
}

pub(super) fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &length,
        payload,
    ]
    .concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
}

/// A header with these fields and a right checksum among them.
fn with_sum(before: &[u8], after: &[u8]) -> Vec<u8> {
    let zero = [before, &field(3, &[0; 4]), after].concat();
    let mut header = v2(0x21, 0x11, &[&V4_ADDRESSES[..], &zero].concat());
    let at = header.len() - after.len() - 4;
    let sum = reference::crc32c(&header).to_be_bytes();
    header[at..at + 4].copy_from_slice(&sum);
    header
}

fn said(header: Header) -> String {
    match header {
        Header::More => "more".into(),
        Header::Bad(_) => "bad".into(),
        Header::Whole { source: None, .. } => "peer".into(),
        Header::Whole {
            source: Some((source, destination)),
            ..
        } => format!("{} {}", written(&source), written(&destination)),
    }
}

/// What is said of a header that comes a byte at a time, with something behind it, and after which byte.
#[track_caller]
fn settled_header(bytes: &[u8]) -> (String, usize) {
    let cut = (0..=bytes.len()).find(|&upto| read(&bytes[..upto], false) != Header::More);
    let Some(at) = cut else {
        return ("more".into(), bytes.len());
    };
    let decided = read(&bytes[..at], false);
    for upto in 0..at {
        assert!(
            matches!(read(&bytes[..upto], true), Header::Bad(_)),
            "{upto}"
        );
    }
    for tail in TAILS {
        let longer = [bytes, tail].concat();
        for upto in at..=longer.len() {
            for end in [false, true] {
                assert_eq!(said(read(&longer[..upto], end)), said(decided), "{upto}");
            }
        }
    }
    if let Header::Whole { length, .. } = decided {
        assert_eq!(length, at, "not a byte more than the header");
    }
    (said(decided), at)
}

#[test]
fn version_1() {
    let v6 = "PROXY TCP6 2001:db8::7 2001:db8::9 5000 443\r\n";
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(longest.len(), 104);
    let filler = "x".repeat(107 - "PROXY UNKNOWN \r\n".len());
    for (line, expected) in [
        (str::from_utf8(V1).unwrap(), V4_WORDS),
        (v6, "[2001:db8::7]:5000 [2001:db8::9]:443"),
        (
            "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            "0.0.0.0 255.255.255.255:65535",
        ),
        (
            "PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n",
            "[::ffff:1.2.3.4]:1 [::1]:2",
        ),
        (
            "PROXY TCP6 2001:DB8::A ::1 1 2\r\n",
            "[2001:db8::a]:1 [::1]:2",
        ),
        ("PROXY UNKNOWN\r\n", "peer"),
        ("PROXY UNKNOWN \r\n", "peer"),
        ("PROXY UNKNOWN a b c d e f g h\r\n", "peer"),
        ("PROXY UNKNOWN \0\r\u{e4} \n\r\n", "peer"),
        ("PROXY UNKNOWN\r\r\n", "peer"),
        (&format!("PROXY UNKNOWN {filler}\r\n"), "peer"),
    ] {
        let (said, at) = settled_header(line.as_bytes());
        assert_eq!((said.as_str(), at), (expected, line.len()), "{line:?}");
    }
    assert!(settled_header(longest.as_bytes()).0.ends_with("]:65535"));
}

#[test]
fn version_1_is_strict() {
    for line in [
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n",
        "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 00\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 -2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.256 1 2\r\n",
        "PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 fe80::1%2 ::2 1 2\r\n",
        "PROXY TCP6 [::1] ::2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r \n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY unknown\r\n",
        "PROXY UNKN\r\n",
        "PROXY \r\n",
        "PROXY\r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        " PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n",
        &format!(
            "PROXY UNKNOWN {}\r\n",
            "x".repeat(108 - "PROXY UNKNOWN \r\n".len())
        ),
        &format!("PROXY TCP4 1.1.1.1 2.2.2.2 1 {}\r\n", "0".repeat(108)),
    ] {
        assert_eq!(settled_header(line.as_bytes()).0, "bad", "{line:?}");
    }
}

#[test]
fn version_2() {
    let v6 = v6_addresses();
    let with = |fields: &[Vec<u8>]| v2(0x21, 0x11, &[&V4_ADDRESSES[..], &fields.concat()].concat());
    let full = with(&[field(4, &vec![0; 4096 - 16 - 12 - 3])]);
    assert_eq!(full.len(), 4096);
    for (header, expected) in [
        (v2(0x21, 0x11, &V4_ADDRESSES), V4_WORDS),
        (v2(0x21, 0x21, &v6), "[2001:db8::7]:5000 [2001:db8::9]:443"),
        (
            with(&[field(1, b"h2"), field(0xee, b""), field(4, &[0; 300])]),
            V4_WORDS,
        ),
        (with_sum(b"", b""), V4_WORDS),
        (
            with_sum(&field(1, b"h2"), &field(2, b"a.example")),
            V4_WORDS,
        ),
        (full, V4_WORDS),
        (v2(0x21, 0x12, &V4_ADDRESSES), "peer"),
        (v2(0x21, 0x10, &V4_ADDRESSES), "peer"),
        (v2(0x21, 0x31, &[b'/'; 216]), "peer"),
        (v2(0x21, 0x00, b""), "peer"),
        (v2(0x21, 0x00, b"what\0ever"), "peer"),
        (v2(0x21, 0x01, b"\x03\0\x04abcd"), "peer"),
        (v2(0x20, 0x00, b""), "peer"),
        (v2(0x20, 0x11, b""), "peer"),
        (v2(0x20, 0x21, b"short"), "peer"),
        (v2(0x20, 0xff, &V4_ADDRESSES), "peer"),
        (v2(0x20, 0x11, &V4_ADDRESSES), "peer"),
    ] {
        let (said, at) = settled_header(&header);
        assert_eq!(
            (said.as_str(), at),
            (expected, header.len()),
            "{}",
            header.escape_ascii()
        );
    }
}

/// What is wrong, and by which byte that is known.
#[test]
fn version_2_is_strict() {
    let with = |fields: &[u8]| v2(0x21, 0x11, &[&V4_ADDRESSES[..], fields].concat());
    let mut wrong_sum = with_sum(b"", &field(1, b"h2"));
    *wrong_sum.last_mut().unwrap() ^= 1;
    let short_sum = with(&field(3, b"abc"));
    let overrun = with(b"\x01\0\x05h2");
    let cut = with(b"\x01\0");
    let mut long = v2(0x21, 0x11, &V4_ADDRESSES);
    (long[14], long[15]) = (0xff, 0xff);
    let mut longer = v2(0x20, 0x00, b"");
    (longer[14], longer[15]) = (
        (4096u16 - 15).to_be_bytes()[0],
        (4096u16 - 15).to_be_bytes()[1],
    );
    for (header, at) in [
        (wrong_sum.clone(), wrong_sum.len()),
        (short_sum.clone(), short_sum.len()),
        (overrun.clone(), overrun.len()),
        (cut.clone(), cut.len()),
        (long, 16),
        (longer, 16),
        (v2(0x11, 0x11, &V4_ADDRESSES), 13),
        (v2(0x22, 0x11, &V4_ADDRESSES), 13),
        (v2(0x31, 0x11, &V4_ADDRESSES), 13),
        (v2(0x21, 0x41, &V4_ADDRESSES), 16),
        (v2(0x21, 0x13, &V4_ADDRESSES), 16),
        (v2(0x21, 0x11, &V4_ADDRESSES[..11]), 16),
        (v2(0x21, 0x21, &V4_ADDRESSES), 16),
        (v2(0x21, 0x31, &V4_ADDRESSES), 16),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), 12),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec(), 5),
    ] {
        assert_eq!(
            settled_header(&header),
            ("bad".into(), at),
            "{}",
            header.escape_ascii()
        );
    }
}

#[test]
fn each_bad_end_says_what_it_is() {
    assert_eq!(read(b"", false), Header::More);
    assert_eq!(read(b"", true), Header::Bad("nothing came"));
    assert_eq!(
        read(b"PROXY TC", true),
        Header::Bad("its PROXY header is cut off")
    );
    assert_eq!(
        read(b"GET", true),
        Header::Bad("it does not begin with a PROXY header")
    );
}

#[test]
fn sticky_by_the_source() {
    for (bytes, expected) in [
        (
            [V1, b"GET / HTTP/1.1\r\n"].concat(),
            "Proxy 198.51.100.7:5000",
        ),
        (v2(0x21, 0x11, &V4_ADDRESSES), "Proxy 198.51.100.7:5000"),
        (v2(0x20, 0x11, &V4_ADDRESSES), "Absent"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "Absent"),
        (b"PROXY TCP5\r\n".to_vec(), "Unreadable"),
        (b"POST / HTTP/1.1\r\n".to_vec(), "Absent"),
        (b"\x16\x03\x01".to_vec(), "Absent"),
    ] {
        expect("proxy", &bytes, expected);
    }
    let mut trusting = sniffer_with("proxy", |routing| {
        routing.trusted_proxies = "10.0.0.0/8".parse().unwrap();
    });
    let (said, at) = settled(&mut trusting, V1, &peer("192.0.2.1"));
    assert_eq!((said.as_str(), at), ("Absent", 0));
    let (said, at) = settled(&mut trusting, V1, &peer("10.1.1.1"));
    assert_eq!((said.as_str(), at), ("Proxy 198.51.100.7:5000", V1.len()));
}

#[test]
fn nearly_right_headers_are_read_as_the_specification_has_them() {
    compare(30_000, 0x0005_eed0_0001);
}

#[test]
#[ignore = "long: some minutes"]
fn many_nearly_right_headers_are_read_as_the_specification_has_them() {
    for seed in 0..100 {
        compare(100_000, seed);
    }
}

fn compare(rounds: usize, seed: u64) {
    let mut random = Random(seed);
    let (right, inserts) = examples();
    let mut taken = 0;
    for round in 0..rounds {
        let mut bytes = random.pick(&right).clone();
        random.damage(&mut bytes, &inserts);
        let ours = match read(&bytes, true) {
            Header::Whole { length, source } => {
                let source =
                    source.map(|(source, destination)| (written(&source), written(&destination)));
                Some((length, source))
            }
            _ => None,
        };
        let theirs = reference::read(&bytes);
        assert_eq!(
            ours,
            theirs,
            "seed {seed}, round {round}: {}",
            bytes.escape_ascii()
        );
        taken += usize::from(ours.is_some());
    }
    assert!(
        taken > rounds / 100 && taken < rounds * 9 / 10,
        "{taken} taken"
    );
}

/// Right headers, and what to put into them.
fn examples() -> (Vec<Vec<u8>>, Vec<&'static [u8]>) {
    let v4 = |fields: &[u8]| v2(0x21, 0x11, &[&V4_ADDRESSES[..], fields].concat());
    let right = vec![
        V1.to_vec(),
        b"PROXY TCP6 2001:db8::7 ::ffff:1.2.3.4 5000 443\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
        v4(b""),
        v4(&[field(1, b"h2"), field(4, b"xyz")].concat()),
        with_sum(&field(1, b"h2"), &field(2, b"a.example")),
        v2(0x21, 0x21, &v6_addresses()),
        v2(0x20, 0x00, b""),
        v2(0x21, 0x31, &[b'/'; 216]),
    ];
    let inserts: Vec<&'static [u8]> = vec![
        b" ",
        b"\r\n",
        b"\r",
        b"0",
        b"1",
        b"9",
        b".",
        b":",
        b"+",
        b"\0",
        b"\x03\0\x04",
        b"\x20\x11",
        b"f",
        b"UNKNOWN",
    ];
    (right, inserts)
}
