//! The command client against a control socket whose other side is this test: answers of every kind.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forkfront::client::{self, Target};
use forkfront::error::{ErrorKind, Result};
use forkfront::protocol::{Request, Size};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A primary that reads one line and then does as it is told; gives back the line.
struct Primary {
    path: PathBuf,
    thread: Option<JoinHandle<String>>,
}

impl Primary {
    fn that(test: &str, answers: impl FnOnce(&mut UnixStream) + Send + 'static) -> Self {
        Self::serving(test, |listener| {
            let (mut stream, line) = asked(&listener);
            answers(&mut stream);
            line
        })
    }

    fn serving(test: &str, serve: impl FnOnce(UnixListener) -> String + Send + 'static) -> Self {
        let name = format!("forkfront-client-{test}-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket of our own");
        let thread = std::thread::spawn(move || serve(listener));
        Self {
            path,
            thread: Some(thread),
        }
    }

    fn says(test: &str, text: &'static str) -> Self {
        Self::that(test, |stream| {
            // The client may have gone by now, with what it wanted.
            let _ = stream.write_all(text.as_bytes());
        })
    }

    fn target(&self) -> Target {
        Target::At(self.path.clone())
    }

    fn was_asked(mut self) -> String {
        let thread = self.thread.take().expect("once");
        thread.join().expect("no assertion failed")
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The next client, and the line that it says.
fn asked(listener: &UnixListener) -> (UnixStream, String) {
    let (stream, _) = listener.accept().expect("the client comes");
    let mut line = String::new();
    let read = BufReader::new(&stream).read_line(&mut line);
    read.expect("the client asks");
    (stream, line)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, part: &str) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(part), "no {part:?} in: {error}");
}

#[test]
fn status_as_json_is_what_the_primary_wrote() {
    let text = r#"{"z":1,"a":{"new in a later version":[true]}}"#;
    let primary = Primary::says(
        "json",
        "{\"ok\":{\"z\":1,\"a\":{\"new in a later version\":[true]}}}\n",
    );
    let json = client::status_json(&primary.target()).expect("an object");
    assert_eq!(json, text);
    assert_eq!(primary.was_asked(), "{\"verb\":\"status\"}\n");
}

#[test]
fn what_is_no_status_is_refused_with_a_sentence() {
    let table = [
        ("not json\n", "does not understand"),
        ("{\"ok\":{\"name\":1}}\n", "does not understand"),
        ("{\"later\":1}\n", "does not understand"),
        ("{\"error\":\"out of order\"}\n", "out of order"),
        ("", "without an answer"),
        ("{\"progress\":\"half\"}\n", "without an answer"),
        ("{\"ok\":", "does not understand"),
    ];
    for (text, part) in table {
        let primary = Primary::says("refused", text);
        refused(client::status(&primary.target()), ErrorKind::Failed, part);
        primary.was_asked();
    }
}

#[test]
fn an_answer_without_end_is_given_up() {
    let primary = Primary::that("endless", |stream| {
        let piece = [b'x'; 65536];
        while stream.write_all(&piece).is_ok() {}
    });
    refused(
        client::status(&primary.target()),
        ErrorKind::Failed,
        "does not understand",
    );
    primary.was_asked();
}

#[test]
fn stop_tells_its_progress_and_returns_when_the_primary_has_gone() {
    let (gone, is_gone) = std::sync::mpsc::channel();
    let primary = Primary::that("stop", move |stream| {
        let lines = b"{\"progress\":\"one\"}\n{\"progress\":\"two\"}\n{\"ok\":null}\n";
        stream.write_all(lines).expect("the client reads");
        std::thread::sleep(std::time::Duration::from_millis(50));
        gone.send(()).expect("the test waits");
    });
    let mut lines = Vec::new();
    client::stop(&primary.target(), |line| lines.push(line.to_owned())).expect("it stops");
    is_gone.try_recv().expect("gone before the client returned");
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(primary.was_asked(), "{\"verb\":\"stop\"}\n");
}

#[test]
fn a_stop_that_fails_says_why() {
    let primary = Primary::says(
        "fails",
        "{\"progress\":\"x\"}\n{\"error\":\"a worker cannot be killed\"}\n",
    );
    let result = client::stop(&primary.target(), |_| {});
    refused(result, ErrorKind::Failed, "cannot be killed");
    primary.was_asked();
}

fn scale() -> Request {
    Request::Scale {
        app: None,
        to: Size::More(2),
    }
}

#[test]
fn a_change_tells_its_progress_and_returns_what_was_done() {
    let primary = Primary::says(
        "change",
        "{\"progress\":\"waiting\\u001b[2J\"}\n{\"ok\":{\"message\":\"4 workers are ready\\u0007\"}}\n",
    );
    let mut lines = Vec::new();
    let target = primary.target();
    let done = client::change(&target, &scale(), |line| lines.push(line.to_owned()));
    // What a terminal would obey is not passed on.
    assert_eq!(lines, ["waiting?[2J"]);
    assert_eq!(done.expect("done").message, "4 workers are ready?");
    assert_eq!(
        primary.was_asked(),
        "{\"verb\":\"scale\",\"app\":null,\"to\":\"+2\"}\n"
    );
}

#[test]
fn what_could_not_be_done_is_told_in_all_its_lines() {
    let primary = Primary::says(
        "undone",
        "{\"error\":\"slot 1: exit code 3\\n  Error: no such module\\u001b[31m\"}\n",
    );
    let done = client::change(&primary.target(), &scale(), |_| {});
    let error = done.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(
        error.to_string(),
        "slot 1: exit code 3\n  Error: no such module?[31m"
    );
    primary.was_asked();
}

#[test]
fn lines_after_the_first_may_take_their_time() {
    // Longer than a question may take. The other side may be another program by then.
    let primary = Primary::that("patience", |stream| {
        let line = b"{\"progress\":\"upgrading\"}\n";
        stream.write_all(line).expect("the client reads");
        std::thread::sleep(std::time::Duration::from_millis(5500));
        let line = b"{\"ok\":{\"message\":\"version 9\",\"later\":1}}\n";
        stream.write_all(line).expect("the client waits");
    });
    let asked = Request::Upgrade { binary: None };
    let done = client::change(&primary.target(), &asked, |_| {}).expect("done");
    assert_eq!(done.message, "version 9");
    primary.was_asked();
}

#[test]
fn an_interrupt_ends_the_command_and_not_the_change() {
    let (heard, is_heard) = std::sync::mpsc::channel::<()>();
    let primary = Primary::that("interrupt", move |stream| {
        let line = b"{\"progress\":\"one\"}\n";
        stream.write_all(line).expect("the client reads");
        // Until the client has gone.
        let rest = std::io::Read::read(stream, &mut [0]);
        assert_eq!(rest.expect("closed in order"), 0);
        drop(heard);
    });
    let path = primary.path.display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkfront"))
        .args(["reload", "--control", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = BufReader::new(command.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "one\n");
    let pid = Pid::from_raw(command.id() as i32);
    kill(pid, Signal::SIGINT).expect("sent");
    let done = command.wait_with_output().expect("it ends");
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("goes on with what it was asked"), "{said}");
    assert_eq!(is_heard.recv(), Err(RecvError));
    primary.was_asked();
}

#[test]
fn an_interrupt_is_heard_while_a_primary_does_not_say_how_far_it_is() {
    let (heard, is_asked) = std::sync::mpsc::channel::<()>();
    let primary = Primary::serving("deaf", move |listener| {
        let (mut stream, _) = asked(&listener);
        let line = b"{\"progress\":\"one\"}\n";
        stream.write_all(line).expect("the client reads");
        // It asks how far it is, and gets no answer.
        let (_status, line) = asked(&listener);
        heard.send(()).expect("the test waits");
        // Until the client has gone.
        while std::io::Read::read(&mut stream, &mut [0; 64]).is_ok_and(|length| length > 0) {}
        line
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkfront"))
        .args(["reload", "--json", "--control"])
        .arg(&primary.path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let limit = Duration::from_secs(20);
    is_asked.recv_timeout(limit).expect("it asks");
    let begun = Instant::now();
    kill(Pid::from_raw(command.id() as i32), Signal::SIGINT).expect("sent");
    let done = command.wait().expect("it ends");
    // Without the signal it waits for five seconds.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(done.code(), Some(1));
    assert!(primary.was_asked().contains("status"));
}

#[test]
fn what_was_begun_is_said_though_the_primary_dies_at_once() {
    for (last, begun) in [("", "one\n"), ("{\"error\":\"no\"}\n", "")] {
        let primary = Primary::that("begun", move |stream| {
            let said = format!("{{\"progress\":\"one\"}}\n{last}");
            stream.write_all(said.as_bytes()).expect("the client reads");
        });
        let done = Command::new(env!("CARGO_BIN_EXE_forkfront"))
            .args(["reload", "--control"])
            .arg(&primary.path)
            .output()
            .expect("the program starts");
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert_eq!(String::from_utf8_lossy(&done.stdout), begun, "{done:?}");
        primary.was_asked();
    }
}

#[test]
fn nobody_there_is_no_primary() {
    let primary = Primary::says("stale", "");
    let path = primary.path.with_extension("old");
    drop(UnixListener::bind(&path).expect("a socket of our own"));
    refused(
        client::status(&Target::At(path.clone())),
        ErrorKind::NoPrimary,
        "no running primary",
    );
    std::fs::remove_file(&path).expect("left by us");
    refused(
        client::status(&Target::At(path)),
        ErrorKind::NoPrimary,
        "no running primary",
    );
    refused(
        client::status(&primary.target()),
        ErrorKind::Failed,
        "without an answer",
    );
    primary.was_asked();
}
