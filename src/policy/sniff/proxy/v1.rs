//! Version 1: one line of text.

use ppp::v1::Addresses;

use super::{Header, whole};

/// What every header of this version begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line there is, with its end.
const LINE_MAX: usize = 107;

const LINE_END: &[u8] = b"\r\n";

/// Words that may come second.
const UNKNOWN: &[u8] = b"UNKNOWN";
const TCP4: &[u8] = b"TCP4 ";
const TCP6: &[u8] = b"TCP6 ";

const NO_ADDRESSES: Header = Header::Bad("its PROXY header (version 1) has no valid addresses");

/// Reads bytes that are of this version, as far as they have come.
pub(super) fn read(bytes: &[u8]) -> Header {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(words) = seen.get(SIGNATURE.len()..) else {
        return Header::More;
    };
    let end = seen.windows(LINE_END.len()).position(|at| at == LINE_END);
    let length = end.map(|end| end + LINE_END.len());
    let header = if super::is_of(words, UNKNOWN) {
        unknown(words, length)
    } else if super::is_of(words, TCP4) || super::is_of(words, TCP6) {
        known(words, length.map(|length| &bytes[..length]))
    } else {
        Header::Bad("its PROXY header (version 1) is neither of TCP4, TCP6 nor UNKNOWN")
    };
    match header {
        Header::More if seen.len() == LINE_MAX => {
            Header::Bad("its PROXY header (version 1) is longer than 107 bytes")
        }
        header => header,
    }
}

/// Whatever follows the word is to be ignored.
fn unknown(words: &[u8], length: Option<usize>) -> Header {
    match (words.get(UNKNOWN.len()), length) {
        (Some(b' ' | b'\r'), Some(length)) => whole(length, None),
        (None | Some(b' ' | b'\r'), None) => Header::More,
        _ => NO_ADDRESSES,
    }
}

fn known(words: &[u8], line: Option<&[u8]>) -> Header {
    let Some(line) = line else {
        // What is in addresses and ports; the last byte may be half of the line's end.
        let addresses = words.get(TCP4.len()..).unwrap_or_default();
        let addresses = addresses.strip_suffix(b"\r").unwrap_or(addresses);
        let may_become = addresses.iter().copied().all(is_part);
        return if may_become {
            Header::More
        } else {
            NO_ADDRESSES
        };
    };
    let words = &line[SIGNATURE.len() + TCP4.len()..line.len() - LINE_END.len()];
    if !words.iter().copied().all(is_part) {
        return NO_ADDRESSES;
    }
    let addresses = match ppp::v1::Header::try_from(line).map(|header| header.addresses) {
        Ok(Addresses::Tcp4(of)) => (
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        ),
        Ok(Addresses::Tcp6(of)) => (
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        ),
        Ok(Addresses::Unknown) | Err(_) => return NO_ADDRESSES,
    };
    whole(line.len(), Some(addresses))
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || b":. ".contains(&byte)
}
