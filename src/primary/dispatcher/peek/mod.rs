//! The peeking lane: connections of which something has to be read before it is known where they go. Their bytes
//! stay where they are (`MSG_PEEK`), but for a PROXY header, which is taken off exactly.
//!
//! Each is looked at once when it is accepted. What is not decided by then waits in the epoll until more comes, in
//! `waiting` until its time is up, and leaves both before it is handed off or closed (KF19). `reader` says what the
//! bytes mean, `settle` what becomes of a connection then, `frozen` is those that wait as values.

mod frozen;
mod reader;
mod settle;
mod waiting;

use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::Interest;
use mio::event::Event;
use mio::unix::SourceFd;

use super::deal::Hand;
use super::state::State;
use super::{Settings, Source};
use crate::config::{Routing, Sticky};
use crate::policy::affinity::Affinity;
use crate::policy::sniff::Why;
use crate::status::Keys;
use crate::sys::clock;
use crate::wire::{Address, Belongs, Record};
pub(super) use frozen::FrozenPeek;
use reader::{News, Reader};
use settle::{Refusals, Verdict};
use waiting::{Clock, Waiting};

/// Looks at one connection as its bytes come. A head of the usual size has come long before; who sends it in
/// crumbs is looked at by the clock from then on.
const LOOKS: u32 = 16;
/// How long such a one rests, ns.
const REST: u64 = 100_000_000;
/// Connections brought back from their rest, and connections given up, before the loop turns.
const BATCH: usize = 64;
/// The least that a PROXY header is waited for: its authors ask for that.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);

/// What the lane has.
#[derive(Debug)]
pub(super) struct Peek {
    /// `None`: nothing of any connection has to be read.
    reader: Option<Reader>,
    waiting: Waiting,
    pub counts: Keys,
    refusals: Refusals,
    /// The client's address is the key itself.
    by_ip: bool,
}

/// A connection whose first bytes are needed.
#[derive(Debug)]
pub(super) struct Peeked {
    hand: Hand,
    awaits: Awaits,
    /// How many bytes there were when they were judged last, if they were.
    seen: Option<usize>,
    looks: u32,
    /// It is in the epoll.
    watched: bool,
}

/// What has to come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Awaits {
    /// A PROXY header, to be taken off.
    ProxyHeader,
    /// What it is dealt by.
    Request,
}

/// Which connection an event is about. A key comes again, with another connection; its number does not, or so late
/// that no event is left of the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub key: u32,
    /// The lowest bits of the connection's number.
    pub number: u32,
}

impl Place {
    /// Bits of a number.
    pub const NUMBER: u32 = 30;

    fn of(key: usize, one: &Peeked) -> Self {
        Self {
            key: key as u32,
            number: one.hand.record.connection as u32 & ((1 << Self::NUMBER) - 1),
        }
    }
}

impl Peek {
    pub fn new(routing: &Routing) -> Self {
        Self {
            reader: Reader::new(routing),
            waiting: Waiting::default(),
            counts: Keys::default(),
            refusals: Refusals::default(),
            by_ip: is_by_ip(routing),
        }
    }

    /// Connections that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// As [`Keys`] go into a snapshot.
    pub fn counts_now(&self) -> Keys {
        Keys {
            reading: self.waiting.len() as u64,
            ..self.counts
        }
    }

    /// When something is to be done here though nothing comes.
    pub fn next_deadline(&self) -> Option<u64> {
        let clocks = [Clock::Deadline, Clock::Rest].into_iter();
        clocks
            .filter_map(|clock| self.waiting.first(clock))
            .map(|(_, due)| due)
            .min()
    }

    /// Nothing is dealt before its head has come.
    fn needs_head(&self) -> bool {
        let reader = self.reader.as_ref();
        reader.is_some_and(|reader| reader.head_complete)
    }

    fn due(&self, clock: Clock, now: u64) -> Option<usize> {
        let (key, due) = self.waiting.first(clock)?;
        (due <= now).then_some(key)
    }
}

fn is_by_ip(routing: &Routing) -> bool {
    matches!(routing.sticky, Some(Sticky::Ip(_)))
}

impl State {
    /// Deals a connection that has just been accepted, as soon as all is there that has to be known of it.
    pub(super) fn take_in(&mut self, hand: Hand) {
        let awaits = self.peek.reader.as_ref();
        let Some(awaits) = awaits.and_then(|reader| reader.awaits(&hand.record.peer)) else {
            self.peek.counts.found.ip += u64::from(self.peek.by_ip);
            self.place_or_hold(hand);
            return;
        };
        let mut one = Peeked {
            hand,
            awaits,
            seen: None,
            looks: 0,
            watched: false,
        };
        match self.look_at(&mut one, News::default()) {
            Some(verdict) => self.conclude(one, verdict),
            None => self.await_more(one),
        }
    }

    /// Whether this peer has to say in a PROXY header whom it is there for.
    pub(super) fn is_proxy(&self, peer: &Address) -> bool {
        let reader = self.peek.reader.as_ref();
        let awaits = reader.and_then(|reader| reader.awaits(peer));
        matches!(awaits, Some(Awaits::ProxyHeader))
    }

    /// What all that has come of it says; `None` if more is needed.
    fn look_at(&mut self, one: &mut Peeked, news: News) -> Option<Verdict> {
        let Peek { reader, counts, .. } = &mut self.peek;
        look(reader, one, news, self.affinity.as_ref(), counts)
    }

    /// Keeps it until more comes. The oldest gives way to it.
    fn await_more(&mut self, one: Peeked) {
        let Settings {
            routing, peek_room, ..
        } = &self.settings;
        let most = routing.max_peeked.min(*peek_room);
        let deadline = deadline(&one.hand.record, one.awaits, routing);
        while self.peek.len() >= most.max(1) && self.crowd_out() {}
        let key = self.peek.waiting.insert(one, deadline);
        self.watch_peeked(key);
    }

    /// Asks the kernel to say when more comes; what has come already it says at once.
    fn watch_peeked(&mut self, key: usize) {
        let Some(one) = self.peek.waiting.get_mut(key) else {
            return;
        };
        let token = Source::Peeked(Place::of(key, one)).token();
        let fd = one.hand.fd.as_raw_fd();
        let registry = self.poll.registry();
        let watched = registry.register(&mut SourceFd(&fd), token, Interest::READABLE);
        one.watched = watched.is_ok();
        if !one.watched {
            // The kernel is short of memory, or the user of watches.
            self.give_up(key, Why::Crowded);
        }
    }

    fn unwatch(&mut self, key: usize) {
        if let Some(one) = self.peek.waiting.get_mut(key)
            && std::mem::take(&mut one.watched)
        {
            let fd = one.hand.fd.as_raw_fd();
            // Fails for no descriptor that is open and was registered.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// Something came of a connection that waits.
    pub(super) fn hear_of_peeked(&mut self, place: Place, event: &Event) {
        let key = place.key as usize;
        let one = self.peek.waiting.get(key);
        if one.is_some_and(|one| Place::of(key, one) == place) {
            let news = News {
                gone: event.is_error(),
                end: event.is_read_closed(),
            };
            self.look_again(key, news);
        }
    }

    fn look_again(&mut self, key: usize, news: News) {
        let Peek {
            reader,
            waiting,
            counts,
            ..
        } = &mut self.peek;
        let Some(one) = waiting.get_mut(key) else {
            return;
        };
        match look(reader, one, news, self.affinity.as_ref(), counts) {
            Some(verdict) => {
                let one = self.take_out(key);
                self.conclude(one, verdict);
            }
            None => {
                one.looks += 1;
                if one.looks > LOOKS {
                    // What comes meanwhile wakes nobody.
                    self.unwatch(key);
                    let until = clock::now_ns() + REST;
                    self.peek.waiting.set(key, Clock::Rest, until);
                }
            }
        }
    }

    /// Out of the list, and out of the epoll as long as no other process has a copy of it, since nothing could get
    /// it out of there then (KF19).
    fn take_out(&mut self, key: usize) -> Peeked {
        self.unwatch(key);
        self.peek.waiting.remove(key)
    }

    /// What the clock says.
    pub(super) fn peek_round(&mut self) {
        if self.peek.len() == 0 {
            return;
        }
        let now = clock::now_ns();
        for _ in 0..BATCH {
            let Some(key) = self.peek.due(Clock::Rest, now) else {
                break;
            };
            self.peek.waiting.clear(key, Clock::Rest);
            self.watch_peeked(key);
        }
        for _ in 0..BATCH {
            let Some(key) = self.peek.due(Clock::Deadline, now) else {
                break;
            };
            self.give_up(key, Why::TimedOut);
        }
    }

    /// Other rules, and other times: those that wait are judged by them at once.
    pub(super) fn read_otherwise(&mut self) {
        let routing = &self.settings.routing;
        self.peek.reader = Reader::new(routing);
        self.peek.by_ip = is_by_ip(routing);
        let keys: Vec<usize> = self.peek.waiting.keys().collect();
        for &key in &keys {
            self.peek.waiting.clear(key, Clock::Deadline);
        }
        for &key in &keys {
            let Peek {
                reader, waiting, ..
            } = &mut self.peek;
            if let Some(one) = waiting.get_mut(key) {
                let awaits = reader.as_ref();
                let awaits = awaits.and_then(|reader| reader.awaits(&one.hand.record.peer));
                // What has no more to be taken off is judged as it is; the contrary comes too late for it.
                if awaits != Some(Awaits::ProxyHeader) {
                    one.awaits = Awaits::Request;
                }
                one.seen = None;
                let deadline = deadline(&one.hand.record, one.awaits, routing);
                waiting.set(key, Clock::Deadline, deadline);
            }
        }
        for key in keys {
            self.look_again(key, News::default());
        }
    }
}

/// Where nothing has to be read any more, nothing is.
fn look(
    reader: &mut Option<Reader>,
    one: &mut Peeked,
    news: News,
    affinity: Option<&Affinity>,
    counts: &mut Keys,
) -> Option<Verdict> {
    match reader {
        Some(reader) => reader.look(one, news, affinity, counts),
        None => Some(Verdict::Deal(Belongs::Address)),
    }
}

fn deadline(record: &Record, awaits: Awaits, routing: &Routing) -> u64 {
    let timeout = match awaits {
        Awaits::ProxyHeader => routing.peek_timeout.max(HEADER_TIMEOUT),
        Awaits::Request => routing.peek_timeout,
    };
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    record.accepted_at.saturating_add(timeout)
}
