//! A connection as a worker holds it: the stream itself, what the primary knew about it, and a ticket that
//! counts it as open for as long as it lives.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::stream::Stream;
use crate::scoreboard::{PROCESSES, Process};
use crate::sys::board::Board;
use crate::sys::clock::now_ns;

/// One connection. Reads and writes go to the client's socket; dropping it closes the connection and counts
/// it as closed, which is what `--balance least-connections` and a graceful stop go by.
#[derive(Debug)]
pub struct Connection {
    // Dropped in this order: closed first, then counted.
    stream: Stream,
    ticket: Ticket,
}

impl Connection {
    pub(super) fn new(stream: Stream, ticket: Ticket) -> Self {
        Self { stream, ticket }
    }

    /// The socket.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The client; `None` for a Unix socket. An IPv4 client has an IPv4 address, whatever kind of socket it
    /// came through, and has it even when it has reset the connection in the meantime.
    ///
    /// Behind a proxy (`--proxy-protocol`) it is the client that the proxy has named, see [`Connection::is_proxied`];
    /// the socket's own `peer_addr` tells the proxy.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.ticket.peer
    }

    /// Whether a trusted proxy made the connection, and [`Connection::peer`] is the client that it named in its
    /// PROXY header. The header itself has been taken off.
    pub fn is_proxied(&self) -> bool {
        self.ticket.proxied
    }

    /// What the primary knew, and the open count.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Takes the socket out. The connection counts as open until the [`Ticket`] is dropped, so keep that
    /// for as long as the socket.
    pub fn into_parts(self) -> (Stream, Ticket) {
        (self.stream, self.ticket)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.stream).read_vectored(buffers)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Source for Connection {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

/// What came with a connection, and the count of it as open until this is dropped.
#[derive(Debug)]
pub struct Ticket {
    pub(super) id: u64,
    pub(super) attempt: u16,
    pub(super) peer: Option<SocketAddr>,
    pub(super) proxied: bool,
    pub(super) local: Option<SocketAddr>,
    pub(super) waited: Duration,
    pub(super) seat: Option<Arc<Seat>>,
}

impl Ticket {
    /// The ticket of a connection that no primary dealt, so that nobody counts.
    pub(super) fn alone(id: u64, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        Self {
            id,
            attempt: 0,
            peer,
            proxied: false,
            local,
            waited: Duration::ZERO,
            seat: None,
        }
    }

    /// Number of the connection: never given twice by one primary (or, standing alone, by one listener).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How often it had been dealt to a worker that did not take it: 0 almost always.
    pub fn attempt(&self) -> u16 {
        self.attempt
    }

    /// The client; see [`Connection::peer`].
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether a trusted proxy named the client; see [`Connection::is_proxied`].
    pub fn is_proxied(&self) -> bool {
        self.proxied
    }

    /// The address of the listener it came through, which may be a wildcard; `None` for a Unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// How long it waited between the primary's accept(2) and ours, less what its first bytes were waited for;
    /// zero when nobody balances.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat {
            seat.board.note_closed(seat.process(), 1);
        }
    }
}

/// Our entry in the worker's scoreboard.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) board: Board,
    /// Index of the channel in `taken`.
    pub(super) channel: usize,
    entry: usize,
}

impl Seat {
    pub(super) fn claim(board: Board, channel: usize) -> Self {
        let entry = claim_entry(&board.processes, std::process::id());
        Self {
            board,
            channel,
            entry,
        }
    }

    pub(super) fn process(&self) -> &Process {
        &self.board.processes[self.entry]
    }

    /// Counts a connection as taken after `waited`, and as open.
    pub(super) fn note_taken(&self, waited: Duration, now_ns: u64) {
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        // In this order: what is counted as taken and not as open has been closed.
        self.board.note_opened(self.process(), 1);
        self.board.note_taken(self.channel, waited, now_ns);
    }

    /// Counts a connection that the kernel has thrown away for want of a descriptor: as taken and closed too, or the
    /// primary would see it in the queue for ever.
    pub(super) fn note_lost(&self) {
        self.board.truncated.fetch_add(1, Relaxed);
        self.note_taken(Duration::ZERO, now_ns());
        self.board.note_closed(self.process(), 1);
    }
}

/// The entry that is ours already, or a free one; when all are taken the last one is shared.
fn claim_entry(processes: &[Process; PROCESSES], pid: u32) -> usize {
    let ours = processes
        .iter()
        .position(|process| process.pid.load(Relaxed) == pid);
    ours.or_else(|| {
        processes.iter().position(|process| {
            process
                .pid
                .compare_exchange(0, pid, Relaxed, Relaxed)
                .is_ok()
        })
    })
    .unwrap_or(PROCESSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_one_entry_and_its_open_count_follows_its_tickets() {
        let board = Board::create(3, 7).unwrap();
        assert_eq!(claim_entry(&board.processes, 100), 0);
        assert_eq!(claim_entry(&board.processes, 200), 1);
        assert_eq!(claim_entry(&board.processes, 100), 0);
        for pid in 0..2 * PROCESSES as u32 {
            assert!(claim_entry(&board.processes, 1000 + pid) < PROCESSES);
        }
        let seat = Arc::new(Seat::claim(Board::create(3, 7).unwrap(), 2));
        let ticket = || {
            seat.note_taken(Duration::from_micros(50), 1);
            Ticket {
                id: 1,
                attempt: 0,
                peer: None,
                proxied: false,
                local: None,
                waited: Duration::ZERO,
                seat: Some(Arc::clone(&seat)),
            }
        };
        let (first, second) = (ticket(), ticket());
        assert_eq!((seat.board.open(), seat.board.open_hint()), (2, 2));
        drop(first);
        drop(second);
        assert_eq!((seat.board.open(), seat.board.open_hint()), (0, 0));
        assert_eq!(seat.board.taken_in_all(), 2);
        assert_eq!(seat.board.longest_wait.load(Relaxed), 50);
    }
}
