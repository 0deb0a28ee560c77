//! How a native worker joins: the client side of the rendezvous. Asks for an address, says "listening",
//! says "closed". Used by [`Listener`](super::Listener) only; the shim has its own, without libstd.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::address::{self, to_wire};
use crate::sys::bell::Bell;
use crate::sys::board::{Backends, Board};
use crate::sys::rights::receive_all;
use crate::wire::{
    Address, Answer, ENV_RENDEZVOUS, ENV_WORKER, Outcome, Request, SocketOption, Verb,
};

/// A primary answers from its main loop, which blocks on nothing: one that takes longer is stopped or gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Who we are to the primary that started us.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    rendezvous: PathBuf,
    worker: u64,
}

/// What a proxy worker shares with the primary and with the other workers of its app.
#[derive(Debug)]
pub(crate) struct ProxyMeans {
    /// The board of backends.
    pub board: Backends,
    /// Rung for all workers when something on the board is new: to be watched edge-triggered and never read.
    pub bell: Bell,
    /// To be rung when a backend has failed as often as its entry says.
    pub alarm: Bell,
}

/// What came of asking for an address.
pub(crate) enum Bound {
    /// Not shared: an ordinary socket of our own.
    Alone,
    /// Connections come over a channel.
    Dealt {
        channel: OwnedFd,
        board: Board,
        /// Our place in the scoreboard's `taken`.
        index: usize,
    },
    /// The listening socket itself, shared by all workers.
    Shared {
        socket: OwnedFd,
        board: Board,
        index: usize,
    },
}

impl Membership {
    /// What the environment says; `None`: nobody balances us.
    ///
    /// # Errors
    /// `InvalidInput` if the environment names a rendezvous but no worker.
    pub fn from_environment() -> io::Result<Option<Self>> {
        let Some(rendezvous) = std::env::var_os(ENV_RENDEZVOUS).filter(|path| !path.is_empty())
        else {
            return Ok(None);
        };
        let worker = std::env::var(ENV_WORKER)
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{ENV_RENDEZVOUS} is set but {ENV_WORKER} is not a worker's id"),
                )
            })?;
        Ok(Some(Self {
            rendezvous: rendezvous.into(),
            worker,
        }))
    }

    /// Of a primary that never answers.
    #[cfg(test)]
    pub fn nowhere() -> Self {
        Self {
            rendezvous: "/nonexistent/join.sock".into(),
            worker: 1,
        }
    }

    /// Asks for `address`.
    ///
    /// # Errors
    /// The errno with which the primary's own bind(2) failed; those of the conversation itself.
    pub fn bind(&self, address: SocketAddr, v6only: bool, nonblocking: bool) -> io::Result<Bound> {
        let request = Request {
            v6only,
            nonblocking,
            address: to_wire(&address),
            ..self.request(Verb::Bind)
        };
        let (answer, rights) = self.ask(&request, &[])?;
        let index = usize::from(answer.channel);
        let mut rights = rights.into_iter();
        match (answer.outcome, rights.next(), rights.next()) {
            (Outcome::PassThrough, None, None) => Ok(Bound::Alone),
            (Outcome::Errno, None, None) => Err(io::Error::from_raw_os_error(answer.errno)),
            (Outcome::Channel, Some(channel), Some(board)) => Ok(Bound::Dealt {
                channel,
                board: Board::open(board)?,
                index,
            }),
            (Outcome::Listener, Some(socket), Some(board)) => Ok(Bound::Shared {
                socket,
                board: Board::open(board)?,
                index,
            }),
            _ => Err(garbled()),
        }
    }

    /// Says that the server listens: it is ready, and is dealt to from now on.
    ///
    /// # Errors
    /// The errno with which the primary's own listen(2) failed; those of the conversation itself.
    pub fn listen(&self, inode: u64, backlog: i32, options: &[SocketOption]) -> io::Result<()> {
        let request = Request {
            number: backlog,
            inode,
            ..self.request(Verb::Listen)
        };
        match self.ask(&request, options)?.0 {
            Answer {
                outcome: Outcome::Errno,
                errno: 0,
                ..
            } => Ok(()),
            Answer {
                outcome: Outcome::Errno,
                errno,
                ..
            } => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(garbled()),
        }
    }

    /// Asks for the backends of the proxy that this worker is of.
    ///
    /// # Errors
    /// `InvalidInput` if it is a worker of something else; those of the conversation itself.
    pub fn backends(&self) -> io::Result<ProxyMeans> {
        let (answer, rights) = self.ask(&self.request(Verb::Backends), &[])?;
        let mut rights = rights.into_iter();
        match (answer.outcome, rights.next(), rights.next(), rights.next()) {
            (Outcome::Backends, Some(board), Some(bell), Some(alarm)) => Ok(ProxyMeans {
                board: Backends::open(board)?,
                bell: Bell::from(bell),
                alarm: Bell::from(alarm),
            }),
            (Outcome::Errno, None, None, None) => Err(io::Error::from_raw_os_error(answer.errno)),
            _ => Err(garbled()),
        }
    }

    /// Says that the server has closed its listener, if that can be said without waiting.
    pub fn closed(&self, inode: u64) {
        let request = Request {
            inode,
            ..self.request(Verb::Closed)
        };
        // A primary that is gone or overrun finds out from our exit.
        let _ = self
            .connect(true)
            .and_then(|socket| socket.send(&request.encode()));
    }

    fn request(&self, verb: Verb) -> Request {
        Request {
            verb,
            v6only: false,
            reuse_port: false,
            native: true,
            nonblocking: false,
            worker: self.worker,
            number: 0,
            address: Address::default(),
            inode: 0,
        }
    }

    fn ask(
        &self,
        request: &Request,
        options: &[SocketOption],
    ) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let mut message = request.encode().to_vec();
        for option in options {
            message.extend_from_slice(&option.encode());
        }
        let socket = self.connect(false)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        socket.send(&message)?;
        let mut buffer = [0; Answer::LEN];
        let (length, rights) = receive_all(socket.as_fd(), &mut buffer)?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the forkfront primary did not answer: this process does not belong to the worker it names",
            ));
        }
        let answer = Answer::decode(&buffer[..length]).ok_or_else(garbled)?;
        Ok((answer, rights))
    }

    fn connect(&self, nonblocking: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.set_nonblocking(nonblocking)?;
        socket
            .connect(&SockAddr::unix(&self.rendezvous)?)
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!(
                        "cannot reach the forkfront primary at {}: {error}",
                        self.rendezvous.display()
                    ),
                )
            })?;
        Ok(socket)
    }
}

/// By which the primary knows a channel: no other open file has it.
///
/// # Errors
/// Those of fstat(2).
pub(super) fn inode(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(fd)?.st_ino)
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the forkfront primary gave an answer that makes no sense: is it of another version?",
    )
}

/// An address from the wire, an IPv4-mapped one as IPv4; `None` for a Unix socket.
pub(super) fn from_wire(address: &Address) -> Option<SocketAddr> {
    address::from_wire(address).map(|address| match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(v6.ip().to_canonical(), v6.port())
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_wire_and_mapped_ones_become_ipv4() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:443", "[fe80::1%3]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(from_wire(&to_wire(&address)), Some(address));
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(
            from_wire(&to_wire(&mapped)),
            Some("192.0.2.1:80".parse().unwrap())
        );
        assert_eq!(from_wire(&Address::default()), None);
    }
}
