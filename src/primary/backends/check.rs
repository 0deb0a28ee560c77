//! One check of one backend, from the connect to what came of it. Never blocks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::proxy::{CheckWhat, SendProxy, Target};
use crate::policy::backends::news::error_in_words;
use crate::policy::backends::table::Rules;
use crate::policy::deadlines::Moment;
use crate::policy::words::in_words;
use crate::primary::health::exchange::{Exchange, Progress};
use crate::sys::socket::{connect_from, has_source};

/// How long the rest of an answer is read, so that the server is not reset while it still writes.
const LINGER: Duration = Duration::from_secs(1);

/// A check under way.
#[derive(Debug)]
pub struct Check {
    stage: Stage,
    what: CheckWhat,
    /// That this connection is our own, in front of all where the PROXY protocol is spoken.
    header: &'static [u8],
    host: String,
    until: Moment,
    timeout: Duration,
    interval: Duration,
}

#[derive(Debug)]
enum Stage {
    Connecting(Socket),
    Asking(Exchange<Socket>),
    /// It has answered; the rest of that is under way.
    Answered(Exchange<Socket>),
    Over,
}

/// What comes of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet.
    Nothing,
    /// This, and the rest of the answer is under way.
    Verdict(Result<(), String>),
    /// It is over, with this if it was not said before.
    End(Option<Result<(), String>>),
}

/// Why a check could not even begin.
#[derive(Debug)]
pub enum Failure {
    /// The backend cannot be connected to.
    Ill(String),
    /// Nothing is learnt of the backend.
    Unable(io::Error),
}

impl Check {
    /// Begins with the connect; it is waited for under `token`.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn begin(
        rules: &Rules,
        (name, target): (&str, &Target),
        until: Moment,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Failure> {
        let Some(check) = &rules.check else {
            return Err(Failure::Unable(io::ErrorKind::InvalidInput.into()));
        };
        let socket = connect_from_any(&rules.source, target)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut SourceFd(&socket.as_raw_fd()), token, both)
            .map_err(Failure::Unable)?;
        Ok(Self {
            stage: Stage::Connecting(socket),
            what: check.what.clone(),
            header: header(rules.send_proxy),
            host: host(name, target),
            until,
            timeout: check.timeout,
            interval: check.interval,
        })
    }

    /// When [`time_out`](Self::time_out) is to be called.
    pub fn until(&self) -> Moment {
        self.until
    }

    /// From this check to the next one.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Something has happened.
    pub fn proceed(&mut self, now: Moment) -> Found {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Connecting(socket) => self.connected(socket, now),
            Stage::Asking(exchange) => self.ask(exchange, now),
            Stage::Answered(mut exchange) => match exchange.proceed() {
                Progress::Answered => {
                    self.stage = Stage::Answered(exchange);
                    Found::Nothing
                }
                _ => Found::End(None),
            },
            Stage::Over => Found::End(None),
        }
    }

    /// Its time is over: what is to be made of it, if that was not said before.
    pub fn time_out(self) -> Option<Result<(), String>> {
        let after = in_words(self.timeout);
        match (self.stage, self.what) {
            (Stage::Answered(_) | Stage::Over, _) => None,
            (Stage::Asking(_), CheckWhat::Http(path)) => Some(Err(format!(
                "it has not answered GET {path} within {after}"
            ))),
            _ => Some(Err(format!("it could not be connected to within {after}"))),
        }
    }

    fn connected(&mut self, socket: Socket, now: Moment) -> Found {
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Found::End(Some(Err(refused(&error)))),
        }
        let Ok(peer) = socket.peer_addr() else {
            // Too early: it is still on its way.
            self.stage = Stage::Connecting(socket);
            return Found::Nothing;
        };
        // To a port of this machine where nobody listens, and that we were given for ourselves (RFC 9293, 3.5: both
        // ends open at once, and both are this one).
        if !peer.is_unix() && socket.local_addr().is_ok_and(|own| own == peer) {
            return Found::End(Some(Err("nobody listens there".to_owned())));
        }
        match &self.what {
            CheckWhat::Tcp => {
                // A fresh socket has room for so little.
                if !self.header.is_empty() {
                    let _ = socket.send(self.header);
                }
                Found::End(Some(Ok(())))
            }
            CheckWhat::Http(path) => {
                let exchange = Exchange::get(socket, &self.host, path);
                self.ask(exchange.behind(self.header), now)
            }
        }
    }

    fn ask(&mut self, mut exchange: Exchange<Socket>, now: Moment) -> Found {
        let CheckWhat::Http(path) = &self.what else {
            return Found::End(None);
        };
        let judged = |code| match code {
            200..400 => Ok(()),
            code => Err(format!("it answered GET {path} with {code}")),
        };
        let end = match exchange.proceed() {
            Progress::Waits => {
                self.stage = Stage::Asking(exchange);
                return Found::Nothing;
            }
            Progress::Answered => {
                let verdict = judged(exchange.code().unwrap_or(0));
                self.until = self.until.min(now + LINGER);
                self.stage = Stage::Answered(exchange);
                return Found::Verdict(verdict);
            }
            Progress::Ended(code) => judged(code),
            Progress::Unanswered => Err(format!(
                "it closed the connection without an answer to GET {path}"
            )),
            Progress::Nonsense => Err(format!(
                "it answered GET {path} with something that is not HTTP"
            )),
        };
        Found::End(Some(end))
    }
}

/// Says that nobody else stands behind this connection (The PROXY protocol, 2.1 and 2.2).
fn header(send_proxy: Option<SendProxy>) -> &'static [u8] {
    match send_proxy {
        None => b"",
        Some(SendProxy::V1) => b"PROXY UNKNOWN\r\n",
        Some(SendProxy::V2) => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    }
}

/// From the first of these addresses of ours that has a port for it, if any is of its family.
fn connect_from_any(sources: &[IpAddr], target: &Target) -> Result<Socket, Failure> {
    let is_v4 = match target {
        Target::Tcp(address) => address.is_ipv4(),
        Target::Unix(_) => return connect(None, target),
    };
    let mut outcome = None;
    for own in sources.iter().filter(|own| own.is_ipv4() == is_v4) {
        outcome = Some(connect(Some(*own), target));
        if !matches!(outcome, Some(Err(Failure::Unable(_)))) {
            break;
        }
    }
    outcome.unwrap_or_else(|| connect(None, target))
}

fn connect(own: Option<IpAddr>, target: &Target) -> Result<Socket, Failure> {
    let address = match target {
        Target::Tcp(address) => SockAddr::from(*address),
        Target::Unix(path) => SockAddr::unix(path).map_err(Failure::Unable)?,
    };
    let domain = match target {
        Target::Tcp(address) => Domain::for_address(*address),
        Target::Unix(_) => Domain::UNIX,
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), None).map_err(|error| {
        match error.raw_os_error() {
            // A machine without IPv6: no session gets there either.
            Some(libc::EAFNOSUPPORT) => Failure::Ill(refused(&error)),
            _ => Failure::Unable(error),
        }
    })?;
    if let Some(own) = own {
        let own = SockAddr::from(SocketAddr::new(own, 0));
        connect_from(&socket, &own).map_err(|errno| Failure::Unable(errno.into()))?;
    }
    match socket.connect(&address) {
        Ok(()) => Ok(socket),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINPROGRESS) => Ok(socket),
            Some(libc::EADDRNOTAVAIL) if own.is_none() && !has_source(&address) => {
                Err(Failure::Ill(refused(&error)))
            }
            // From this address of ours nothing gets there, as from one of the loopback to another machine.
            Some(libc::EINVAL) if own.is_some() => Err(Failure::Unable(error)),
            // Our own lack of ports or memory.
            Some(libc::EADDRNOTAVAIL | libc::ENOBUFS | libc::ENOMEM) => Err(Failure::Unable(error)),
            // connect(2): a Unix socket whose backlog is full.
            Some(libc::EAGAIN) => Err(Failure::Ill(
                "it accepts nobody: its backlog is full".into(),
            )),
            _ => Err(Failure::Ill(refused(&error))),
        },
    }
}

fn refused(error: &io::Error) -> String {
    let code = error
        .raw_os_error()
        .and_then(|code| u32::try_from(code).ok());
    let words = code.map_or_else(|| error.to_string(), error_in_words);
    format!("a connect failed with \"{words}\"")
}

/// What the request says whom it asks for: the name as it was written, as far as there is one.
fn host(name: &str, target: &Target) -> String {
    match target {
        Target::Unix(_) => "localhost".to_owned(),
        Target::Tcp(address) => match name.strip_prefix("srv:") {
            Some(service) => {
                let labels = service
                    .split('.')
                    .skip_while(|label| label.starts_with('_'));
                let domain: Vec<_> = labels.collect();
                format!("{}:{}", domain.join("."), address.port())
            }
            None => name.to_owned(),
        },
    }
}
