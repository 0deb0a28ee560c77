//! Whether a backend is one of our own listeners: what came there would be led back there, until there are no
//! descriptors left.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::ifaddrs::getifaddrs;

use crate::config::proxy::{Target, canonical};
use crate::config::{Listen, ListenAt};
use crate::policy::backends::list::Lead;
use crate::primary::listeners::Listeners;

/// Where one app listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    at: Vec<ListenAt>,
}

impl Own {
    /// Where it does now.
    pub fn of(listeners: &Listeners) -> Self {
        Self {
            at: listeners.places().collect(),
        }
    }

    /// Where it is to.
    pub fn of_config(listen: &[Listen]) -> Self {
        Self {
            at: listen.iter().map(|listen| listen.at.clone()).collect(),
        }
    }

    /// Why this cannot be a backend, if it is one of these.
    pub fn is(&self, target: &Target) -> Option<String> {
        let at = self.at.iter().find(|at| same(at, target))?;
        Some(format!(
            "{target} is where this proxy itself listens ({at}): what it gets there would come back to it"
        ))
    }

    /// What is left without these.
    ///
    /// # Errors
    /// Nothing is.
    pub fn strip(&self, leads: Vec<Lead>) -> Result<Vec<Lead>, String> {
        let mut why = None;
        let others = leads
            .into_iter()
            .filter(|lead| match self.is(&lead.target) {
                Some(sentence) => {
                    why = Some(sentence);
                    false
                }
                None => true,
            });
        let others: Vec<Lead> = others.collect();
        match why {
            Some(why) if others.is_empty() => Err(why),
            _ => Ok(others),
        }
    }
}

fn same(at: &ListenAt, target: &Target) -> bool {
    match (at, target) {
        (ListenAt::Unix(path), Target::Unix(other)) => path == other || is_one_file(path, other),
        (ListenAt::AnyAddress(port), Target::Tcp(to)) => *port == to.port() && is_local(*to),
        (ListenAt::Tcp(at), Target::Tcp(to)) if at.port() == to.port() && to.port() != 0 => {
            let (at, to) = (canonical(*at), canonical(*to));
            if at.ip().is_unspecified() {
                // One of IPv6 may take IPv4 too.
                (at.is_ipv6() || to.is_ipv4()) && is_local(to)
            } else {
                at.ip() == to.ip()
            }
        }
        _ => false,
    }
}

fn is_one_file(path: &Path, other: &Path) -> bool {
    let file = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    };
    file(path).is_some_and(|one| file(other) == Some(one))
}

/// Whether this machine has the address.
fn is_local(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let Ok(mut all) = getifaddrs() else {
        return false;
    };
    all.any(|one| {
        let address = one.address;
        let v4 = address.and_then(|one| one.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())));
        let v6 = address.and_then(|one| one.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
        v4.or(v6) == Some(ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(listen: &str, target: &str) -> bool {
        let own = Own::of_config(&[listen.parse().unwrap()]);
        let target = match target.strip_prefix("unix:") {
            Some(path) => Target::Unix(path.into()),
            None => Target::Tcp(target.parse().unwrap()),
        };
        own.is(&target).is_some()
    }

    #[test]
    fn a_listener_is_known_by_each_of_its_addresses() {
        let here = getifaddrs().unwrap();
        let mut here = here.filter_map(|one| one.address?.as_sockaddr_in().map(|v4| v4.ip()));
        let here = here.find(|ip| !ip.is_loopback());
        for (listen, target, expected) in [
            ("80", "127.0.0.1:80", true),
            ("80", "127.9.9.9:80", true),
            ("80", "[::1]:80", true),
            ("80", "127.0.0.1:81", false),
            ("80", "192.0.2.1:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("unix:/a/b", "unix:/a/b", true),
            ("unix:/a/b", "unix:/a/c", false),
            ("unix:/proc/self/../self/exe", "unix:/proc/self/exe", true),
            ("80", "unix:/a/b", false),
        ] {
            assert_eq!(is(listen, target), expected, "{listen} {target}");
        }
        if let Some(here) = here {
            assert!(is("80", &format!("{here}:80")));
        }
    }
}
