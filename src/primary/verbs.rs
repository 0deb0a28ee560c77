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
    serde_json::from_slice(line).map_err(|_| {
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

/// The clients of the control socket, and those among them that wait for the stop.
#[derive(Debug)]
pub struct Clients {
    control: Control,
    stopping: Vec<ClientId>,
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
        let outcome =
            value.and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string()));
        self.control.finish(client, outcome);
    }

    /// The client has asked for the stop and gets its progress and its end.
    pub fn await_stop(&mut self, client: ClientId) {
        self.stopping.push(client);
    }

    /// Tells those who wait for the stop how far it is.
    pub fn progress(&mut self, line: &str) {
        for client in &self.stopping {
            self.control.progress(*client, line);
        }
    }

    /// All workers are gone, and the primary is about to be: the last word to those who waited for it.
    pub fn stopped(&mut self, failure: Option<&Error>) {
        for client in std::mem::take(&mut self.stopping) {
            let outcome = match failure {
                None => Ok(Value::Null),
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
            "{\"verb\":\"dance\"}",
        ] {
            let sentence = decode(garbage.as_bytes()).unwrap_err();
            assert!(sentence.contains("\"status\""), "{sentence}");
        }
    }
}
