//! `--trusted-proxies`: networks whose word is taken for who the client is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::wire::{Address, Family};

/// A set of networks; `unix` stands for whoever comes over a Unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Networks {
    nets: Vec<IpNet>,
    unix: bool,
}

impl Networks {
    /// No network at all.
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty() && !self.unix
    }

    /// The same, and those of `other`.
    pub fn and(mut self, other: Self) -> Self {
        self.nets.extend(other.nets);
        self.unix |= other.unix;
        self
    }

    /// Whether this peer is in one of them. A v4-mapped IPv6 address is its IPv4 address.
    pub fn contain(&self, peer: &Address) -> bool {
        match ip(peer) {
            Some(ip) => self.contain_ip(ip),
            None => self.unix,
        }
    }

    /// Whether this address is in one of them, as [`Networks::contain`].
    pub fn contain_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.nets.iter().any(|net| net.contains(&ip))
    }
}

fn ip(peer: &Address) -> Option<IpAddr> {
    let [a, b, c, d, ..] = peer.ip;
    match peer.family {
        Family::None => None,
        Family::V4 => Some(Ipv4Addr::new(a, b, c, d).into()),
        Family::V6 => Some(Ipv6Addr::from(peer.ip).into()),
    }
}

/// A network of v4-mapped addresses is one of IPv4 addresses, as its members are.
fn canonical(net: IpNet) -> IpNet {
    let within = net.prefix_len().checked_sub(96);
    match (net.addr().to_canonical(), within) {
        (IpAddr::V4(v4), Some(bits)) if matches!(net, IpNet::V6(_)) => {
            IpNet::new(v4.into(), bits).unwrap_or(net)
        }
        _ => net,
    }
}

impl FromStr for Networks {
    type Err = String;

    /// Reads `10.0.0.0/8`, `::1`, `unix`, or several with commas between them.
    ///
    /// # Errors
    /// A sentence that says which is wrong.
    fn from_str(words: &str) -> Result<Self, String> {
        let mut this = Self::default();
        for word in words.split(',').map(str::trim) {
            if word == "unix" {
                this.unix = true;
                continue;
            }
            let net = word.parse::<IpNet>().ok();
            let net = net.or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from));
            let net = net.ok_or_else(|| {
                format!("'{word}' is no network: it is written as 10.0.0.0/8, 192.0.2.7, 2001:db8::/32 or unix")
            })?;
            this.nets.push(canonical(net));
        }
        Ok(this)
    }
}

impl fmt::Display for Networks {
    /// As it is written after `--trusted-proxies`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nets = self.nets.iter().map(IpNet::to_string);
        let unix = self.unix.then(|| "unix".to_owned());
        let words: Vec<String> = nets.chain(unix).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_mapped_addresses_is_one_of_ipv4() {
        for (words, canonical) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::ffff:0.0.0.0/95"),
            ("2001:db8::/100", "2001:db8::/100"),
        ] {
            let networks: Networks = words.parse().unwrap();
            assert_eq!(networks.to_string(), canonical);
        }
    }

    #[test]
    fn networks_are_read_and_asked() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.7,2001:db8::/32,unix".parse().unwrap();
        assert_eq!(
            networks.to_string(),
            "10.0.0.0/8,192.0.2.7/32,2001:db8::/32,unix"
        );
        for (ip, inside) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::9", true),
            ("2001:db9::9", false),
        ] {
            assert_eq!(networks.contain_ip(ip.parse().unwrap()), inside, "{ip}");
        }
        assert!(networks.contain(&Address::default()));
        assert!(
            !"::/0"
                .parse::<Networks>()
                .unwrap()
                .contain(&Address::default())
        );
        for words in ["", "10.0.0.0/33", "localhost", "10.0.0.0/8,,", "unix:/x"] {
            assert!(words.parse::<Networks>().is_err(), "{words}");
        }
    }
}
