//! Talks to a running primary: finds it, asks, reads the answer. `main` calls it for `status` and `stop`.
//!
//! It changes nothing by itself: what is stale it passes over, and what to do is the primary's business.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::protocol::{REPLY_MAX, Reply, Request};
use crate::status::Status;

mod find;
mod table;

pub use table::table;

/// A primary answers a question at once; one that takes longer is stopped or starved.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// After its last word a primary has little left to do.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which running primary is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The only one of this user.
    Only,
    /// The one of this name.
    Named(String),
    /// The one behind this control socket.
    At(PathBuf),
}

/// The state of a primary.
///
/// # Errors
/// No primary there, several, or no proper answer.
pub fn status(target: &Target) -> Result<Status> {
    Conversation::open(target, &Request::Status)?.answer(Some(ANSWER_TIMEOUT), |_| {})
}

/// The same, as the JSON text that the primary wrote.
///
/// # Errors
/// As [`status`].
pub fn status_json(target: &Target) -> Result<String> {
    let text: Box<RawValue> =
        Conversation::open(target, &Request::Status)?.answer(Some(ANSWER_TIMEOUT), |_| {})?;
    Ok(text.get().to_owned())
}

/// Stops a primary gracefully; `progress` gets its lines as they come. Returns its name when it has gone.
///
/// # Errors
/// No primary there, several, or it could not do it.
pub fn stop(target: &Target, progress: impl FnMut(&str)) -> Result<String> {
    let mut conversation = Conversation::open(target, &Request::Stop)?;
    conversation.answer::<serde_json::Value>(None, progress)?;
    conversation.wait_for_end()?;
    Ok(conversation.name)
}

/// One question and its answer.
struct Conversation {
    name: String,
    stream: BufReader<UnixStream>,
}

impl Conversation {
    fn open(target: &Target, request: &Request) -> Result<Self> {
        let found = find::primary(target)?;
        let mut conversation = Self {
            name: format!("primary {}", found.name),
            stream: BufReader::new(found.stream),
        };
        let mut line = serde_json::to_vec(request)
            .map_err(|error| Error::failed(format!("cannot write the request: {error}")))?;
        line.push(b'\n');
        let sent = conversation.stream.get_mut().write_all(&line);
        sent.map_err(|error| conversation.broken(&error))?;
        Ok(conversation)
    }

    /// The first line comes at once; `patience` is for those that follow progress.
    fn answer<T: DeserializeOwned>(
        &mut self,
        patience: Option<Duration>,
        mut progress: impl FnMut(&str),
    ) -> Result<T> {
        self.set_patience(Some(ANSWER_TIMEOUT))?;
        loop {
            match self.line()? {
                Reply::Progress(line) => {
                    progress(&line);
                    self.set_patience(patience)?;
                }
                Reply::Ok(answer) => return Ok(answer),
                Reply::Error(sentence) => return Err(Error::failed(sentence)),
            }
        }
    }

    fn line<T: DeserializeOwned>(&mut self) -> Result<Reply<T>> {
        let mut line = String::new();
        let length = self
            .stream
            .by_ref()
            .take(REPLY_MAX as u64)
            .read_line(&mut line)
            .map_err(|error| self.broken(&error))?;
        if length == 0 {
            let name = &self.name;
            return Err(Error::failed(format!(
                "{name} has gone, or closed the connection, without an answer"
            )));
        }
        serde_json::from_str(&line).map_err(|error| {
            let name = &self.name;
            Error::failed(format!(
                "{name} answered what this version does not understand: {error}"
            ))
        })
    }

    /// The primary holds this connection until its end.
    fn wait_for_end(&mut self) -> Result<()> {
        self.set_patience(Some(EXIT_TIMEOUT))?;
        match self.stream.read_to_end(&mut Vec::new()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn set_patience(&self, patience: Option<Duration>) -> Result<()> {
        self.stream
            .get_ref()
            .set_read_timeout(patience)
            .map_err(|error| self.broken(&error))
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
