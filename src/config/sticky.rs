//! `--sticky`: what makes two connections belong together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What makes two connections belong together. Where a connection has no such thing, its client's address does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sticky {
    /// The client's address.
    Ip(Prefixes),
    /// The source address in a PROXY header, which the server itself reads then.
    Proxy(Prefixes),
    /// The value of a header of the first HTTP request, by its name in lower case; of `x-forwarded-for` the hop
    /// before the last trusted proxy.
    Header(String),
    /// The value of a cookie of the first HTTP request.
    Cookie(String),
    /// The value of a parameter in the first HTTP request's query, as it is written there.
    Query(String),
    /// So many segments of the first HTTP request's path.
    Path(u8),
    /// The server name in a TLS ClientHello.
    Sni,
    /// The protocols offered in a TLS ClientHello.
    Alpn,
    /// The slot itself, behind the last dot of a cookie, header or query parameter of this name: the server has
    /// put `FORKFRONT_SLOT` there.
    Route(String),
}

/// How much of an address counts, bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefixes {
    /// Of an IPv4 client (and of an IPv4-mapped one).
    pub v4: u8,
    /// Of an IPv6 client.
    pub v6: u8,
}

const WHOLE: Prefixes = Prefixes { v4: 32, v6: 128 };

impl Default for Prefixes {
    fn default() -> Self {
        WHOLE
    }
}

/// The keys, as they are written.
const KEYS: &str = "ip, ip/24, ip/24,56, header:NAME, cookie:NAME, query:NAME, path:N, sni, alpn, proxy or route:NAME";

impl FromStr for Sticky {
    type Err = String;

    /// Reads what is written after `--sticky`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    fn from_str(words: &str) -> Result<Self, String> {
        let unknown = || format!("the key is written as {KEYS}");
        if let Some((kind, name)) = words.split_once(':') {
            return match kind {
                "header" => {
                    token(name, "header").map(|name| Self::Header(name.to_ascii_lowercase()))
                }
                "cookie" => token(name, "cookie").map(Self::Cookie),
                "query" => parameter(name).map(Self::Query),
                "route" => token(name, "cookie, header or parameter").map(Self::Route),
                "path" => segments(name).map(Self::Path),
                _ => Err(unknown()),
            };
        }
        if let "header" | "cookie" | "query" | "route" = words {
            return Err(format!("a name is missing, as in {words}:NAME"));
        }
        let (kind, prefixes) = match words.split_once('/') {
            Some((kind, prefixes)) => (kind, Some(prefixes)),
            None => (words, None),
        };
        match (kind, prefixes) {
            ("ip", None) => Ok(Self::Ip(WHOLE)),
            ("ip", Some(prefixes)) => prefixes.parse().map(Self::Ip),
            ("proxy", None) => Ok(Self::Proxy(WHOLE)),
            ("proxy", Some(prefixes)) => prefixes.parse().map(Self::Proxy),
            ("sni", None) => Ok(Self::Sni),
            ("alpn", None) => Ok(Self::Alpn),
            _ => Err(unknown()),
        }
    }
}

/// A token of RFC 9110, as names of headers and cookies are.
fn token(name: &str, what: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_part) {
        return Err(format!("'{name}' is no name of a {what}"));
    }
    Ok(name.to_owned())
}

fn parameter(name: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_graphic() && !b"&=#".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_part) {
        return Err(format!(
            "'{name}' is no name of a parameter, as it is written in a URL"
        ));
    }
    Ok(name.to_owned())
}

fn segments(words: &str) -> Result<u8, String> {
    let digits = !words.starts_with('+');
    let number = words.parse().ok().filter(|number| digits && *number != 0);
    number.ok_or_else(|| format!("'{words}' is no number of segments: it is 1 to 255"))
}

impl FromStr for Prefixes {
    type Err = String;

    /// Reads `24` or `24,56`.
    fn from_str(words: &str) -> Result<Self, String> {
        let (v4, v6) = match words.split_once(',') {
            Some((v4, v6)) => (v4, Some(v6)),
            None => (words, None),
        };
        Ok(Self {
            v4: prefix(v4, "IPv4", WHOLE.v4)?,
            v6: v6.map_or(Ok(WHOLE.v6), |v6| prefix(v6, "IPv6", WHOLE.v6))?,
        })
    }
}

fn prefix(words: &str, family: &str, whole: u8) -> Result<u8, String> {
    words
        .parse()
        .ok()
        .filter(|bits| (1..=whole).contains(bits))
        .ok_or_else(|| format!("'{words}' is no {family} prefix: it has 1 to {whole} bits"))
}

impl fmt::Display for Prefixes {
    /// With the slash before it, and as short as it can be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WHOLE => Ok(()),
            Self { v4, v6 } if v6 == WHOLE.v6 => write!(f, "/{v4}"),
            Self { v4, v6 } => write!(f, "/{v4},{v6}"),
        }
    }
}

impl fmt::Display for Sticky {
    /// As short as it can be written after `--sticky`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(prefixes) => write!(f, "ip{prefixes}"),
            Self::Proxy(prefixes) => write!(f, "proxy{prefixes}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path(segments) => write!(f, "path:{segments}"),
            Self::Sni => f.write_str("sni"),
            Self::Alpn => f.write_str("alpn"),
            Self::Route(name) => write!(f, "route:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        let ip = |v4, v6| Sticky::Ip(Prefixes { v4, v6 });
        let table = [
            ("ip", ip(32, 128)),
            ("ip/24", ip(24, 128)),
            ("ip/24,56", ip(24, 56)),
            ("ip/32,64", ip(32, 64)),
            ("proxy", Sticky::Proxy(WHOLE)),
            ("proxy/24", Sticky::Proxy(Prefixes { v4: 24, v6: 128 })),
            ("header:x-user", Sticky::Header("x-user".into())),
            ("cookie:JSESSIONID", Sticky::Cookie("JSESSIONID".into())),
            ("query:sid[]", Sticky::Query("sid[]".into())),
            ("path:2", Sticky::Path(2)),
            ("sni", Sticky::Sni),
            ("alpn", Sticky::Alpn),
            ("route:connect.sid", Sticky::Route("connect.sid".into())),
        ];
        for (words, expected) in table {
            assert_eq!(words.parse().as_ref(), Ok(&expected), "{words}");
            assert_eq!(expected.to_string(), words);
        }
        assert_eq!("ip/32,128".parse::<Sticky>().unwrap().to_string(), "ip");
        let header = "header:X-Forwarded-For".parse::<Sticky>().unwrap();
        assert_eq!(header.to_string(), "header:x-forwarded-for");
    }

    #[test]
    fn other_keys_and_prefixes_are_refused() {
        let table = [
            ("", "key is written as"),
            ("IP", "key is written as"),
            ("sni/24", "key is written as"),
            ("cookie", "a name is missing, as in cookie:NAME"),
            ("coockie:sid", "key is written as"),
            ("cookie:", "no name of a cookie"),
            ("cookie:a b", "no name of a cookie"),
            ("header:a:b", "no name of a header"),
            ("query:a=b", "no name of a parameter"),
            ("path:0", "no number of segments"),
            ("path:+1", "no number of segments"),
            ("path:256", "no number of segments"),
            ("ip/", "no IPv4 prefix"),
            ("ip/0", "no IPv4 prefix"),
            ("ip/33", "no IPv4 prefix"),
            ("ip/24,", "no IPv6 prefix"),
            ("ip/24,129", "no IPv6 prefix"),
            ("proxy/24,-1", "no IPv6 prefix"),
        ];
        for (words, part) in table {
            let sentence = words.parse::<Sticky>().unwrap_err();
            assert!(sentence.contains(part), "{words:?} gave {sentence:?}");
        }
    }
}
