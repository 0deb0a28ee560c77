//! What a backend is told of the client before the client's first byte: a header of the PROXY protocol.

use std::net::SocketAddr;

use ppp::{v1, v2};
use socket2::SockRef;

use crate::config::proxy::SendProxy;
use crate::worker::Connection;

/// The header for this client.
///
/// The client may be one that another proxy has named; where it connected to is then known no better than where that
/// proxy did.
pub fn header(form: SendProxy, client: &Connection) -> Vec<u8> {
    let local = SockRef::from(client.stream()).local_addr();
    let local = local.ok().and_then(|address| address.as_socket());
    encode(form, client.peer().zip(local))
}

fn encode(form: SendProxy, addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let addresses = addresses.map(of_one_family);
    match form {
        SendProxy::V1 => {
            let addresses = match addresses {
                Some((SocketAddr::V4(from), SocketAddr::V4(to))) => {
                    v1::Addresses::new_tcp4(*from.ip(), *to.ip(), from.port(), to.port())
                }
                Some((SocketAddr::V6(from), SocketAddr::V6(to))) => {
                    v1::Addresses::new_tcp6(*from.ip(), *to.ip(), from.port(), to.port())
                }
                _ => v1::Addresses::Unknown,
            };
            addresses.to_string().into_bytes()
        }
        SendProxy::V2 => {
            let (command, addresses) = match addresses {
                Some(pair) => (v2::Command::Proxy, v2::Addresses::from(pair)),
                // A client without an address: the receiver takes the connection for one of our own.
                None => (v2::Command::Local, v2::Addresses::Unspecified),
            };
            let protocol = match addresses {
                v2::Addresses::Unspecified => v2::Protocol::Unspecified,
                _ => v2::Protocol::Stream,
            };
            let version = v2::Version::Two | command;
            let built = v2::Builder::with_addresses(version, protocol, addresses).build();
            built.expect("without TLVs it is never too long")
        }
    }
}

/// An IPv4-mapped address as IPv4, and both as IPv6 if only one of them is.
fn of_one_family((from, to): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let wide = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    };
    match (plain(from), plain(to)) {
        (from, to) if from.is_ipv4() == to.is_ipv4() => (from, to),
        (from, to) => (wide(from), wide(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(from: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    #[test]
    fn a_line_of_text_says_both_addresses() {
        let line = |of| String::from_utf8(encode(SendProxy::V1, of)).unwrap();
        let v4 = pair("192.0.2.7:1234", "[::ffff:198.51.100.1]:80");
        assert_eq!(line(v4), "PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n");
        let v6 = pair("[2001:db8::7]:1234", "198.51.100.1:80");
        assert_eq!(
            line(v6),
            "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 1234 80\r\n"
        );
        assert_eq!(line(None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn the_binary_form_is_read_back_by_its_own_reader() {
        let v4 = pair("192.0.2.7:1234", "198.51.100.1:80");
        let bytes = encode(SendProxy::V2, v4);
        let read = v2::Header::try_from(&bytes[..]).unwrap();
        assert_eq!(read.addresses, v4.unwrap().into());
        assert_eq!((read.command, read.len()), (v2::Command::Proxy, 28));
        let unknown = encode(SendProxy::V2, None);
        let read = v2::Header::try_from(&unknown[..]).unwrap();
        assert_eq!((read.command, read.len()), (v2::Command::Local, 16));
    }
}
