//! A line of the log, and how it is written: as text for people and files, or as a JSON object.
//!
//! Used by the primary for its outputs and by the client of `forkfront logs`. Whatever is in a line, it stays one
//! line, and no terminal obeys it. Pure but for the time zone, which the system knows.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::Level;
use serde::{Deserialize, Serialize};

use crate::config::{LogFormat, LogTime};

mod visible;

pub use visible::{single, write_visible};

/// One colour per slot, in turn; those that read well on dark and on light.
const COLOURS: [&str; 6] = ["36", "33", "32", "35", "34", "31"];

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice<'a> {
    /// The primary itself.
    Primary(Level),
    /// A worker.
    Worker {
        /// Its app, where that is to be said.
        app: Option<&'a str>,
        /// Its slot.
        slot: u16,
        /// Its pid.
        pid: u32,
        /// Where it printed the line.
        stream: Stream,
    },
}

/// Which of a worker's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How lines look in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What a line is.
    pub format: LogFormat,
    /// The time in front of it.
    pub time: LogTime,
    /// People read it here and now: bytes that are no text are made visible, the time is short.
    pub terminal: bool,
    /// Prefixes have colours.
    pub colour: bool,
    /// The journal reads it: it has the time, and takes the urgency as `<4>` (sd-daemon(3)).
    pub journal: bool,
}

/// What stands in front of the lines of one voice at one moment, and how they end.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    look: Look,
}

impl Head {
    /// The head of lines printed at `time`, ms since 1970.
    pub fn new(look: Look, voice: Voice<'_>, time: i64) -> Self {
        let mut bytes = Vec::with_capacity(64);
        match look.format {
            LogFormat::Text => text_head(&mut bytes, look, voice, time),
            LogFormat::Json => json_head(&mut bytes, look, voice, time),
        }
        Self { bytes, look }
    }

    /// Appends one whole line, newline included. `cut`: the line goes on in the next.
    pub fn write(&self, out: &mut Vec<u8>, line: &[u8], cut: bool) {
        let line = if cut {
            line
        } else {
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        match self.look.format {
            LogFormat::Text => {
                let line = match self.look.journal.then(|| urgency(line)).flatten() {
                    Some((urgency, rest)) => {
                        out.extend_from_slice(urgency);
                        rest
                    }
                    None => line,
                };
                out.extend_from_slice(&self.bytes);
                write_visible(out, line, self.look);
                out.push(b'\n');
            }
            LogFormat::Json => {
                out.extend_from_slice(&self.bytes);
                write_message(out, line);
                out.extend_from_slice(if cut { b",\"cut\":true}\n" } else { b"}\n" });
            }
        }
    }
}

fn text_head(out: &mut Vec<u8>, look: Look, voice: Voice<'_>, time: i64) {
    let painted = |out: &mut Vec<u8>, colour: &str, text: &str| {
        let painted = if look.colour && !colour.is_empty() {
            write!(out, "\x1b[{colour}m{text}\x1b[0m")
        } else {
            write!(out, "{text}")
        };
        painted.expect("memory takes everything");
    };
    if let (Voice::Primary(level), true) = (voice, look.journal) {
        out.extend_from_slice(match level {
            Level::Error => b"<3>",
            Level::Warn => b"<4>",
            Level::Info => b"<6>",
            Level::Debug | Level::Trace => b"<7>",
        });
    }
    if let Some(stamp) = stamp(look, time) {
        painted(out, "2", &stamp);
        out.push(b' ');
    }
    match voice {
        Voice::Primary(level) => {
            painted(out, "", "forkfront: ");
            let (colour, word) = match level {
                Level::Error => ("31", "error:"),
                Level::Warn => ("33", "warning:"),
                Level::Info => return,
                Level::Debug => ("", "debug:"),
                Level::Trace => ("", "trace:"),
            };
            painted(out, colour, word);
        }
        Voice::Worker {
            app,
            slot,
            pid,
            stream,
        } => {
            let tag = tag(app, slot);
            // Neighbours differ, whatever is in front of the number.
            let sum: usize = tag.bytes().map(usize::from).sum();
            let err = match stream {
                Stream::Stdout => "",
                Stream::Stderr => " err",
            };
            painted(
                out,
                COLOURS[sum % COLOURS.len()],
                &format!("[{tag} {pid}{err}]"),
            );
        }
    }
    out.push(b' ');
}

/// A slot in words: `0`, or `web:0` where the app is said.
pub fn tag(app: Option<&str>, slot: u16) -> String {
    match app {
        Some(app) => format!("{app}:{slot}"),
        None => slot.to_string(),
    }
}

fn json_head(out: &mut Vec<u8>, look: Look, voice: Voice<'_>, time: i64) {
    // A program reads the object alone: it has its time wherever it goes.
    let stamp = stamp(
        Look {
            journal: false,
            terminal: false,
            ..look
        },
        time,
    );
    let time = stamp
        .map(|stamp| format!("\"time\":\"{stamp}\","))
        .unwrap_or_default();
    let head = match voice {
        Voice::Primary(level) => {
            let level = level.as_str().to_ascii_lowercase();
            write!(
                out,
                "{{{time}\"stream\":\"forkfront\",\"level\":\"{level}\""
            )
        }
        Voice::Worker {
            app,
            slot,
            pid,
            stream,
        } => {
            // A name has nothing in it that JSON would escape.
            let app = app
                .map(|app| format!("\"app\":\"{app}\","))
                .unwrap_or_default();
            let stream = stream.name();
            write!(
                out,
                "{{{time}{app}\"slot\":{slot},\"pid\":{pid},\"stream\":\"{stream}\""
            )
        }
    };
    head.expect("memory takes everything");
    out.extend_from_slice(b",\"message\":");
}

/// Text as it is; bytes that are none as `\xff`.
fn write_message(out: &mut Vec<u8>, line: &[u8]) {
    let start = out.len();
    let written = match std::str::from_utf8(line) {
        Ok(text) => serde_json::to_writer(&mut *out, text),
        Err(_) => serde_json::to_writer(&mut *out, &visible::text(line)),
    };
    written.expect("memory takes everything, and text is JSON");
    // Terminals obey some characters that JSON lets pass.
    let text = String::from_utf8_lossy(&out[start..]);
    let obeyed = |letter: char| letter.is_control();
    if text.contains(obeyed) {
        let escaped: String = { text.chars() }
            .map(|letter| match letter {
                letter if obeyed(letter) => format!("\\u{:04x}", u32::from(letter)),
                letter => letter.to_string(),
            })
            .collect();
        out.truncate(start);
        out.extend_from_slice(escaped.as_bytes());
    }
}

/// The urgency that a worker has put in front of a line, as sd-daemon(3) has it: it is to stay in front.
fn urgency(line: &[u8]) -> Option<(&[u8], &[u8])> {
    match line {
        [b'<', b'0'..=b'7', b'>', ..] => Some(line.split_at(3)),
        _ => None,
    }
}

/// The time as it stands in front of a line (RFC 3339; to the millisecond), if it does.
pub fn stamp(look: Look, ms: i64) -> Option<String> {
    let zone = match look.time {
        LogTime::None => return None,
        LogTime::Auto if look.journal => return None,
        LogTime::Utc => TimeZone::UTC,
        LogTime::Auto | LogTime::Local => TimeZone::system(),
    };
    let time = Timestamp::from_millisecond(ms)
        .unwrap_or_default()
        .to_zoned(zone);
    let form = match (look.terminal, time.offset().is_zero()) {
        (true, _) => "%H:%M:%S%.3f",
        (false, true) => "%Y-%m-%dT%H:%M:%S%.3fZ",
        (false, false) => "%Y-%m-%dT%H:%M:%S%.3f%:z",
    };
    Some(time.strftime(form).to_string())
}

#[cfg(test)]
mod tests;
