//! The verbs of the control socket: their names, what a line means, and who waits for the end of a verb that
//! takes its time.
//!
//! Decides nothing and does nothing: the supervisor does what is asked. Called by it and by
//! [`super::control`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use socket2::Socket;

use super::control::{ClientId, Control, FrozenControl};
use crate::error::Error;
use crate::protocol::Request;
use crate::sys::handover::Luggage;

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
        name: "metrics",
        help: "the same as text for Prometheus",
    },
    Verb {
        name: "reload",
        help: "read the configuration again, renew the workers; app, changes_only",
    },
    Verb {
        name: "restart",
        help: "renew the worker of one slot; slot",
    },
    Verb {
        name: "scale",
        help: "change the number of workers; to, app",
    },
    Verb {
        name: "drain",
        help: "deal nothing more to a slot, answer when nothing is open there; slot",
    },
    Verb {
        name: "resume",
        help: "deal to a drained slot again; slot",
    },
    Verb {
        name: "set",
        help: "change a setting; key, value, app",
    },
    Verb {
        name: "backend",
        help: "change the backends of a proxy; change (add, remove, drain, resume, weight), backend, weight, app",
    },
    Verb {
        name: "upgrade",
        help: "go on as another binary; binary",
    },
    Verb {
        name: "logs",
        help: "the last lines of the log; of, since, lines, follow",
    },
    Verb {
        name: "stop",
        help: "stop gracefully, answer when it is done",
    },
];

/// What a line asks for.
///
/// # Errors
/// A sentence that says what is wrong with a verb's fields, or names the verbs there are.
pub fn decode(line: &[u8]) -> Result<Request, String> {
    let version = env!("CARGO_PKG_VERSION");
    let value: Value = serde_json::from_slice(line).unwrap_or_default();
    let asked = value.get("verb").and_then(Value::as_str);
    let Some(verb) = VERBS.iter().find(|verb| Some(verb.name) == asked) else {
        let known = VERBS
            .iter()
            .map(|verb| format!("{{\"verb\":\"{}\"}} ({})", verb.name, verb.help));
        let known: Vec<_> = known.collect();
        return Err(format!(
            "forkfront {version} knows no such request; there is {}",
            known.join(", ")
        ));
    };
    let request = serde_json::from_value(value.clone()).map_err(|error| error.to_string());
    request
        .and_then(|request| heeded(&request, &value).map(|()| request))
        .map_err(|why| {
            let Verb { name, help } = verb;
            format!("forkfront {version} cannot {name} as asked, which is \"{help}\": {why}")
        })
}

/// A request with a field in it that we would not heed is not understood: it may have been meant.
fn heeded(request: &Request, asked: &Value) -> Result<(), String> {
    let known = serde_json::to_value(request).map_err(|error| error.to_string())?;
    let fields = asked
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys());
    match fields.into_iter().find(|field| known.get(field).is_none()) {
        Some(field) => Err(format!("there is no '{field}'")),
        None => Ok(()),
    }
}

/// The clients of the control socket, and those among them that wait for the stop.
#[derive(Debug)]
pub struct Clients {
    control: Control,
    stopping: Audience,
}

/// The clients that wait for the end of one operation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Audience {
    clients: Vec<ClientId>,
    /// How far it is, for those who come later.
    last: Option<String>,
}

/// All clients and those among them that wait for the stop, for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenClients {
    control: FrozenControl,
    stopping: Audience,
}

impl Audience {
    /// One client, who has been told nothing yet.
    pub fn of(client: ClientId) -> Self {
        Self {
            clients: vec![client],
            last: None,
        }
    }

    /// Who waits.
    pub fn clients(&self) -> &[ClientId] {
        &self.clients
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

impl Clients {
    /// Serves `listener`, the listening control socket.
    ///
    /// # Errors
    /// Those of [`Control::new`].
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            control: Control::new(listener)?,
            stopping: Audience::default(),
        })
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenClients {
        FrozenClients {
            control: self.control.freeze(luggage),
            stopping: self.stopping.clone(),
        }
    }

    /// As another image left them, on the listening control socket.
    ///
    /// # Errors
    /// Those of [`Control::thaw`].
    pub fn thaw(
        listener: OwnedFd,
        frozen: FrozenClients,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Self> {
        Ok(Self {
            control: Control::thaw(listener, frozen.control, luggage)?,
            stopping: frozen.stopping,
        })
    }

    /// Tells those who wait for an answer that none of `known` will give: another image understood them, and
    /// this one did not.
    pub fn disappoint(&mut self, known: &[ClientId], why: &str) {
        let stopping = self.stopping.clients();
        let waiting = self.control.waiting().into_iter();
        let forgotten = waiting.filter(|one| !known.contains(one) && !stopping.contains(one));
        for client in forgotten.collect::<Vec<_>>() {
            self.control.finish::<()>(client, Err(why.to_owned()));
        }
    }

    /// When [`Clients::ready`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.control.deadline()
    }

    /// What is asked now; each to be answered by [`Clients::answer`] once, or to [`join`](Clients::join) an
    /// audience.
    pub fn ready(&mut self, now: Instant) -> Vec<(ClientId, Request)> {
        self.control.ready(now)
    }

    /// Tells one client how far its request is.
    pub fn progress(&mut self, client: ClientId, line: &str) {
        self.control.progress(client, line);
    }

    /// Answers with `value`, or says why not.
    pub fn answer<T: Serialize>(&mut self, client: ClientId, value: Result<T, String>) {
        self.control.finish(client, value);
    }

    /// The client's connection, to be answered by somebody else from now on; none, if it has gone.
    pub fn release(&mut self, client: ClientId) -> Option<Socket> {
        self.control.release(client)
    }

    /// The client waits for the end of an operation, with others. It is told at once how far that is, or
    /// `begun`: so it knows that it was heard.
    pub fn join(&mut self, audience: &mut Audience, client: ClientId, begun: &str) {
        audience.clients.push(client);
        let line = audience.last.as_deref().unwrap_or(begun);
        self.control.progress(client, line);
    }

    /// Tells all who wait for an operation how far it is.
    pub fn tell(&mut self, audience: &mut Audience, line: &str) {
        for client in &audience.clients {
            self.control.progress(*client, line);
        }
        audience.last = Some(line.to_owned());
    }

    /// The operation has come to its end: the last word to all who waited for it.
    pub fn dismiss<T: Serialize>(&mut self, audience: &mut Audience, outcome: &Result<T, String>) {
        for client in std::mem::take(audience).clients {
            self.control
                .finish(client, outcome.as_ref().map_err(Clone::clone));
        }
    }

    /// The client has asked for the stop and gets its progress and its end.
    pub fn await_stop(&mut self, client: ClientId) {
        let mut stopping = std::mem::take(&mut self.stopping);
        self.join(&mut stopping, client, "taking no new connections");
        self.stopping = stopping;
    }

    /// Tells those who wait for the stop how far it is.
    pub fn progress_of_stop(&mut self, line: &str) {
        let mut stopping = std::mem::take(&mut self.stopping);
        self.tell(&mut stopping, line);
        self.stopping = stopping;
    }

    /// All workers are gone, and the primary is about to be: the last word to those who waited for it.
    pub fn stopped(&mut self, failure: Option<&Error>) {
        let mut stopping = std::mem::take(&mut self.stopping);
        let outcome = failure.map_or(Ok(()), |error| Err(error.to_string()));
        self.dismiss(&mut stopping, &outcome);
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

    #[test]
    fn every_verb_is_listed_and_understood() {
        let requests = [
            r#"{"verb":"status"}"#,
            r#"{"verb":"metrics"}"#,
            r#"{"verb":"reload","app":"web"}"#,
            r#"{"verb":"restart","slot":"web:0"}"#,
            r#"{"verb":"scale","to":"-1"}"#,
            r#"{"verb":"drain","slot":"02"}"#,
            r#"{"verb":"resume","slot":"2"}"#,
            r#"{"verb":"set","value":"debug","key":"log-level"}"#,
            r#"{"verb":"backend","change":"weight","backend":"db:5432","weight":3}"#,
            r#"{"verb":"upgrade","binary":"/new"}"#,
            r#"{"verb":"logs","of":"web:2","lines":10}"#,
            r#"{"verb":"stop"}"#,
        ];
        assert_eq!(VERBS.len(), requests.len());
        for (verb, request) in VERBS.iter().zip(requests) {
            assert!(request.contains(verb.name), "{request}");
            decode(request.as_bytes()).unwrap();
        }
    }

    #[test]
    fn nothing_else_is_one() {
        for garbage in [
            "",
            "\0",
            "{}",
            "[]",
            "\"status\"",
            "GET / HTTP/1.1\r",
            "{\"verb\":\"dance\"}",
            "{\"verb\":7}",
        ] {
            let sentence = decode(garbage.as_bytes()).unwrap_err();
            assert!(sentence.contains("\"status\""), "{sentence}");
        }
    }

    #[test]
    fn a_verb_with_other_fields_is_told_what_is_wrong() {
        let table = [
            (r#"{"verb":"stop","how":"gently"}"#, "there is no 'how'"),
            (r#"{"verb":"scale"}"#, "missing field `to`"),
            (r#"{"verb":"scale","to":"all"}"#, "1 to 1024, or a change"),
            (r#"{"verb":"drain","slot":"x"}"#, "as in web:2"),
            (
                r#"{"verb":"set","key":"weight","value":"2=0"}"#,
                "is drained",
            ),
        ];
        for (line, part) in table {
            let sentence = decode(line.as_bytes()).unwrap_err();
            assert!(sentence.contains(part), "{line}: {sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }
}
