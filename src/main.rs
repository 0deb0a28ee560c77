//! Parse, dispatch, exit code.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, poll};

use forkfront::cli::{self, Action};
use forkfront::client::{self, Target};
use forkfront::error::Result;
use forkfront::primary;
use forkfront::protocol::Request;
use forkfront::worker::demo;

/// How long the last sentence waits for a reader, ms.
const LAST_WORD_PATIENCE: u16 = 1000;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()).and_then(act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("forkfront: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn act(action: Action) -> Result<()> {
    match action {
        Action::Help(text) => {
            // Whoever closed the pipe has read enough.
            let _ = text.print();
            Ok(())
        }
        Action::Status { target, json } => status(&target, json),
        Action::Change(target, request) => change(&target, &request),
        Action::Stop(target) => stop(&target),
        Action::Run(config) | Action::Demo(config) => primary::run(*config),
        Action::DemoWorker(address) => demo::run(address),
    }
}

fn status(target: &Target, json: bool) -> Result<()> {
    let text = if json {
        client::status_json(target)?
    } else {
        client::table(&client::status(target)?)
    };
    say(&mut io::stdout(), text.trim_end());
    Ok(())
}

fn change(target: &Target, request: &Request) -> Result<()> {
    let mut last = String::new();
    let done = client::change(target, request, |line| {
        say(&mut io::stdout(), line);
        line.clone_into(&mut last);
    })?;
    // What is done at once has only one thing to say.
    if done.message != last {
        say(&mut io::stdout(), &done.message);
    }
    Ok(())
}

fn stop(target: &Target) -> Result<()> {
    let name = client::stop(target, |line| say(&mut io::stdout(), line))?;
    say(&mut io::stdout(), &format!("{name} has stopped"));
    Ok(())
}

/// What went wrong on stderr, unless nobody takes it: whoever reads our output must not be able to keep us from
/// ending. A pipe that poll(2) calls writable takes a line whole (pipe(7), `PIPE_BUF`).
fn complain(line: &str) {
    let stderr = io::stderr();
    let mut writable = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut writable, LAST_WORD_PATIENCE).is_ok_and(|ready| ready > 0) {
        say(&mut stderr.lock(), line);
    }
}

/// One line; whether anybody reads it changes nothing about what was done.
fn say(to: &mut impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}
