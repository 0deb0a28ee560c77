//! The PROXY header that a proxy puts before a connection's own bytes, versions 1 and 2
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>), addresses by the `ppp` crate.
//!
//! The framing is ours: where a header ends, what of it cannot become one any more, what is to be ignored in it.
//! `ppp` waits for ever for the end of some that are complete or wrong (`UNKNOWN` with more than five words), takes
//! ports such as `+80`, and refuses a LOCAL header for the addresses that it need not have.

use std::net::SocketAddr;

use super::endpoint;
use crate::wire::Address;

mod v1;
mod v2;

/// What the bytes have said so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Header {
    /// It depends on what comes next.
    More,
    /// The header has come.
    Whole {
        /// How many bytes it is; what follows is the connection's own.
        length: usize,
        /// Who connected, and where to; `None` if the proxy speaks for itself (LOCAL) or does not know (UNKNOWN, or
        /// addresses other than those of TCP): the peer's own address counts.
        source: Option<(Address, Address)>,
    },
    /// There is none, or a wrong one, and why.
    Bad(&'static str),
}

/// Reads the header at the beginning of `bytes`. `end`: nothing more will come; the answer is not `More` then.
pub fn read(bytes: &[u8], end: bool) -> Header {
    let header = if is_of(bytes, v1::SIGNATURE) {
        v1::read(bytes)
    } else if is_of(bytes, v2::SIGNATURE) {
        v2::read(bytes)
    } else {
        Header::Bad("it does not begin with a PROXY header")
    };
    match header {
        Header::More if bytes.is_empty() && end => Header::Bad("nothing came"),
        Header::More if end => Header::Bad("its PROXY header is cut off"),
        header => header,
    }
}

/// Whether there is a PROXY header, right or wrong.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(v1::SIGNATURE) || bytes.starts_with(v2::SIGNATURE)
}

/// Whether `bytes` begin with this signature, or may still come to.
fn is_of(bytes: &[u8], signature: &[u8]) -> bool {
    let length = bytes.len().min(signature.len());
    bytes[..length] == signature[..length]
}

fn whole(length: usize, addresses: Option<(SocketAddr, SocketAddr)>) -> Header {
    let source = addresses.map(|(source, destination)| (endpoint(source), endpoint(destination)));
    Header::Whole { length, source }
}
