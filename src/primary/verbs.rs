//! The verbs of the control socket: their names, what a line means, and who waits for the end of a verb that
//! takes its time.
//!
//! Decides nothing and does nothing: the supervisor does what is asked. Called by it and by
//! [`super::control`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::control::{ClientId, Control};
use crate::error::Error;
use crate::protocol::Request;

/// A verb, as the answer to an unknown one describes it.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// As in `{"verb":"..."}` and on the command line.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// Every verb.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "status",
        help: "what the primary does now",
    },
    Verb {
        name: "stop",
        help: "stop gracefully, answer when it is done",
    },
];

/// What a line asks for.
///
/// # Errors
/// A sentence that names the verbs there are.
pub fn decode(line: &[u8]) -> Result<Request, String> {
    understand(line).ok_or_else(|| {
        let known = VERBS
            .iter()
            .map(|verb| format!("{{\"verb\":\"{}\"}} ({})", verb.name, verb.help));
        let known: Vec<_> = known.collect();
        format!(
            "forkfront {} knows no such request; there is {}",
            env!("CARGO_PKG_VERSION"),
            known.join(", ")
        )
    })
}

/// A request with something in it that we would not heed is not understood: it may have been meant.
fn understand(line: &[u8]) -> Option<Request> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let request: Request = serde_json::from_value(value.clone()).ok()?;
    let heeded = serde_json::to_value(request).ok()?;
    (heeded == value).then_some(request)
}

/// The clients of the control socket, and those among them that wait for the stop.
#[derive(Debug)]
pub struct Clients {
    control: Control,
    stopping: Vec<ClientId>,
    /// How far the stop is, for those who ask for it when it is under way.
    last: Option<String>,
}

impl Clients {
    /// Serves `listener`, the listening control socket.
    ///
    /// # Errors
    /// Those of [`Control::new`].
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            control: Control::new(listener)?,
            stopping: Vec::new(),
            last: None,
        })
    }

    /// When [`Clients::ready`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.control.deadline()
    }

    /// What is asked now; each to be answered by [`Clients::answer`], or kept by [`Clients::await_stop`].
    pub fn ready(&mut self, now: Instant) -> Vec<(ClientId, Request)> {
        self.control.ready(now)
    }

    /// Answers with `value`, or says why not.
    pub fn answer<T: Serialize>(&mut self, client: ClientId, value: Result<T, String>) {
        self.control.finish(client, value);
    }

    /// The client has asked for the stop and gets its progress and its end. The first line goes out at once:
    /// it tells the client that it was heard.
    pub fn await_stop(&mut self, client: ClientId) {
        self.stopping.push(client);
        let line = self.last.as_deref().unwrap_or("taking no new connections");
        self.control.progress(client, line);
    }

    /// Tells those who wait for the stop how far it is.
    pub fn progress(&mut self, line: &str) {
        for client in &self.stopping {
            self.control.progress(*client, line);
        }
        self.last = Some(line.to_owned());
    }

    /// All workers are gone, and the primary is about to be: the last word to those who waited for it.
    pub fn stopped(&mut self, failure: Option<&Error>) {
        for client in std::mem::take(&mut self.stopping) {
            let outcome = match failure {
                None => Ok(()),
                Some(error) => Err(error.to_string()),
            };
            self.control.finish(client, outcome);
        }
    }
}

impl AsRawFd for Clients {
    fn as_raw_fd(&self) -> RawFd {
        self.control.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::{VERBS, decode};
    use crate::protocol::Request;

    #[test]
    fn every_verb_is_listed_and_nothing_else_is_one() {
        let requests = [Request::Status, Request::Stop];
        assert_eq!(VERBS.len(), requests.len());
        for (verb, request) in VERBS.iter().zip(requests) {
            assert_eq!(
                decode(format!("{{\"verb\":\"{}\"}}", verb.name).as_bytes()),
                Ok(request)
            );
        }
        for garbage in [
            "",
            "\0",
            "{}",
            "[]",
            "GET / HTTP/1.1\r",
            "{\"verb\":\"stop\",\"how\":\"gently\"}",
            "{\"verb\":\"dance\"}",
        ] {
            let sentence = decode(garbage.as_bytes()).unwrap_err();
            assert!(sentence.contains("\"status\""), "{sentence}");
        }
    }
}
