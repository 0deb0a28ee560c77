//! How a change goes on, shown: to people at a terminal one line that is rewritten, elsewhere the lines as they
//! come, to programs one JSON object per line.
//!
//! At a terminal and to programs more is told than the primary says by itself: after a second its status is asked,
//! again and again.

use std::io::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::conversation::Listener;
use super::{Target, status_while, terminal};
use crate::error::{Error, Result};
use crate::protocol::Request;
use crate::status::Progress;
use crate::sys::signals::Signals;

/// What is done before is not worth a progress line.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Where lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// One line that is rewritten; whether there is one now.
    Terminal { drawn: bool },
    /// Line after line.
    Lines,
    /// One object per line.
    Json,
}

/// One line for programs.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event<'a> {
    /// What the primary says.
    Progress { after_s: f64, message: &'a str },
    /// It takes long: how far it is, if it is not only waited for connections to end.
    Waiting {
        after_s: f64,
        message: &'a str,
        progress: Option<&'a Progress>,
    },
    /// The end.
    Done { after_s: f64, message: &'a str },
    /// The other end.
    Failed {
        after_s: f64,
        message: &'a str,
        /// The last lines of the worker that it failed for.
        lines: Vec<&'a str>,
        exit_code: u8,
    },
}

/// A change that is under way, shown on stdout.
#[derive(Debug)]
pub struct Display {
    target: Target,
    verb: &'static str,
    look: Look,
    begun: Instant,
    /// What was said last, by the primary.
    last: String,
    /// That is kept back still: a primary says at once what it has begun, and only then that it cannot be done.
    is_kept_back: bool,
}

impl Display {
    /// Shows how `request` goes on.
    pub fn new(target: &Target, request: &Request, json: bool) -> Self {
        let look = match terminal::is_one() {
            _ if json => Look::Json,
            true => Look::Terminal { drawn: false },
            false => Look::Lines,
        };
        Self {
            target: target.clone(),
            verb: request.verb(),
            look,
            begun: Instant::now(),
            last: String::new(),
            is_kept_back: false,
        }
    }

    /// Shows what came of it.
    ///
    /// # Errors
    /// The one that came.
    pub fn end(mut self, outcome: Result<String>) -> Result<()> {
        self.wipe();
        self.let_out();
        match outcome {
            Ok(message) if self.look == Look::Json => {
                let after_s = self.after_s();
                let message = &message;
                write_json(&Event::Done { after_s, message });
            }
            // What is done at once has only one thing to say.
            Ok(message) if self.look == Look::Lines && message == self.last => {}
            Ok(message) => say(&message),
            Err(error) => {
                self.failed(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Says what was kept back.
    fn let_out(&mut self) {
        if std::mem::take(&mut self.is_kept_back) {
            say(&self.last);
        }
    }

    fn failed(&self, error: &Error) {
        if self.look != Look::Json {
            return;
        }
        let text = error.to_string();
        let mut lines = text.lines();
        write_json(&Event::Failed {
            after_s: self.after_s(),
            message: lines.next().unwrap_or_default(),
            lines: lines.map(str::trim_start).collect(),
            exit_code: error.exit_code(),
        });
    }

    fn after_s(&self) -> f64 {
        (self.begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }

    /// Rewrites the line.
    fn draw(&mut self, words: &str) {
        let prefix = format!("{}: ", self.verb);
        let prefix = if words.starts_with(self.verb) {
            ""
        } else {
            &prefix
        };
        let line = format!("[{} s] {prefix}{words}", self.begun.elapsed().as_secs());
        let room = terminal::width().saturating_sub(1);
        let line: String = line.chars().take(room).collect();
        let mut out = io::stdout();
        // To the first column, and without what stood there: ECMA-48 8.3.41.
        let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
        self.look = Look::Terminal { drawn: true };
    }

    fn wipe(&mut self) {
        if self.look == (Look::Terminal { drawn: true }) {
            let mut out = io::stdout();
            let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
            self.look = Look::Terminal { drawn: false };
        }
    }
}

impl Listener for Display {
    fn refused(&mut self) {
        self.is_kept_back = false;
    }

    fn line(&mut self, line: &str) {
        match self.look {
            Look::Lines => {
                let is_first = self.last.is_empty();
                self.let_out();
                if is_first {
                    self.is_kept_back = true;
                } else {
                    say(line);
                }
            }
            Look::Json => write_json(&Event::Progress {
                after_s: self.after_s(),
                message: line,
            }),
            Look::Terminal { .. } if self.begun.elapsed() >= AT_ONCE => self.draw(line),
            Look::Terminal { .. } => {}
        }
        line.clone_into(&mut self.last);
    }

    fn silence(&mut self, interrupts: Option<&Rc<Signals>>) {
        self.let_out();
        if self.look == Look::Lines || self.begun.elapsed() < AT_ONCE {
            return;
        }
        // One that is about to end or to be another program does not answer: then there is nothing new.
        let status = status_while(&self.target, interrupts).ok();
        let operation = status.as_ref().and_then(|status| status.operation.clone());
        let words = operation.unwrap_or_else(|| self.last.clone());
        match self.look {
            Look::Json => write_json(&Event::Waiting {
                after_s: self.after_s(),
                message: &words,
                progress: status.as_ref().and_then(|status| status.progress.as_ref()),
            }),
            _ => self.draw(&super::conversation::plain(&words)),
        }
    }
}

fn write_json(event: &Event<'_>) {
    if let Ok(line) = serde_json::to_string(event) {
        say(&line);
    }
}

/// One line; whether anybody reads it changes nothing about what is done.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
