//! From a backend as it is written to its addresses: a name to all that it has, SRV records to all that they name.
//!
//! [`resolve`] blocks for as long as the system's resolver does, which may be many seconds: it is called where
//! nothing runs yet ([`resolve_all`]), and otherwise by the threads of a [`Resolver`] alone. A backend that is one of
//! our own listeners is found out by [`Own`].

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use nix::ifaddrs::getifaddrs;

use crate::config::proxy::{Backend, Host, Target, canonical};
use crate::policy::backends::item::{Lead, Missing, Resolved};

mod all;
mod dns;
mod follow;
mod own;

pub use all::resolve_all;
pub use follow::{Answer, DESCRIPTORS, Resolver};
pub use own::{Own, Way, circle};

/// The most that a backend weighs.
const MOST_WEIGHT: u32 = 1000;

/// What is known of the name servers.
const CONF: &str = "/etc/resolv.conf";

/// All that this backend leads to now, in an order that is the same each time.
///
/// # Errors
/// Why there is nothing, as a sentence.
pub fn resolve(backend: &Backend) -> Result<Resolved, String> {
    let lead = |target| Lead {
        target,
        weight: backend.weight,
        backup: backend.backup,
        ..Lead::default()
    };
    let found = match &backend.host {
        Host::Name(name, port) => addresses(name, *port).map(|all| {
            let targets = all.into_iter().map(Target::Tcp);
            targets.map(lead).collect::<Vec<_>>().into()
        }),
        Host::Srv(name) => services(backend, name),
        other => Ok(other
            .target()
            .map(lead)
            .into_iter()
            .collect::<Vec<_>>()
            .into()),
    };
    let mut found = found.map_err(|why| unresolved(&backend.host, &why))?;
    let leads = &mut found.leads;
    leads.sort_by_key(|lead| (lead.backup, lead.target.to_string()));
    leads.dedup_by(|one, other| one.target == other.target);
    Ok(found)
}

/// Why a name has no address, as a sentence.
fn unresolved(host: &Host, why: &str) -> String {
    format!("cannot resolve {host}: {why}")
}

/// All addresses of a name that there is a way to.
fn addresses(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (name, port)
        .to_socket_addrs()
        .map_err(|error| why(&error))?;
    let mut found: Vec<SocketAddr> = found.map(canonical).collect();
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(NO_ADDRESS.into());
    }
    let ways = Ways::here();
    let reachable = found.iter().copied().filter(|one| ways.lead_to(one.ip()));
    let reachable: Vec<SocketAddr> = reachable.collect();
    Ok(if reachable.is_empty() {
        found
    } else {
        reachable
    })
}

/// The resolver's own words, without what everybody knows.
fn why(error: &io::Error) -> String {
    let words = error.to_string();
    let known = "failed to lookup address information: ";
    words.strip_prefix(known).unwrap_or(&words).to_owned()
}

/// Whether these words say that there is no address (`EAI_NONAME`, `EAI_NODATA` and `EAI_ADDRFAMILY`, as glibc and musl
/// put them). Of anything else nobody knows: the name server was not there, or we lacked something.
fn is_known(why: &str) -> bool {
    const NONE: [&str; 5] = [
        "not known",
        "does not resolve",
        "No address associated",
        "no usable address",
        "Address family for hostname",
    ];
    why == NO_ADDRESS || NONE.iter().any(|words| why.contains(words))
}

/// What is said of a name with an empty answer.
const NO_ADDRESS: &str = "it has no address";

/// Which families this machine speaks with others: of a name, what nobody could connect to is left out, as
/// getaddrinfo(3) itself does with `AI_ADDRCONFIG`.
struct Ways {
    v4: bool,
    v6: bool,
}

impl Ways {
    fn here() -> Self {
        let mut ways = Self {
            v4: false,
            v6: false,
        };
        let Ok(all) = getifaddrs() else {
            return Self { v4: true, v6: true };
        };
        for address in all.filter_map(|one| one.address) {
            if let Some(v4) = address.as_sockaddr_in() {
                ways.v4 |= !v4.ip().is_loopback();
            }
            if let Some(v6) = address.as_sockaddr_in6() {
                ways.v6 |= !v6.ip().is_loopback() && !v6.ip().is_unicast_link_local();
            }
        }
        ways
    }

    fn lead_to(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || if ip.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// All that SRV records name (RFC 2782). Of the lowest priority are those that get sessions, the others are there
/// for when none of these can. Weights are to each other as the records have them, times what was written.
///
/// A host that may have addresses, though nobody knows just now, keeps those that it had.
fn services(backend: &Backend, name: &str) -> Result<Resolved, String> {
    let records = dns::services(name, Path::new(CONF))?;
    let first = records.iter().map(|one| one.priority).min().unwrap_or(0);
    let heaviest = records.iter().map(|one| one.weight).max().unwrap_or(0);
    let same = records.iter().all(|one| one.weight == heaviest);
    let (mut found, mut none) = (Resolved::default(), None);
    for record in &records {
        let addresses = match addresses(&record.target, record.port) {
            Ok(addresses) => addresses,
            Err(why) if is_known(&why) => {
                none = Some(format!("{}: {why}", record.target));
                continue;
            }
            Err(why) => {
                let via = record.target.clone();
                found.missing.push(Missing { via, why });
                continue;
            }
        };
        let own = if same { 1 } else { u32::from(record.weight) };
        found
            .leads
            .extend(addresses.into_iter().map(|address| Lead {
                target: Target::Tcp(address),
                weight: scaled(own, if same { 1 } else { heaviest.into() }, backend.weight),
                backup: backend.backup || record.priority != first,
                via: record.target.clone(),
            }));
    }
    if found.leads.is_empty() {
        let missing = found.missing.first();
        let missing = missing.map(|one| format!("{}: {}", one.via, one.why));
        let none = missing.or(none);
        return Err(none.unwrap_or_else(|| "its SRV records name no server".into()));
    }
    Ok(found)
}

/// `weight` times `written`, and less if the heaviest of all would be too heavy then.
fn scaled(weight: u32, heaviest: u32, written: u16) -> u16 {
    let written = u32::from(written);
    let most = (heaviest * written).clamp(1, MOST_WEIGHT);
    let share = u64::from(weight) * u64::from(most) / u64::from(heaviest.max(1));
    u16::try_from(share.max(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_proportion() {
        // Weight, heaviest, written, what it gets.
        for (weight, heaviest, written, expected) in [
            (1, 1, 1, 1),
            (1, 1, 3, 3),
            (0, 0, 5, 5),
            (10, 30, 1, 10),
            (30, 30, 2, 60),
            (0, 30, 2, 1),
            (65535, 65535, 1, 1000),
            (32768, 65535, 1, 500),
            (65535, 65535, 1000, 1000),
        ] {
            let (weight, expected) = (if heaviest == 0 { 1 } else { weight }, expected);
            let heaviest = heaviest.max(1);
            assert_eq!(
                scaled(weight, heaviest, written),
                expected,
                "{weight}/{heaviest}*{written}"
            );
        }
    }

    #[test]
    fn what_is_an_address_leads_there() {
        for words in ["10.0.0.1:80@3+backup", "unix:/a"] {
            let backend: Backend = words.parse().unwrap();
            let leads = resolve(&backend).unwrap().leads;
            assert_eq!(leads.len(), 1);
            assert_eq!(
                (leads[0].weight, leads[0].backup),
                (backend.weight, backend.backup)
            );
            assert_eq!(leads[0].target.to_string(), backend.host.to_string());
        }
    }

    #[test]
    fn a_name_leads_to_all_its_addresses() {
        let leads = resolve(&"localhost:80@2".parse().unwrap()).unwrap().leads;
        assert!(
            leads
                .iter()
                .any(|lead| lead.target.to_string() == "127.0.0.1:80")
        );
        assert!(leads.iter().all(|lead| lead.weight == 2));
        let why = resolve(&"there.is.none.invalid:80".parse().unwrap()).unwrap_err();
        let rest = why.strip_prefix("cannot resolve there.is.none.invalid:80: ");
        assert!(
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains("failed to lookup")),
            "{why}"
        );
    }
}
