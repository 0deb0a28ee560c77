//! One visit: a connection, one request, its answer. Owned by the crowd in `visitors.rs`; never waits.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

/// An answer's head and body together; a longer one is no answer of a bench server.
const ANSWER_MAX: usize = 1024;

/// How a visit went wrong.
#[derive(Clone, Copy)]
pub enum Failure {
    /// No connection: refused, or no port left.
    Connect,
    /// The connection broke.
    Reset,
    /// The server closed before the answer was whole.
    Closed,
    /// An answer that is not 200, or no HTTP.
    Status,
    /// No answer in time.
    TimedOut,
}

impl Failure {
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Status => "status",
            Self::TimedOut => "timeout",
        }
    }
}

/// What came of going on.
pub enum Step {
    Waiting,
    Answered { pid: u32 },
    Failed(Failure),
}

pub struct Visit {
    stream: TcpStream,
    pub since: Instant,
    /// What is still to be sent.
    request: Vec<u8>,
    answer: [u8; ANSWER_MAX],
    length: usize,
}

impl Visit {
    /// Connects, from one of `sources` addresses by `number` unless that is 0.
    pub fn start(to: SocketAddr, number: u64, sources: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if sources > 0 {
            // ip(7): the port is chosen at connect(2), when it is known what it must differ from.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            let host = u32::try_from(number % u64::from(sources)).unwrap_or(0);
            let host = 0x7f10_0000 + (host & 0x000f_ffff);
            socket.bind(&SocketAddr::from((Ipv4Addr::from(host), 0)).into())?;
        }
        let since = Instant::now();
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            other => other?,
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            since,
            request: Vec::new(),
            answer: [0; ANSWER_MAX],
            length: 0,
        })
    }

    /// What is to be asked.
    pub fn request(&mut self, number: u64, cookie: Option<&str>, close: bool) {
        let mut text = format!("GET /{number} HTTP/1.1\r\nHost: bench\r\n");
        if let Some(name) = cookie {
            text.push_str(&format!("Cookie: {name}=s{number:08x}\r\n"));
        }
        if close {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        self.request = text.into_bytes();
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut self.stream,
            token,
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// Sends and reads what can be.
    pub fn proceed(&mut self) -> Step {
        if !self.request.is_empty() {
            match self.stream.write(&self.request) {
                Ok(sent) => drop(self.request.drain(..sent)),
                Err(error) if waits(&error) => return Step::Waiting,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    return Step::Failed(Failure::Connect);
                }
                Err(_) => return Step::Failed(Failure::Reset),
            }
            // The answer makes an event of its own.
            return Step::Waiting;
        }
        loop {
            match self.stream.read(&mut self.answer[self.length..]) {
                Ok(0) => return Step::Failed(Failure::Closed),
                Ok(got) => self.length += got,
                Err(error) if waits(&error) => return Step::Waiting,
                Err(_) => return Step::Failed(Failure::Reset),
            }
            match read(&self.answer[..self.length]) {
                Ok(Some(pid)) => return Step::Answered { pid },
                Ok(None) => {}
                Err(failure) => return Step::Failed(failure),
            }
        }
    }

    /// `Some` if the server has ended a connection that was kept open.
    pub fn is_over(&mut self) -> Option<()> {
        match self.stream.read(&mut self.answer) {
            Err(error) if waits(&error) => None,
            _ => Some(()),
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}

/// The process that a whole answer names (`SLOT PID PATH`); `None` while there is more to come.
fn read(answer: &[u8]) -> Result<Option<u32>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let status = response.parse(answer).map_err(|_| Failure::Status)?;
    let httparse::Status::Complete(head) = status else {
        return if answer.len() < ANSWER_MAX {
            Ok(None)
        } else {
            Err(Failure::Status)
        };
    };
    if response.code != Some(200) {
        return Err(Failure::Status);
    }
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
    let length: usize = length.ok_or(Failure::Status)?;
    let Some(body) = answer.get(head..head + length) else {
        return Ok(None);
    };
    let pid = std::str::from_utf8(body)
        .ok()
        .and_then(|body| body.split(' ').nth(1)?.parse().ok());
    pid.map(Some).ok_or(Failure::Status)
}
