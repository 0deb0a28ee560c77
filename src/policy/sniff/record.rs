//! TLS records (RFC 8446, 5.1), as far as it takes to get a client's first handshake message out of them: it may be
//! cut into any number of records, one byte in each if the client likes.

use super::{HEAD_MAX, Seen};

/// The first byte of a TLS connection, and of no HTTP request.
pub(super) const HANDSHAKE: u8 = 22;

/// The same first byte of every version's record, SSL 3.0 to TLS 1.3.
const MAJOR_VERSION: u8 = 3;

/// Type, version and length.
const RECORD_HEADER: usize = 5;

/// Type and length of a handshake message.
const MESSAGE_HEADER: usize = 4;

const CLIENT_HELLO: u8 = 1;

/// Most in one record.
const FRAGMENT_MAX: usize = 1 << 14;

/// How long the ClientHello is with its header, once all of it has come.
pub(super) fn whole(bytes: &[u8]) -> Seen<usize> {
    let mut header = [0; MESSAGE_HEADER];
    let mut here = 0;
    for fragment in (Fragments { rest: bytes }) {
        let Ok(fragment) = fragment else {
            return Seen::Unreadable;
        };
        for (at, byte) in (here..MESSAGE_HEADER).zip(fragment) {
            header[at] = *byte;
        }
        here += fragment.len();
        let [kind, a, b, c] = header;
        if here > 0 && kind != CLIENT_HELLO {
            return Seen::Unreadable;
        }
        let length = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
        if here >= MESSAGE_HEADER && length > HEAD_MAX {
            return Seen::Unreadable;
        }
        if here >= MESSAGE_HEADER && here >= length {
            return Seen::Read(length);
        }
    }
    Seen::More
}

/// The ClientHello without its header, put together in `scratch`, which is [`HEAD_MAX`] long.
pub(super) fn gather<'a>(bytes: &[u8], scratch: &'a mut [u8]) -> Seen<&'a mut [u8]> {
    let length = match whole(bytes) {
        Seen::More => return Seen::More,
        Seen::Unreadable => return Seen::Unreadable,
        Seen::Read(length) => length,
    };
    let message = &mut scratch[..length];
    let mut at = 0;
    for fragment in (Fragments { rest: bytes }).flatten() {
        let taken = fragment.len().min(length - at);
        message[at..at + taken].copy_from_slice(&fragment[..taken]);
        at += taken;
        if at == length {
            break;
        }
    }
    Seen::Read(&mut message[MESSAGE_HEADER..])
}

/// What has come of each handshake record; an error and then nothing, where something else comes.
struct Fragments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<&'a [u8], ()>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        let length = match *rest {
            [] => return None,
            [kind, ..] if kind != HANDSHAKE => return Some(Err(())),
            [_, major, ..] if major != MAJOR_VERSION => return Some(Err(())),
            [_, _, _, a, b, ..] => usize::from(u16::from_be_bytes([a, b])),
            _ => return None,
        };
        // An empty handshake record is not allowed: it would be a way to send for ever and say nothing.
        if length == 0 || length > FRAGMENT_MAX {
            return Some(Err(()));
        }
        let end = rest.len().min(RECORD_HEADER + length);
        self.rest = &rest[end..];
        Some(Ok(&rest[RECORD_HEADER..end]))
    }
}
