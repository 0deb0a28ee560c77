//! How lines look, and that they stay lines.

use super::*;

const NOON: i64 = 1_774_958_400_123;

fn worker(stream: Stream) -> Voice<'static> {
    Voice::Worker {
        app: None,
        slot: 0,
        pid: 1,
        stream,
    }
}

fn written(look: Look, voice: Voice<'_>, line: &[u8]) -> String {
    let mut out = Vec::new();
    Head::new(look, voice, NOON).write(&mut out, line, false);
    String::from_utf8_lossy(&out).into_owned()
}

fn utc() -> Look {
    Look {
        time: LogTime::Utc,
        ..Look::default()
    }
}

#[test]
fn what_stands_in_front() {
    let web = Voice::Worker {
        app: Some("web"),
        slot: 2,
        pid: 4711,
        stream: Stream::Stdout,
    };
    let (out, err) = (worker(Stream::Stdout), worker(Stream::Stderr));
    let (info, warn) = (Voice::Primary(Level::Info), Voice::Primary(Level::Warn));
    let none = Look {
        time: LogTime::None,
        ..Look::default()
    };
    let terminal = Look {
        terminal: true,
        ..utc()
    };
    let colour = Look {
        colour: true,
        ..terminal
    };
    let journal = Look {
        journal: true,
        ..Look::default()
    };
    let table = [
        (utc(), out, "2026-03-31T12:00:00.123Z [0 1] x\n"),
        (utc(), err, "2026-03-31T12:00:00.123Z [0 1 err] x\n"),
        (none, web, "[web:2 4711] x\n"),
        (none, info, "forkfront: x\n"),
        (none, warn, "forkfront: warning: x\n"),
        (terminal, out, "12:00:00.123 [0 1] x\n"),
        (
            colour,
            out,
            "\x1b[2m12:00:00.123\x1b[0m \x1b[36m[0 1]\x1b[0m x\n",
        ),
        (
            colour,
            warn,
            "\x1b[2m12:00:00.123\x1b[0m forkfront: \x1b[33mwarning:\x1b[0m x\n",
        ),
        (journal, out, "[0 1] x\n"),
        (journal, warn, "<4>forkfront: warning: x\n"),
    ];
    for (look, voice, expected) in table {
        assert_eq!(written(look, voice, b"x"), expected);
    }
}

#[test]
fn local_time_says_how_far_it_is_from_utc() {
    let look = Look {
        time: LogTime::Local,
        ..Look::default()
    };
    let stamp = stamp(look, NOON).unwrap();
    let read: Timestamp = stamp.parse().unwrap();
    assert_eq!(read.as_millisecond(), NOON);
}

#[test]
fn an_urgency_of_the_worker_stays_in_front_for_the_journal() {
    let journal = Look {
        journal: true,
        ..Look::default()
    };
    let out = worker(Stream::Stdout);
    assert_eq!(written(journal, out, b"<3>oh"), "<3>[0 1] oh\n");
    assert_eq!(written(journal, out, b"<9>oh"), "[0 1] <9>oh\n");
    let none = Look {
        time: LogTime::None,
        ..Look::default()
    };
    assert_eq!(written(none, out, b"<3>oh"), "[0 1] <3>oh\n");
}

#[test]
fn objects_are_whole_whatever_was_printed() {
    let json = Look {
        format: LogFormat::Json,
        ..utc()
    };
    // As text, DEL and the C1 controls go through JSON as they are.
    let obeyed = "a\u{9b}31m\u{7f}\u{e9}";
    let text = written(json, worker(Stream::Stderr), obeyed.as_bytes());
    assert!(text.contains("a\\u009b31m\\u007f\u{e9}"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["message"], obeyed);
    let line = b"say \"hi\"\t\x1b[31m\\ \xff \xe2\x82\xac";
    let text = written(json, worker(Stream::Stderr), line);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "time": "2026-03-31T12:00:00.123Z", "slot": 0, "pid": 1, "stream": "stderr",
        "message": "say \"hi\"\t\u{1b}[31m\\ \\xff €",
    });
    assert_eq!(value, expected);
    assert!(text.ends_with("}\n"));
    let mut cut = Vec::new();
    Head::new(json, Voice::Primary(Level::Info), NOON).write(&mut cut, b"x", true);
    let value: serde_json::Value = serde_json::from_slice(&cut).unwrap();
    assert_eq!(
        (&value["cut"], &value["level"]),
        (&true.into(), &"info".into())
    );
}

#[test]
fn no_terminal_obeys_a_line() {
    let line = b"a\x00\x1b[2Jb\xff\xc2\x9b\t\x1b[31mred\r";
    let shown = |terminal, colour| {
        let look = Look {
            terminal,
            colour,
            ..Look::default()
        };
        let mut out = Vec::new();
        write_visible(&mut out, line, look);
        out
    };
    assert_eq!(
        shown(true, false),
        b"a\\x00\\x1b[2Jb\\xff\\x9b\t\\x1b[31mred\\x0d"
    );
    assert_eq!(
        shown(true, true),
        b"a\\x00\\x1b[2Jb\\xff\\x9b\t\x1b[31mred\\x0d\x1b[0m"
    );
    assert_eq!(
        shown(false, false),
        b"a\\x00\\x1b[2Jb\xff\\x9b\t\x1b[31mred\\x0d\x1b[0m"
    );
}

#[test]
fn bytes_that_are_no_text_go_to_files_as_they_are() {
    let line: Vec<u8> = (0x20..=0xff).filter(|byte| *byte != 0x7f).collect();
    let mut out = Vec::new();
    write_visible(&mut out, &line, Look::default());
    assert_eq!(out, line);
    let mut out = Vec::new();
    Head::new(utc(), Voice::Primary(Level::Info), NOON).write(&mut out, b"ends in DOS\r", false);
    assert!(out.ends_with(b"ends in DOS\n"));
}

#[test]
fn our_own_lines_cannot_be_forged() {
    assert_eq!(single("plain"), "plain");
    assert_eq!(single("a\nforkfront: b"), "a\\x0aforkfront: b");
}
