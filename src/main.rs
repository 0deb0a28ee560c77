//! Parse, dispatch, exit code.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};

use forkfront::cli::{self, Action, completions, man};
use forkfront::client::{self, Display, Target};
use forkfront::error::{Error, Result};
use forkfront::primary;
use forkfront::protocol::Request;
use forkfront::proxy;
use forkfront::worker::demo;

/// How long the last sentence waits for a reader, ms.
const LAST_WORD_PATIENCE: u16 = 1000;

fn main() -> ExitCode {
    let outcome = match primary::resumed() {
        Some(outcome) => outcome,
        None if completions::is_asked() => completions::answer(),
        None => cli::parse(std::env::args_os()).and_then(act),
    };
    match outcome {
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
        Action::Show(text) => {
            let text = text.ansi().to_string();
            say(&mut anstream::stdout(), text.trim_end());
            Ok(())
        }
        Action::Man(directory) => {
            say(&mut io::stdout(), &man::write(directory.as_deref())?);
            Ok(())
        }
        Action::Status { target, json } => status(&target, json),
        Action::Top {
            target,
            interval,
            once,
        } => top(&target, interval, once),
        Action::Logs {
            target,
            request,
            json,
        } => client::show_logs(&target, &request, json),
        Action::Metrics(target) => metrics(&target),
        Action::Change {
            target,
            request,
            json,
        } => change(&target, &request, json),
        Action::Run(config) | Action::Proxy(config) | Action::Demo(config) => primary::run(*config),
        Action::Check { file, json } => check(file, json),
        Action::ProxyWorker(address) => proxy::run(address),
        Action::DemoWorker(address) => demo::run(address),
    }
}

fn status(target: &Target, json: bool) -> Result<()> {
    let text = if json {
        client::status_json(target)?
    } else {
        client::status_table(target)?
    };
    say(&mut io::stdout(), text.trim_end());
    Ok(())
}

fn top(target: &Target, interval: Duration, once: bool) -> Result<()> {
    if once || !client::can_show_live() {
        let text = client::one_frame(target, interval)?;
        say(&mut io::stdout(), text.trim_end());
        return Ok(());
    }
    client::top(target, interval)
}

fn metrics(target: &Target) -> Result<()> {
    let text = client::metrics(target)?;
    say(&mut io::stdout(), text.trim_end());
    Ok(())
}

fn change(target: &Target, request: &Request, json: bool) -> Result<()> {
    let mut display = Display::new(target, request, json);
    let outcome = client::follow(target, request, &mut display);
    display.end(outcome)
}

fn check(file: PathBuf, json: bool) -> Result<()> {
    let checked = primary::check::check(file);
    if json {
        let text = serde_json::to_string(&checked)
            .map_err(|error| Error::failed(format!("cannot be put in JSON: {error}")))?;
        say(&mut io::stdout(), &text);
    } else {
        let complaints = checked.complaints();
        if !complaints.is_empty() {
            complain(&complaints.join("\n"));
        }
    }
    match checked.refusal() {
        Some(sentence) => Err(Error::failed(sentence)),
        None if json => Ok(()),
        None => {
            say(&mut io::stdout(), &checked.to_string());
            Ok(())
        }
    }
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
