//! Where those who connect to a listening socket of ours are received and waited for: what the control socket, the
//! rendezvous and the readers of the metrics have in common.
//!
//! An epoll set of its own, so that the supervisor registers one descriptor and one deadline for all of them. Who is
//! received, how many at a time and what is said to them, is each one's own business.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;

/// How long to wait when no descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// That is complained of once in this time.
const COMPLAIN_AFTER: Duration = Duration::from_secs(60);
/// Guests have numbers below it.
const LISTENER: Token = Token(usize::MAX);

/// The listening socket and the guests, as far as they are waited for.
#[derive(Debug)]
pub struct Reception {
    /// Who is received, for people.
    whom: &'static str,
    poll: Poll,
    events: Events,
    /// The backlog may hold more: nothing will say so again, since readiness is edge-triggered.
    more: bool,
    /// When to look again although nothing has happened.
    again: Option<Instant>,
    complained: Option<Instant>,
}

impl Reception {
    /// For a socket that listens, and that many guests at a time, who are called `whom`.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and epoll_ctl(2).
    pub fn new(listener: &Socket, guests: usize, whom: &'static str) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let this = Self {
            whom,
            poll: Poll::new()?,
            events: Events::with_capacity(guests + 1),
            more: true,
            again: None,
            complained: None,
        };
        this.register(listener.as_raw_fd(), LISTENER, Interest::READABLE)?;
        Ok(this)
    }

    /// Waits for what a guest sends, and for room to send it more. Closing the last copy of its socket ends that.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn watch(&self, guest: &impl AsRawFd, number: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.register(guest.as_raw_fd(), Token(number), both)
    }

    /// Waits for what a guest sends only.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn listen_to(&self, guest: &impl AsRawFd, number: usize) -> io::Result<()> {
        self.register(guest.as_raw_fd(), Token(number), Interest::READABLE)
    }

    /// The guest's socket is somebody else's from now on.
    pub fn forget(&self, guest: &impl AsRawFd) {
        let raw = guest.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
    }

    fn register(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), token, interest)
    }

    /// There will be something to do then, event or not.
    pub fn look_again(&mut self, at: Instant) {
        self.again = Some(self.again.map_or(at, |before| before.min(at)));
    }

    /// When its owner is to be called at the latest, whose guests have these deadlines.
    pub fn deadline(&self, guests: impl Iterator<Item = Instant>) -> Option<Instant> {
        guests.chain(self.again).min()
    }

    /// Begins a turn: what has happened to guests, by their numbers, as far as so many sets of events say it.
    pub fn events(&mut self, sets: usize, now: Instant) -> Vec<(usize, Event)> {
        self.again = None;
        let mut all = Vec::new();
        for _ in 0..sets {
            if self
                .poll
                .poll(&mut self.events, Some(Duration::ZERO))
                .is_ok()
                && self.events.is_empty()
            {
                return all;
            }
            for event in &self.events {
                match event.token() {
                    LISTENER => self.more = true,
                    Token(number) => all.push((number, event.clone())),
                }
            }
        }
        // Others want their turn too.
        self.look_again(now);
        all
    }

    /// Whether somebody may be in the backlog.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// The next who has connected to `listener`; nobody, if nobody has.
    ///
    /// # Errors
    /// Those of accept(2), if no descriptor is free: they wait in the backlog, and a [`deadline`](Self::deadline) is
    /// set. It is said here, once in a while.
    pub fn accept(&mut self, listener: &Socket, now: Instant) -> io::Result<Option<Socket>> {
        while self.more {
            match listener.accept() {
                Ok((guest, _)) => return Ok(Some(guest)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.more = false,
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR)) => {}
                Err(error) => {
                    self.look_again(now + ACCEPT_RETRY);
                    self.complain(&error, now);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn complain(&mut self, error: &io::Error, now: Instant) {
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.complained.is_none_or(|at| since(at) >= COMPLAIN_AFTER) {
            self.complained = Some(now);
            log::warn!("{} cannot be heard now: {error}", self.whom);
        }
    }
}

impl AsRawFd for Reception {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn guests_are_taken_heard_and_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let listener = Socket::from(listener);
        let mut reception = Reception::new(&listener, 4, "guests").unwrap();
        let now = Instant::now();
        assert!(reception.accept(&listener, now).unwrap().is_none());
        assert!(!reception.has_more());
        let mut client = TcpStream::connect(at).unwrap();
        let give_up = now + Duration::from_secs(5);
        while !reception.has_more() {
            assert!(reception.events(4, now).is_empty() && Instant::now() < give_up);
        }
        let guest = reception.accept(&listener, now).unwrap().unwrap();
        reception.watch(&guest, 7).unwrap();
        let heard =
            |all: &[(usize, Event)]| all.iter().any(|(of, one)| *of == 7 && one.is_readable());
        client.write_all(b"x").unwrap();
        while !heard(&reception.events(4, now)) {
            assert!(Instant::now() < give_up);
        }
        let room = |all: &[(usize, Event)]| all.iter().any(|(_, one)| one.is_writable());
        reception.forget(&guest);
        reception.listen_to(&guest, 8).unwrap();
        let heard = reception.events(4, now);
        assert!(heard.len() == 1 && heard[0].0 == 8 && !room(&heard));
        reception.forget(&guest);
        client.write_all(b"x").unwrap();
        assert!(reception.events(4, now).is_empty());
        assert_eq!(reception.deadline(std::iter::empty()), None);
        // More sets of events than there is a turn for.
        reception.events(0, now);
        assert_eq!(reception.deadline(std::iter::empty()), Some(now));
    }
}
