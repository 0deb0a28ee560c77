//! Single words about a proxy as people write them, each read by one function for the command line and the file alike.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::CheckWhat;
use crate::config::duration::positive_duration;

/// The most other backends that are tried for one session.
const MOST_RETRIES: u32 = 100;
/// The most sessions of one worker that wait.
const MOST_QUEUED: u32 = 1_000_000;
/// The most answers in a row that a change of mind may wait for.
const MOST_ANSWERS: u32 = 1000;
/// The longest path that is asked for.
const PATH_MAX: usize = 2048;

/// What can be `off` in place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrOff<T>(pub Option<T>);

/// `--check`.
///
/// # Errors
/// A sentence.
pub fn check(words: &str) -> Result<OrOff<CheckWhat>, String> {
    or_off(words, str::parse)
}

fn or_off<T>(
    words: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<OrOff<T>, String> {
    match words {
        "off" => Ok(OrOff(None)),
        words => read(words).map(|value| OrOff(Some(value))),
    }
}

impl FromStr for CheckWhat {
    type Err = String;

    /// # Errors
    /// A sentence.
    fn from_str(words: &str) -> Result<Self, String> {
        const FORMS: &str = "it takes tcp, http:/path or off";
        match words.split_once(':') {
            None if words == "tcp" => Ok(Self::Tcp),
            None if words == "http" => Err("the path is missing, as in http:/health".into()),
            Some(("http", path)) if path.starts_with("//") => Err(
                "each backend is asked, so only the path is written here, as in http:/health"
                    .into(),
            ),
            Some(("http", path)) if path.starts_with('/') => {
                if path.len() > PATH_MAX || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(format!(
                        "a path has {PATH_MAX} bytes at most, and neither spaces nor letters beyond ASCII (%20, %C3%B6)"
                    ));
                }
                Ok(Self::Http(path.to_owned()))
            }
            Some(("http", _)) => Err("a path begins with a slash, as in http:/health".into()),
            Some(("https", _)) => Err(
                "backends are not asked over TLS: take tcp, or http:/path on a plain port".into(),
            ),
            _ => Err(FORMS.into()),
        }
    }
}

impl std::fmt::Display for CheckWhat {
    /// As it is written behind `--check`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Http(path) => write!(f, "http:{path}"),
        }
    }
}

/// A length of time that can be `off`.
///
/// # Errors
/// A sentence.
pub fn time_or_off(words: &str) -> Result<OrOff<Duration>, String> {
    or_off(words, positive_duration).map_err(|why| format!("{why}; or it is off"))
}

/// How long a connection may be idle before the kernel asks: it counts in seconds (tcp(7), `TCP_KEEPIDLE`).
///
/// # Errors
/// A sentence.
pub fn keepalive(words: &str) -> Result<OrOff<Duration>, String> {
    const LONGEST: Duration = Duration::from_secs(32767);
    or_off(words, |words| match positive_duration(words)? {
        time if time < Duration::from_secs(1) => Err("it must be 1s at least, or off".into()),
        time if time > LONGEST => Err("it is longer than nine hours (32767s)".into()),
        time => Ok(time),
    })
}

/// How many more connects are tried where one does not come about.
///
/// # Errors
/// A sentence.
pub fn retries(words: &str) -> Result<u32, String> {
    within(words, 0, MOST_RETRIES)
}

/// One of our own addresses to connect from.
///
/// # Errors
/// A sentence.
pub fn source(words: &str) -> Result<IpAddr, String> {
    let address: IpAddr = words.parse().map_err(|_| {
        format!("'{words}' is no address of this machine, as in 10.0.0.2 or 2001:db8::2")
    })?;
    let address = address.to_canonical();
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return Err(format!("nothing can be connected from {address}"));
    }
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Err(format!(
            "{address} is link-local: it means something on one interface only, which cannot be said here"
        ));
    }
    Ok(address)
}

/// How many sessions wait.
///
/// # Errors
/// A sentence.
pub fn max_queue(words: &str) -> Result<usize, String> {
    within(words, 0, MOST_QUEUED).map(|n| n as usize)
}

/// `--rise` and `--fall`.
///
/// # Errors
/// A sentence.
pub fn answers(words: &str) -> Result<u32, String> {
    within(words, 1, MOST_ANSWERS)
}

/// After how many failures in a row: 0 is never.
///
/// # Errors
/// A sentence.
pub fn eject_after(words: &str) -> Result<u32, String> {
    within(words, 0, MOST_ANSWERS)
}

/// A part, percent.
///
/// # Errors
/// A sentence.
pub fn share(words: &str) -> Result<u8, String> {
    let plain = words.strip_suffix('%').unwrap_or(words);
    within(plain, 0, 100)
        .map(|n| n as u8)
        .map_err(|_| "it takes 0 to 100, percent".into())
}

fn within(words: &str, least: u32, most: u32) -> Result<u32, String> {
    let digits = !words.is_empty() && words.bytes().all(|byte| byte.is_ascii_digit());
    let number = words.parse().ok().filter(|_| digits);
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("it takes a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks() {
        for words in ["tcp", "http:/", "http:/a?b=c"] {
            assert_eq!(check(words).unwrap().0.unwrap().to_string(), words);
        }
        assert_eq!(check("off"), Ok(OrOff(None)));
        for (words, part) in [
            ("", "tcp, http:/path or off"),
            ("TCP", "tcp, http:/path or off"),
            ("udp", "tcp, http:/path or off"),
            ("http", "path is missing"),
            ("http:", "with a slash"),
            ("http:health", "with a slash"),
            ("http://10.0.0.1/health", "only the path"),
            ("https:/x", "TLS"),
            ("http:/a b", "%20"),
        ] {
            let why = check(words).unwrap_err();
            assert!(why.contains(part), "{words}: {why}");
        }
    }

    #[test]
    fn times_and_numbers() {
        assert_eq!(time_or_off("off"), Ok(OrOff(None)));
        assert_eq!(time_or_off("2s"), Ok(OrOff(Some(Duration::from_secs(2)))));
        assert!(time_or_off("0").is_err() && time_or_off("never").is_err());
        assert_eq!(keepalive("75"), Ok(OrOff(Some(Duration::from_secs(75)))));
        assert!(keepalive("10ms").is_err() && keepalive("10h").is_err());
        assert_eq!((retries("0"), max_queue("0")), (Ok(0), Ok(0)));
        assert!(retries("101").is_err() && max_queue("-1").is_err());
        assert_eq!((answers("1"), eject_after("0")), (Ok(1), Ok(0)));
        let own = source("::ffff:10.0.0.2").map(|own| own.to_string());
        assert_eq!(own, Ok("10.0.0.2".to_owned()));
        for wrong in [
            "",
            "host",
            "10.0.0.2:80",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(source(wrong).is_err(), "{wrong}");
        }
        assert!(source("fe80::1").is_err_and(|why| why.contains("link-local")));
        // Of IPv4 they are addresses as any other.
        assert!(source("169.254.0.1").is_ok());
        assert!(answers("0").is_err() && eject_after("1001").is_err());
        assert_eq!((share("50"), share("100%")), (Ok(50), Ok(100)));
        assert!(share("101").is_err() && share("%").is_err());
    }
}
