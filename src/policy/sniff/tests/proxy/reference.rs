//! The specification read once more, by whole headers, without a library, and with no thought of speed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The length, and if there are any the two addresses.
pub(super) type Known = Option<(usize, Option<(String, String)>)>;

pub(super) fn read(bytes: &[u8]) -> Known {
    if bytes.starts_with(b"PROXY") {
        text(bytes)
    } else if bytes.starts_with(b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A") {
        binary(bytes)
    } else {
        None
    }
}

fn text(bytes: &[u8]) -> Known {
    let limit = &bytes[..bytes.len().min(107)];
    let end = (0..limit.len()).find(|&at| limit[at..].starts_with(b"\r\n"))?;
    let line: String = limit[..end].iter().map(|&byte| byte as char).collect();
    let words: Vec<&str> = line.split(' ').collect();
    let endpoint = |ip: Option<IpAddr>, port| Some(shown(ip?, number(port, 65535)? as u16));
    let addresses = match words[..] {
        ["PROXY", unknown, ..] if unknown.split('\r').next() == Some("UNKNOWN") => None,
        ["PROXY", "TCP4", source, destination, from, to] => {
            Some((endpoint(v4(source), from)?, endpoint(v4(destination), to)?))
        }
        ["PROXY", "TCP6", source, destination, from, to] => {
            Some((endpoint(v6(source), from)?, endpoint(v6(destination), to)?))
        }
        _ => return None,
    };
    Some((end + 2, addresses))
}

fn v4(words: &str) -> Option<IpAddr> {
    let octets: Vec<&str> = words.split('.').collect();
    let [a, b, c, d] = octets[..] else {
        return None;
    };
    let octet = |words| Some(number(words, 255)? as u8);
    Some(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?).into())
}

fn v6(words: &str) -> Option<IpAddr> {
    words.parse::<Ipv6Addr>().ok().map(IpAddr::from)
}

/// Decimal, without a sign and without zeroes before it.
fn number(words: &str, most: u32) -> Option<u32> {
    let plain =
        words.chars().all(|c| c.is_ascii_digit()) && (words == "0" || !words.starts_with('0'));
    words.parse().ok().filter(|&number| plain && number <= most)
}

fn binary(bytes: &[u8]) -> Known {
    let length = 16 + usize::from(*bytes.get(14)?) * 256 + usize::from(*bytes.get(15)?);
    if length > 4096 || bytes.len() < length {
        return None;
    }
    let header = &bytes[..length];
    match header[12] {
        0x20 => return Some((length, None)),
        0x21 => {}
        _ => return None,
    }
    let (family, transport) = (header[13] >> 4, header[13] & 15);
    let needed = *[0, 12, 36, 216].get(usize::from(family))?;
    if transport > 2 || length - 16 < needed {
        return None;
    }
    if family == 0 {
        return Some((length, None));
    }
    let mut at = 16 + needed;
    while at < length {
        let value =
            at + 3 + usize::from(*header.get(at + 1)?) * 256 + usize::from(*header.get(at + 2)?);
        if value > length {
            return None;
        }
        if header[at] == 3 {
            let mut zeroed = header.to_vec();
            zeroed[at + 3..value].fill(0);
            if header[at + 3..value] != crc32c(&zeroed).to_be_bytes() {
                return None;
            }
        }
        at = value;
    }
    let port = |at: usize| u16::from(header[at]) << 8 | u16::from(header[at + 1]);
    let addresses = match (family, transport) {
        (1, 1) => {
            let ip = |at: usize| {
                IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            Some((shown(ip(16), port(24)), shown(ip(20), port(26))))
        }
        (2, 1) => {
            let ip = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
            Some((shown(ip(16), port(48)), shown(ip(32), port(50))))
        }
        _ => None,
    };
    Some((length, addresses))
}

fn shown(ip: IpAddr, port: u16) -> String {
    if port == 0 {
        return ip.to_string();
    }
    SocketAddr::new(ip, port).to_string()
}

/// Castagnoli's, bit by bit (RFC 3720, 12.1).
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}
