//! ClientHellos, in one record or many, right and wrong.

use super::*;

/// What OpenSSL 3 sends, for `shop.example.com` with `h2` and `http/1.1`, all but the zeroes of its padding.
const OPENSSL: &str = "1603010200010001fc03033e5ddebfcf61bd3b3af603c53f6f0ce0d08c74693afb70ffd6bf7a23069c8367\
20ea612effa32287457f2d1822aab72b0aac3668f622a766e4a5c8c4b2b811b4080024130213031301c02cc030c02bc02fcca9cca8c024\
c028c023c027009f009e006b006700ff0100018f00000015001300001073686f702e6578616d706c652e636f6d000b0004030001\
02000a00160014001d0017001e0019001801000101010201030104002300000010000e000c02683208687474702f312e310016000000\
170000000d002a0028040305030603080708080809080a080b080408050806040105010601030303010302040205020602002b000504\
03040303002d00020101003300260024001d00200145a7931b553d706109e37bfcdf59a28257fb9cc090cd6162fc5e9f142c842b0015\
00cb";

const OPENSSL_LENGTH: usize = 517;

fn openssl() -> Vec<u8> {
    let digits: Vec<u8> = OPENSSL.bytes().collect();
    let byte = |two: &[u8]| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap();
    let mut hello: Vec<u8> = digits.chunks(2).map(byte).collect();
    hello.resize(OPENSSL_LENGTH, 0);
    hello
}

fn with_length_16(list: &[u8]) -> Vec<u8> {
    [&(list.len() as u16).to_be_bytes()[..], list].concat()
}

fn with_length_8(list: &[u8]) -> Vec<u8> {
    [&[list.len() as u8], list].concat()
}

pub(super) fn extension(kind: u16, contents: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_length_16(contents)].concat()
}

pub(super) fn name(name: &[u8]) -> Vec<u8> {
    extension(
        0,
        &with_length_16(&[&[0], &with_length_16(name)[..]].concat()),
    )
}

pub(super) fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|name| with_length_8(name))
        .collect();
    extension(16, &with_length_16(&list))
}

/// A handshake message of this type.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// The message cut into records of at most so many bytes.
pub(super) fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &with_length_16(part)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn hello_with(behind_compression: &[u8]) -> Vec<u8> {
    let fixed = [&[3, 3][..], &[7; 32]].concat();
    let session = with_length_8(&[9; 32]);
    let suites = with_length_16(&[0x13, 1, 0x13, 2]);
    let body = [&fixed[..], &session, &suites, &[1, 0], behind_compression].concat();
    message(1, &body)
}

/// A ClientHello with these extensions, in one record.
pub(super) fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&hello_with(&with_length_16(&extensions.concat())), 1 << 14)
}

#[test]
fn server_names() {
    let long = [b'a'; 255];
    let too_long = [b'a'; 256];
    let other_type = extension(
        0,
        &with_length_16(&[&[1, 0, 1, b'x', 0], &with_length_16(b"b")[..]].concat()),
    );
    let empty_list = extension(0, &with_length_16(b""));
    for (extensions, expected) in [
        (vec![name(b"a.example")], "Sni a.example"),
        (vec![name(b"A.EXAMPLE")], "Sni a.example"),
        (vec![name(b"a.example.")], "Sni a.example"),
        (
            vec![alpn(&[b"h2"]), extension(43, b"x"), name(b"a")],
            "Sni a",
        ),
        (vec![name(b"a"), name(b"b")], "Sni a"),
        (vec![other_type], "Sni b"),
        (vec![name(&long)], &format!("Sni {}", "a".repeat(255))),
        (vec![name(&too_long)], "Unreadable"),
        (vec![name(b"")], "Absent"),
        (vec![name(b".")], "Absent"),
        (vec![empty_list], "Absent"),
        (vec![alpn(&[b"h2"])], "Absent"),
        (vec![], "Absent"),
        (vec![extension(0, b"")], "Unreadable"),
        (vec![extension(0, b"\0\x03\0\0\x05")], "Unreadable"),
        (vec![extension(0, b"\0\x09\0\0\x01a")], "Unreadable"),
        (vec![extension(0, b"\0\x04\0\0\x01a!")], "Unreadable"),
        (vec![name(b"a"), b"\0".to_vec()], "Unreadable"),
        (vec![name(b"a"), b"\0\x10\0\x01".to_vec()], "Unreadable"),
    ] {
        expect("sni", &hello(&extensions), expected);
    }
}

#[test]
fn protocols() {
    for (extensions, expected) in [
        (
            vec![alpn(&[b"h2", b"http/1.1"])],
            r"Alpn \x02h2\x08http/1.1",
        ),
        (
            vec![alpn(&[b"http/1.1", b"h2"])],
            r"Alpn \x08http/1.1\x02h2",
        ),
        (vec![name(b"a"), alpn(&[b"h2"])], r"Alpn \x02h2"),
        (vec![alpn(&[b"\x0a\x0a", b"h2"])], r"Alpn \x02h2"),
        (
            vec![alpn(&[b"h2", b"\xfa\xfa", b"h3", b"\x1a\x1a"])],
            r"Alpn \x02h2\x02h3",
        ),
        (
            vec![alpn(&[b"\x0a\x1a", b"\x0b\x0b"])],
            r"Alpn \x02\n\x1a\x02\x0b\x0b",
        ),
        (vec![alpn(&[b"\xaa\xaa"])], "Absent"),
        (vec![alpn(&[])], "Absent"),
        (vec![name(b"a")], "Absent"),
        (vec![extension(16, b"\0\x03\x03h2")], "Unreadable"),
        (vec![extension(16, b"\0\x04\x02h2")], "Unreadable"),
        (vec![extension(16, b"\0\x03\x02h2!")], "Unreadable"),
        (vec![extension(16, b"")], "Unreadable"),
    ] {
        expect("alpn", &hello(&extensions), expected);
    }
}

#[test]
fn what_openssl_sends_in_records_of_any_size() {
    let hello = openssl();
    let message = &hello[5..];
    for size in (1..40).chain([127, 128, 300, 511, 512]) {
        let bytes = records(message, size);
        for (key, expected) in [
            ("sni", "Sni shop.example.com"),
            ("alpn", r"Alpn \x02h2\x08http/1.1"),
        ] {
            let (said, at) = settled(&mut sniffer(key), &bytes, &peer("192.0.2.1"));
            assert_eq!((said.as_str(), at), (expected, bytes.len()), "{size}");
        }
    }
}

#[test]
fn a_hello_without_extensions_names_nothing() {
    let bytes = records(&hello_with(b""), 100);
    expect("sni", &bytes, "Absent");
    expect("alpn", &bytes, "Absent");
}

#[test]
fn wrong_lengths_inside_are_unreadable() {
    let short = message(1, &[3; 20]);
    let session_overruns = message(1, &[&[3; 34][..], &[200, 1, 2]].concat());
    let overrun = hello_with(&[0, 9, 0, 0]);
    let leftover = hello_with(&[0, 0, 0]);
    for wrong in [short, message(1, b""), session_overruns, overrun, leftover] {
        expect("sni", &records(&wrong, 1 << 14), "Unreadable");
        expect("sni", &records(&wrong, 3), "Unreadable");
    }
}

/// What is certainly no ClientHello, and by which byte that is certain.
#[test]
fn what_is_no_tls_is_known_at_once() {
    let hello = message(1, &[0; 40]);
    let alert = [
        &records(&hello[..20], 20)[..],
        b"\x15\x03\x03\0\x02\x02\x28",
    ]
    .concat();
    let too_long = [22, 3, 1, 0, 4, 1, 0, 0x3f, 0xfd];
    for (bytes, at) in [
        (b"GET / HTTP/1.1\r\n".as_slice(), 1),
        (b"\x80\x2e\x01\x03\x01", 1),
        (b"\x15\x03\x01\0\x02", 1),
        (b"\x17\x03\x03", 1),
        (b"\x16\x02\0", 2),
        (b"\x16\xfe\xff", 2),
        (b"\x16\x03\x01\0\0", 5),
        (b"\x16\x03\x01\x40\x01", 5),
        (b"\x16\x03\x01\0\x05\x02\0\0\x01\0", 6),
        (&too_long, 9),
        (&alert, 26),
    ] {
        for key in ["sni", "alpn"] {
            let (said, when) = settled(&mut sniffer(key), bytes, &peer("192.0.2.1"));
            assert_eq!(
                (said.as_str(), when),
                ("Unreadable", at),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn a_hello_as_long_as_it_may_be() {
    let fits = HEAD_MAX - 5 - hello(&[name(b"a")]).len() - 4 + 5;
    let bytes = hello(&[extension(21, &vec![0; fits]), name(b"a")]);
    assert_eq!(bytes.len(), HEAD_MAX);
    let mut sniffer = sniffer("sni");
    let peer = peer("192.0.2.1");
    let cut = words(sniffer.read(&bytes[..HEAD_MAX - 1], &peer, false));
    assert_eq!(cut, "more");
    assert_eq!(words(sniffer.read(&bytes, &peer, true)), "Sni a");
}
