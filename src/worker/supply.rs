//! The three sources of connections behind a [`Listener`](super::Listener), each taken from without waiting.
//!
//! All three descriptors are kept non-blocking; who wants to wait polls. A message that comes with a
//! connection is received only when a descriptor number is known to be free, since the kernel throws the
//! connection away otherwise (unix(7)).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::{Connection, Seat, Ticket};
use super::join::{Membership, from_wire, inode};
use super::options::Options;
use super::stop::End;
use super::stream::Stream;
use crate::sys::board::Board;
use crate::sys::clock::now_ns;
use crate::sys::fdpass::{Received, receive};
use crate::sys::socket::{Accepted, accept};
use crate::wire::{Address, Family, Kind, Record, SocketOption};

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Supply {
    /// A listening socket of our own.
    Own {
        socket: Socket,
        backlog: i32,
        nonblocking: bool,
        next_id: AtomicU64,
    },
    /// The primary's listening socket, shared with the other workers.
    Shared {
        socket: OwnedFd,
        tcp: bool,
        local: Option<SocketAddr>,
        nonblocking: bool,
        next_id: AtomicU64,
        seat: Arc<Seat>,
        presence: Presence,
    },
    /// A channel from the primary.
    Dealt {
        channel: OwnedFd,
        nonblocking: bool,
        /// Held from the look for a free descriptor to the receive, so that our own threads do not race.
        taking: Mutex<()>,
        seat: Arc<Seat>,
        presence: Presence,
    },
}

/// Our standing at the rendezvous for one descriptor.
#[derive(Debug)]
pub(super) struct Presence {
    member: Membership,
    inode: u64,
    backlog: i32,
    nodelay: bool,
}

/// Whether a number is free for the descriptor that a message brings: without one, the kernel throws it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It has to be proved.
    Unknown,
    /// The caller knows.
    Known,
}

/// Why nothing was taken.
#[derive(Debug)]
pub(super) enum Dry {
    /// Nothing more will come.
    Ended(End),
    /// `WouldBlock`, out of descriptors, or a failure.
    Error(io::Error),
}

impl From<io::Error> for Dry {
    fn from(error: io::Error) -> Self {
        Self::Error(error)
    }
}

impl Supply {
    /// A bound socket of our own, not listening yet.
    pub fn own(address: SocketAddr, v6only: bool, options: &Options) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(v6only)?;
        }
        socket.set_tcp_nodelay(options.nodelay)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self::Own {
            socket,
            backlog: options.backlog,
            nonblocking: options.nonblocking,
            next_id: AtomicU64::new(1),
        })
    }

    /// A channel.
    pub fn dealt(
        channel: OwnedFd,
        board: Board,
        index: usize,
        member: Membership,
        options: &Options,
    ) -> io::Result<Self> {
        let presence = Presence::new(member, channel.as_fd(), options)?;
        set_nonblocking(channel.as_fd(), true)?;
        say_nonblocking(&board, options.nonblocking);
        Ok(Self::Dealt {
            channel,
            nonblocking: options.nonblocking,
            taking: Mutex::new(()),
            seat: Arc::new(Seat::claim(board, index)),
            presence,
        })
    }

    /// The primary's listening socket.
    pub fn shared(
        socket: OwnedFd,
        board: Board,
        index: usize,
        member: Membership,
        options: &Options,
    ) -> io::Result<Self> {
        let presence = Presence::new(member, socket.as_fd(), options)?;
        set_nonblocking(socket.as_fd(), true)?;
        say_nonblocking(&board, options.nonblocking);
        let socket = Socket::from(socket);
        let local = socket.local_addr()?;
        Ok(Self::Shared {
            tcp: !local.is_unix(),
            local: local.as_socket(),
            socket: socket.into(),
            nonblocking: options.nonblocking,
            next_id: AtomicU64::new(1),
            seat: Arc::new(Seat::claim(board, index)),
            presence,
        })
    }

    /// Listens, or has the primary do it.
    pub fn listen(&self) -> io::Result<()> {
        match self {
            Self::Own {
                socket, backlog, ..
            } => socket.listen(*backlog),
            Self::Shared { presence, .. } | Self::Dealt { presence, .. } => presence.listen(),
        }
    }

    /// Our entry in the scoreboard, when a primary balances us.
    pub fn seat(&self) -> Option<&Arc<Seat>> {
        match self {
            Self::Own { .. } => None,
            Self::Shared { seat, .. } | Self::Dealt { seat, .. } => Some(seat),
        }
    }

    /// The address of a socket of our own.
    pub fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Own { socket, .. } => Ok(socket.local_addr()?.as_socket()),
            Self::Shared { .. } | Self::Dealt { .. } => Ok(None),
        }
    }

    /// Takes one connection, never waiting.
    pub fn take(&self, room: Room) -> Result<Connection, Dry> {
        match self {
            Self::Own {
                socket,
                nonblocking,
                next_id,
                ..
            } => {
                let (fd, peer) = take_from_socket(socket.as_fd(), *nonblocking)?;
                let local = socket.local_addr()?.as_socket();
                let ticket = Ticket::alone(next_id.fetch_add(1, Relaxed), from_wire(&peer), local);
                Ok(Connection::new(Stream::new(fd, true), ticket))
            }
            Self::Shared {
                socket,
                tcp,
                local,
                nonblocking,
                next_id,
                seat,
                ..
            } => {
                if seat.board.draining.load(Relaxed) != 0 {
                    return Err(Dry::Ended(End::Drained));
                }
                let (fd, peer) = take_from_socket(socket.as_fd(), *nonblocking)?;
                seat.note_taken(Duration::ZERO, now_ns());
                let ticket = Ticket {
                    id: next_id.fetch_add(1, Relaxed),
                    attempt: 0,
                    peer: from_wire(&peer),
                    proxied: false,
                    local: *local,
                    waited: Duration::ZERO,
                    seat: Some(Arc::clone(seat)),
                };
                Ok(Connection::new(Stream::new(fd, *tcp), ticket))
            }
            Self::Dealt {
                channel,
                nonblocking,
                taking,
                seat,
                ..
            } => {
                let (fd, record) = take_from_channel(channel.as_fd(), taking, seat, room)?;
                Ok(deliver(fd, &record, *nonblocking, seat)?)
            }
        }
    }
}

impl AsFd for Supply {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own { socket, .. } => socket.as_fd(),
            Self::Shared { socket, .. } => socket.as_fd(),
            Self::Dealt { channel, .. } => channel.as_fd(),
        }
    }
}

impl Presence {
    fn new(member: Membership, fd: BorrowedFd<'_>, options: &Options) -> io::Result<Self> {
        Ok(Self {
            member,
            inode: inode(fd)?,
            backlog: options.backlog,
            nodelay: options.nodelay,
        })
    }

    fn listen(&self) -> io::Result<()> {
        let mut value = [0; 16];
        value[..4].copy_from_slice(&1i32.to_ne_bytes());
        let nodelay = SocketOption {
            level: libc::IPPROTO_TCP,
            name: libc::TCP_NODELAY,
            len: 4,
            value,
        };
        let options = if self.nodelay {
            std::slice::from_ref(&nodelay)
        } else {
            &[]
        };
        self.member.listen(self.inode, self.backlog, options)
    }
}

/// Told after the descriptor itself was closed (the field before this one): the primary looks for itself.
impl Drop for Presence {
    fn drop(&mut self) {
        self.member.closed(self.inode);
    }
}

/// Receives until there is a connection: what comes without one is for us to act on.
fn take_from_channel(
    channel: BorrowedFd<'_>,
    taking: &Mutex<()>,
    seat: &Seat,
    room: Room,
) -> Result<(OwnedFd, Record), Dry> {
    // One byte more than a record, so that a longer message is seen as such.
    let mut buffer = [0; Record::LEN + 1];
    loop {
        let received = {
            let _taking = taking.lock().unwrap_or_else(PoisonError::into_inner);
            if room == Room::Unknown {
                drop(channel.try_clone_to_owned()?);
            }
            receive(channel, &mut buffer, false)?
        };
        let (length, fd, truncated) = match received {
            Received::Message {
                length,
                fd,
                truncated,
            } => (length, fd, truncated),
            Received::Empty => return Err(io::Error::from(io::ErrorKind::WouldBlock).into()),
            Received::Closed => return Err(Dry::Ended(End::PrimaryGone)),
        };
        let record = Record::decode(&buffer[..length]).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a hand-off record of an unknown form",
            )
        })?;
        match (record.kind, fd) {
            (Kind::Connection, Some(fd)) => return Ok((fd, record)),
            (Kind::Drain, _) => return Err(Dry::Ended(End::Drained)),
            (Kind::Connection, None) if truncated => {
                seat.note_lost();
                // Whoever knew of room knows something that is true no more: not one more is lost for it.
                if room == Room::Known {
                    return Err(io::Error::from(Errno::EMFILE).into());
                }
            }
            (Kind::Connection, None) | (Kind::Wake, _) => {}
        }
    }
}

/// Makes a connection of what the channel brought, and counts it.
fn deliver(
    fd: OwnedFd,
    record: &Record,
    nonblocking: bool,
    seat: &Arc<Seat>,
) -> io::Result<Connection> {
    let now = now_ns();
    let waited = Duration::from_nanos(now.saturating_sub(record.accepted_at));
    seat.note_taken(waited, now);
    let peer = from_wire(&record.peer);
    let ticket = Ticket {
        id: record.connection,
        attempt: record.attempt,
        peer,
        proxied: record.proxied,
        local: from_wire(&record.local),
        waited,
        seat: Some(Arc::clone(seat)),
    };
    if record.nonblocking != nonblocking {
        set_nonblocking(fd.as_fd(), nonblocking)?;
    }
    // A proxy names TCP clients, whatever kind of socket it came through itself.
    let tcp = match record.proxied {
        true => record.local.family != Family::None,
        false => peer.is_some(),
    };
    Ok(Connection::new(Stream::new(fd, tcp), ticket))
}

fn take_from_socket(socket: BorrowedFd<'_>, nonblocking: bool) -> io::Result<(OwnedFd, Address)> {
    loop {
        match accept(socket, nonblocking) {
            Accepted::Connection(fd, peer) => return Ok((fd, peer)),
            Accepted::Empty => return Err(io::ErrorKind::WouldBlock.into()),
            Accepted::ClientGone => {}
            Accepted::Exhausted(error) | Accepted::Failed(error) => return Err(error),
        }
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, nonblocking);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Lets the primary accept connections in the mode that we want, which saves a call for each.
fn say_nonblocking(board: &Board, nonblocking: bool) {
    board
        .nonblocking
        .store(if nonblocking { 1 } else { 2 }, Relaxed);
}
