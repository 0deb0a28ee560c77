//! Addresses as the wire has them and as the standard library has them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::wire::{Address, Family};

/// The standard library's form; `None` for an address of no family.
pub fn from_wire(address: &Address) -> Option<SocketAddr> {
    match address.family {
        Family::None => None,
        Family::V4 => {
            let [a, b, c, d, ..] = address.ip;
            Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), address.port).into())
        }
        Family::V6 => Some(
            SocketAddrV6::new(
                Ipv6Addr::from(address.ip),
                address.port,
                address.flowinfo,
                address.scope,
            )
            .into(),
        ),
    }
}

/// The wire's form.
pub fn to_wire(address: &SocketAddr) -> Address {
    match address {
        SocketAddr::V4(v4) => {
            let mut ip = [0; 16];
            ip[..4].copy_from_slice(&v4.ip().octets());
            Address {
                family: Family::V4,
                port: v4.port(),
                ip,
                ..Address::default()
            }
        }
        SocketAddr::V6(v6) => Address {
            family: Family::V6,
            port: v6.port(),
            flowinfo: v6.flowinfo(),
            scope: v6.scope_id(),
            ip: v6.ip().octets(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{from_wire, to_wire};
    use crate::wire::Address;

    #[test]
    fn there_and_back() {
        for text in [
            "127.0.0.1:80",
            "0.0.0.0:1",
            "[::]:65535",
            "[fe80::1%3]:8080",
        ] {
            let address = text.parse().unwrap();
            assert_eq!(from_wire(&to_wire(&address)), Some(address));
        }
        assert_eq!(from_wire(&Address::default()), None);
    }
}
