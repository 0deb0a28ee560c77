//! A change of where lines go loses none that are on their way, to a stop and over an upgrade.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::super::Logs;
use super::*;
use crate::config::LogTime;
use crate::primary::logs::sink::Origin;
use crate::sys::handover::{Luggage, crossed};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// A log file that goes with the value.
struct Written(PathBuf);

impl Written {
    fn new(name: &str) -> Self {
        let name = format!("forkfront-outputs-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn prepared(&self) -> Prepared {
        prepared(Some(LogFile {
            path: self.0.clone(),
            max_size: None,
            keep: 1,
        }))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn prepared(file: Option<LogFile>) -> Prepared {
    let wish = config::Logs {
        time: LogTime::None,
        file,
        ..config::Logs::default()
    };
    Prepared::new(&wish).unwrap()
}

fn worker(logs: &Logs) -> (io::PipeWriter, io::PipeWriter) {
    let (out, out_end) = io::pipe().unwrap();
    let (err, err_end) = io::pipe().unwrap();
    let place = Place {
        app: "app".into(),
        slot: 3,
        named: false,
    };
    logs.attach(place, 77, OwnedFd::from(out), OwnedFd::from(err));
    (out_end, err_end)
}

fn streams(writer: io::PipeWriter) -> Streams {
    let stderr = writer.try_clone().unwrap().into();
    let stdout = writer.into();
    Streams { stdout, stderr }
}

fn wait_until(what: &str, mut seen: impl FnMut() -> bool) {
    let give_up = soon();
    while !seen() {
        assert!(Instant::now() < give_up, "not so in time: {what}");
    }
}

/// Logs that went to this file until now, whose writer stands still before the first line: what prints lines, the sink,
/// and the other ends that stay open.
fn with_a_line_held_up(
    file: &Written,
) -> (
    Logs,
    io::PipeWriter,
    Arc<Sink>,
    (io::PipeReader, io::PipeWriter),
) {
    let (reader, writer) = io::pipe().unwrap();
    let mut logs = Logs::with(streams(writer), file.prepared()).unwrap();
    let (mut printer, err) = worker(&logs);
    assert!(logs.flush(soon()));
    let slow = logs.outputs.files.as_ref().unwrap().sink.clone();
    assert!(slow.pause(soon()));
    printer.write_all(b"one\n").unwrap();
    wait_until("the line is read", || logs.tail(77) == ["one"]);
    logs.change(prepared(None)).unwrap();
    (logs, printer, slow, (reader, err))
}

#[test]
fn what_is_read_before_the_thread_hears_of_other_outputs_is_written_to_the_ones_so_far() {
    let file = Written::new("before");
    let (_reader, writer) = io::pipe().unwrap();
    let mut logs = Logs::with(streams(writer), file.prepared()).unwrap();
    let (mut printer, _err) = worker(&logs);
    assert!(logs.flush(soon()));
    let still = logs.reader.stand_still(soon()).unwrap();
    printer.write_all(b"one\n").unwrap();
    // Its turn to read comes first, that to use another output second.
    logs.reader.sweep(Instant::now());
    logs.change(prepared(None)).unwrap();
    // Whether the writer has ended meanwhile is not to be seen; it has had the time for it.
    let _ = logs
        .outputs
        .flush(Instant::now() + Duration::from_millis(50));
    drop(still);
    assert!(logs.flush(soon()));
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "[3 77] one\n");
    let former = logs.outputs.former[0].sink.clone();
    wait_until("the writer is told to end", || former.is_done());
    // Once all of it is written, nobody keeps it.
    logs.change(prepared(None)).unwrap();
    assert!(logs.outputs.former.is_empty());
}

#[test]
fn a_file_that_is_gone_back_to_has_one_writer_at_a_time() {
    let file = Written::new("back");
    let (mut logs, mut printer, slow, _open) = with_a_line_held_up(&file);
    logs.change(file.prepared()).unwrap();
    // The thread has heard of both by then.
    logs.reader.sweep(soon());
    printer.write_all(b"two\n").unwrap();
    wait_until("the second one, too", || logs.tail(77) == ["one", "two"]);
    assert!(!logs.flush(Instant::now() + Duration::from_millis(20)));
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "");
    slow.resume();
    assert!(logs.flush(soon()));
    let both = "[3 77] one\n[3 77] two\n";
    assert_eq!(fs::read_to_string(&file.0).unwrap(), both);
}

#[test]
fn lines_that_a_former_file_dropped_are_told_in_no_other_file() {
    let file = Written::new("dropped");
    let (_reader, writer) = io::pipe().unwrap();
    let mut logs = Logs::with(streams(writer), file.prepared()).unwrap();
    let former = logs.outputs.files.clone().unwrap();
    let too_long = vec![b'x'; 8 << 20];
    former.sink.push(&former.own, too_long, 1, Origin::Worker);
    assert_eq!(logs.outputs.unwritten().2.len(), 1);
    logs.change(prepared(None)).unwrap();
    wait_until("the writer is told to end", || former.sink.is_done());
    assert_eq!(logs.dropped(), 1);
    assert_eq!(logs.outputs.unwritten().2.len(), 0);
}

#[test]
fn what_a_former_file_did_not_take_comes_over_an_upgrade() {
    let file = Written::new("over");
    let (logs, _printer, _slow, _open) = with_a_line_held_up(&file);
    let still = logs.stand_still(soon()).unwrap();
    let mut luggage = Luggage::default();
    let frozen = still.freeze(&mut luggage);
    let mut luggage = crossed(&luggage);
    let (mut reader, writer) = io::pipe().unwrap();
    let next = Logs::thaw_over(streams(writer), prepared(None), frozen, &mut luggage).unwrap();
    drop(luggage);
    assert!(next.flush(soon()));
    // All is in the pipe by now, or will never be.
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut line = [0; 11];
    reader.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"[3 77] one\n");
    drop(still);
}
