//! Values that go over the wire as the word that people write for them: one way to read each, for the command
//! line and for the control socket. Used in `#[serde(with = "words")]`.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer, de};

pub fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let words = String::deserialize(deserializer)?;
    words.parse().map_err(de::Error::custom)
}
