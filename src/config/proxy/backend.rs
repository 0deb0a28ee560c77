//! One backend as it is written: `10.0.0.1:5432`, `db.example:5432@3`, `[::1]:80+backup`, `unix:/run/app.sock+max=100`,
//! `srv:_pg._tcp.example`. Words to value and back; no name is looked up here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::{UNIX_PATH_MAX, nearest};

/// The most that a backend weighs; the least is 1.
pub const MOST_WEIGHT: u16 = 1000;

/// The longest name that DNS has (RFC 1035, 2.3.4), and the longest part of one.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

const FORMS: &str =
    "10.0.0.1:5432, db.example:5432, [::1]:5432, unix:/path or srv:_name._tcp.example";

/// A backend as it was written.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Backend {
    /// Where it is.
    pub host: Host,
    /// What it gets compared with others, 1 to [`MOST_WEIGHT`].
    pub weight: u16,
    /// It gets something only when no other can.
    pub backup: bool,
    /// Most sessions at a time.
    pub max: Option<u32>,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// One address.
    Address(SocketAddr),
    /// All addresses of a name, in lower case.
    Name(String, u16),
    /// All addresses and ports that SRV records of this name lead to.
    Srv(String),
    /// A Unix socket, by an absolute path that is text.
    Unix(PathBuf),
}

impl Default for Backend {
    /// Nowhere.
    fn default() -> Self {
        Self {
            host: Host::Unix(PathBuf::new()),
            weight: 1,
            backup: false,
            max: None,
        }
    }
}

impl Backend {
    /// Reads a backend of the file: there the path of a Unix socket may begin at the `directory` of the file.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn beside(words: &str, directory: &Path) -> Result<Self, String> {
        match words.strip_prefix("unix:") {
            Some(path) if !path.is_empty() && !path.starts_with(['/', '@']) => {
                let directory = directory
                    .to_str()
                    .ok_or("the directory of this file is no text: write an absolute path")?;
                format!("unix:{directory}/{path}").parse()
            }
            _ => words.parse(),
        }
    }
}

impl FromStr for Backend {
    type Err = String;

    /// Reads what is written behind `--to`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    fn from_str(words: &str) -> Result<Self, String> {
        if words.trim().is_empty() {
            return Err(format!(
                "no backend is named here; one is written as {FORMS}"
            ));
        }
        if words.contains(',') && !words.starts_with("unix:") {
            return Err("this is more than one backend: they are given one by one".into());
        }
        // What is behind a path may hold anything but a slash; in front of that '+' and '@' are the path's own.
        let start = if words.starts_with("unix:") {
            words.rfind('/').unwrap_or(0)
        } else {
            0
        };
        let (host, attributes) = match words[start..].find('+') {
            Some(at) => (&words[..start + at], &words[start + at..]),
            None => (words, ""),
        };
        let (host, weight) = weight(host, start)?;
        let mut backend = Self {
            host: host.parse()?,
            weight,
            backup: false,
            max: None,
        };
        for attribute in attributes.split('+').skip(1) {
            backend.take(attribute).map_err(|why| match &backend.host {
                Host::Unix(_) => format!(
                    "{why}; the name of a Unix socket that has a + in it cannot be written: give it another, or a link to it"
                ),
                _ => why,
            })?;
        }
        Ok(backend)
    }
}

impl Backend {
    /// One word behind a `+`.
    fn take(&mut self, attribute: &str) -> Result<(), String> {
        let twice = |name| Err(format!("+{name} is given twice"));
        if let Some((name, _)) = attribute.split_once('@') {
            return Err(format!(
                "the weight goes in front of +{name}, as in 10.0.0.1:5432@3+{name}"
            ));
        }
        let (name, value) = match attribute.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (attribute, None),
        };
        match (name, value) {
            ("backup", None) if self.backup => twice("backup"),
            ("backup", None) => {
                self.backup = true;
                Ok(())
            }
            ("backup", Some(_)) => Err("+backup takes no value".into()),
            ("max", Some(_)) if self.max.is_some() => twice("max"),
            ("max", Some(value)) => {
                let most = number(value).filter(|most| *most > 0);
                let most = most.and_then(|most| u32::try_from(most).ok());
                self.max = Some(most.ok_or_else(|| {
                    format!(
                        "'{value}' is no number of sessions: +max takes 1 or more, as in +max=100"
                    )
                })?);
                Ok(())
            }
            ("max", None) => Err("+max needs a number of sessions, as in +max=100".into()),
            _ => Err(unknown(name)),
        }
    }
}

fn unknown(name: &str) -> String {
    let near = if name.starts_with("weight") {
        "; the weight is written as in 10.0.0.1:5432@3".to_owned()
    } else {
        let near = nearest(name, &["backup", "max"]);
        near.map(|near| format!("; did you mean +{near}?"))
            .unwrap_or_default()
    };
    format!("there is no +{name}: behind a backend go +backup and +max=N{near}")
}

fn number(words: &str) -> Option<u64> {
    let digits = !words.is_empty() && words.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| words.parse().ok()).flatten()
}

/// The host, and what is behind its `@`: only after `start`; of a path only what is a number.
fn weight(words: &str, start: usize) -> Result<(&str, u16), String> {
    let Some(at) = words[start..].rfind('@').map(|at| at + start) else {
        return Ok((words, 1));
    };
    let (host, weight) = (&words[..at], &words[at + 1..]);
    if words.starts_with("unix:") && number(weight).is_none() {
        return Ok((words, 1));
    }
    if !words.starts_with("unix:") && host.contains('@') {
        return Err(format!(
            "there is more than one @ in '{words}': one weight is written behind the port, as in 10.0.0.1:5432@3"
        ));
    }
    let within = number(weight).filter(|weight| (1..=u64::from(MOST_WEIGHT)).contains(weight));
    let weight = within.and_then(|weight| u16::try_from(weight).ok());
    let weight = weight.ok_or_else(|| {
        let is = &words[at + 1..];
        format!(
            "'{is}' is no weight: it is a number from 1 to {MOST_WEIGHT}, as in 10.0.0.1:5432@3"
        )
    })?;
    Ok((host, weight))
}

impl FromStr for Host {
    type Err = String;

    /// Reads what stands in front of `@` and `+`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    fn from_str(words: &str) -> Result<Self, String> {
        if let Some(path) = words.strip_prefix("unix:") {
            return unix(path).map(Self::Unix);
        }
        if let Some(service) = words.strip_prefix("srv:") {
            return srv(service).map(Self::Srv);
        }
        if let Some((scheme, _)) = words.split_once("://") {
            return Err(format!(
                "a backend is written without {scheme}://, as in {FORMS}"
            ));
        }
        if words.starts_with('/') || words.starts_with("./") {
            return Err(format!("a Unix socket is written as unix:{words}"));
        }
        if let Ok(address) = words.parse::<SocketAddr>() {
            return connectable(address).map(Self::Address);
        }
        if words.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
            return Err(
                if words.matches(':').count() == 7 || words.ends_with("::") {
                    format!(
                        "the port is missing, and an IPv6 address goes in brackets: [{words}]:5432"
                    )
                } else {
                    "an IPv6 address goes in brackets, as in [::1]:5432".into()
                },
            );
        }
        if number(words).is_some() {
            return Err(format!(
                "the host is missing: port {words} of this machine is 127.0.0.1:{words}"
            ));
        }
        let Some((host, after)) = words.rsplit_once(':').filter(|_| !words.ends_with(']')) else {
            return Err(format!(
                "the port is missing: it is written as {words}:5432"
            ));
        };
        if host.is_empty() {
            return Err(format!(
                "the host is missing: port {after} of this machine is 127.0.0.1:{after}"
            ));
        }
        bracketed(host)?;
        let port = port(after)?;
        Ok(Self::Name(name(host)?, port))
    }
}

/// What is between brackets and was no address, or should be there.
fn bracketed(host: &str) -> Result<(), String> {
    if host.starts_with('[') && host.contains('%') {
        return Err("the interface of a link-local address is given by its number, as in [fe80::1%2]:5432 (see `ip link`)".into());
    }
    if host.starts_with('[') {
        return Err(format!("'{host}' is no IPv6 address"));
    }
    if host.contains(':') {
        return Err("an IPv6 address goes in brackets, as in [::1]:5432".into());
    }
    Ok(())
}

fn connectable(address: SocketAddr) -> Result<SocketAddr, String> {
    port(&address.port().to_string())?;
    if address.ip().to_canonical().is_unspecified() {
        return Err(format!(
            "{} means all addresses of a machine, and a backend has one; of this machine it is 127.0.0.1:{}",
            address.ip(),
            address.port()
        ));
    }
    Ok(address)
}

fn port(words: &str) -> Result<u16, String> {
    match number(words) {
        Some(0) => Err("no server has port 0: name the one on which it listens".into()),
        Some(port) => u16::try_from(port).map_err(|_| format!("port {words} is above 65535")),
        None if words.is_empty() => {
            Err("the port is missing behind the colon, as in db.example:5432".into())
        }
        None => Err(format!("'{words}' is no port number")),
    }
}

fn srv(words: &str) -> Result<String, String> {
    const FORM: &str = "SRV records are asked for as in srv:_postgresql._tcp.example";
    if words.is_empty() {
        return Err(format!("the name is missing: {FORM}"));
    }
    match words.rsplit_once(':') {
        Some((_, after)) if number(after).is_some() => Err(format!(
            "SRV records say the port themselves, so none is given: {FORM}"
        )),
        Some(_) => Err(format!("'{words}' is no name: {FORM}")),
        None => name(words),
    }
}

/// A name that a resolver may be asked for, in lower case.
fn name(words: &str) -> Result<String, String> {
    let plain = words.strip_suffix('.').unwrap_or(words);
    let fits = |label: &str| {
        let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        (1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(known)
    };
    if plain.len() > NAME_MAX || !plain.split('.').all(fits) {
        return Err(format!(
            "'{words}' is neither an IP address nor a name of a host"
        ));
    }
    let last = plain.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("'{words}' is no IP address"));
    }
    Ok(words.to_ascii_lowercase())
}

fn unix(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err("unix: needs a path, as in unix:/run/app.sock".into());
    }
    if path.starts_with('@') {
        return Err("an abstract Unix socket cannot be a backend; name a path".into());
    }
    if !path.starts_with('/') {
        return Err(format!(
            "the path of a Unix socket begins with a slash here, as in unix:/run/{path}"
        ));
    }
    if path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        return Err(format!(
            "{path} is a directory: name the socket in it, as in unix:/run/app.sock"
        ));
    }
    if path.chars().any(char::is_control) {
        return Err("the path of a backend cannot hold control characters".into());
    }
    if path.len() > UNIX_PATH_MAX {
        return Err(format!(
            "the path of a Unix socket has {UNIX_PATH_MAX} bytes at most, and this one has {}",
            path.len()
        ));
    }
    // Two spellings of one path are one backend.
    let parts = Path::new(path).components();
    Ok(parts.filter(|part| *part != Component::CurDir).collect())
}

impl fmt::Display for Host {
    /// What the backend is called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Srv(name) => write!(f, "srv:{name}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Backend {
    /// As it would be written behind `--to`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        if self.weight != 1 {
            write!(f, "@{}", self.weight)?;
        }
        if self.backup {
            f.write_str("+backup")?;
        }
        match self.max {
            Some(most) => write!(f, "+max={most}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
