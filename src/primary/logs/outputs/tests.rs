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
    let former = logs.outputs.former[0].clone();
    wait_until("the writer is told to end", || former.is_done());
    // Once all of it is written, nobody keeps it.
    logs.change(prepared(None)).unwrap();
    assert!(logs.outputs.former.is_empty());
}

#[test]
fn what_a_former_file_did_not_take_comes_over_an_upgrade() {
    let file = Written::new("over");
    let (_reader, writer) = io::pipe().unwrap();
    let mut logs = Logs::with(streams(writer), file.prepared()).unwrap();
    let (mut printer, _err) = worker(&logs);
    assert!(logs.flush(soon()));
    let slow = logs.outputs.files.as_ref().unwrap().sink.clone();
    assert!(slow.pause(soon()));
    printer.write_all(b"one\n").unwrap();
    wait_until("the line is read", || logs.tail(77) == ["one"]);
    logs.change(prepared(None)).unwrap();
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
