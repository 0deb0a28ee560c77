//! Which slot is meant: `2`, or `web:2` where several apps run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{is_valid_name, words};
use crate::config::MAX_WORKERS;

/// A slot, as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRef {
    /// Its app; the only one if not named.
    pub app: Option<String>,
    /// Its number, below [`MAX_WORKERS`].
    pub slot: u16,
}

impl FromStr for SlotRef {
    type Err = String;

    /// Reads `2`, `web:2`.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    fn from_str(words: &str) -> Result<Self, String> {
        let (app, number) = match words.rsplit_once(':') {
            Some((app, number)) if is_valid_name(app) => (Some(app.to_owned()), number),
            Some(_) => return Err(wrong()),
            None => (None, words),
        };
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let slot = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        if usize::from(slot) >= MAX_WORKERS {
            return Err(format!("slots have the numbers 0 to {}", MAX_WORKERS - 1));
        }
        Ok(Self { app, slot })
    }
}

fn wrong() -> String {
    "a slot is its number, as in 2, or in front of it the name of its app, as in web:2".into()
}

impl fmt::Display for SlotRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.app {
            Some(app) => write!(f, "{app}:{}", self.slot),
            None => write!(f, "{}", self.slot),
        }
    }
}

impl Serialize for SlotRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        words::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for SlotRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        words::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_and_written_back() {
        for (words, app, slot) in [
            ("0", None, 0),
            ("1023", None, 1023),
            ("a.b-1:2", Some("a.b-1"), 2),
        ] {
            let read: SlotRef = words.parse().unwrap();
            assert_eq!((read.app.as_deref(), read.slot), (app, slot), "{words}");
            assert_eq!(read.to_string(), words);
        }
    }

    #[test]
    fn what_is_no_slot_is_refused() {
        for words in [
            "", "-1", "+1", "web", "web:", ":2", "a b:2", "1.5", "0x1", "70000",
        ] {
            let sentence = words.parse::<SlotRef>().unwrap_err();
            assert!(sentence.contains("as in web:2"), "{words}: {sentence}");
        }
        let sentence = "1024".parse::<SlotRef>().unwrap_err();
        assert!(sentence.contains("0 to 1023"), "{sentence}");
    }
}
