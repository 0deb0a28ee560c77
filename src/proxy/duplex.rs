//! The bytes of one session: two connected, non-blocking sockets, and everything that is read from one is written to
//! the other, unchanged, each direction to its own end.
//!
//! The proxy's loop owns the sockets and the poll (edge-triggered; both sockets registered for reading and priority, so
//! that urgent data are told, and for writing at the latest when a turn waits while something is [pending](Duplex::pending)); it [notes](Duplex::note) what the poll says and gives the session a [turn](Duplex::advance). Nothing here waits,
//! spins, logs or knows the time.
//!
//! An idle session holds no buffer. What one side sends is read into the worker's one scratch buffer and written on
//! at once; only what the other side does not take now is kept, and until that is delivered nothing more is read from
//! the side that sent it. A direction in which much flows goes through a pipe by splice(2) instead, of which the same
//! holds. So a session holds at most 256 KiB for each direction, or one of the few pipes of 1 MiB that a
//! worker has.
//!
//! A side that says that it sends no more (FIN) has that carried on once everything before it is delivered. A reset
//! ends the session: what can be delivered of what was read before it is delivered, the rest is dropped, and whoever
//! closes the other socket calls [`reset_on_close`] first.

mod means;
mod pool;
#[cfg(test)]
mod tests;
mod way;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::event::Event;
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use socket2::SockRef;

use crate::config::proxy::Splice;

pub use pool::Tools;
use way::{Carry, Flow, Way};

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who came to us.
    Client,
    /// Whom we connected to.
    Backend,
}

impl Side {
    /// The one across.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

/// What came of a [turn](Duplex::advance).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing more can be moved until the poll says something new of either socket.
    Waiting,
    /// More could be moved, but others are to have their turn first: call again without waiting for an event.
    Again,
    /// The session is over: both sockets are to be closed at once, which may be what carries the last end on.
    Over(End),
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides have said that they send no more, and have been told so of each other.
    Done,
    /// This side has reset its connection, or takes no more; the other one's is to be reset.
    Reset(Side),
    /// The connection to this side failed in another way (`ETIMEDOUT` after its keepalives, say).
    Broken(Side, Errno),
}

impl End {
    fn by(side: Side, errno: Errno) -> Self {
        match errno {
            Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED | Errno::ENOTCONN => {
                Self::Reset(side)
            }
            other => Self::Broken(side, other),
        }
    }
}

/// Bytes that were given to the sockets, what was to be sent first included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// To the backend.
    pub up: u64,
    /// To the client.
    pub down: u64,
}

/// What is known of one socket, since an edge is told once.
#[derive(Debug)]
struct Ready {
    /// A read may bring something.
    readable: bool,
    /// A write may take something.
    writable: bool,
    /// The poll has told the end of what it sends: a read that empties the socket is the last.
    ending: bool,
    /// The poll has told a mark in what it sends (urgent data): a read stops there, so that only one that brings nothing
    /// has emptied the socket.
    marked: bool,
    /// The poll has told an error that was not looked at yet.
    failing: bool,
}

/// A socket in its turn.
struct Socket<'a> {
    fd: BorrowedFd<'a>,
    ready: &'a mut Ready,
}

/// Both directions of one session.
#[derive(Debug)]
pub struct Duplex {
    client: Ready,
    backend: Ready,
    up: Way,
    down: Way,
    /// This side is gone: what came from it before is still delivered as far as that goes without waiting.
    gone: Option<(Side, Errno)>,
}

impl Duplex {
    /// Two sockets that are connected now. `first` is sent to the backend before anything that is read from the
    /// client.
    ///
    /// Neither is read from before an event has told that there is something: what the poll has said of them until
    /// now, the event that told of the connection included, is to be [noted](Self::note) too.
    pub fn new(splice: Splice, first: Box<[u8]>) -> Self {
        let ready = || Ready {
            readable: false,
            writable: true,
            ending: false,
            marked: false,
            failing: false,
        };
        Self {
            client: ready(),
            backend: ready(),
            up: Way::new(splice, first),
            down: Way::new(splice, Box::default()),
            gone: None,
        }
    }

    /// What the poll has said of one of the sockets.
    pub fn note(&mut self, side: Side, event: &Event) {
        let ready = match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        };
        ready.readable |= event.is_readable() || event.is_read_closed();
        ready.writable |= event.is_writable();
        ready.ending |= event.is_read_closed();
        ready.marked |= event.is_priority();
        ready.failing |= event.is_error();
    }

    /// Moves what can be moved now, a bounded amount.
    pub fn advance(
        &mut self,
        client: BorrowedFd<'_>,
        backend: BorrowedFd<'_>,
        tools: &mut Tools,
    ) -> Turn {
        self.look_for_errors(client, backend);
        let mut again = false;
        for from in [Side::Client, Side::Backend] {
            if self.gone.is_some_and(|(side, _)| side != from) {
                continue;
            }
            match self.flow(from, client, backend, tools) {
                Flow::Waiting => {}
                Flow::Again => again = true,
                Flow::SourceFailed(errno) => return Turn::Over(End::by(from, errno)),
                Flow::SinkFailed(errno) => return self.lose(from.other(), errno),
            }
        }
        if again {
            Turn::Again
        } else if let Some((side, errno)) = self.gone {
            Turn::Over(End::by(side, errno))
        } else if self.up.has_ended() && self.down.has_ended() {
            Turn::Over(End::Done)
        } else {
            Turn::Waiting
        }
    }

    /// Bytes that were given to the sockets since this was last asked.
    pub fn take_moved(&mut self) -> Moved {
        Moved {
            up: self.up.take_moved(),
            down: self.down.take_moved(),
        }
    }

    /// Whether one side has said that it sends no more.
    pub fn is_half_closed(&self) -> bool {
        !(self.up.is_open() && self.down.is_open())
    }

    /// Whether this side has not said that it sends no more.
    pub fn is_read(&self, side: Side) -> bool {
        match side {
            Side::Client => self.up.is_open(),
            Side::Backend => self.down.is_open(),
        }
    }

    /// Whether something was read that is not delivered yet.
    pub fn pending(&self) -> bool {
        self.up.pending() || self.down.pending()
    }

    fn flow(
        &mut self,
        from: Side,
        client: BorrowedFd<'_>,
        backend: BorrowedFd<'_>,
        tools: &mut Tools,
    ) -> Flow {
        let other_ended = match from {
            Side::Client => self.down.has_ended(),
            Side::Backend => self.up.has_ended(),
        };
        let carry = match self.gone {
            Some(_) => Carry::Never,
            None if other_ended => Carry::ByClose,
            None => Carry::ByShutdown,
        };
        let client = Socket {
            fd: client,
            ready: &mut self.client,
        };
        let backend = Socket {
            fd: backend,
            ready: &mut self.backend,
        };
        match from {
            Side::Client => self.up.flow(client, backend, tools, carry),
            Side::Backend => self.down.flow(backend, client, tools, carry),
        }
    }

    /// A side that has reset its connection says so even when nothing is read from it or written to it.
    fn look_for_errors(&mut self, client: BorrowedFd<'_>, backend: BorrowedFd<'_>) {
        for (side, ready, fd) in [
            (Side::Client, &mut self.client, client),
            (Side::Backend, &mut self.backend, backend),
        ] {
            if !std::mem::take(&mut ready.failing) || self.gone.is_some() {
                continue;
            }
            // Asking takes the error: from now on a read brings what came before it and then an end, which is none.
            let error = getsockopt(&fd, sockopt::SocketError).unwrap_or(libc::EBADF);
            if error != 0 {
                ready.readable = true;
                self.gone = Some((side, Errno::from_raw(error)));
            }
        }
    }

    /// `side` takes no more; at the next turn what it had sent before is delivered.
    fn lose(&mut self, side: Side, errno: Errno) -> Turn {
        self.gone = Some((side, errno));
        match side {
            Side::Client => self.client.readable = true,
            Side::Backend => self.backend.readable = true,
        }
        Turn::Again
    }
}

/// From now on closing this TCP socket resets the connection and drops what was not sent yet; to be called before a
/// socket is closed whose other side has ended by [`End::Reset`]. A Unix socket knows no reset, it is closed as ever.
pub fn reset_on_close(socket: impl AsFd) {
    // It cannot fail for a socket, and without it there is only an end where a reset was meant.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
}

/// `recv`, `send` and `shutdown` of nix want the number.
fn raw(fd: BorrowedFd<'_>) -> std::os::fd::RawFd {
    fd.as_raw_fd()
}
