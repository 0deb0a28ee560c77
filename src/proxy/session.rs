//! One client and its backend: where the session stands, and what becomes of it when one of its sockets has something
//! to tell.

use std::os::fd::{AsFd, AsRawFd};

use mio::Interest;
use mio::event::Event;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::Socket;

use super::attempt::Attempt;
use super::dial;
use super::duplex::{Duplex, End, Moved, Side, Turn, reset_on_close};
use super::patience::NEVER;
use super::site::Site;
use super::source::Id;
use crate::backend_board::TurnedAway;
use crate::worker::Connection;

/// Where a session stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits for its sockets.
    Waiting,
    /// It has had its share and wants another turn.
    Again,
    /// It waits for room at a backend.
    Queue,
    /// It is over.
    Over,
}

/// What a session is doing.
#[derive(Debug, Default)]
pub enum Stage {
    /// Nothing yet.
    #[default]
    New,
    /// It is read whom the client belongs to.
    Asking(Box<Attempt>),
    /// All backends are full.
    Queued(Box<Attempt>),
    /// There was no descriptor to connect with, or no backend could be connected to: it is tried again soon.
    Resting(Box<Attempt>),
    /// A connect is under way.
    Connecting(Box<Attempt>),
    /// Bytes go both ways.
    Moving(Duplex),
}

/// What the poll is asked of the two sockets; `None`: it does not know them.
#[derive(Debug, Default)]
pub struct Watched {
    pub client: Option<Interest>,
    pub backend: Option<Interest>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Tells this session from an earlier one at the same place.
    pub age: u32,
    /// The backend's place on the board, where the session is counted.
    pub at: Option<u16>,
    /// For when the wheel has it.
    pub armed: u64,
    /// It is among those that want another turn.
    pub in_again: bool,
    pub(super) client: Connection,
    pub(super) backend: Option<Socket>,
    pub(super) watched: Watched,
    pub(super) kept_alive: bool,
    /// What is written to the backend is sent at once.
    hurried: bool,
    /// The backend's socket holds its acknowledgements back.
    pub(super) quiet: bool,
    pub(super) stage: Stage,
    /// When the client came.
    pub(super) started: u64,
    /// When a byte was moved last.
    pub(super) active: u64,
}

impl Session {
    /// A client that has just come, non-blocking.
    pub fn new(client: Connection, age: u32, now: u64) -> Self {
        Self {
            age,
            at: None,
            armed: NEVER,
            in_again: false,
            client,
            backend: None,
            watched: Watched::default(),
            kept_alive: false,
            hurried: false,
            quiet: false,
            stage: Stage::New,
            started: now,
            active: now,
        }
    }

    /// Whether it waits for room at a backend.
    pub fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued(_))
    }

    /// Since when it has waited for room, at first.
    pub fn queued_since(&self) -> u64 {
        match &self.stage {
            Stage::Queued(attempt) => attempt.queued_since,
            _ => NEVER,
        }
    }

    /// Whether it waits for room at some backends only, having tried the others.
    pub fn is_choosy(&self) -> bool {
        matches!(&self.stage, Stage::Queued(attempt) if !attempt.tried.is_empty())
    }

    /// One of its sockets has something to tell.
    pub fn told(&mut self, id: Id, side: Side, event: &Event, site: &mut Site) -> Step {
        match &mut self.stage {
            Stage::Moving(duplex) => {
                duplex.note(side, event);
                let more = event.is_readable() && !event.is_read_closed();
                if more && side == Side::Client && !self.hurried {
                    self.hurry();
                }
                self.advance(id, site)
            }
            Stage::Connecting(_) if side == Side::Backend => self.connect_told(id, event, site),
            _ if side == Side::Backend => Step::Waiting,
            _ if event.is_error() => Step::Over,
            Stage::Asking(_) => match std::mem::take(&mut self.stage) {
                Stage::Asking(attempt) => self.ask(id, attempt, site),
                _ => Step::Waiting,
            },
            Stage::Queued(attempt) if event.is_read_closed() => {
                match recv(self.client.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK) {
                    // It has asked for nothing and will not: nobody waits there.
                    Ok(0) if !attempt.has_spoken => Step::Over,
                    _ => Step::Waiting,
                }
            }
            _ => Step::Waiting,
        }
    }

    /// Small writes are for the two ends to gather, not for us. The first of a connection is never held back, so who
    /// sends its only bytes at once is spared the call.
    fn hurry(&mut self) {
        self.hurried = true;
        if let Some(backend) = &self.backend {
            // A Unix socket knows no such thing.
            let _ = backend.set_tcp_nodelay(true);
        }
    }

    /// There may be room at a backend.
    pub fn try_again(&mut self, id: Id, site: &mut Site) -> Step {
        match std::mem::take(&mut self.stage) {
            Stage::Queued(mut attempt) => {
                attempt.look_again(site.now);
                self.connect(id, *attempt, site)
            }
            other => {
                self.stage = other;
                Step::Waiting
            }
        }
    }

    /// Moves what can be moved.
    pub fn advance(&mut self, id: Id, site: &mut Site) -> Step {
        let (Stage::Moving(duplex), Some(backend)) = (&mut self.stage, &self.backend) else {
            return Step::Waiting;
        };
        let was_half_closed = duplex.is_half_closed();
        let turn = duplex.advance(self.client.as_fd(), backend.as_fd(), &mut site.tools);
        let moved = duplex.take_moved();
        // Before the backend has said something there is nothing to acknowledge, and when it has ended nothing that it
        // would wait for.
        if self.quiet && moved.down != 0 {
            self.quiet = false;
            if duplex.is_read(Side::Backend) {
                dial::end_quiet(backend);
            }
        }
        if moved != Moved::default() {
            self.active = site.now;
            let at = self.at.map(usize::from);
            at.into_iter().for_each(|at| site.view.moved(at, moved));
        } else if duplex.is_half_closed() != was_half_closed {
            self.active = site.now;
        }
        match turn {
            Turn::Again => Step::Again,
            Turn::Waiting if duplex.pending() => self.watch_writable(id, site),
            Turn::Waiting => Step::Waiting,
            Turn::Over(end) => {
                self.end(end);
                Step::Over
            }
        }
    }

    /// What is read is not taken at once: from now on the poll is asked when it is.
    fn watch_writable(&mut self, id: Id, site: &Site) -> Step {
        let both = Interest::READABLE | Interest::WRITABLE;
        let Watched { client, backend } = &mut self.watched;
        let watch = |socket: &dyn AsFd, watched: &mut Option<Interest>, side| {
            if *watched != Some(both) {
                *watched = site.watch_again(socket, id, side, both)?;
            }
            Ok::<(), Errno>(())
        };
        let client = watch(&self.client, client, Side::Client);
        let backend = match &self.backend {
            Some(socket) => watch(socket, backend, Side::Backend),
            None => Ok(()),
        };
        match client.and(backend) {
            Ok(()) => Step::Waiting,
            Err(_) => {
                self.reset();
                Step::Over
            }
        }
    }

    /// The client is to know that nobody has served it.
    pub fn refuse(&mut self, why: TurnedAway, site: &mut Site) -> Step {
        site.view.turned_away(why);
        site.complain(format_args!("a client is turned away: {why}"));
        reset_on_close(&self.client);
        Step::Over
    }

    fn end(&self, end: End) {
        let lost = match end {
            End::Done => return,
            End::Reset(side) | End::Broken(side, _) => side,
        };
        match (lost, &self.backend) {
            (Side::Client, Some(backend)) => reset_on_close(backend),
            (Side::Client, None) => {}
            (Side::Backend, _) => reset_on_close(&self.client),
        }
    }
}
