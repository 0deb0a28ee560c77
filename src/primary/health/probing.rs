//! One probe of one worker, from the connection that is made for it to what came of it.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::exchange::{Exchange, Progress};
use super::pair::{Given, Pair};
use crate::sys::process::{self, Exit, Helper, Launch};
use crate::sys::signals::Signal;

/// What a probe does with its connection.
#[derive(Debug)]
pub enum Question {
    /// `GET` this path.
    Http(String),
    /// Run this over it.
    Command(Box<Launch>),
}

/// What was found out about a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It answers as it should.
    Well,
    /// It does not: words that follow "worker PID ".
    Ill(String),
}

/// What comes of an event.
#[derive(Debug)]
pub enum Step {
    /// Nothing yet.
    Waits,
    /// This end is for the worker; then it goes on.
    Give(Given),
    /// The answer counts, its rest is under way.
    Answered,
    /// It is over.
    Found(Finding),
    /// The connection ended without an answer, which may be our own doing: wait a moment before it counts.
    Ended(String),
    /// It could not be asked, which says nothing about the worker.
    Unable(io::Error),
}

/// A probe under way.
#[derive(Debug)]
pub struct Probing {
    stage: Stage,
    /// What is asked, for people.
    words: String,
}

#[derive(Debug)]
enum Stage {
    Connecting(Pair, Question),
    Asking(Exchange),
    Running(Helper),
    /// Nothing more will come.
    Over,
}

impl Probing {
    /// Begins with the connection, in the family that the server has bound; `token` is for whatever will be waited
    /// for.
    ///
    /// # Errors
    /// Those of [`Pair::begin`] and epoll_ctl(2).
    pub fn begin(
        question: Question,
        ipv6: bool,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let words = match &question {
            Question::Http(path) => format!("GET {path}"),
            Question::Command(launch) => name_of(launch),
        };
        let pair = Pair::begin(ipv6)?;
        watch(pair.listener(), registry, token, Interest::READABLE)?;
        Ok(Self {
            stage: Stage::Connecting(pair, question),
            words,
        })
    }

    /// Something has happened.
    pub fn proceed(&mut self, registry: &Registry, token: Token) -> Step {
        match &mut self.stage {
            Stage::Connecting(pair, _) => match pair.take() {
                Ok(Some(given)) => self.ask(given, registry, token),
                Ok(None) => Step::Waits,
                Err(error) => self.over(Step::Unable(error)),
            },
            Stage::Asking(exchange) => match exchange.proceed() {
                Progress::Waits => Step::Waits,
                Progress::Answered => Step::Answered,
                Progress::Ended(code) => {
                    let finding = self.judge(code);
                    self.over(Step::Found(finding))
                }
                Progress::Unanswered => {
                    let words = &self.words;
                    let ended = format!("closed the connection without an answer to {words}");
                    self.over(Step::Ended(ended))
                }
                Progress::Nonsense => {
                    let ill = format!("answered {} with something that is not HTTP", self.words);
                    self.over(Step::Found(Finding::Ill(ill)))
                }
            },
            Stage::Running(helper) => match process::try_wait(helper.pidfd.as_fd()) {
                Ok(None) => Step::Waits,
                Ok(Some(Exit::Code(0))) => self.over(Step::Found(Finding::Well)),
                Ok(Some(exit)) => {
                    let said = last_line(&helper.stderr);
                    let ended = format!("fails {}: {exit}{said}", self.words);
                    self.over(Step::Ended(ended))
                }
                Err(error) => {
                    let ended = format!("fails {}: {error}", self.words);
                    self.over(Step::Ended(ended))
                }
            },
            Stage::Over => Step::Waits,
        }
    }

    /// Its time is over: what is to be made of it.
    pub fn time_out(&self, after: &str) -> Finding {
        match &self.stage {
            Stage::Asking(exchange) => match exchange.code() {
                Some(code) => self.judge(code),
                None => Finding::Ill(format!("has not answered {} within {after}", self.words)),
            },
            _ => Finding::Ill(format!("has not passed {} within {after}", self.words)),
        }
    }

    /// The pid of the command that is run, which is not to be reaped by anybody else.
    pub fn helper(&self) -> Option<u32> {
        match &self.stage {
            Stage::Running(helper) => Some(helper.pid),
            _ => None,
        }
    }

    fn ask(&mut self, given: Given, registry: &Registry, token: Token) -> Step {
        let Stage::Connecting(pair, question) = std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return Step::Waits;
        };
        let client = pair.into_client();
        let stage = match question {
            Question::Http(path) => {
                let exchange = Exchange::get(client.into(), "localhost", &path);
                let both = Interest::READABLE | Interest::WRITABLE;
                watch(exchange.as_fd(), registry, token, both).map(|()| Stage::Asking(exchange))
            }
            Question::Command(launch) => client
                .set_nonblocking(false)
                .and_then(|()| launch.start_over(client.into()))
                .and_then(|helper| {
                    let watched = watch(helper.pidfd.as_fd(), registry, token, Interest::READABLE);
                    watched.inspect_err(|_| end(&helper))?;
                    Ok(Stage::Running(helper))
                }),
        };
        match stage {
            Ok(stage) => {
                self.stage = stage;
                Step::Give(given)
            }
            Err(error) => self.over(Step::Unable(error)),
        }
    }

    fn over(&mut self, step: Step) -> Step {
        self.stage = Stage::Over;
        step
    }

    fn judge(&self, code: u16) -> Finding {
        match code {
            200..400 => Finding::Well,
            code => Finding::Ill(format!("answered {} with {code}", self.words)),
        }
    }
}

/// A command that still runs is killed, with all in its session's group; it is reaped like any orphan.
impl Drop for Probing {
    fn drop(&mut self) {
        if let Stage::Running(helper) = &self.stage {
            end(helper);
        }
    }
}

fn end(helper: &Helper) {
    let _ = process::signal_group(helper.pid, Signal::SIGKILL);
    let _ = process::signal(helper.pidfd.as_fd(), Signal::SIGKILL);
}

fn watch(
    fd: BorrowedFd<'_>,
    registry: &Registry,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    registry.register(&mut SourceFd(&fd.as_raw_fd()), token, interest)
}

/// `'check.sh'`.
fn name_of(launch: &Launch) -> String {
    let file = Path::new(
        launch
            .args
            .first()
            .map_or("".as_ref(), |name| name.as_os_str()),
    );
    let name = file.file_name().unwrap_or(file.as_os_str());
    format!("'{}'", name.to_string_lossy())
}

/// What a command said last, as the end of a sentence. Control characters are not for the log.
fn last_line(stderr: &OwnedFd) -> String {
    const MOST: usize = 1 << 16;
    let mut said = vec![0; MOST];
    let read = stderr.try_clone().map(std::fs::File::from);
    let length = read.and_then(|mut file| file.read(&mut said)).unwrap_or(0);
    let said = String::from_utf8_lossy(&said[..length]);
    let line = said.lines().rev().find(|line| !line.trim().is_empty());
    let shown = |line: &str| -> String {
        let line = line.trim().chars().filter(|c| !c.is_control());
        line.take(200).collect()
    };
    line.map_or_else(String::new, |line| format!(": {}", shown(line)))
}
