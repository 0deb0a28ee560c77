//! What `set` can change while a primary runs: a key and its value, as words.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use log::LevelFilter;
use serde::{Deserialize, Serialize};

use super::SlotRef;
use crate::config::file::nearest::nearest;
use crate::config::{self, Balance, MAX_WEIGHT, Sticky};

/// One setting with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Words", into = "Words")]
pub enum Setting {
    /// Who gets the next connection.
    Balance(Balance),
    /// The consistent hash in front of it; none if `off`.
    Sticky(Option<Sticky>),
    /// How much a slot gets, compared with others.
    Weight {
        /// Which one.
        slot: SlotRef,
        /// 1 to [`MAX_WEIGHT`].
        weight: u16,
    },
    /// How much the primary says.
    LogLevel(LevelFilter),
}

/// As it goes over the wire.
#[derive(Serialize, Deserialize)]
struct Words {
    key: String,
    value: String,
}

impl Setting {
    /// The keys, with what is written behind them.
    pub const KEYS: [(&str, &str); 4] = [
        ("balance", "round-robin, least-connections, idle or kernel"),
        (
            "sticky",
            "ip, cookie:NAME or another key of --sticky, or off",
        ),
        ("weight", "SLOT=N, as in 2=50 or web:2=50"),
        ("log-level", "error, warn, info, debug or trace"),
    ];

    /// Reads the words of `set KEY VALUE`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the key or the value.
    pub fn read(key: &str, value: &str) -> Result<Self, String> {
        match key {
            "balance" => Balance::from_str(value, false)
                .map(Self::Balance)
                .map_err(|_| takes(key) + &nearest_balance(value)),
            "sticky" if value == "off" => Ok(Self::Sticky(None)),
            "sticky" => Sticky::from_str(value)
                .map(|sticky| Self::Sticky(Some(sticky)))
                .map_err(|sentence| format!("{sentence}, or off")),
            "weight" => weight(value),
            "log-level" => config::log_level(value).map(Self::LogLevel),
            _ => {
                let keys = Self::KEYS.map(|(key, _)| key).join(", ");
                Err(format!("it takes one of {keys}"))
            }
        }
    }

    /// The key.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Balance(_) => "balance",
            Self::Sticky(_) => "sticky",
            Self::Weight { .. } => "weight",
            Self::LogLevel(_) => "log-level",
        }
    }

    /// The value, as it is written.
    pub fn value(&self) -> String {
        match self {
            Self::Balance(balance) => balance.to_string(),
            Self::Sticky(Some(sticky)) => sticky.to_string(),
            Self::Sticky(None) => "off".into(),
            Self::Weight { slot, weight } => format!("{slot}={weight}"),
            Self::LogLevel(level) => level.as_str().to_ascii_lowercase(),
        }
    }
}

fn nearest_balance(value: &str) -> String {
    let all = Balance::value_variants().iter().map(ToString::to_string);
    let all: Vec<String> = all.collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let near = nearest(value, &all);
    near.map_or(String::new(), |near| format!("; did you mean {near}?"))
}

fn weight(value: &str) -> Result<Setting, String> {
    let (slot, weight) = value.split_once('=').ok_or_else(|| takes("weight"))?;
    let slot = slot.parse()?;
    let digits = weight.bytes().all(|byte| byte.is_ascii_digit());
    let weight = weight.parse().ok().filter(|_| digits);
    let weight = weight.filter(|weight| (1..=MAX_WEIGHT).contains(weight));
    let weight = weight.ok_or_else(|| {
        format!("a weight is 1 to {MAX_WEIGHT}; a slot that is to get nothing is drained")
    })?;
    Ok(Setting::Weight { slot, weight })
}

/// What is written behind `key`.
fn takes(key: &str) -> String {
    let known = Setting::KEYS.iter().find(|(known, _)| *known == key);
    format!("it takes {}", known.map_or("a value", |(_, words)| words))
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key(), self.value())
    }
}

impl TryFrom<Words> for Setting {
    type Error = String;

    fn try_from(words: Words) -> Result<Self, String> {
        Self::read(&words.key, &words.value)
    }
}

impl From<Setting> for Words {
    fn from(setting: Setting) -> Self {
        Self {
            key: setting.key().to_owned(),
            value: setting.value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_written_back() {
        let table = [
            "balance round-robin",
            "balance least-connections",
            "balance idle",
            "balance kernel",
            "sticky ip",
            "sticky ip/24,56",
            "sticky off",
            "weight 2=50",
            "weight web:0=1000",
            "log-level debug",
            "log-level warn",
        ];
        for words in table {
            let (key, value) = words.split_once(' ').unwrap();
            let setting = Setting::read(key, value).unwrap();
            assert_eq!(setting.to_string(), words);
            let line = serde_json::to_string(&setting).unwrap();
            assert_eq!(serde_json::from_str::<Setting>(&line).unwrap(), setting);
        }
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        let table = [
            ("workers", "4", "one of balance, sticky, weight, log-level"),
            ("balance", "random", "idle or kernel"),
            ("balance", "roundrobin", "did you mean round-robin?"),
            ("sticky", "kuchen:a", "route:NAME, or off"),
            ("sticky", "ip/33", "no IPv4 prefix"),
            ("weight", "50", "as in 2=50"),
            ("weight", "2=0", "is drained"),
            ("weight", "2=+1", "1 to 1000"),
            ("weight", "2=1001", "1 to 1000"),
            ("weight", "two=50", "a slot is its number"),
            ("log-level", "off", "debug or trace"),
            ("log-level", "loud", "debug or trace"),
        ];
        for (key, value, part) in table {
            let sentence = Setting::read(key, value).unwrap_err();
            assert!(sentence.contains(part), "{key} {value}: {sentence}");
        }
    }
}
