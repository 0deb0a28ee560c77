//! The command client against a control socket whose other side is this test: answers of every kind.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use forkfront::client::{self, Target};
use forkfront::error::{ErrorKind, Result};

/// A primary that reads one line and then does as it is told; gives back the line.
struct Primary {
    path: PathBuf,
    thread: Option<JoinHandle<String>>,
}

impl Primary {
    fn that(test: &str, answers: impl FnOnce(&mut UnixStream) + Send + 'static) -> Self {
        let name = format!("forkfront-client-{test}-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket of our own");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client comes");
            let mut line = String::new();
            let reader = stream.try_clone().expect("dup");
            let read = BufReader::new(reader).read_line(&mut line);
            read.expect("the client asks");
            answers(&mut stream);
            line
        });
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
