//! The demo's event loop: one thread, one poll, any number of clients. Takes connections while there is room,
//! gives every session its turn, pushes counters once a second, and when the worker is to leave finishes what
//! is open.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll};
use serde_json::json;
use slab::Slab;

use super::routes::Identity;
use super::session::{Session, Site, Turn};
use super::source::Source;
use crate::worker::Listener;

/// Most clients at a time; more wait in the channel, from where the primary may deal them elsewhere.
const MAX_SESSIONS: usize = 10_000;
/// Connections taken in one go before sessions have their turn.
const ACCEPT_BATCH: usize = 64;
/// How often counters are pushed and late sessions are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How long a leaving worker waits for its clients.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of connections to take, since the poll tells of each arrival once only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// None are queued; an event will tell.
    OnEvent,
    /// Some may be queued.
    Now,
    /// Some may be queued, but no descriptor was free: looked for again when a session ends, or at the next tick.
    OnTick,
}

/// The server's state.
pub struct Server {
    poll: Poll,
    /// Gone once the worker leaves.
    listener: Option<Listener>,
    accepting: Accepting,
    sessions: Slab<Session>,
    /// Sessions that want another turn: place and age.
    again: Vec<(usize, u32)>,
    next_age: u32,
    site: Site,
    started: Instant,
    next_tick: Instant,
    /// When the last client is left to itself.
    finish_by: Option<Instant>,
}

impl Server {
    /// A server on `listener`.
    pub fn new(mut listener: Listener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, Source::Listener.token(), Interest::READABLE)?;
        let now = Instant::now();
        Ok(Self {
            poll,
            listener: Some(listener),
            accepting: Accepting::Now,
            sessions: Slab::new(),
            again: Vec::new(),
            next_age: 0,
            site: Site {
                identity: Identity::of_this_process(),
                served: 0,
                finishing: false,
            },
            started: now,
            next_tick: now + TICK,
            finish_by: None,
        })
    }

    /// Serves until the worker is to leave and its clients have gone.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while !self.is_done() {
            self.wait(&mut events)?;
            for event in &events {
                match Source::of(event.token()) {
                    Source::Listener => self.accepting = Accepting::Now,
                    Source::Session { place, age } => self.turn(place, age),
                }
            }
            for (place, age) in std::mem::take(&mut self.again) {
                self.turn(place, age);
            }
            self.accept()?;
            self.tick();
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.finish_by
            .is_some_and(|by| self.sessions.is_empty() || Instant::now() >= by)
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let more = self.accepting == Accepting::Now && self.has_room();
        let timeout = if more || !self.again.is_empty() {
            Some(Duration::ZERO)
        } else if self.sessions.is_empty() && self.accepting == Accepting::OnEvent {
            None
        } else {
            Some(self.next_tick.saturating_duration_since(Instant::now()))
        };
        let _sleeping = match (&self.listener, timeout) {
            (Some(listener), None) => Some(listener.sleeping()),
            (Some(listener), Some(time)) if !time.is_zero() => Some(listener.sleeping()),
            _ => None,
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    fn has_room(&self) -> bool {
        self.sessions.len() < MAX_SESSIONS
    }

    /// Takes what is queued, as far as there is room.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = &self.listener else {
                return Ok(());
            };
            if self.accepting != Accepting::Now || !self.has_room() {
                return Ok(());
            }
            match listener.try_accept() {
                Ok(Some(connection)) => {
                    self.next_age = self.next_age.wrapping_add(1);
                    let session = Session::new(connection, self.next_age, Instant::now());
                    self.admit(session);
                }
                Ok(None) => self.finish(),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.accepting = Accepting::OnEvent,
                    io::ErrorKind::InvalidData => log::warn!("{error}"),
                    _ if is_exhaustion(&error) => {
                        log::debug!("connections wait: {error}");
                        self.accepting = Accepting::OnTick;
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn admit(&mut self, mut session: Session) {
        let entry = self.sessions.vacant_entry();
        let (place, age) = (entry.key(), session.age);
        let token = Source::Session { place, age }.token();
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = registry.register(session.connection(), token, interests);
        if let Err(error) = registered {
            log::warn!("a connection is dropped, it cannot be polled: {error}");
            return;
        }
        entry.insert(session);
        self.turn(place, age);
    }

    /// Lets one session go on, if it is still there.
    fn turn(&mut self, place: usize, age: u32) {
        let now = Instant::now();
        let Some(session) = self.sessions.get_mut(place).filter(|it| it.age == age) else {
            return;
        };
        let turn = session.advance(&mut self.site, now);
        self.settle(place, age, turn);
    }

    fn settle(&mut self, place: usize, age: u32, turn: Turn) {
        match turn {
            Turn::Waiting => {}
            Turn::Again => self.again.push((place, age)),
            Turn::Over => {
                // Closing the socket takes it out of the poll.
                drop(self.sessions.remove(place));
                if self.accepting == Accepting::OnTick {
                    self.accepting = Accepting::Now;
                }
            }
        }
    }

    /// Once a second: counters to the WebSockets, the end for who is late.
    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        if self.accepting == Accepting::OnTick {
            self.accepting = Accepting::Now;
        }
        let counters = self.counters(now);
        self.for_each(|session| {
            if session.is_late(now) {
                Turn::Over
            } else {
                session.push(&counters, now)
            }
        });
    }

    fn counters(&self, now: Instant) -> String {
        let websockets = self.sessions.iter().filter(|(_, it)| it.is_websocket());
        let mut counters = self.site.identity.as_json();
        counters["type"] = json!("counters");
        counters["served"] = self.site.served.into();
        counters["open"] = self.sessions.len().into();
        counters["websockets"] = websockets.count().into();
        counters["uptime_s"] = now.duration_since(self.started).as_secs().into();
        counters.to_string()
    }

    /// The worker leaves: nothing new, and what is idle ends.
    fn finish(&mut self) {
        let now = Instant::now();
        if let Some(mut listener) = self.listener.take() {
            // Closing it is not enough: the primary holds a copy of the channel, so the poll would go on
            // telling of it (KF19).
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.accepting = Accepting::OnEvent;
        self.site.finishing = true;
        self.finish_by = Some(now + FINISH_TIMEOUT);
        self.for_each(|session| session.finish(now));
    }

    fn for_each(&mut self, mut visit: impl FnMut(&mut Session) -> Turn) {
        let turns: Vec<_> = self
            .sessions
            .iter_mut()
            .map(|(place, session)| (place, session.age, visit(session)))
            .filter(|(_, _, turn)| *turn != Turn::Waiting)
            .collect();
        for (place, age, turn) in turns {
            self.settle(place, age, turn);
        }
    }
}

/// Whether nothing is wrong but that the process or the system has no descriptor or memory to spare now.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
