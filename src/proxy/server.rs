//! The proxy's event loop: one thread, one poll, any number of sessions. Takes connections while there is room for
//! them, gives every session its turn, and when the worker is to leave finishes what is open.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use slab::Slab;

use super::session::{Session, Step};
use super::site::Site;
use super::source::{Id, Source};
use super::view::View;
use crate::worker::join::ProxyMeans;
use crate::worker::{Connection, Listener};

/// Connections taken in one go before sessions have their turn.
const ACCEPT_BATCH: usize = 32;
/// Events taken in one go.
const EVENTS: usize = 512;
/// How long connections wait when no descriptor is free and no session ends.
const PAUSE: Duration = Duration::from_millis(20);

/// What is known of connections to take, since the poll tells of each arrival once only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// None are queued; an event will tell.
    OnEvent,
    /// Some may be queued.
    Now,
    /// Some may be queued, but no descriptor was free: looked for again when a session ends, or at this time.
    At(Instant),
}

/// The server's state.
pub struct Server {
    poll: Poll,
    /// Gone once the worker leaves.
    listener: Option<Listener>,
    accepting: Accepting,
    sessions: Slab<Session>,
    /// Sessions that want another turn.
    again: Vec<Id>,
    /// Sessions that wait for room at a backend, in the order in which they came.
    queue: VecDeque<Id>,
    next_age: u32,
    site: Site,
}

impl Server {
    /// A server on `listener`, which it says to be ready.
    pub fn new(mut listener: Listener, means: ProxyMeans) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut listener, Source::Listener.token(), Interest::READABLE)?;
        let view = View::new(means)?;
        let bell = view.bell().as_raw_fd();
        registry.register(
            &mut SourceFd(&bell),
            Source::Bell.token(),
            Interest::READABLE,
        )?;
        let site = Site::new(registry.try_clone()?, view);
        listener.ready()?;
        Ok(Self {
            poll,
            listener: Some(listener),
            accepting: Accepting::Now,
            sessions: Slab::new(),
            again: Vec::new(),
            queue: VecDeque::new(),
            next_age: 0,
            site,
        })
    }

    /// Serves until the worker is to leave and its sessions have ended.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while self.listener.is_some() || !self.sessions.is_empty() {
            self.wait(&mut events)?;
            self.site.woken();
            for event in &events {
                self.told(event);
            }
            for id in std::mem::take(&mut self.again) {
                self.turn(id, Session::advance);
            }
            self.accept()?;
            self.site.view.tell();
        }
        Ok(())
    }

    fn told(&mut self, event: &Event) {
        match Source::of(event.token()) {
            Source::Listener => self.accepting = Accepting::Now,
            Source::Bell => self.bell_rang(),
            Source::Session(id, side) => {
                self.turn(id, |session, id, site| session.told(id, side, event, site));
            }
        }
    }

    fn bell_rang(&mut self) {
        if let Err(error) = self.site.view.reread() {
            self.site.complain(format_args!(
                "a plan of the backends cannot be read: {error}"
            ));
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = match self.accepting {
            _ if !self.again.is_empty() => Some(Duration::ZERO),
            Accepting::Now => Some(Duration::ZERO),
            Accepting::OnEvent => None,
            Accepting::At(time) => Some(time.saturating_duration_since(Instant::now())),
        };
        let listener = self.listener.as_ref();
        let _sleeping = listener
            .filter(|_| timeout != Some(Duration::ZERO))
            .map(Listener::sleeping);
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Takes what is queued.
    fn accept(&mut self) -> io::Result<()> {
        if let Accepting::At(time) = self.accepting
            && self.site.now >= time
        {
            self.accepting = Accepting::Now;
        }
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = &self.listener else {
                return Ok(());
            };
            if self.accepting != Accepting::Now {
                return Ok(());
            }
            match listener.try_accept() {
                Ok(Some(connection)) => self.admit(connection),
                Ok(None) => self.finish(),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.accepting = Accepting::OnEvent,
                    io::ErrorKind::InvalidData => self.site.complain(error),
                    _ if is_exhaustion(&error) => {
                        self.site
                            .complain(format_args!("connections wait: {error}"));
                        self.accepting = Accepting::At(self.site.now + PAUSE);
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
        let place = self.sessions.insert(Session::new(connection, age));
        self.turn(Id { place, age }, Session::begin);
    }

    /// Lets one session go on, if it is still there.
    fn turn(&mut self, id: Id, go_on: impl FnOnce(&mut Session, Id, &mut Site) -> Step) {
        let session = self.sessions.get_mut(id.place);
        let Some(session) = session.filter(|it| it.age == id.age) else {
            return;
        };
        match go_on(session, id, &mut self.site) {
            Step::Waiting => {}
            Step::Again => self.again.push(id),
            Step::Queue => self.queue.push_back(id),
            Step::Over => self.remove(id),
        }
    }

    fn remove(&mut self, id: Id) {
        // Closing the sockets takes them out of the poll; only then the session counts no more.
        let session = self.sessions.remove(id.place);
        let at = session.at;
        drop(session);
        if let Some(at) = at {
            self.site.view.closed(usize::from(at));
        }
        if let Accepting::At(_) = self.accepting {
            self.accepting = Accepting::Now;
        }
    }

    /// The worker leaves: nothing new.
    fn finish(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            // Closing it is not enough: the primary holds a copy of the channel, so the poll would go on telling of
            // it (KF19).
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.accepting = Accepting::OnEvent;
    }
}

/// Whether nothing is wrong but that the process or the system has no descriptor or memory to spare now.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
