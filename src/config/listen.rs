//! `-l`: where clients connect, and which port of the server that stands for.
//!
//! Words to value and back; nothing is opened, and no name is looked up (a resolver's answer can change
//! between two starts, and a listener belongs to one address).

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::sys::handover;

/// Longest path of a Unix socket: `sun_path` holds 108 bytes, one of them the NUL (unix(7)).
pub const UNIX_PATH_MAX: usize = 107;

const FORMS: &str = "8080, 127.0.0.1:8080, [::1]:8080 or unix:/path";

/// One `-l`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Where clients connect.
    pub at: ListenAt,
    /// The port that the server itself binds, where it differs.
    pub app_port: Option<u16>,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenAt {
    /// All addresses, both families.
    AnyAddress(u16),
    /// One address (or one family's wildcard).
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(#[serde(with = "handover::path")] PathBuf),
}

impl Listen {
    /// The port whose `bind` by the server is answered with this listener; `None`: its first fixed port.
    pub fn shared_port(&self) -> Option<u16> {
        self.app_port.or_else(|| self.at.port())
    }
}

impl ListenAt {
    /// The TCP port, if it is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::AnyAddress(port) => Some(*port),
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether the two cannot both be bound. Port 0 is a port of its own each time.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            _ if self.port() != other.port() || self.port() == Some(0) => false,
            (Self::Tcp(one), Self::Tcp(other)) => {
                one.is_ipv4() == other.is_ipv4()
                    && (one.ip() == other.ip()
                        || one.ip().is_unspecified()
                        || other.ip().is_unspecified())
            }
            _ => true,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// # Errors
    /// A sentence that says what is wrong and how it is written.
    fn from_str(words: &str) -> Result<Self, String> {
        let (at, app_port) = split_app_port(words)?;
        let at = match at.strip_prefix("unix:") {
            Some(path) => unix(path)?,
            None => tcp(at)?,
        };
        Ok(Self { at, app_port })
    }
}

/// A path may hold a `=` of its own, so there only a number behind the last one is a port.
fn split_app_port(words: &str) -> Result<(&str, Option<u16>), String> {
    let Some((at, app_port)) = words.rsplit_once('=') else {
        return Ok((words, None));
    };
    let digits = !app_port.is_empty() && app_port.bytes().all(|byte| byte.is_ascii_digit());
    if words.starts_with("unix:") && !digits {
        return Ok((words, None));
    }
    if !digits {
        return Err(format!(
            "'{app_port}' is no port number of the server; write it as in 0.0.0.0:80=8080"
        ));
    }
    Ok((at, Some(port(app_port)?)))
}

fn port(words: &str) -> Result<u16, String> {
    if words.is_empty() || !words.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("'{words}' is no port number"));
    }
    match words.parse() {
        Ok(0) => {
            Err("port 0 cannot be shared, since every bind of it is another port; name one".into())
        }
        Ok(port) => Ok(port),
        Err(_) => Err(format!("port {words} is above 65535")),
    }
}

fn tcp(words: &str) -> Result<ListenAt, String> {
    if let Ok(address) = words.parse::<SocketAddr>() {
        port(&address.port().to_string())?;
        return Ok(ListenAt::Tcp(address));
    }
    let Some((host, after)) = words.rsplit_once(':') else {
        if words.is_empty() || words.bytes().any(|byte| !byte.is_ascii_digit()) {
            return Err(format!("an address is written as {FORMS}"));
        }
        return port(words).map(ListenAt::AnyAddress);
    };
    if host.is_empty() {
        return port(after).map(ListenAt::AnyAddress);
    }
    if words.ends_with(']') {
        return Err(format!(
            "the port is missing; an address is written as {FORMS}"
        ));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address goes in brackets, as in [::1]:8080".into());
    }
    port(after)?;
    if host.starts_with('[') && host.contains('%') {
        return Err("the interface of a link-local address is given by its number, as in [fe80::1%2]:8080 (see `ip link`)".into());
    }
    Err(format!(
        "'{host}' is no IP address, and names are not looked up; an address is written as {FORMS}"
    ))
}

fn unix(path: &str) -> Result<ListenAt, String> {
    if path.is_empty() {
        return Err("unix: needs a path, as in unix:/run/app.sock".into());
    }
    if path.starts_with('@') {
        return Err(
            "an abstract Unix socket has no permissions, so it cannot be used; name a path".into(),
        );
    }
    if path.len() > UNIX_PATH_MAX {
        return Err(format!(
            "the path of a Unix socket has {UNIX_PATH_MAX} bytes at most, and this one has {}",
            path.len()
        ));
    }
    Ok(ListenAt::Unix(path.into()))
}

impl fmt::Display for Listen {
    /// As it would be written after `-l`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)?;
        match self.app_port {
            Some(port) => write!(f, "={port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyAddress(port) => write!(f, "{port}"),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(at: &str, app_port: Option<u16>) -> Listen {
        let at = ListenAt::Tcp(at.parse().unwrap());
        Listen { at, app_port }
    }

    fn any(port: u16, app_port: Option<u16>) -> Listen {
        let at = ListenAt::AnyAddress(port);
        Listen { at, app_port }
    }

    fn path(at: &str, app_port: Option<u16>) -> Listen {
        let at = ListenAt::Unix(at.into());
        Listen { at, app_port }
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        let table = [
            ("8080", any(8080, None)),
            ("80=8080", any(80, Some(8080))),
            ("127.0.0.1:8080", tcp("127.0.0.1:8080", None)),
            ("[::1]:8080", tcp("[::1]:8080", None)),
            ("[::]:80=3000", tcp("[::]:80", Some(3000))),
            ("0.0.0.0:80=8080", tcp("0.0.0.0:80", Some(8080))),
            ("[fe80::1%2]:80", tcp("[fe80::1%2]:80", None)),
            ("unix:/run/a.sock", path("/run/a.sock", None)),
            ("unix:a=b", path("a=b", None)),
            ("unix:/run/a=b=3000", path("/run/a=b", Some(3000))),
        ];
        for (words, expected) in table {
            assert_eq!(words.parse::<Listen>().as_ref(), Ok(&expected), "{words}");
            assert_eq!(expected.to_string(), words);
        }
        assert_eq!(":8080".parse(), Ok(any(8080, None)));
        assert_eq!(":80=8080".parse(), Ok(any(80, Some(8080))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_MAX));
        let table = [
            ("", "written as"),
            ("0", "port 0 cannot be shared"),
            ("127.0.0.1:0", "port 0 cannot be shared"),
            ("80=0", "port 0 cannot be shared"),
            ("65536", "above 65535"),
            ("1.2.3.4:99999", "above 65535"),
            ("99999999999999999999", "above 65535"),
            ("80=", "no port number of the server"),
            ("80=http", "no port number of the server"),
            ("http", "written as"),
            ("127.0.0.1", "written as"),
            ("127.0.0.1:", "no port number"),
            ("127.0.0.1:+80", "no port number"),
            ("::1:8080", "brackets"),
            ("::1", "brackets"),
            ("[::1]", "port is missing"),
            ("[fe80::1%eth0]:80", "interface"),
            ("localhost:8080", "names are not looked up"),
            ("300.1.1.1:80", "no IP address"),
            ("unix:", "needs a path"),
            ("unix:@name", "abstract"),
            (&long, "107 bytes at most"),
        ];
        for (words, part) in table {
            let sentence = words.parse::<Listen>().unwrap_err();
            assert!(sentence.contains(part), "{words:?} gave {sentence:?}");
        }
    }

    #[test]
    fn what_cannot_both_be_bound() {
        let table = [
            ("80", "80", true),
            ("80", "81", false),
            ("80", "127.0.0.1:80", true),
            ("80", "[::1]:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("unix:/a", "unix:/a=80", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", "80", false),
        ];
        for (one, other, expected) in table {
            let at = |words: &str| words.parse::<Listen>().unwrap().at;
            assert_eq!(at(one).overlaps(&at(other)), expected, "{one} {other}");
            assert_eq!(at(other).overlaps(&at(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_servers_port_is_the_last_given() {
        let shared = |words: &str| words.parse::<Listen>().unwrap().shared_port();
        assert_eq!(shared("8080"), Some(8080));
        assert_eq!(shared("127.0.0.1:80=8080"), Some(8080));
        assert_eq!(shared("unix:/a"), None);
        assert_eq!(shared("unix:/a=3000"), Some(3000));
    }
}
