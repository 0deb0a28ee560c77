//! The logs for the next image: pipes with the lines begun on them, last words, the ring, those who follow it, and
//! what no output has taken yet.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::logger::OwnLine;
use super::outputs::{Outputs, UnwrittenFile};
use super::reader::Still;
use super::sink::Unwritten;
use super::{Logs, Place};
use crate::protocol::LogsOf;
use crate::protocol::line::Stream;
use crate::sys::handover::{Bytes, Luggage, Ticket};

/// All that [`Logs`] is made from again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenLogs {
    pub(super) reader: FrozenReader,
    pub(super) stdout: Unwritten,
    /// `None`: both are one.
    pub(super) stderr: Option<Unwritten>,
    #[serde(default)]
    pub(super) files: Vec<UnwrittenFile>,
    #[serde(default)]
    pub(super) lines: u64,
    #[serde(default)]
    pub(super) lost: u64,
}

/// The reader's part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrozenReader {
    pub pipes: Vec<FrozenPipe>,
    pub workers: Vec<FrozenWorker>,
    pub ended: Vec<usize>,
    pub next: usize,
    /// The last lines of all, in memory of their own.
    #[serde(default)]
    pub ring: Option<Ticket>,
    #[serde(default)]
    pub followers: Vec<FrozenFollower>,
    #[serde(default)]
    pub own: Vec<OwnLine>,
}

/// One output of one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrozenPipe {
    pub number: usize,
    pub end: Ticket,
    pub stream: Stream,
    pub worker: usize,
    #[serde(default)]
    pub app: String,
    /// Not said by a version that knew only the prefix.
    #[serde(default)]
    pub slot: Option<u16>,
    #[serde(default)]
    pub named: bool,
    #[serde(default)]
    pub pid: u32,
    /// `[0 4711] `, for a version that knows only this.
    pub prefix: Bytes,
    pub partial: Bytes,
}

impl FrozenPipe {
    /// Whose lines come through it, and the pid.
    pub fn whose(&self) -> (Place, u32) {
        if let Some(slot) = self.slot {
            let app = self.app.as_str().into();
            let named = self.named;
            return (Place { app, slot, named }, self.pid);
        }
        let words = String::from_utf8_lossy(&self.prefix.0);
        let words = words.trim_matches(['[', ']', ' ']);
        let (tag, pid) = words.split_once(' ').unwrap_or((words, ""));
        let (app, slot) = tag.rsplit_once(':').unwrap_or(("", tag));
        let place = Place {
            app: app.into(),
            slot: slot.parse().unwrap_or_default(),
            named: !app.is_empty(),
        };
        (place, pid.parse().unwrap_or_default())
    }
}

/// A worker whose last words are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrozenWorker {
    pub number: usize,
    pub pid: u32,
    pub tail: Vec<Bytes>,
    pub open_pipes: usize,
}

/// Who is shown lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrozenFollower {
    pub socket: Ticket,
    pub reading: Reading,
}

/// What it is shown, and how far it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Reading {
    pub of: Option<LogsOf>,
    pub only_app: Option<String>,
    /// The number of the next line.
    pub from: u64,
    /// Where it ends.
    pub until: Option<u64>,
    /// Lines given up since it was last told.
    pub lost: u64,
    /// What is on its way to it.
    pub output: Bytes,
    /// After that it ends.
    pub finished: bool,
}

/// Nothing is read and nothing written until this is dropped. Who logs meanwhile leaves lines that are written
/// after it.
#[derive(Debug)]
pub struct Standstill {
    outputs: Outputs,
    reader: Still,
    lines: u64,
    lost: u64,
}

impl Logs {
    /// Makes reader and writers stand still.
    ///
    /// # Errors
    /// `TimedOut` if one did not before `deadline`; all go on then.
    pub fn stand_still(&self, deadline: Instant) -> io::Result<Standstill> {
        let late = |what: &str| io::Error::new(io::ErrorKind::TimedOut, what.to_owned());
        let reader = self.reader.stand_still(deadline);
        let reader = reader.ok_or_else(|| late("the workers' output is not read in time"))?;
        // From here on, dropped on the way out, it lets the writers go on.
        let still = Standstill {
            outputs: self.outputs.clone(),
            reader,
            lines: self.counts.lines.load(Relaxed),
            lost: self.counts.lost.load(Relaxed),
        };
        if !still.outputs.present().all(|sink| sink.pause(deadline)) {
            return Err(late("an output is stuck in the middle of a write"));
        }
        // One that a reload has taken away because it is stuck keeps nobody from going on.
        still.outputs.all().for_each(|sink| {
            sink.pause(deadline);
        });
        Ok(still)
    }
}

impl Standstill {
    /// What the next image needs, as of now.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenLogs {
        let (stdout, stderr, files) = self.outputs.unwritten();
        FrozenLogs {
            reader: self.reader.freeze(luggage),
            stdout,
            stderr,
            files,
            lines: self.lines,
            lost: self.lost,
        }
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        self.outputs.all().for_each(|sink| sink.resume());
    }
}

#[cfg(test)]
mod tests;
