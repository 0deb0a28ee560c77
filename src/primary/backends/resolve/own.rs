//! Whether a backend is one of our own listeners, or another app of ours that leads back: what came there would go
//! round until there are no descriptors left.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::ifaddrs::getifaddrs;

use crate::config::proxy::{Host, Target, canonical};
use crate::config::{AppConfig, Listen, ListenAt};
use crate::policy::backends::item::{Lead, Resolved};
use crate::primary::listeners::Listeners;

/// Where one app listens, and the other apps whose backends lead to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    at: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    at: ListenAt,
    /// The other app that listens there.
    app: Option<String>,
}

/// What one app is to whom it leads back.
#[derive(Clone, Debug)]
pub struct Way {
    /// The app's name.
    pub app: String,
    /// Where it listens.
    pub listens: Vec<ListenAt>,
    /// Where it leads, as far as that is an address.
    pub leads: Vec<Target>,
}

impl Way {
    /// As it is written.
    pub fn of_config(app: &AppConfig) -> Self {
        let backends = app.proxy.iter().flat_map(|proxy| &proxy.to);
        Self {
            app: app.name.clone(),
            listens: app.listen.iter().map(|listen| listen.at.clone()).collect(),
            leads: backends.filter_map(|one| one.host.target()).collect(),
        }
    }
}

/// Why these apps would lead round in a circle, as a sentence, if they do as far as their backends are addresses.
pub fn circle(apps: &[AppConfig]) -> Option<String> {
    let ways: Vec<Way> = apps.iter().map(Way::of_config).collect();
    (0..ways.len()).find_map(|at| {
        let own = Own::among(&ways, at);
        ways[at].leads.iter().find_map(|one| own.refusal(one))
    })
}

impl Own {
    /// Where it does now.
    pub fn of(listeners: &Listeners) -> Self {
        Self::at(listeners.places())
    }

    /// Where it is to.
    pub fn of_config(listen: &[Listen]) -> Self {
        Self::at(listen.iter().map(|listen| listen.at.clone()))
    }

    fn at(places: impl Iterator<Item = ListenAt>) -> Self {
        let at = places.map(|at| Place { at, app: None });
        Self { at: at.collect() }
    }

    /// Where the app at this place among them does, and those of the others that lead to it, straight or by others.
    pub fn among(ways: &[Way], index: usize) -> Self {
        let mut own = Self::at(ways[index].listens.iter().cloned());
        let mut others: Vec<usize> = (0..ways.len()).filter(|at| *at != index).collect();
        let leads = |own: &Self, at: usize| ways[at].leads.iter().any(|one| own.has(one));
        while let Some(next) = others.iter().position(|at| leads(&own, *at)) {
            let other = &ways[others.swap_remove(next)];
            own.at.extend(other.listens.iter().map(|at| Place {
                at: at.clone(),
                app: Some(other.app.clone()),
            }));
        }
        own
    }

    /// Whether it is one of these.
    pub fn has(&self, target: &Target) -> bool {
        self.at.iter().any(|place| same(&place.at, target))
    }

    /// Why this cannot be a backend, if it is one of these: `is where this proxy itself listens ...`.
    fn is(&self, target: &Target) -> Option<String> {
        let Place { at, app } = self.at.iter().find(|place| same(&place.at, target))?;
        Some(match app {
            None => format!(
                "is where this proxy itself listens ({at}): what it gets there would come back to it"
            ),
            Some(app) => format!(
                "is where the app {app} listens ({at}), which leads back here: what it gets there would go round for ever"
            ),
        })
    }

    /// Why this cannot be a backend, as a sentence, if it is one of these.
    pub fn refusal(&self, target: &Target) -> Option<String> {
        self.is(target).map(|why| format!("{target} {why}"))
    }

    /// What is left of a name without these.
    ///
    /// # Errors
    /// Nothing is: a sentence.
    pub fn strip(&self, host: &Host, found: Resolved) -> Result<Resolved, String> {
        let mut why = None;
        let other = |lead: &Lead| match self.is(&lead.target) {
            Some(words) => {
                why = Some(format!("{host} leads to {}, which {words}", lead.target));
                false
            }
            None => true,
        };
        let Resolved { leads, missing } = found;
        let leads: Vec<Lead> = leads.into_iter().filter(other).collect();
        match why {
            Some(why) if leads.is_empty() => Err(why),
            _ => Ok(Resolved { leads, missing }),
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
        own.has(&target)
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

    fn way(app: &str, listens: &str, leads: &[&str]) -> Way {
        let listens: Listen = listens.parse().unwrap();
        Way {
            app: app.into(),
            listens: vec![listens.at],
            leads: leads
                .iter()
                .map(|to| Target::Tcp(to.parse().unwrap()))
                .collect(),
        }
    }

    #[test]
    fn apps_that_lead_back_are_ourselves_and_others_are_not() {
        let ways = [
            way("a", "127.0.0.1:1", &["127.0.0.1:9"]),
            way("b", "2", &["127.0.0.1:1", "10.0.0.1:1"]),
            way("c", "[::1]:3", &["127.0.0.1:2"]),
            way("d", "127.0.0.1:4", &["10.0.0.1:4"]),
        ];
        let own = |index| {
            let own = Own::among(&ways, index);
            let all = ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "127.0.0.1:4"];
            all.map(|to| own.has(&Target::Tcp(to.parse().unwrap())))
        };
        assert_eq!(own(0), [true, true, true, false]);
        assert_eq!(own(1), [false, true, true, false]);
        assert_eq!(own(2), [false, false, true, false]);
        assert_eq!(own(3), [false, false, false, true]);
        let why = Own::among(&ways, 0).refusal(&Target::Tcp("[::1]:3".parse().unwrap()));
        let why = why.unwrap();
        assert!(
            why.starts_with("[::1]:3 is where the app c listens"),
            "{why}"
        );
    }
}
