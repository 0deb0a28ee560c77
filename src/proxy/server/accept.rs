//! Taking connections: a few in each turn of the loop, as long as the limit of open files leaves room for sessions.

use std::io;

use super::Server;
use crate::proxy::session::Session;
use crate::proxy::source::Id;
use crate::sys::limits;
use crate::worker::Connection;

/// Connections taken in one go before sessions have their turn.
const ACCEPT_BATCH: usize = 32;
/// How long connections wait when no descriptor is free and no session ends, ms.
const PAUSE: u64 = 20;
/// Descriptors that are not for sessions.
const OTHER_DESCRIPTORS: u64 = 64;
/// How often the limit of open files is looked at while connections come, ms: others may lower it (prlimit(1)).
const LIMIT_LOOK: u64 = 1_000;

/// What is known of connections to take, since the poll tells of each arrival once only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// None are queued; an event will tell.
    OnEvent,
    /// Some may be queued.
    Now,
    /// Some may be queued, but no descriptor was free: looked for again when a session ends, or at this time.
    At(u64),
}

/// How many sessions the limit of open files leaves room for.
#[derive(Debug)]
pub(super) struct Capacity {
    /// No more in any case. By the limit at the start: where it is lowered later, connections wait for a descriptor.
    most: usize,
    /// While there are fewer, a number is free for one more descriptor whatever the sessions do.
    ample: usize,
    /// When the limit was looked at for that.
    looked_at: u64,
}

impl Capacity {
    /// With as many open files as the hard limit allows.
    pub fn new() -> io::Result<Self> {
        let files = limits::raise_open_files()?.now;
        Ok(Self {
            most: sessions(files, 2).max(1),
            ample: ample(files),
            looked_at: 0,
        })
    }

    /// Whether a number is sure to be free for the descriptor of one session beside so many.
    fn is_ample(&mut self, count: usize, now: u64) -> bool {
        if now >= self.looked_at + LIMIT_LOOK {
            self.looked_at = now;
            self.ample = limits::open_files().map_or(0, ample);
        }
        count < self.ample
    }
}

/// Two sockets and two pipes each, at most.
fn ample(files: u64) -> usize {
    sessions(files, 6)
}

/// How many sessions so many files are enough for.
fn sessions(files: u64, each: u64) -> usize {
    let count = files.saturating_sub(OTHER_DESCRIPTORS) / each;
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Server {
    /// Two descriptors each, and one end of a pipe may come to it.
    pub(super) fn has_room(&self) -> bool {
        self.sessions.len() < self.capacity.most
    }

    /// Takes what is queued.
    pub(super) fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = &self.listener else {
                return Ok(());
            };
            if self.accepting != Accepting::Now || !self.has_room() {
                return Ok(());
            }
            let now = self.site.now;
            let taken = match self.capacity.is_ample(self.sessions.len(), now) {
                true => listener.try_accept_into_room(),
                false => listener.try_accept(),
            };
            match taken {
                Ok(Some(connection)) => self.admit(connection),
                Ok(None) => self.finish()?,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.accepting = Accepting::OnEvent,
                    io::ErrorKind::InvalidData => self.site.complain(error),
                    _ if limits::is_exhaustion(&error) => {
                        self.site
                            .complain(format_args!("connections wait: {error}"));
                        self.accepting = Accepting::At(now + PAUSE);
                        // Whatever was thought of the limit.
                        self.capacity.ample = 0;
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn admit(&mut self, connection: Connection) {
        self.next_age = self.next_age.wrapping_add(1);
        let age = self.next_age;
        let session = Session::new(connection, age, self.site.now);
        let place = self.sessions.insert(session);
        self.turn(Id { place, age }, Session::begin);
    }
}
