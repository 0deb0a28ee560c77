//! Runs the program to its end: command line tests, and the read-only commands beside a running primary.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Site, census};

/// What a run that has ended left behind.
pub struct Finished {
    /// As typed.
    pub words: Vec<String>,
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    /// The exit code is 0.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }

    /// The exit code is `code`, and standard error contains each of `parts`.
    #[track_caller]
    pub fn failed(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        let text = self.stderr.to_lowercase();
        for part in parts {
            let found = text.contains(&part.to_lowercase());
            assert!(found, "no {part:?} in:\n{self}");
        }
        assert!(!text.contains("panicked"), "{self}");
        self
    }

    /// The exit code is `code`, standard error is one clear sentence of ours that contains `part`, and no process
    /// of the site is left.
    #[track_caller]
    pub fn refused(&self, site: &Site, code: i32, part: &str) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        assert!(
            self.stderr.to_lowercase().contains(&part.to_lowercase()),
            "no {part:?} in:\n{self}"
        );
        assert!(!self.stderr.contains("panicked"), "{self}");
        assert_eq!(
            census::marked(&site.mark),
            [],
            "processes left behind\n{self}"
        );
        assert_eq!(
            census::entries(&site.directory.join("run")),
            [""; 0],
            "files left behind\n{self}"
        );
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "$ forkfront {}\nexit {:?} after {:?}\n--- stdout\n{}--- stderr\n{}---",
            self.words.join(" "),
            self.code,
            self.took,
            self.stdout,
            self.stderr
        )
    }
}

/// A command of ours with the site's environment and none of the caller's that matters.
pub fn forkfront<W: AsRef<OsStr>>(site: &Site, words: &[W]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkfront"));
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (key, _) in std::env::vars_os() {
        let text = key.to_string_lossy();
        if ["FORKFRONT_", "LISTEN_", "NOTIFY_", "WATCHDOG_"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            command.env_remove(&key);
        }
    }
    command.envs(site.environment());
    command
}

/// Runs `forkfront WORDS` until it ends; fails the test if it has not within 40 s.
#[track_caller]
pub fn run_to_end<W: AsRef<str>>(site: &Site, words: &[W]) -> Finished {
    let words: Vec<String> = words.iter().map(|word| word.as_ref().to_string()).collect();
    let child = forkfront(site, &words).spawn().expect("the program starts");
    finish(child, words, Duration::from_secs(40))
}

/// A command that is under way.
pub struct Begun {
    child: Child,
    words: Vec<String>,
}

impl Begun {
    /// Starts `forkfront WORDS`.
    #[track_caller]
    pub fn start(site: &Site, words: Vec<String>) -> Self {
        let child = forkfront(site, &words).spawn().expect("the program starts");
        Self { child, words }
    }

    /// Its user presses Ctrl-C.
    pub fn interrupt(mut self) {
        super::send(self.child.id(), nix::sys::signal::Signal::SIGINT);
        self.child.wait().expect("wait");
    }

    /// Waits for its end; fails the test if that has not come within 60 s.
    #[track_caller]
    pub fn end(self) -> Finished {
        finish(self.child, self.words, Duration::from_secs(60))
    }
}

/// Collects what `child` says until it ends.
#[track_caller]
pub fn finish(mut child: Child, words: Vec<String>, limit: Duration) -> Finished {
    let start = Instant::now();
    let out = drain(child.stdout.take().expect("piped"));
    let err = drain(child.stderr.take().expect("piped"));
    let mut code = None;
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait().expect("wait") {
            code = Some(status.code());
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = start.elapsed();
    if code.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let finished = Finished {
        words,
        code: code.flatten(),
        stdout: out.join().expect("reader"),
        stderr: err.join().expect("reader"),
        took,
    };
    assert!(code.is_some(), "still running after {limit:?}:\n{finished}");
    finished
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
