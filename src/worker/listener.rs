//! Where a native worker's connections come from: its channel, the shared listening socket of
//! `--balance kernel`, or, when nobody balances it, a socket of its own. One face for all three.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connection::{Connection, Seat};
use super::options::Options;
use super::stop::{End, Stopper};
use super::supply::{Dry, Room, Supply};
use crate::sys::limits;

/// How often a waiting worker of `--balance kernel` looks whether it is to drain: no message can reach it
/// through a listening socket.
const DRAIN_LOOK: u16 = 500;
/// After so many connections taken in a row it is looked whether a signal has come meanwhile.
const SIGNAL_LOOK: u32 = 16;
/// How long a blocked [`Listener::accept`] leaves a connection queued when the process has no descriptor free.
const DESCRIPTOR_PAUSE: u16 = 20;

/// Takes connections, from forkfront or, when the program was started without it, from a socket of its own.
///
/// Any number of threads may accept at once.
///
/// ```
/// use std::io::Write;
/// use forkfront::worker::Listener;
///
/// let listener = Listener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr();
/// # let _client = std::net::TcpStream::connect(address)?;
/// for connection in listener.incoming() {
///     let mut connection = connection?;
///     writeln!(connection, "hello, {:?}", connection.peer())?;
///     # break;
/// }
/// // The loop ends when forkfront drains this worker: finish what is open, then leave.
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    supply: Supply,
    local: SocketAddr,
    /// This listener's own end: drained, or the primary is gone.
    end: Stopper,
    /// The program's switch.
    stopper: Option<Stopper>,
    /// How often a connection was asked for.
    taken: AtomicU32,
}

impl Listener {
    /// Asks for `address` and listens: under forkfront the worker is ready with this call.
    ///
    /// # Errors
    /// Those of the primary's (or, standing alone, of our own) socket(2), bind(2) and listen(2); an error
    /// with a sentence if the primary cannot be reached.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Options::new().bind(address)
    }

    pub(super) fn new(
        supply: Supply,
        local: SocketAddr,
        stopper: Option<Stopper>,
    ) -> io::Result<Self> {
        Ok(Self {
            supply,
            local,
            end: Stopper::new()?,
            stopper,
            taken: AtomicU32::new(0),
        })
    }

    /// Says that this worker is ready, if [`Options::ready_on_bind`] put that off. Once is enough.
    ///
    /// # Errors
    /// Those of listen(2), the primary's or our own.
    pub fn ready(&self) -> io::Result<()> {
        self.supply.listen()
    }

    /// Waits for the next connection. `None`: there will be no more, [`ended`](Self::ended) tells why.
    ///
    /// While the process is at its limit of open files, connections stay queued (or are dealt to another
    /// worker after `--steal-after`): this waits for a descriptor and never loses one.
    ///
    /// # Errors
    /// Those of recvmsg(2), accept(2) and poll(2) that waiting does not cure.
    pub fn accept(&self) -> io::Result<Option<Connection>> {
        loop {
            match self.try_accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) if limits::is_exhaustion(&error) => self.pause()?,
                other => return other,
            }
        }
    }

    /// Takes the next connection if one is queued: for use in an event loop. The listener is a mio
    /// [`Source`]; register it as readable and, as with any edge-triggered source, take until `WouldBlock`.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is queued. `EMFILE` or `ENFILE` when no descriptor is free: the connection
    /// stays queued and *no new event comes*, so call again after closing something. Those of recvmsg(2) and
    /// accept(2).
    pub fn try_accept(&self) -> io::Result<Option<Connection>> {
        self.take(Room::Unknown)
    }

    /// As [`try_accept`](Self::try_accept), for one who knows that a descriptor number is free, since all that are in use
    /// in this process are its own: two system calls less. Is there none after all, the connection is lost: one, and then
    /// the error is `EMFILE`.
    pub(crate) fn try_accept_into_room(&self) -> io::Result<Option<Connection>> {
        self.take(Room::Known)
    }

    fn take(&self, room: Room) -> io::Result<Option<Connection>> {
        // A signal is looked for by a system call: now and then, and whenever nothing is queued.
        let looks = self.taken.fetch_add(1, Relaxed).is_multiple_of(SIGNAL_LOOK);
        let ended = if looks { self.ended() } else { self.thrown() };
        if ended.is_some() {
            return Ok(None);
        }
        match self.supply.take(room) {
            Ok(connection) => Ok(Some(connection)),
            Err(Dry::Ended(end)) => {
                self.end.throw(end);
                Ok(None)
            }
            Err(Dry::Error(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                match self.ended() {
                    Some(_) => Ok(None),
                    None => Err(error),
                }
            }
            Err(Dry::Error(error)) => Err(error),
        }
    }

    /// Connections until the end, waiting for each.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// As [`ended`](Self::ended), without a look for signals.
    fn thrown(&self) -> Option<End> {
        let stopped = || self.stopper.as_ref().and_then(Stopper::thrown);
        self.end.thrown().or_else(stopped)
    }

    /// Why there is nothing more to accept; `None` while there may be.
    pub fn ended(&self) -> Option<End> {
        self.end
            .end()
            .or_else(|| self.stopper.as_ref().and_then(Stopper::end))
    }

    /// The address asked for; with port 0 and nobody balancing, the one that was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether connections come from a forkfront primary. An address that the primary does not share
    /// (`-l` names others, or port 0) is our own socket even under forkfront.
    pub fn is_balanced(&self) -> bool {
        self.seat().is_some()
    }

    /// Tells `--balance idle` and the status that this thread sleeps, until the guard is dropped. For event
    /// loops: hold it across `poll`. [`accept`](Self::accept) does it by itself.
    ///
    /// ```no_run
    /// # let listener = forkfront::worker::Listener::bind("127.0.0.1:0")?;
    /// # let (mut poll, mut events) = (mio::Poll::new()?, mio::Events::with_capacity(8));
    /// let sleeping = listener.sleeping();
    /// poll.poll(&mut events, None)?;
    /// drop(sleeping);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn sleeping(&self) -> Sleeping<'_> {
        let seat = self.seat();
        if let Some(seat) = seat {
            seat.process().loops.fetch_add(1, Relaxed);
            // A count, since several threads may sleep at once; readers ask whether it is zero.
            seat.process().asleep.fetch_add(1, Relaxed);
        }
        Sleeping(seat)
    }

    fn seat(&self) -> Option<&Seat> {
        self.supply.seat().map(Arc::as_ref)
    }

    /// Sleeps until there may be something to take, or the end.
    fn wait(&self) -> io::Result<()> {
        let timeout = match self.supply {
            Supply::Shared { .. } => PollTimeout::from(DRAIN_LOOK),
            Supply::Own { .. } | Supply::Dealt { .. } => PollTimeout::NONE,
        };
        let _sleeping = self.sleeping();
        self.poll(Some(self.supply.as_fd()), timeout)
    }

    /// Sleeps a moment, or until the end.
    fn pause(&self) -> io::Result<()> {
        self.poll(None, PollTimeout::from(DESCRIPTOR_PAUSE))
    }

    fn poll(&self, supply: Option<BorrowedFd<'_>>, timeout: PollTimeout) -> io::Result<()> {
        let mut fds: Vec<_> = supply
            .into_iter()
            .chain(self.end_fds())
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn end_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.end
            .fds()
            .chain(self.stopper.iter().flat_map(Stopper::fds))
    }

    /// Applies `change` to all that can wake an event loop on our behalf, under one token.
    fn for_each_fd(
        &self,
        mut change: impl FnMut(&mut SourceFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        std::iter::once(self.supply.as_fd())
            .chain(self.end_fds())
            .try_for_each(|fd| change(&mut SourceFd(&fd.as_raw_fd())))
    }
}

/// What a listener polls readable for: connections. The end of it wakes an event loop only through
/// [`Source`], so prefer that.
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.supply.as_fd()
    }
}

/// Readable when there may be a connection to take, or the end to learn of. Deregister it before dropping it
/// when the poll lives on: the primary holds a copy of the channel, so closing ours does not take it out.
impl Source for Listener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.for_each_fd(|fd| fd.register(registry, token, interests))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.for_each_fd(|fd| fd.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.for_each_fd(|fd| fd.deregister(registry))
    }
}

/// Iterator over a listener's connections; made by [`Listener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a>(&'a Listener);

impl Iterator for Incoming<'_> {
    type Item = io::Result<Connection>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.accept().transpose()
    }
}

impl<'a> IntoIterator for &'a Listener {
    type Item = io::Result<Connection>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.incoming()
    }
}

/// While this lives the worker counts as asleep; made by [`Listener::sleeping`].
#[derive(Debug)]
#[must_use = "dropping it says that the thread is awake"]
pub struct Sleeping<'a>(Option<&'a Seat>);

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.0 {
            seat.process().asleep.fetch_sub(1, Relaxed);
        }
    }
}
