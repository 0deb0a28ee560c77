//! Lines of the log over the control socket: whose are wanted, and what comes.

use std::fmt;
use std::str::FromStr;

use log::Level;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::line::{Stream, Voice};
use super::{Done, SlotRef, is_valid_name, words};

/// Whose lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogsOf {
    /// The primary's own.
    Primary,
    /// A slot's.
    Slot(SlotRef),
    /// Those of all slots of an app.
    App(String),
}

impl FromStr for LogsOf {
    type Err = String;

    /// Reads `2`, `web:2`, `web`, `primary`.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    fn from_str(words: &str) -> Result<Self, String> {
        let is_slot =
            words.contains(':') || words.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        match words {
            "primary" => Ok(Self::Primary),
            slot if is_slot => slot.parse().map(Self::Slot),
            app if is_valid_name(app) => Ok(Self::App(app.to_owned())),
            _ => Err("the lines of a slot are asked for as 2 or web:2, those of all slots of an app as web, the \
                      primary's own as primary"
                .into()),
        }
    }
}

impl fmt::Display for LogsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::Slot(slot) => slot.fmt(f),
            Self::App(app) => f.write_str(app),
        }
    }
}

impl Serialize for LogsOf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        words::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for LogsOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        words::deserialize(deserializer)
    }
}

/// One line of the answer; `L` is how a line of the log is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogAnswer<L = LogLine> {
    /// A line of the log.
    Line(L),
    /// So many lines would have been next, and were given up before they were read.
    Lost(u64),
    /// That was all.
    Ok(Done),
    /// There is none, in one sentence.
    Error(String),
}

/// A line of the log, as `--log-format json` writes it too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was printed (RFC 3339).
    #[serde(default)]
    pub time: Option<String>,
    /// The worker's app, where that is to be said.
    #[serde(default)]
    pub app: Option<String>,
    /// The worker's slot.
    #[serde(default)]
    pub slot: Option<u16>,
    /// The worker's pid.
    #[serde(default)]
    pub pid: Option<u32>,
    /// `stdout`, `stderr`, or `forkfront`.
    pub stream: String,
    /// Of the primary's own lines.
    #[serde(default)]
    pub level: Option<String>,
    /// What was printed; bytes that are no text as `\xff`.
    pub message: String,
    /// It goes on in the next line.
    #[serde(default)]
    pub cut: bool,
}

impl LogLine {
    /// Where it comes from.
    pub fn voice(&self) -> Voice<'_> {
        let stream = match self.stream.as_str() {
            "stdout" => Some(Stream::Stdout),
            "stderr" => Some(Stream::Stderr),
            _ => None,
        };
        match (stream, self.slot, self.pid) {
            (Some(stream), Some(slot), Some(pid)) => Voice::Worker {
                app: self.app.as_deref(),
                slot,
                pid,
                stream,
            },
            _ => {
                let level = self.level.as_deref().and_then(|level| level.parse().ok());
                Voice::Primary(level.unwrap_or(Level::Info))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogFormat, LogTime};
    use crate::protocol::line::{Head, Look};

    #[test]
    fn whose_lines_are_wanted() {
        let slot = |words: &str| LogsOf::Slot(words.parse().unwrap());
        let table = [
            ("primary", LogsOf::Primary),
            ("2", slot("2")),
            ("web:2", slot("web:2")),
            ("web", LogsOf::App("web".to_owned())),
        ];
        for (words, expected) in table {
            assert_eq!(words.parse(), Ok(expected.clone()));
            assert_eq!(expected.to_string(), words);
        }
        for words in ["", "-1", "2x", "web:", ":2", "a b", "../x"] {
            assert!(words.parse::<LogsOf>().is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_line_that_was_written_is_read() {
        let look = Look {
            format: LogFormat::Json,
            time: LogTime::Utc,
            ..Look::default()
        };
        let voices = [
            Voice::Primary(Level::Warn),
            Voice::Worker {
                app: Some("web"),
                slot: 3,
                pid: 4711,
                stream: Stream::Stderr,
            },
        ];
        for voice in voices {
            let mut bytes = b"{\"line\":".to_vec();
            Head::new(look, voice, 1234).write(&mut bytes, b"a \"quote\"\x1b\xff", true);
            bytes.pop();
            bytes.push(b'}');
            let LogAnswer::Line(line) = serde_json::from_slice::<LogAnswer>(&bytes).unwrap() else {
                panic!("{}", String::from_utf8_lossy(&bytes));
            };
            assert_eq!(line.voice(), voice);
            assert_eq!(line.message, "a \"quote\"\x1b\\xff");
            assert_eq!(line.time.as_deref(), Some("1970-01-01T00:00:01.234Z"));
            assert!(line.cut);
        }
    }
}
