//! Workers' output through real pipes: always drained, never waited for, complete where it is read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to fail")]

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use forkfront::config::{LogTime, Logs as Wish};
use forkfront::primary::logs::{Logs, Place, Prepared};

/// Long enough for the slowest machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a blocked output may keep: the queue, the reserve for our own lines, one piece in hand, the pipe.
const KEPT_AT_MOST: usize = 5 * 1024 * 1024;

/// Logs over two pipes, and the ends where people would read.
fn logs() -> (Logs, PipeReader, PipeReader) {
    let (stdout, stdout_end) = pipe().unwrap();
    let (stderr, stderr_end) = pipe().unwrap();
    let logs = over(stdout_end.into(), stderr_end.into());
    (logs, stdout, stderr)
}

/// Without the time, which is never the same.
fn over(stdout: OwnedFd, stderr: OwnedFd) -> Logs {
    let wish = Wish {
        time: LogTime::None,
        ..Wish::default()
    };
    Logs::over(stdout, stderr, Prepared::new(&wish).unwrap()).unwrap()
}

/// A worker: what it prints on.
fn worker(logs: &Logs, slot: u16, pid: u32) -> (PipeWriter, PipeWriter) {
    let (stdout, stdout_end) = pipe().unwrap();
    let (stderr, stderr_end) = pipe().unwrap();
    let place = Place {
        app: "app".into(),
        slot,
        named: false,
    };
    logs.attach(place, pid, stdout.into(), stderr.into());
    (stdout_end, stderr_end)
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// Reads until `enough` of what came, or until the patience ends.
#[track_caller]
fn read_until(from: &mut PipeReader, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 65536]);
    let end = deadline();
    while !enough(&all) {
        assert!(Instant::now() < end, "{} bytes and no end", all.len());
        let length = from.read(&mut piece).unwrap();
        assert_ne!(length, 0, "ended after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..length]);
    }
    all
}

#[track_caller]
fn expect(from: &mut PipeReader, text: &[u8]) {
    let read = read_until(from, |all| all.len() >= text.len());
    assert_eq!(
        String::from_utf8_lossy(&read),
        String::from_utf8_lossy(text)
    );
    assert_eq!(read, text);
}

#[test]
fn lines_come_out_prefixed_each_on_its_own_output() {
    let (logs, mut stdout, mut stderr) = logs();
    let (mut out, mut err) = worker(&logs, 3, 4711);
    out.write_all(b"hello\nhalf").unwrap();
    err.write_all(b"oh\n").unwrap();
    expect(&mut stdout, b"[3 4711] hello\n");
    expect(&mut stderr, b"[3 4711 err] oh\n");
    drop(out);
    expect(&mut stdout, b"[3 4711] half\n");
}

#[test]
fn one_output_for_both_keeps_the_order() {
    let (mut both, end) = pipe().unwrap();
    let again = OwnedFd::from(end.try_clone().unwrap());
    let logs = over(end.into(), again);
    let (mut out, mut err) = worker(&logs, 0, 1);
    out.write_all(b"first\n").unwrap();
    expect(&mut both, b"[0 1] first\n");
    err.write_all(b"second\n").unwrap();
    expect(&mut both, b"[0 1 err] second\n");
}

#[test]
fn bytes_that_are_no_text_pass_through_and_control_characters_become_words() {
    let (logs, mut stdout, _stderr) = logs();
    let (mut out, _err) = worker(&logs, 0, 1);
    let odd: Vec<u8> = (0x80..=0xff).collect();
    let forged = b"\x1b[2J\r\x00\x7f [1 1] \x1b[31mred";
    out.write_all(&[&odd[..], b"\n", forged, b"\n"].concat())
        .unwrap();
    let words = b"\\x1b[2J\\x0d\\x00\\x7f [1 1] \x1b[31mred\x1b[0m";
    let expected: [&[u8]; 5] = [b"[0 1] ", &odd, b"\n[0 1] ", words, b"\n"];
    expect(&mut stdout, &expected.concat());
}

#[test]
fn a_line_of_a_mebibyte_comes_out_in_pieces() {
    let (logs, mut stdout, _stderr) = logs();
    let (mut out, _err) = worker(&logs, 0, 1);
    let printer = thread::spawn(move || {
        out.write_all(&vec![b'x'; 1024 * 1024]).unwrap();
        out.write_all(b"\nend\n").unwrap();
    });
    let all = read_until(&mut stdout, |all| all.ends_with(b"[0 1] end\n"));
    printer.join().unwrap();
    let pieces = all.split(|&byte| byte == b'\n').count() - 2;
    assert_eq!(pieces, 16);
    assert_eq!(
        all.iter().filter(|&&byte| byte == b'x').count(),
        1024 * 1024
    );
}

#[test]
fn nobody_waits_for_a_full_output_and_the_gap_is_counted() {
    const LINE: usize = 100;
    const LINES: usize = 10 * 1024 * 1024 / LINE;
    let (logs, mut stdout, mut stderr) = logs();
    let (mut out, mut err) = worker(&logs, 0, 1);
    let line = [vec![b'x'; LINE - 1], b"\n".to_vec()].concat();
    // Nobody reads, and the worker prints 10 MiB to its end all the same.
    let printer = thread::spawn(move || {
        for _ in 0..LINES {
            out.write_all(&line).unwrap();
        }
        out
    });
    let mut out = printer.join().unwrap();
    // The other output is not held up by it.
    err.write_all(b"still here\n").unwrap();
    expect(&mut stderr, b"[0 1 err] still here\n");
    assert!(!logs.flush(Instant::now() + Duration::from_millis(50)));

    // Once somebody reads, what was kept comes, then the count of what was not, then what is new.
    let said = |all: &[u8]| all.windows(7).any(|word| word == b"dropped") && all.ends_with(b"\n");
    let mut all = read_until(&mut stdout, said);
    out.write_all(b"new\n").unwrap();
    all.extend(read_until(&mut stdout, |all| all.ends_with(b"[0 1] new\n")));
    assert!(all.len() < KEPT_AT_MOST, "{} bytes kept", all.len());
    let text = String::from_utf8(all).unwrap();
    let kept = text.lines().filter(|line| line.ends_with("xxx")).count();
    let dropped: usize = text
        .lines()
        .filter_map(|line| line.strip_prefix("forkfront: warning: "))
        .map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(kept + dropped, LINES);
    assert!(dropped > 0);
}

#[test]
fn a_broken_output_holds_nobody_up() {
    let (logs, stdout, mut stderr) = logs();
    let (mut out, mut err) = worker(&logs, 0, 1);
    drop(stdout);
    for _ in 0..1000 {
        out.write_all(&[b'x'; 1000]).unwrap();
        out.write_all(b"\n").unwrap();
    }
    err.write_all(b"fine\n").unwrap();
    expect(&mut stderr, b"[0 1 err] fine\n");
    assert!(logs.flush(deadline()));
}

#[test]
fn the_last_lines_are_kept_after_the_end() {
    let (logs, mut stdout, _stderr) = logs();
    let (mut out, err) = worker(&logs, 0, 77);
    for number in 0..30 {
        writeln!(out, "line {number}").unwrap();
    }
    write!(out, "the \x07end").unwrap();
    let tail = logs.tail(77);
    assert_eq!(tail.len(), 20);
    assert_eq!(tail[18], "line 29");
    assert_eq!(tail[19], "the \\x07end");
    drop((out, err));
    read_until(&mut stdout, |all| all.ends_with(b"end\n"));
    assert_eq!(logs.tail(77), tail);
    assert_eq!(logs.tail(78), Vec::<String>::new());
}

#[test]
fn flush_brings_out_what_dying_workers_said() {
    let (logs, mut stdout, _stderr) = logs();
    for pid in 1..=20 {
        let (mut out, _err) = worker(&logs, 0, pid);
        write!(out, "last words").unwrap();
    }
    assert!(logs.flush(deadline()));
    let length = "[0 1] last words\n".len() * 9 + "[0 10] last words\n".len() * 11;
    let all = read_until(&mut stdout, |all| all.len() >= length);
    assert_eq!(all.len(), length);
}

#[test]
fn a_hundred_workers_lose_nothing_while_it_is_read() {
    const WORKERS: u32 = 100;
    const LINES: usize = 100;
    let (logs, mut stdout, _stderr) = logs();
    let printers: Vec<_> = (0..WORKERS)
        .map(|pid| worker(&logs, pid as u16, pid))
        .map(|(mut out, _err)| {
            thread::spawn(move || {
                for number in 0..LINES {
                    writeln!(out, "line {number}").unwrap();
                }
            })
        })
        .collect();
    let lines = |all: &[u8]| all.iter().filter(|&&byte| byte == b'\n').count();
    let all = read_until(&mut stdout, |all| lines(all) >= LINES * WORKERS as usize);
    for printer in printers {
        printer.join().unwrap();
    }
    let text = String::from_utf8(all).unwrap();
    for pid in 0..WORKERS {
        let prefix = format!("[{pid} {pid}] line ");
        let own = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        let numbers: Vec<usize> = own.map(|number| number.parse().unwrap()).collect();
        assert!(
            numbers.iter().copied().eq(0..LINES),
            "worker {pid}: {numbers:?}"
        );
    }
}

#[test]
fn a_full_disk_is_survived() {
    let (full, other) = (
        File::options().write(true).open("/dev/full").unwrap(),
        pipe().unwrap(),
    );
    let logs = over(full.into(), other.1.into());
    let (mut out, mut err) = worker(&logs, 0, 1);
    for _ in 0..1000 {
        out.write_all(&[b'\n'; 1000]).unwrap();
    }
    err.write_all(b"fine\n").unwrap();
    let mut stderr = other.0;
    expect(&mut stderr, b"[0 1 err] fine\n");
}
