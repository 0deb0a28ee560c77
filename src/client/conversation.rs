//! One question over the control socket and its answer, line by line. Knows no verb's meaning; called by
//! [`super`].
//!
//! The other side may become another program in the middle of it (an upgrade): the connection stays, and the
//! lines go on. What comes is shown to people, so nothing in it reaches a terminal as an order.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::de::DeserializeOwned;

use super::{Target, find};
use crate::error::{Error, Result};
use crate::protocol::{REPLY_MAX, Reply, Request};
use crate::sys::signals::Signals;

/// A primary answers a question at once; one that takes longer is stopped or starved.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// After its last word a primary has little left to do.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long there may be silence before who listens is told of it.
const TICK: Duration = Duration::from_millis(500);

/// Who listens while something takes its time.
pub trait Listener {
    /// How far it is, in words.
    fn line(&mut self, line: &str);

    /// The primary says that it cannot be done.
    fn refused(&mut self) {}

    /// For half a second nothing has come. What is done now ends where `interrupts` has something.
    fn silence(&mut self, _interrupts: Option<&Rc<Signals>>) {}
}

/// Who hears the lines and nothing else.
pub struct Lines<F>(pub F);

impl<F: FnMut(&str)> Listener for Lines<F> {
    fn line(&mut self, line: &str) {
        self.0(line);
    }
}

/// One question and its answer.
pub struct Conversation {
    /// The primary, in words.
    pub name: String,
    stream: BufReader<UnixStream>,
    /// Where SIGINT is to end the conversation with a word.
    interrupts: Option<Rc<Signals>>,
}

impl Conversation {
    /// Asks a question that is answered at once.
    pub fn open(target: &Target, request: &Request) -> Result<Self> {
        Self::open_while(target, request, None)
    }

    /// The same, ended by `interrupts` where there are any.
    pub fn open_while(
        target: &Target,
        request: &Request,
        interrupts: Option<&Rc<Signals>>,
    ) -> Result<Self> {
        let found = find::primary(target)?;
        let mut conversation = Self {
            name: format!("primary {}", found.name),
            stream: BufReader::new(found.stream),
            interrupts: interrupts.cloned(),
        };
        let mut line = serde_json::to_vec(request)
            .map_err(|error| Error::failed(format!("cannot write the request: {error}")))?;
        line.push(b'\n');
        let sent = conversation.stream.get_mut().write_all(&line);
        sent.map_err(|error| conversation.broken(&error))?;
        Ok(conversation)
    }

    /// Asks for something that takes its time. From now on SIGINT does not kill this program: it ends the
    /// conversation.
    pub fn begin(target: &Target, request: &Request) -> Result<Self> {
        let interrupts = Signals::block_and_watch_interrupts()
            .map_err(|error| Error::io("cannot listen to SIGINT", &error))?;
        Self::open_while(target, request, interrupts.map(Rc::new).as_ref())
    }

    /// The answer to a question; it comes at once.
    pub fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.converse(Some(ANSWER_TIMEOUT), &mut Lines(|_: &str| {}))
    }

    /// The end of what was begun; `listener` gets the lines before it. The first line comes at once, the
    /// others whenever.
    pub fn end<T: DeserializeOwned>(&mut self, listener: &mut impl Listener) -> Result<T> {
        self.converse(None, listener)
    }

    fn converse<T: DeserializeOwned>(
        &mut self,
        patience: Option<Duration>,
        listener: &mut impl Listener,
    ) -> Result<T> {
        self.await_line(Some(ANSWER_TIMEOUT))?;
        loop {
            match self.line()? {
                Reply::Progress(line) => listener.line(&plain(&line)),
                Reply::Ok(answer) => return Ok(answer),
                Reply::Error(sentence) => {
                    listener.refused();
                    return Err(Error::failed(plain(&sentence)));
                }
            }
            match patience {
                Some(_) => self.await_line(patience)?,
                None => {
                    while !self.comes_within(TICK)? {
                        listener.silence(self.interrupts.as_ref());
                    }
                }
            }
        }
    }

    /// Waits until something can be read, `patience` long at most.
    fn await_line(&self, patience: Option<Duration>) -> Result<()> {
        match self.comes_within(patience.unwrap_or(Duration::MAX))? {
            true => Ok(()),
            false => Err(self.broken(&ErrorKind::TimedOut.into())),
        }
    }

    /// Whether something can be read before `patience` is over.
    fn comes_within(&self, patience: Duration) -> Result<bool> {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        while self.stream.buffer().is_empty() {
            let mut awaited = vec![PollFd::new(
                self.stream.get_ref().as_fd(),
                PollFlags::POLLIN,
            )];
            let interrupts = self.interrupts.iter();
            awaited.extend(interrupts.map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)));
            match poll(&mut awaited, patience) {
                Ok(0) => return Ok(false),
                // What has come is heard first, also the last word.
                Ok(_) if awaited[0].any() == Some(true) => return Ok(true),
                Ok(_) => return Err(self.interrupted()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.broken(&errno.into())),
            }
        }
        Ok(true)
    }

    fn line<T: DeserializeOwned>(&mut self) -> Result<Reply<T>> {
        let Some(line) = self.read_line()? else {
            let name = &self.name;
            return Err(Error::failed(format!(
                "{name} has gone, or closed the connection, without an answer"
            )));
        };
        serde_json::from_str(&line).map_err(|error| self.not_understood(&error))
    }

    /// A whole line has come and not been read.
    pub fn has_line(&self) -> bool {
        self.stream.buffer().contains(&b'\n')
    }

    /// The next line of an answer that is a stream; none at its end. `patiently`: however long it takes.
    pub fn next_line(&mut self, patiently: bool) -> Result<Option<String>> {
        self.await_line((!patiently).then_some(ANSWER_TIMEOUT))?;
        self.read_line()
    }

    fn read_line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let length = self
            .stream
            .by_ref()
            .take(REPLY_MAX as u64)
            .read_line(&mut line)
            .map_err(|error| self.broken(&error))?;
        Ok((length > 0).then_some(line))
    }

    /// The sentence for a line that makes no sense here.
    pub fn not_understood(&self, error: &serde_json::Error) -> Error {
        let name = &self.name;
        Error::failed(format!(
            "{name} answered what this version does not understand: {error}"
        ))
    }

    /// The primary holds this connection until its end.
    pub fn wait_for_end(&mut self) -> Result<()> {
        loop {
            self.await_line(Some(EXIT_TIMEOUT))?;
            match self.stream.fill_buf().map(<[u8]>::len) {
                Ok(0) => return Ok(()),
                Ok(length) => self.stream.consume(length),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    fn interrupted(&self) -> Error {
        let name = &self.name;
        Error::failed(format!(
            "interrupted: {name} goes on with what it was asked; 'forkfront status' shows how far it is"
        ))
    }

    fn broken(&self, error: &std::io::Error) -> Error {
        let name = &self.name;
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::failed(format!(
                "{name} is there but does not answer; it may be stopped or out of CPU time"
            )),
            _ => Error::io(format!("{name} could not be asked"), error),
        }
    }
}

/// Nothing that a terminal would obey: what a server has printed last may be anything.
pub fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    text.chars().map(plain).collect()
}
