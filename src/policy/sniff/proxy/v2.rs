//! Version 2: sixteen bytes, addresses, and any number of fields after them.

use std::ops::Range;

use ppp::v2::{Addresses, ParseError, Protocol, Type};

use super::{Header, whole};

/// What every header of this version begins with.
pub(super) const SIGNATURE: &[u8] = ppp::v2::PROTOCOL_PREFIX;

/// Signature, command, family and length.
const FIXED: usize = 16;

/// Kind and length of a field.
const FIELD_HEADER: usize = 3;

/// The longest header that is taken, all in all. The format allows 65,551 bytes; what proxies send is some hundred,
/// with a client's certificate a thousand or two.
const LENGTH_MAX: usize = 4096;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Reads bytes that are of this version, as far as they have come.
pub(super) fn read(bytes: &[u8]) -> Header {
    let command = match bytes.get(SIGNATURE.len()) {
        None => return Header::More,
        Some(command @ (&LOCAL | &PROXY)) => *command,
        Some(_) => {
            return Header::Bad("its PROXY header (version 2) has a command of no version known");
        }
    };
    let &[.., a, b] = bytes.get(..FIXED).unwrap_or_default() else {
        return Header::More;
    };
    let length = FIXED + usize::from(u16::from_be_bytes([a, b]));
    if length > LENGTH_MAX {
        return Header::Bad("its PROXY header (version 2) is longer than 4,096 bytes");
    }
    match bytes.get(..length) {
        // All that comes with it is to be ignored.
        Some(_) if command == LOCAL => whole(length, None),
        None if command == LOCAL => Header::More,
        Some(header) => proxied(header),
        None => proxied(bytes),
    }
}

fn proxied(bytes: &[u8]) -> Header {
    let header = match ppp::v2::Header::try_from(bytes) {
        Ok(header) => header,
        Err(ParseError::Incomplete(_) | ParseError::Partial(..)) => return Header::More,
        Err(_) => return Header::Bad("its PROXY header (version 2) has no valid addresses"),
    };
    let mut at = header.len() - header.tlv_bytes().len();
    for field in header.tlvs() {
        let Ok(field) = field else {
            return Header::Bad("its PROXY header (version 2) ends within a field");
        };
        let value = at + FIELD_HEADER..at + FIELD_HEADER + field.value.len();
        at = value.end;
        if field.kind == Type::CRC32C as u8 && !is_sum(header.as_bytes(), value) {
            return Header::Bad("the checksum in its PROXY header (version 2) is wrong");
        }
    }
    let addresses = match header.addresses {
        _ if header.protocol != Protocol::Stream => None,
        Addresses::IPv4(of) => Some((
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        )),
        Addresses::IPv6(of) => Some((
            (of.source_address, of.source_port).into(),
            (of.destination_address, of.destination_port).into(),
        )),
        Addresses::Unspecified | Addresses::Unix(_) => None,
    };
    whole(header.len(), addresses)
}

/// Whether in this place of the header is its CRC-32C, calculated with zeroes in that place.
fn is_sum(header: &[u8], place: Range<usize>) -> bool {
    let Ok(said) = <[u8; 4]>::try_from(&header[place.clone()]) else {
        return false;
    };
    let crc = crc32c::crc32c(&header[..place.start]);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, &header[place.end..]) == u32::from_be_bytes(said)
}
