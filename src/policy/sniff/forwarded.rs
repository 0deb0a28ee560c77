//! X-Forwarded-For: each proxy appends whom it had the request from, so the hops stand in the order of their way, and
//! only what trusted proxies have appended is true. What the client itself sent stands on the left, and is anything.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use httparse::Request;

use super::cookie::unquoted;
use super::{endpoint, http};
use crate::config::Networks;
use crate::wire::Address;

/// The header's name, in lower case as the key has it.
pub(super) const HEADER: &str = "x-forwarded-for";

/// Whether what this peer says is worth reading: with no trusted proxies named, anybody's last hop is.
pub(super) fn is_believed(peer: &Address, trusted: &Networks) -> bool {
    trusted.is_empty() || trusted.contain(peer)
}

/// The client that a believed peer names: from the right, the first hop that is no trusted proxy; if all are, the
/// farthest. `None` if there is no hop, or one on the way there that is no address (`unknown`).
pub(super) fn client(head: &Request<'_, '_>, trusted: &Networks) -> Option<Address> {
    let hops = http::values(head, HEADER)
        .rev()
        .flat_map(|value| value.rsplit(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|hop| !hop.is_empty());
    let mut farthest = None;
    for hop in hops {
        let address = hop_address(hop)?;
        farthest = Some(endpoint(address));
        if !trusted.contain_ip(address.ip()) {
            break;
        }
    }
    farthest
}

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, any of them in quotes.
fn hop_address(hop: &[u8]) -> Option<SocketAddr> {
    let words = str::from_utf8(unquoted(hop)).ok()?.trim_ascii();
    let plain = |ip: IpAddr| SocketAddr::new(ip, 0);
    let bracketed = || words.strip_prefix('[')?.strip_suffix(']');
    let address = words.parse::<IpAddr>().map(plain);
    address
        .or_else(|_| words.parse::<SocketAddr>())
        .ok()
        .or_else(|| Some(plain(bracketed()?.parse::<Ipv6Addr>().ok()?.into())))
}
