//! What crosses an upgrade, and what is shown to those who ask for lines.

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::super::outputs::{Prepared, Streams};
use super::super::{Wish, now_ms};
use super::*;
use crate::config::{self, LogTime};
use crate::protocol::{LogAnswer, LogLine};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn plain() -> Prepared {
    let wish = config::Logs {
        time: LogTime::None,
        ..config::Logs::default()
    };
    Prepared::new(&wish).unwrap()
}

/// A pipe for both outputs, and its end.
fn streams() -> (Streams, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let stderr = writer.try_clone().unwrap().into();
    let stdout = writer.into();
    (Streams { stdout, stderr }, reader)
}

fn slot(slot: u16) -> Place {
    Place {
        app: "app".into(),
        slot,
        named: false,
    }
}

fn worker(logs: &Logs, number: u16, pid: u32) -> (std::io::PipeWriter, std::io::PipeWriter) {
    let (out, out_end) = std::io::pipe().unwrap();
    let (err, err_end) = std::io::pipe().unwrap();
    logs.attach(slot(number), pid, OwnedFd::from(out), OwnedFd::from(err));
    (out_end, err_end)
}

fn show(logs: &Logs, wish: Wish) -> BufReader<UnixStream> {
    let (client, ours) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    logs.show(OwnedFd::from(ours).into(), wish);
    BufReader::new(client)
}

#[track_caller]
fn next(client: &mut BufReader<UnixStream>) -> LogAnswer {
    let mut line = String::new();
    client
        .get_ref()
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    client.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[track_caller]
fn message(client: &mut BufReader<UnixStream>) -> String {
    match next(client) {
        LogAnswer::Line(LogLine { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn wait_for_tail(logs: &Logs, expected: &[&str]) {
    let give_up = soon();
    while logs.tail(77) != expected {
        assert!(Instant::now() < give_up, "{:?}", logs.tail(77));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One who has seen the second of two lines, and waits for more.
fn follower_of_two_lines(logs: &Logs, printer: &mut impl Write) -> BufReader<UnixStream> {
    printer.write_all(b"one\ntwo\n").unwrap();
    wait_for_tail(logs, &["one", "two"]);
    let follow = Wish {
        follow: true,
        lines: Some(1),
        ..Wish::default()
    };
    let mut follower = show(logs, follow);
    assert_eq!(message(&mut follower), "two");
    follower
}

/// The next image, over other outputs; `change` is what it finds otherwise than it was left.
fn upgraded(still: &Standstill, outputs: Streams, change: impl FnOnce(&mut FrozenLogs)) -> Logs {
    let mut luggage = Luggage::default();
    let frozen = still.freeze(&mut luggage);
    let text = serde_json::to_string(&frozen).unwrap();
    let mut luggage = crate::sys::handover::crossed(&luggage);
    let mut frozen: FrozenLogs = serde_json::from_str(&text).unwrap();
    change(&mut frozen);
    Logs::thaw_over(outputs, plain(), frozen, &mut luggage).unwrap()
}

fn said(read: &mut impl Read, length: usize) -> String {
    let mut bytes = vec![0; length];
    read.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn lines_cross_an_upgrade_whole_and_once() {
    let (ours, mut read) = streams();
    let logs = Logs::with(ours, plain()).unwrap();
    let (mut printer, _err) = worker(&logs, 3, 77);
    printer.write_all(b"one\ntwo, but only ha").unwrap();
    wait_for_tail(&logs, &["one", "two, but only ha"]);
    assert!(logs.flush(soon()));
    let still = logs.stand_still(soon()).unwrap();
    printer.write_all(b"lf\nthree\n").unwrap();
    let (theirs, mut reader) = streams();
    let next = upgraded(&still, theirs, |_| {});
    wait_for_tail(&next, &["one", "two, but only half", "three"]);
    let rest = "[3 77] two, but only half\n[3 77] three\n";
    assert_eq!(said(&mut reader, rest.len()), rest);
    assert_eq!(said(&mut read, 11), "[3 77] one\n");
    // The exec has failed instead: the old one goes on, with what was printed meanwhile.
    let (mut other, _err) = worker(&logs, 4, 78);
    other.write_all(b"four\n").unwrap();
    drop(still);
    assert_eq!(said(&mut read, 12), "[4 78] four\n");
}

#[test]
fn the_last_lines_and_those_who_follow_them_cross_it_too() {
    let (ours, _read) = streams();
    let logs = Logs::with(ours, plain()).unwrap();
    let (mut printer, _err) = worker(&logs, 3, 77);
    let mut follower = follower_of_two_lines(&logs, &mut printer);
    let still = logs.stand_still(soon()).unwrap();
    let (theirs, _reader) = streams();
    let next = upgraded(&still, theirs, |frozen| {
        assert_eq!((frozen.lines, frozen.lost), (2, 0));
    });
    printer.write_all(b"three\n").unwrap();
    assert_eq!(message(&mut follower), "three");
    let mut client = show(&next, Wish::default());
    for expected in ["one", "two", "three"] {
        assert_eq!(message(&mut client), expected);
    }
    assert!(matches!(self::next(&mut client), LogAnswer::Ok(_)));
    drop(still);
}

#[test]
fn who_follows_sees_on_also_where_the_last_lines_did_not_come_along() {
    let (ours, _read) = streams();
    let logs = Logs::with(ours, plain()).unwrap();
    let (mut printer, _err) = worker(&logs, 3, 77);
    let mut follower = follower_of_two_lines(&logs, &mut printer);
    let still = logs.stand_still(soon()).unwrap();
    let (theirs, _reader) = streams();
    let _next = upgraded(&still, theirs, |frozen| frozen.reader.ring = None);
    printer.write_all(b"three\n").unwrap();
    assert_eq!(message(&mut follower), "three");
    drop(still);
}

#[test]
fn a_version_that_knew_only_prefixes_is_understood() {
    let (pipe, _writer) = std::io::pipe().unwrap();
    let mut luggage = Luggage::default();
    let end = luggage.pack(crate::sys::handover::Kind::Pipe, OwnedFd::from(pipe));
    let text = |prefix: &str| {
        format!(
            r#"{{"number":1,"end":{},"stream":"stdout","worker":0,"prefix":"{prefix}","partial":""}}"#,
            serde_json::to_string(&end).unwrap()
        )
    };
    let whose = |prefix: &str| {
        serde_json::from_str::<FrozenPipe>(&text(prefix))
            .unwrap()
            .whose()
    };
    let (place, pid) = whose("[3 77] ");
    assert_eq!((place.slot, place.named, pid), (3, false, 77));
    let (place, pid) = whose("[web:3 77] ");
    assert_eq!(
        (&*place.app, place.slot, place.named, pid),
        ("web", 3, true, 77)
    );
}

#[test]
fn what_is_asked_is_shown() {
    let (ours, _read) = streams();
    let logs = Logs::with(ours, plain()).unwrap();
    let begun = now_ms();
    let (mut zero, _err) = worker(&logs, 0, 77);
    let (mut one, mut one_err) = worker(&logs, 1, 78);
    zero.write_all(b"a\nb\n").unwrap();
    one.write_all(b"c\n").unwrap();
    one_err.write_all(b"d\n").unwrap();
    wait_for_tail(&logs, &["a", "b"]);
    assert_eq!(logs.tail(78).len(), 2);
    let asked = |wish: Wish| {
        let mut client = show(&logs, wish);
        let mut all = Vec::new();
        loop {
            match next(&mut client) {
                LogAnswer::Line(line) => all.push(line.message),
                LogAnswer::Ok(_) => return all.join(" "),
                LogAnswer::Error(sentence) => return sentence,
                LogAnswer::Lost(_) => panic!("nothing was lost"),
            }
        }
    };
    let of = |of: &str| Wish {
        of: Some(of.parse().unwrap()),
        unknown: Some("nobody".to_owned()),
        ..Wish::default()
    };
    assert_eq!(asked(of("0")), "a b");
    assert_eq!(asked(of("app")).len(), 7);
    assert_eq!(asked(of("web:0")), "nobody");
    assert_eq!(asked(of("7")), "nobody");
    assert_eq!(asked(of("primary")), "nobody");
    let last = Wish {
        lines: Some(1),
        ..of("0")
    };
    assert_eq!(asked(last), "b");
    let since = |since| Wish {
        since: Some(since),
        ..of("0")
    };
    assert_eq!(asked(since(begun)), "a b");
    assert_eq!(asked(since(now_ms() + 60_000)), "");
}

#[test]
fn who_does_not_read_misses_lines_and_is_told_how_many() {
    const LINES: usize = 200_000;
    let (ours, mut read) = streams();
    std::thread::spawn(move || std::io::copy(&mut read, &mut std::io::sink()));
    let logs = Logs::with(ours, plain()).unwrap();
    let (mut printer, _err) = worker(&logs, 3, 77);
    let follow = Wish {
        follow: true,
        ..Wish::default()
    };
    let mut follower = show(&logs, follow);
    for number in 0..LINES {
        writeln!(printer, "line {number} {}", "x".repeat(60)).unwrap();
    }
    printer.write_all(b"the end\n").unwrap();
    let (mut read, mut lost) = (0, 0);
    loop {
        match next(&mut follower) {
            LogAnswer::Line(line) if line.message == "the end" => break,
            LogAnswer::Line(_) => read += 1,
            LogAnswer::Lost(more) => lost += more as usize,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read + lost, LINES);
    assert!(lost > 0);
}
