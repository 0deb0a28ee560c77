//! The logs for the next image: pipes with the lines begun on them, last words, and what no output has taken yet.

use std::io;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::reader::Still;
use super::sink::Unwritten;
use super::{Logs, Outputs, Stream};
use crate::sys::handover::{Bytes, Luggage, Ticket};

/// All that [`Logs`] is made from again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenLogs {
    pub(super) reader: FrozenReader,
    pub(super) stdout: Unwritten,
    /// `None`: both are one.
    pub(super) stderr: Option<Unwritten>,
}

/// The reader's part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrozenReader {
    pub pipes: Vec<FrozenPipe>,
    pub workers: Vec<FrozenWorker>,
    pub ended: Vec<usize>,
    pub next: usize,
}

/// One output of one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrozenPipe {
    pub number: usize,
    pub end: Ticket,
    pub stream: Stream,
    pub worker: usize,
    pub prefix: Bytes,
    pub partial: Bytes,
}

/// A worker whose last words are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrozenWorker {
    pub number: usize,
    pub pid: u32,
    pub tail: Vec<Bytes>,
    pub open_pipes: usize,
}

/// Nothing is read and nothing written until this is dropped. Who logs meanwhile leaves lines that are written
/// after it.
#[derive(Debug)]
pub struct Standstill {
    outputs: Outputs,
    reader: Still,
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
        };
        if still.outputs.all().all(|sink| sink.pause(deadline)) {
            Ok(still)
        } else {
            Err(late("an output is stuck in the middle of a write"))
        }
    }
}

impl Standstill {
    /// What the next image needs, as of now.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenLogs {
        let Outputs { stdout, stderr } = &self.outputs;
        let one = std::sync::Arc::ptr_eq(stdout, stderr);
        FrozenLogs {
            reader: self.reader.freeze(luggage),
            stdout: stdout.unwritten(),
            stderr: (!one).then(|| stderr.unwritten()),
        }
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        self.outputs.all().for_each(|sink| sink.resume());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    use super::*;

    /// Over a pipe of its own; returns what is written there until it ends.
    fn logs() -> (Logs, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let other = writer.try_clone().unwrap();
        (Logs::over(writer.into(), other.into()).unwrap(), reader)
    }

    #[track_caller]
    fn wait_for_tail(logs: &Logs, expected: &[&str]) {
        let give_up = Instant::now() + Duration::from_secs(5);
        while logs.tail(77) != expected {
            assert!(Instant::now() < give_up, "{:?}", logs.tail(77));
        }
    }

    #[test]
    fn lines_cross_an_upgrade_whole_and_once() {
        let (logs, mut read) = logs();
        let (out, mut worker) = std::io::pipe().unwrap();
        let (err, _worker_err) = std::io::pipe().unwrap();
        logs.attach("3".to_owned(), 77, OwnedFd::from(out), OwnedFd::from(err));
        worker.write_all(b"one\ntwo, but only ha").unwrap();
        wait_for_tail(&logs, &["one", "two, but only ha"]);
        let soon = Instant::now() + Duration::from_secs(5);
        assert!(logs.flush(soon));
        let still = logs.stand_still(soon).unwrap();
        let mut luggage = Luggage::default();
        let frozen = still.freeze(&mut luggage);
        worker.write_all(b"lf\nthree\n").unwrap();
        let text = serde_json::to_string(&frozen).unwrap();
        let mut luggage = crate::sys::handover::crossed(&luggage);
        let (reader, writer) = std::io::pipe().unwrap();
        let other = writer.try_clone().unwrap();
        let frozen = serde_json::from_str(&text).unwrap();
        let next = Logs::thaw_over(writer.into(), other.into(), frozen, &mut luggage).unwrap();
        drop(luggage);
        wait_for_tail(&next, &["one", "two, but only half", "three"]);
        let said = |mut read: std::io::PipeReader, length: usize| {
            let mut bytes = vec![0; length];
            read.read_exact(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let rest = "[3 77] two, but only half\n[3 77] three\n";
        assert_eq!(said(reader, rest.len()), rest);
        let mut first = [0; 11];
        read.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"[3 77] one\n");
        // The exec has failed instead: the old one goes on, with what was printed meanwhile.
        let (out, mut other) = std::io::pipe().unwrap();
        let (err, _other_err) = std::io::pipe().unwrap();
        other.write_all(b"four\n").unwrap();
        logs.attach("4".to_owned(), 78, OwnedFd::from(out), OwnedFd::from(err));
        drop(still);
        let mut more = [0; 12];
        read.read_exact(&mut more).unwrap();
        assert_eq!(&more, b"[4 78] four\n");
    }
}
