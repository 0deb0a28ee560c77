//! One client and its backend: where the session stands, and what becomes of it when one of its sockets has something
//! to tell.

use std::os::fd::AsFd;

use mio::Interest;
use mio::event::Event;
use nix::errno::Errno;
use socket2::Socket;

use super::attempt::Attempt;
use super::duplex::{Duplex, End, Moved, Side, Turn, reset_on_close};
use super::site::Site;
use super::source::Id;
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
    /// All backends are full.
    Queued(Box<Attempt>),
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
    pub(super) client: Connection,
    pub(super) backend: Option<Socket>,
    /// The backend's place on the board, where the session is counted.
    pub(super) at: Option<u16>,
    pub(super) watched: Watched,
    pub(super) stage: Stage,
}

impl Session {
    /// A client that has just come, non-blocking.
    pub fn new(client: Connection, age: u32) -> Self {
        Self {
            age,
            client,
            backend: None,
            at: None,
            watched: Watched::default(),
            stage: Stage::New,
        }
    }

    /// Its first turn.
    pub fn begin(&mut self, id: Id, site: &mut Site) -> Step {
        let attempt = Attempt::new(site);
        self.connect(id, attempt, site)
    }

    /// One of its sockets has something to tell.
    pub fn told(&mut self, id: Id, side: Side, event: &Event, site: &mut Site) -> Step {
        match &mut self.stage {
            Stage::New => Step::Waiting,
            Stage::Queued(_) if event.is_error() => Step::Over,
            Stage::Queued(_) => Step::Waiting,
            Stage::Connecting(_) => self.connect_told(id, side, event, site),
            Stage::Moving(duplex) => {
                duplex.note(side, event);
                self.advance(id, site)
            }
        }
    }

    /// There may be room at a backend.
    pub fn try_again(&mut self, id: Id, site: &mut Site) -> Step {
        match std::mem::take(&mut self.stage) {
            Stage::Queued(attempt) => self.connect(id, *attempt, site),
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
        let turn = duplex.advance(self.client.as_fd(), backend.as_fd(), &mut site.tools);
        let moved = duplex.take_moved();
        if let Some(at) = self.at
            && moved != Moved::default()
        {
            site.view.moved(usize::from(at), moved);
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
        let both = Some(Interest::READABLE | Interest::WRITABLE);
        let Watched { client, backend } = &mut self.watched;
        let watch = |socket: &dyn AsFd, watched: &mut _, side| {
            if *watched != both {
                *watched =
                    site.watch_again(socket, id, side, Interest::READABLE | Interest::WRITABLE)?;
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
            Err(_) => Step::Over,
        }
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
