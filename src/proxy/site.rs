//! What all sessions of a worker share while they have their turn.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::dial::number;
use super::duplex::{Side, Tools};
use super::source::{Id, Source};
use super::view::View;

/// What is read of a client before its backend is connected, bytes: what is more comes when it is.
const FIRST_READ: usize = 16 * 1024;
/// At most one sentence in this time.
const QUIET: Duration = Duration::from_secs(1);

/// The shared means.
#[derive(Debug)]
pub struct Site {
    /// Where sockets are watched.
    pub registry: Registry,
    /// The backends.
    pub view: View,
    /// For moving bytes.
    pub tools: Tools,
    /// A client's first bytes.
    pub first: Box<[u8]>,
    /// Sessions that wait for room.
    pub queued: usize,
    /// There may be room for those.
    pub room: bool,
    /// When the loop woke up.
    pub woken: Instant,
    /// The same, ms since the worker's start.
    pub now: u64,
    started: Instant,
    complaints: Complaints,
}

impl Site {
    /// For one worker.
    pub fn new(registry: Registry, view: View) -> Self {
        let now = Instant::now();
        Self {
            registry,
            view,
            tools: Tools::new(),
            first: vec![0; FIRST_READ].into(),
            queued: 0,
            room: false,
            woken: now,
            now: 0,
            started: now,
            complaints: Complaints::default(),
        }
    }

    /// The loop has been asleep.
    pub fn wake_up(&mut self) {
        self.woken = Instant::now();
        self.now = self.clock();
        self.view.woken();
    }

    /// Milliseconds since the worker's start.
    fn clock(&self) -> u64 {
        let time = self.woken.duration_since(self.started);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// One session more waits for room.
    pub fn begin_waiting(&mut self) {
        self.queued += 1;
        self.view.waits();
    }

    /// One session less waits.
    pub fn end_waiting(&mut self) {
        self.queued -= 1;
        self.view.waits_no_more();
    }

    /// Has the poll watch one of a session's sockets, edge-triggered, and for urgent data too: a read stops short
    /// there.
    ///
    /// # Errors
    /// `ENOMEM` and `ENOSPC` of epoll_ctl(2).
    pub fn watch(
        &self,
        socket: &dyn AsFd,
        id: Id,
        side: Side,
        interest: Interest,
    ) -> Result<Option<Interest>, Errno> {
        let token = Source::Session(id, side).token();
        let fd = socket.as_fd().as_raw_fd();
        self.registry
            .register(&mut SourceFd(&fd), token, interest | Interest::PRIORITY)
            .map_err(number)?;
        Ok(Some(interest))
    }

    /// As [`watch`](Self::watch), of a socket that is watched: what it is ready for now is told again.
    ///
    /// # Errors
    /// `ENOMEM` of epoll_ctl(2).
    pub fn watch_again(
        &self,
        socket: &dyn AsFd,
        id: Id,
        side: Side,
        interest: Interest,
    ) -> Result<Option<Interest>, Errno> {
        let token = Source::Session(id, side).token();
        let fd = socket.as_fd().as_raw_fd();
        self.registry
            .reregister(&mut SourceFd(&fd), token, interest | Interest::PRIORITY)
            .map_err(number)?;
        Ok(Some(interest))
    }

    /// A session counts at the backend at `at` no more: there is room for another.
    pub fn leave(&mut self, at: usize) {
        self.view.closed(at, self.queued);
        self.room |= self.queued != 0;
    }

    /// A session was counted at the backend at `at`, and no connect was even begun: nobody is told of room, since those
    /// who would look for it would end here again.
    pub fn take_back(&self, at: usize) {
        self.view.taken_back(at);
    }

    /// A connect to the backend at `at` did not come about. `is_anew`: of a session that had tried all before.
    pub fn connect_failed(&mut self, at: usize, errno: Errno, is_anew: bool) {
        self.view.failed(at, errno as i32, is_anew);
        self.leave(at);
        let name = self.view.name(at);
        let what = format_args!("cannot connect to {name}: {}", errno.desc());
        self.complaints.say(self.woken, what);
    }

    /// Says what happened to a session, unless that was done a moment ago.
    pub fn complain(&mut self, what: impl fmt::Display) {
        self.complaints.say(self.woken, what);
    }
}

/// What is said of single sessions, to the primary's log.
#[derive(Debug, Default)]
struct Complaints {
    quiet_until: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn say(&mut self, now: Instant, what: impl fmt::Display) {
        if self.quiet_until.is_some_and(|until| now < until) {
            self.unsaid += 1;
            return;
        }
        self.quiet_until = Some(now + QUIET);
        if !is_writable(&io::stderr()) {
            // The primary stands still: sessions go on.
            self.unsaid += 1;
            return;
        }
        // Nobody may be there to read it.
        let _ = match std::mem::take(&mut self.unsaid) {
            0 => writeln!(io::stderr(), "{what}"),
            others => writeln!(io::stderr(), "{what} (and {others} more like it)"),
        };
    }
}

/// Whether a write of a line would not wait: a pipe that says so has room for a page.
fn is_writable(output: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_is_full_is_not_written_to() {
        let (_reader, mut writer) = io::pipe().unwrap();
        assert!(is_writable(&writer));
        writer.write_all(&[0; 65_536]).unwrap();
        assert!(!is_writable(&writer));
    }
}
