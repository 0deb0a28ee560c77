//! `forkfront logs`: shows lines of the log as they come.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::Target;
use super::conversation::Conversation;
use crate::config::LogTime;
use crate::error::{Error, Result};
use crate::protocol::line::{Head, Look};
use crate::protocol::{LogAnswer, LogLine, Request};

/// What is written at once while more has come already.
const BATCH: usize = 64 * 1024;

/// Shows the lines that `request` asks for on stdout, as they are or for people, until they or their reader end.
/// What is not a line of the log (lines that were lost, the end of the primary) is said on stderr.
///
/// # Errors
/// No primary there, several, or no such lines.
pub fn show(target: &Target, request: &Request, json: bool) -> Result<()> {
    let mut conversation = Conversation::open(target, request)?;
    let follows = matches!(request, Request::Logs { follow: true, .. });
    let look = look();
    let mut out = Vec::new();
    loop {
        if !out.is_empty() && (out.len() >= BATCH || !conversation.has_line()) {
            if io::stdout().lock().write_all(&out).is_err() {
                // Whoever closed the pipe has read enough.
                return Ok(());
            }
            out.clear();
        }
        let Some(line) = conversation.next_line(follows)? else {
            return ended(&conversation.name, follows);
        };
        let unknown = |error: serde_json::Error| conversation.not_understood(&error);
        match serde_json::from_str::<LogAnswer<&RawValue>>(&line).map_err(unknown)? {
            LogAnswer::Line(line) if json => {
                out.extend_from_slice(line.get().as_bytes());
                out.push(b'\n');
            }
            LogAnswer::Line(line) => {
                let line = serde_json::from_str(line.get()).map_err(unknown)?;
                write(&mut out, look, &line);
            }
            LogAnswer::Lost(lost) => {
                // What was there before the gap comes before it.
                if io::stdout().lock().write_all(&out).is_err() {
                    return Ok(());
                }
                out.clear();
                let plural = if lost == 1 { " was" } else { "s were" };
                let said =
                    format!("{lost} line{plural} lost here, since they were not read in time");
                let _ = writeln!(io::stderr(), "forkfront: {said}");
            }
            LogAnswer::Ok(_) => {
                let _ = io::stdout().lock().write_all(&out);
                return Ok(());
            }
            LogAnswer::Error(sentence) => {
                let _ = io::stdout().lock().write_all(&out);
                return Err(Error::failed(super::conversation::plain(&sentence)));
            }
        }
    }
}

fn ended(name: &str, follows: bool) -> Result<()> {
    if follows {
        let _ = writeln!(io::stderr(), "forkfront: {name} has ended");
        return Ok(());
    }
    Err(Error::failed(format!(
        "{name} has gone, or closed the connection, in the middle of its log"
    )))
}

fn write(out: &mut Vec<u8>, look: Look, line: &LogLine) {
    let time = line.time.as_deref().and_then(|time| time.parse().ok());
    let time = time.map_or(0, Timestamp::as_millisecond);
    Head::new(look, line.voice(), time).write(out, line.message.as_bytes(), line.cut);
}

/// As the log of the primary would look here, with the time always.
fn look() -> Look {
    let terminal = io::stdout().is_terminal();
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Look {
        time: LogTime::Local,
        terminal,
        colour: terminal && !dumb && !set("NO_COLOR"),
        ..Look::default()
    }
}
