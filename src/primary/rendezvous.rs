//! The rendezvous: where workers ask. One request and one answer per connection, `SOCK_SEQPACKET`.
//!
//! Takes connections, names the caller (`SO_PEERCRED`), decodes, and hands a [`Joining`] to the supervisor,
//! which decides and answers through its [`Connection`]. Never waits for a caller, never
//! receives a descriptor: messages are read without a control buffer, so the kernel closes what came along
//! (A12).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, recv, sendmsg};
use serde::{Deserialize, Serialize};
use slab::Slab;
use socket2::Socket;

use super::reception::Reception;
use crate::sys::handover::{Kind, Luggage, Ticket};
use crate::wire::{Answer, MAX_OPTIONS, Request, SocketOption};

/// Callers that have connected and not yet asked. For one more, the one that has been silent for longest goes:
/// a worker that connects without end and asks nothing keeps nobody out, nor takes all descriptors.
const MOST_CALLERS: usize = 64;
/// A caller asks in the same breath in which it connects; one that does not is none of ours.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sets of events looked at in one turn.
const TURN: usize = 16;
/// The longest request, and one byte to see that a message is longer.
const BUFFER: usize = Request::LEN + MAX_OPTIONS * SocketOption::LEN + 1;

/// The listening side.
#[derive(Debug)]
pub struct Rendezvous {
    listener: Socket,
    reception: Reception,
    callers: Slab<Caller>,
    refused: u64,
}

#[derive(Debug)]
struct Caller {
    socket: OwnedFd,
    deadline: Instant,
}

/// Callers that have not asked yet, for the next image. Those in the backlog stay there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenRendezvous {
    /// With the time that each has left.
    callers: Vec<(Ticket, Duration)>,
    refused: u64,
}

/// A request of a worker, and who asks. Whether it really is that worker is the supervisor's to check.
#[derive(Debug)]
pub struct Joining {
    /// What is asked.
    pub request: Request,
    /// Socket options that came with it.
    pub options: Vec<SocketOption>,
    /// The process that connected.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// The way back.
    pub connection: Connection,
}

/// The way back to a caller; dropping it says nothing and closes.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Answers, with descriptors.
    ///
    /// # Errors
    /// Those of sendmsg(2): the caller may have died.
    pub fn reply(self, answer: &Answer, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights[..] };
        let bytes = answer.encode();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            control,
            flags,
            None,
        )?;
        Ok(())
    }
}

impl Rendezvous {
    /// Serves `listener`, a listening `SOCK_SEQPACKET` socket.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and epoll_ctl(2).
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        let listener = Socket::from(listener);
        Ok(Self {
            reception: Reception::new(&listener, MOST_CALLERS, "workers at the rendezvous")?,
            listener,
            callers: Slab::new(),
            refused: 0,
        })
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenRendezvous {
        let now = Instant::now();
        let callers = self.callers.iter().map(|(_, caller)| {
            let socket = luggage.lend(Kind::Packets, caller.socket.as_fd());
            (socket, caller.deadline.saturating_duration_since(now))
        });
        FrozenRendezvous {
            callers: callers.collect(),
            refused: self.refused,
        }
    }

    /// As another image left it, on its `listener`.
    ///
    /// # Errors
    /// Those of [`Rendezvous::new`]; `InvalidData` for a caller that did not come along.
    pub fn thaw(
        listener: OwnedFd,
        frozen: FrozenRendezvous,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let mut this = Self::new(listener)?;
        this.refused = frozen.refused;
        for (socket, left) in frozen.callers {
            let socket = luggage.take(socket, Kind::Packets)?;
            this.keep(Caller {
                socket,
                deadline: now + left,
            });
        }
        Ok(this)
    }

    /// When [`Rendezvous::ready`] is to be called at the latest, event or not.
    pub fn deadline(&self) -> Option<Instant> {
        let callers = self.callers.iter().map(|(_, caller)| caller.deadline);
        self.reception.deadline(callers)
    }

    /// Connections that were closed without an answer, since what they sent was no request.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes what has come, without waiting; drops callers that have not asked in time. To be called when the
    /// descriptor is readable and at the [`deadline`](Rendezvous::deadline).
    pub fn ready(&mut self, now: Instant) -> Vec<Joining> {
        let mut asked = Vec::new();
        let events = self.reception.events(TURN, now).into_iter();
        for (number, _) in events.filter(|(_, event)| event.is_readable()) {
            if let Some(caller) = self.callers.try_remove(number) {
                // It may have to be waited for on.
                self.reception.forget(&caller.socket);
                self.hear_or_keep(caller, &mut asked);
            }
        }
        self.expire(now);
        self.take_callers(now, &mut asked);
        asked
    }

    fn expire(&mut self, now: Instant) {
        let before = self.callers.len();
        self.callers.retain(|_, caller| caller.deadline > now);
        self.refused += (before - self.callers.len()) as u64;
    }

    fn take_callers(&mut self, now: Instant, asked: &mut Vec<Joining>) {
        for _ in 0..MOST_CALLERS {
            match self.reception.accept(&self.listener, now) {
                Ok(Some(socket)) => {
                    let deadline = now + PATIENCE;
                    let socket = socket.into();
                    self.hear_or_keep(Caller { socket, deadline }, asked);
                }
                Ok(None) | Err(_) => return,
            }
        }
        self.reception.look_again(now);
    }

    fn hear_or_keep(&mut self, caller: Caller, asked: &mut Vec<Joining>) {
        if let Some(caller) = self.hear(caller, asked) {
            self.make_room(asked);
            self.keep(caller);
        }
    }

    /// Gives up the caller that has been silent for longest if there are too many, not without asking it once
    /// more: that it has spoken may not have been seen yet.
    fn make_room(&mut self, asked: &mut Vec<Joining>) {
        if self.callers.len() < MOST_CALLERS {
            return;
        }
        let oldest = self.callers.iter().min_by_key(|(_, one)| one.deadline);
        if let Some(key) = oldest.map(|(key, _)| key) {
            let caller = self.callers.remove(key);
            self.refused += u64::from(self.hear(caller, asked).is_some());
        }
    }

    /// Reads a caller's request, or gives the caller back if it has not asked yet.
    fn hear(&mut self, caller: Caller, asked: &mut Vec<Joining>) -> Option<Caller> {
        let mut buffer = [0; BUFFER];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let heard = match recv(caller.socket.as_raw_fd(), &mut buffer, flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Some(caller),
            Ok(length) => buffer.get(..length).and_then(decode),
            Err(_) => None,
        };
        let joining = heard.and_then(|(request, options)| {
            let peer = getsockopt(&caller.socket, PeerCredentials).ok()?;
            Some(Joining {
                request,
                options,
                pid: u32::try_from(peer.pid()).ok()?,
                uid: peer.uid(),
                connection: Connection(caller.socket),
            })
        });
        match joining {
            Some(joining) => asked.push(joining),
            None => self.refused += 1,
        }
        None
    }

    fn keep(&mut self, caller: Caller) {
        let entry = self.callers.vacant_entry();
        if self
            .reception
            .listen_to(&caller.socket, entry.key())
            .is_ok()
        {
            entry.insert(caller);
        }
    }
}

impl AsRawFd for Rendezvous {
    fn as_raw_fd(&self) -> RawFd {
        self.reception.as_raw_fd()
    }
}

/// A request and its options: nothing more, nothing less.
fn decode(message: &[u8]) -> Option<(Request, Vec<SocketOption>)> {
    let request = Request::decode(message)?;
    let rest = &message[Request::LEN..];
    if !rest.len().is_multiple_of(SocketOption::LEN) || rest.len() / SocketOption::LEN > MAX_OPTIONS
    {
        return None;
    }
    let options = rest
        .chunks_exact(SocketOption::LEN)
        .map(SocketOption::decode);
    Some((request, options.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests;
