//! The way to a backend: one is chosen and connected to; when that does not come about, another is, and once all were
//! tried they are again, until it is enough. Nothing of the client's is lost meanwhile: what was read of it is kept until it is sent.

use std::os::fd::AsRawFd;
use std::time::Instant;

use mio::Interest;
use mio::event::Event;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, sockopt};

use super::dial::Dialed;
use super::duplex::{Duplex, Moved, Side};
use super::patience::NEVER;
use super::rest::is_shortage;
use super::session::{Session, Stage, Step};
use super::site::Site;
use super::source::Id;
use super::view::{Belongs, Choice};
use crate::backend_board::{BACKENDS, TurnedAway};

/// A session on its way to a backend.
#[derive(Debug)]
pub struct Attempt {
    /// What is to be sent to it before anything that is still to be read of the client.
    pub first: Vec<u8>,
    /// The client was read from already.
    pub was_read: bool,
    /// It has sent something.
    pub has_spoken: bool,
    /// Where it is to go.
    pub belongs: Belongs,
    /// When what it is doing now takes too long.
    pub until: u64,
    /// The backend's socket holds its acknowledgements back.
    quiet: bool,
    pub tried: Tried,
    /// How many more connects may be tried.
    pub(super) left: u32,
    since: Instant,
    /// Since when it has waited for room, at first.
    pub(super) queued_since: u64,
    /// When backends that were tried may be tried again.
    pub(super) anew_at: u64,
    /// From when on they are not.
    pub(super) anew_until: u64,
    /// When it has rested too often, once it has rested.
    pub(super) rested_until: u64,
    /// To some backend no port of ours was free.
    out_of_ports: bool,
    /// All that it had tried are tried again.
    pub(super) is_anew: bool,
}

/// Backends, by their place on the board.
#[derive(Clone, Debug, Default)]
pub struct Tried([u64; BACKENDS / 64]);

impl Tried {
    /// Whether this one is of them.
    pub fn contains(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// Whether it is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
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
            has_spoken: false,
            belongs: Belongs::Anywhere,
            until: NEVER,
            quiet: false,
            tried: Tried::default(),
            left: site.view.proxy().retries,
            since: site.woken,
            queued_since: NEVER,
            anew_at: NEVER,
            anew_until: NEVER,
            rested_until: NEVER,
            out_of_ports: false,
            is_anew: false,
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
    /// It stands and is of no use.
    Lost,
}

impl Session {
    /// Connects to one backend after the other until one is connected, or is being connected to.
    pub fn connect(&mut self, id: Id, mut attempt: Attempt, site: &mut Site) -> Step {
        loop {
            let place = match site.view.choose(attempt.belongs, &attempt.tried) {
                Choice::Place(place) => place,
                Choice::Full => return self.wait_for_room(Box::new(attempt), site),
                Choice::Nobody if attempt.out_of_ports => {
                    attempt.out_of_ports = false;
                    attempt.tried = Tried::default();
                    return self.rest(Errno::EADDRNOTAVAIL, attempt, site);
                }
                Choice::Nobody if attempt.tried.is_empty() => {
                    return self.refuse(TurnedAway::Shut, site);
                }
                Choice::Nobody => return self.begin_anew(id, attempt, site),
            };
            self.at = Some(site.view.door(place).at as u16);
            if attempt.anew_until == NEVER {
                attempt.anew_until = site.now.saturating_add(site.view.patience.connect);
            }
            match self.dial(id, place, &mut attempt, site) {
                Ok(Progress::Connected) => return self.begin_moving(id, attempt, None, site),
                Ok(Progress::UnderWay) => {
                    attempt.until = site.now.saturating_add(site.view.patience.connect);
                    self.stage = Stage::Connecting(Box::new(attempt));
                    return Step::Waiting;
                }
                Ok(Progress::ClientGone) => return Step::Over,
                Ok(Progress::Lost) => {
                    self.reset();
                    return Step::Over;
                }
                Err(Errno::EADDRNOTAVAIL) => {
                    // Of our own ports none is free for this backend: for another there may be (D7).
                    attempt
                        .tried
                        .insert(usize::from(self.at.unwrap_or_default()));
                    attempt.out_of_ports = true;
                    self.give_place_back(site);
                }
                Err(Errno::EAGAIN) if attempt.rested_until <= site.now => {
                    // A Unix socket whose backlog stays full.
                    if !self.goes_on(Errno::EAGAIN, &mut attempt, site) {
                        return self.refuse(TurnedAway::Unreachable, site);
                    }
                }
                Err(errno) if is_shortage(errno) => return self.rest(errno, attempt, site),
                Err(errno) => {
                    if !self.goes_on(errno, &mut attempt, site) {
                        return self.refuse(TurnedAway::Unreachable, site);
                    }
                }
            }
        }
    }

    /// The backend has something to tell while a connect is under way.
    pub fn connect_told(&mut self, id: Id, event: &Event, site: &mut Site) -> Step {
        if !event.is_writable() && !event.is_error() {
            return Step::Waiting;
        }
        let error = match &self.backend {
            Some(socket) if event.is_error() => {
                getsockopt(socket, sockopt::SocketError).unwrap_or(libc::EBADF)
            }
            _ => 0,
        };
        match std::mem::take(&mut self.stage) {
            Stage::Connecting(attempt) if error == 0 => {
                self.begin_moving(id, *attempt, Some(event), site)
            }
            Stage::Connecting(attempt) => {
                self.connect_failed(id, *attempt, Errno::from_raw(error), site)
            }
            other => {
                self.stage = other;
                Step::Waiting
            }
        }
    }

    /// A connect that was under way has not come about.
    pub fn connect_failed(
        &mut self,
        id: Id,
        mut attempt: Attempt,
        errno: Errno,
        site: &mut Site,
    ) -> Step {
        if !self.goes_on(errno, &mut attempt, site) {
            return self.refuse(TurnedAway::Unreachable, site);
        }
        self.connect(id, attempt, site)
    }

    /// The sessions of its backend are to end. One that is only on its way there goes to another.
    pub fn cut(&mut self, id: Id, site: &mut Site) -> Step {
        match (std::mem::take(&mut self.stage), self.at) {
            (Stage::Connecting(mut attempt), Some(at)) => {
                attempt.tried.insert(usize::from(at));
                attempt.anew_at = site.now.saturating_add(site.view.patience.anew);
                self.backend = None;
                self.at = None;
                site.leave(usize::from(at));
                self.connect(id, *attempt, site)
            }
            _ => {
                self.reset();
                Step::Over
            }
        }
    }

    /// All backends are full, or others wait already.
    pub fn wait_for_room(&mut self, mut attempt: Box<Attempt>, site: &Site) -> Step {
        if attempt.queued_since == NEVER {
            attempt.queued_since = site.now;
        }
        if std::mem::take(&mut attempt.out_of_ports) {
            attempt.tried = Tried::default();
        }
        attempt.until = { attempt.queued_since }.saturating_add(site.view.patience.queue);
        self.stage = Stage::Queued(attempt);
        Step::Queue
    }

    /// Counts as a session of the backend no more, which it was never led to.
    pub(super) fn give_place_back(&mut self, site: &Site) {
        self.backend = None;
        if let Some(at) = self.at.take() {
            site.take_back(usize::from(at));
        }
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
        let Some(fresh) = self.read_first(attempt, site) else {
            return Ok(Progress::ClientGone);
        };
        attempt.since = Instant::now();
        let some = fresh != 0 || !attempt.first.is_empty();
        attempt.quiet = some;
        let dialed = site.view.dial(place, some, (site.now, attempt.since));
        if dialed.is_err() {
            attempt.first.extend_from_slice(&site.first[..fresh]);
        }
        let (socket, connected) = match dialed? {
            Dialed::Connected(socket) => (socket, true),
            Dialed::UnderWay(socket) => (socket, false),
        };
        let fd = socket.as_raw_fd();
        let backend = self.backend.insert(socket);
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
        match site.watch(backend, id, Side::Backend, watched) {
            Ok(watched) => self.watched.backend = watched,
            // Bytes that were sent once are not sent again.
            Err(_) if sent.is_ok() => return Ok(Progress::Lost),
            Err(errno) => return Err(errno),
        }
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

    /// Reads what the client has sent already, unless that was done: so many bytes are in the site's buffer then, or
    /// behind what is to be sent first. `None`: the client is gone.
    fn read_first(&self, attempt: &mut Attempt, site: &mut Site) -> Option<usize> {
        if std::mem::replace(&mut attempt.was_read, true) {
            return Some(0);
        }
        let client = self.client.as_raw_fd();
        let length = match recv(client, &mut site.first, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            Err(_) => return None,
        };
        attempt.has_spoken |= length != 0;
        if attempt.first.is_empty() {
            return Some(length);
        }
        attempt.first.extend_from_slice(&site.first[..length]);
        Some(0)
    }

    /// Counts a connect that did not come about; whether there is another to come.
    fn goes_on(&mut self, errno: Errno, attempt: &mut Attempt, site: &mut Site) -> bool {
        self.backend = None;
        attempt.rested_until = NEVER;
        let Some(at) = self.at.take().map(usize::from) else {
            return false;
        };
        attempt.tried.insert(at);
        site.connect_failed(at, errno, attempt.is_anew);
        if attempt.left == 0 {
            return false;
        }
        attempt.left -= 1;
        attempt.anew_at = site.now.saturating_add(site.view.patience.anew);
        site.view.retried(at);
        true
    }

    /// The backend is connected. `event`: what has told of it.
    pub fn begin_moving(
        &mut self,
        id: Id,
        mut attempt: Attempt,
        event: Option<&Event>,
        site: &mut Site,
    ) -> Step {
        let at = usize::from(self.at.unwrap_or_default());
        site.view.connected(at, attempt.since.elapsed());
        let splice = site.view.proxy().splice;
        let first = std::mem::take(&mut attempt.first).into_boxed_slice();
        let mut duplex = Duplex::new(splice, first);
        if let Some(event) = event {
            duplex.note(Side::Backend, event);
        }
        self.stage = Stage::Moving(duplex);
        self.active = site.now;
        self.quiet = attempt.quiet;
        match self.watch_client(id, Interest::READABLE, site) {
            Step::Waiting => self.advance(id, site),
            other => other,
        }
    }
}
