//! The way to a backend: one is chosen and connected to; when that does not come about, another is, until all are
//! tried or enough. Nothing of the client's is lost meanwhile: what was read of it is kept until it is sent.

use std::time::Instant;

use mio::Interest;
use mio::event::Event;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, sockopt};
use std::os::fd::AsRawFd;

use super::dial::{Dialed, dial};
use super::duplex::{Duplex, Moved, Side, reset_on_close};
use super::session::{Session, Stage, Step};
use super::site::Site;
use super::source::Id;
use super::view::Choice;
use crate::backend_board::BACKENDS;

/// A session on its way to a backend.
#[derive(Debug)]
pub struct Attempt {
    /// What is to be sent to it before anything that is still to be read of the client.
    first: Vec<u8>,
    /// The client was read from already.
    was_read: bool,
    tried: Tried,
    /// How many others may be tried.
    left: u32,
    since: Instant,
}

/// Backends, by their place on the board.
#[derive(Clone, Debug, Default)]
pub struct Tried([u64; BACKENDS / 64]);

impl Tried {
    /// Whether this one is of them.
    pub fn contains(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }
}

impl Attempt {
    /// At its beginning.
    pub fn new(site: &Site) -> Self {
        Self {
            first: Vec::new(),
            was_read: false,
            tried: Tried::default(),
            left: site.view.proxy().retries,
            since: site.now,
        }
    }
}

/// What came of one connect.
enum Progress {
    /// It stands.
    Connected,
    /// An event will tell.
    UnderWay,
    /// The client is gone.
    ClientGone,
}

impl Session {
    /// Connects to one backend after the other until one is connected, or is being connected to.
    pub fn connect(&mut self, id: Id, mut attempt: Attempt, site: &mut Site) -> Step {
        loop {
            let place = match site.view.choose(&attempt.tried) {
                Choice::Place(place) => place,
                Choice::Full => {
                    self.stage = Stage::Queued(Box::new(attempt));
                    return Step::Queue;
                }
                Choice::Nobody => return self.refuse(site, "no backend takes sessions"),
            };
            self.at = Some(site.view.door(place).at as u16);
            match self.dial(id, place, &mut attempt, site) {
                Ok(Progress::Connected) => return self.begin_moving(id, attempt, None, site),
                Ok(Progress::UnderWay) => {
                    self.stage = Stage::Connecting(Box::new(attempt));
                    return Step::Waiting;
                }
                Ok(Progress::ClientGone) => return Step::Over,
                Err(errno) => {
                    if !self.goes_on(errno, &mut attempt, site) {
                        return self.refuse(site, "no backend could be connected to");
                    }
                }
            }
        }
    }

    /// An event has come while a connect was under way.
    pub fn connect_told(&mut self, id: Id, side: Side, event: &Event, site: &mut Site) -> Step {
        let Stage::Connecting(_) = &self.stage else {
            return Step::Waiting;
        };
        if side == Side::Client {
            return if event.is_error() {
                Step::Over
            } else {
                Step::Waiting
            };
        }
        if !event.is_writable() && !event.is_error() {
            return Step::Waiting;
        }
        let error = match &self.backend {
            Some(socket) if event.is_error() => {
                getsockopt(socket, sockopt::SocketError).unwrap_or(libc::EBADF)
            }
            _ => 0,
        };
        let Stage::Connecting(attempt) = std::mem::take(&mut self.stage) else {
            return Step::Waiting;
        };
        self.connect_came(id, *attempt, Errno::from_raw(error), Some(event), site)
    }

    fn connect_came(
        &mut self,
        id: Id,
        mut attempt: Attempt,
        errno: Errno,
        event: Option<&Event>,
        site: &mut Site,
    ) -> Step {
        if errno as i32 == 0 {
            return self.begin_moving(id, attempt, event, site);
        }
        if !self.goes_on(errno, &mut attempt, site) {
            return self.refuse(site, "no backend could be connected to");
        }
        self.connect(id, attempt, site)
    }

    /// Begins one connect. Where it comes about at once, as it does on one machine, the client's first bytes are sent
    /// in the same breath.
    fn dial(
        &mut self,
        id: Id,
        place: usize,
        attempt: &mut Attempt,
        site: &mut Site,
    ) -> Result<Progress, Errno> {
        attempt.since = Instant::now();
        let dialed = dial(site.view.door(place))?;
        let (socket, connected) = match dialed {
            Dialed::Connected(socket) => (socket, true),
            Dialed::UnderWay(socket) => (socket, false),
        };
        let fd = socket.as_raw_fd();
        let backend = self.backend.insert(socket);
        let mut fresh = 0;
        if !attempt.was_read {
            attempt.was_read = true;
            let client = self.client.as_raw_fd();
            match recv(client, &mut site.first, MsgFlags::empty()) {
                Ok(length) => fresh = length,
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => return Ok(Progress::ClientGone),
            }
            if !attempt.first.is_empty() {
                attempt.first.extend_from_slice(&site.first[..fresh]);
                fresh = 0;
            }
        }
        let bytes = match fresh {
            0 => &attempt.first[..],
            _ => &site.first[..fresh],
        };
        let sent = match bytes {
            [] => Err(Errno::EAGAIN),
            bytes => send(fd, bytes, MsgFlags::MSG_NOSIGNAL),
        };
        // Kept in any case, but for what is sent.
        match (&sent, fresh) {
            (Ok(length), 0) => drop(attempt.first.drain(..*length)),
            (Ok(length), _) => attempt.first.extend_from_slice(&site.first[*length..fresh]),
            (Err(_), _) => attempt.first.extend_from_slice(&site.first[..fresh]),
        }
        let watched = match sent {
            Ok(_) => Interest::READABLE,
            Err(Errno::EAGAIN | Errno::EINTR) if connected => Interest::READABLE,
            Err(Errno::EAGAIN | Errno::EINTR) => Interest::READABLE | Interest::WRITABLE,
            Err(errno) => return Err(errno),
        };
        self.watched.backend = site.watch(backend, id, Side::Backend, watched)?;
        if let Ok(length) = sent {
            let at = usize::from(self.at.unwrap_or_default());
            let (up, down) = (length as u64, 0);
            site.view.moved(at, Moved { up, down });
        }
        match sent {
            Err(_) if !connected => Ok(Progress::UnderWay),
            _ => Ok(Progress::Connected),
        }
    }

    /// Counts a connect that did not come about; whether there is another to come.
    fn goes_on(&mut self, errno: Errno, attempt: &mut Attempt, site: &mut Site) -> bool {
        self.backend = None;
        let Some(at) = self.at.take().map(usize::from) else {
            return false;
        };
        attempt.tried.insert(at);
        site.connect_failed(at, errno);
        if attempt.left == 0 {
            return false;
        }
        attempt.left -= 1;
        site.view.retried(at);
        true
    }

    fn begin_moving(
        &mut self,
        id: Id,
        attempt: Attempt,
        event: Option<&Event>,
        site: &mut Site,
    ) -> Step {
        let at = usize::from(self.at.unwrap_or_default());
        site.view.connected(at, attempt.since.elapsed());
        let splice = site.view.proxy().splice;
        let mut duplex = Duplex::new(splice, attempt.first.into_boxed_slice());
        if let Some(event) = event {
            duplex.note(Side::Backend, event);
        }
        self.stage = Stage::Moving(duplex);
        let watched = if self.watched.client.is_some() {
            site.watch_again(&self.client, id, Side::Client, Interest::READABLE)
        } else {
            site.watch(&self.client, id, Side::Client, Interest::READABLE)
        };
        match watched {
            Ok(watched) => self.watched.client = watched,
            Err(_) => return self.refuse(site, "a client cannot be watched"),
        }
        self.advance(id, site)
    }

    /// The client is to know that nobody has served it.
    pub fn refuse(&mut self, site: &mut Site, why: &str) -> Step {
        site.complain(format_args!("a client is turned away: {why}"));
        reset_on_close(&self.client);
        Step::Over
    }
}
