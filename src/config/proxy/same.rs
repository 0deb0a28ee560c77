//! Where a backend leads, and whether two lead to one place.

use std::net::{IpAddr, SocketAddr};

use super::{Backend, Host, Target};

impl Host {
    /// Where that is, if nobody has to be asked. In whatever way IPv4 is written, it is one address.
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::Address(address) => Some(Target::Tcp(canonical(*address))),
            Self::Unix(path) => Some(Target::Unix(path.clone())),
            Self::Name(..) | Self::Srv(_) => None,
        }
    }
}

/// The first of these that leads where another one before it does: its place, and a sentence. What names lead to is
/// not known here.
pub fn duplicate(backends: &[Backend]) -> Option<(usize, String)> {
    let same = |one: &Host, other: &Host| match (one, other) {
        (Host::Address(one), Host::Address(other)) => canonical(*one) == canonical(*other),
        (Host::Name(one, port), Host::Name(other, other_port)) => {
            port == other_port && one.trim_end_matches('.') == other.trim_end_matches('.')
        }
        (Host::Srv(one), Host::Srv(other)) => {
            one.trim_end_matches('.') == other.trim_end_matches('.')
        }
        (one, other) => one == other,
    };
    backends.iter().enumerate().find_map(|(at, backend)| {
        let mut before = backends[..at].iter();
        let other = before.find(|other| same(&other.host, &backend.host))?;
        let (other, host) = (&other.host, &backend.host);
        let sentence = if other == host {
            format!("the backend {host} is given twice; for a greater share write {host}@2")
        } else {
            format!("the backends {other} and {host} are the same one: give it once")
        };
        Some((at, sentence))
    })
}

/// IPv4 in whatever way it is written.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // With its scope.
        IpAddr::V6(_) => address,
    }
}
