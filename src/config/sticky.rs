//! `--sticky`: what makes two connections belong together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What makes two connections belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sticky {
    /// The client's address, cut to a prefix of so many bits (32 and 128: whole).
    Ip {
        /// Prefix of an IPv4 client (and of an IPv4-mapped one).
        v4: u8,
        /// Prefix of an IPv6 client.
        v6: u8,
    },
}

const WHOLE_V4: u8 = 32;
const WHOLE_V6: u8 = 128;

impl FromStr for Sticky {
    type Err = String;

    /// Reads `ip`, `ip/24`, `ip/24,56`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    fn from_str(words: &str) -> Result<Self, String> {
        let (key, prefixes) = match words.split_once('/') {
            Some((key, prefixes)) => (key, Some(prefixes)),
            None => (words, None),
        };
        if key != "ip" {
            return Err("the key is written as ip, ip/24 or ip/24,56".into());
        }
        let Some(prefixes) = prefixes else {
            return Ok(Self::Ip {
                v4: WHOLE_V4,
                v6: WHOLE_V6,
            });
        };
        let (v4, v6) = match prefixes.split_once(',') {
            Some((v4, v6)) => (v4, Some(v6)),
            None => (prefixes, None),
        };
        Ok(Self::Ip {
            v4: prefix(v4, "IPv4", WHOLE_V4)?,
            v6: v6.map_or(Ok(WHOLE_V6), |v6| prefix(v6, "IPv6", WHOLE_V6))?,
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

impl fmt::Display for Sticky {
    /// As short as it can be written after `--sticky`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ip {
                v4: WHOLE_V4,
                v6: WHOLE_V6,
            } => f.write_str("ip"),
            Self::Ip { v4, v6: WHOLE_V6 } => write!(f, "ip/{v4}"),
            Self::Ip { v4, v6 } => write!(f, "ip/{v4},{v6}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        let table = [
            ("ip", 32, 128),
            ("ip/24", 24, 128),
            ("ip/24,56", 24, 56),
            ("ip/32,64", 32, 64),
        ];
        for (words, v4, v6) in table {
            let expected = Sticky::Ip { v4, v6 };
            assert_eq!(words.parse(), Ok(expected), "{words}");
            assert_eq!(expected.to_string(), words);
        }
        assert_eq!("ip/32,128".parse::<Sticky>().unwrap().to_string(), "ip");
    }

    #[test]
    fn other_keys_and_prefixes_are_refused() {
        let table = [
            ("", "key is written as"),
            ("IP", "key is written as"),
            ("cookie:sid", "key is written as"),
            ("ip/", "no IPv4 prefix"),
            ("ip/0", "no IPv4 prefix"),
            ("ip/33", "no IPv4 prefix"),
            ("ip/24,", "no IPv6 prefix"),
            ("ip/24,129", "no IPv6 prefix"),
            ("ip/24,-1", "no IPv6 prefix"),
        ];
        for (words, part) in table {
            let sentence = words.parse::<Sticky>().unwrap_err();
            assert!(sentence.contains(part), "{words:?} gave {sentence:?}");
        }
    }
}
