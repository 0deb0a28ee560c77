//! The listening socket of the metrics and all who read there (J4).
//!
//! Bounds their number, their time and what they cost: a turn of the loop answers few, and a moment answers few.
//! Knows what is asked and never the answer, which is the supervisor's.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::http::{Names, Resource};
use super::reader::{FrozenReader, Phase, Reader};
use super::reply::Reply;
use crate::primary::listeners::FrozenDoor;
use crate::primary::listeners::door::{Door, Place};
use crate::primary::reception::Reception;
use crate::primary::socket_file::SocketFile;
use crate::sys::handover::Luggage;

/// Readers at one time.
pub const MOST_READERS: usize = 32;
/// Descriptors that all of this takes at most: the readers, one who is told that they are too many, the listener, the
/// epoll set.
pub const DESCRIPTORS: usize = MOST_READERS + 3;
/// How long the kernel's queue of those who are not yet accepted may get.
pub const BACKLOG: i32 = 64;
/// So many readers are taken, and so often one of them is looked after, in one [`MOMENT`]: at most about a tenth of the
/// main thread's time, however many ask and however fast.
const TAKEN_PER_MOMENT: u32 = 32;
const DEEDS_PER_MOMENT: u32 = 64;
const MOMENT: Duration = Duration::from_millis(20);
/// One who has not taken a byte of its answer for so long gives way to the next.
const STUCK: Duration = Duration::from_secs(1);
/// Sets of events looked at in one turn.
const TURN: usize = 4;

/// How far the readers have come since the start, for the metrics themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Requests that were answered or refused.
    #[serde(rename = "answered")]
    pub requests: u64,
    /// Readers that were turned away or had to give way, because there were too many.
    pub crowded_out: u64,
}

/// All readers and their listener, for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenReaders {
    door: FrozenDoor,
    readers: Vec<FrozenReader>,
    #[serde(default)]
    counts: Counts,
}

/// What has been done since a moment began.
#[derive(Debug)]
struct Moment {
    begun: Instant,
    taken: u32,
    deeds: u32,
}

impl Moment {
    fn at(begun: Instant) -> Self {
        Self {
            begun,
            taken: 0,
            deeds: 0,
        }
    }
}

/// The listening side and all readers.
#[derive(Debug)]
pub struct Readers {
    door: Door,
    names: Names,
    reception: Reception,
    readers: Vec<Reader>,
    /// The id of the next reader.
    next: usize,
    moment: Moment,
    counts: Counts,
}

impl Readers {
    /// Serves at `door`, which listens.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and epoll_ctl(2).
    pub fn new(door: Door) -> io::Result<Self> {
        let reception = Reception::new(door.socket()?, MOST_READERS, "readers of the metrics")?;
        let loopback = |place: &Place| matches!(place, Place::Tcp(at, _) if at.ip().to_canonical().is_loopback());
        Ok(Self {
            names: match loopback(&door.place) {
                true => Names::Loopback,
                false => Names::Any,
            },
            door,
            reception,
            readers: Vec::new(),
            next: 1,
            moment: Moment::at(Instant::now()),
            counts: Counts::default(),
        })
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenReaders {
        let now = Instant::now();
        let living = self.readers.iter().filter(|one| one.phase != Phase::Gone);
        FrozenReaders {
            door: self.door.freeze(luggage),
            readers: living.map(|one| one.freeze(luggage, now)).collect(),
            counts: self.counts,
        }
    }

    /// As another image left them.
    ///
    /// # Errors
    /// Those of [`Readers::new`]; `InvalidData` for a descriptor that did not come along.
    pub fn thaw(frozen: FrozenReaders, luggage: &mut Luggage<'_>) -> io::Result<Self> {
        let now = Instant::now();
        let (door, file) = frozen.door.thaw(luggage)?;
        let mut this = Self::new(door)?;
        this.counts = frozen.counts;
        for reader in frozen.readers {
            let reader = Reader::thaw(this.next, reader, luggage, now)?;
            this.next += 1;
            this.reception.watch(&reader, reader.id)?;
            this.readers.push(reader);
        }
        this.door.file = file.map(SocketFile::thaw);
        this.reception.look_again(now);
        Ok(this)
    }

    /// Where to read, as people write it.
    pub fn url(&self) -> String {
        match &self.door.place {
            Place::Tcp(address, _) => format!("http://{address}/"),
            Place::Unix(text) => text.clone(),
        }
    }

    /// How many read now, and what has been done for them.
    pub fn counts(&self) -> (usize, Counts) {
        (self.readers.len(), self.counts)
    }

    /// When [`Readers::ready`] is to be called at the latest, event or not.
    pub fn deadline(&self) -> Option<Instant> {
        let readers = self.readers.iter().map(Reader::deadline);
        self.reception.deadline(readers)
    }

    /// Takes what has come, without waiting, and returns what is asked, by whom. Each to be answered at once by
    /// [`Readers::answer`]. To be called when the descriptor is readable and at the [`deadline`](Self::deadline).
    pub fn ready(&mut self, now: Instant) -> Vec<(usize, Resource)> {
        if now.saturating_duration_since(self.moment.begun) >= MOMENT {
            self.moment = Moment::at(now);
        }
        self.heed_events(now);
        let late = self.readers.iter_mut().filter(|one| one.deadline() <= now);
        let told = late.filter_map(|one| one.give_up(now).then_some(1));
        self.counts.requests += told.sum::<u64>();
        self.take_readers(now);
        let asked = self.requests(now);
        self.readers.retain(|one| one.phase != Phase::Gone);
        asked
    }

    /// Answers a reader.
    pub fn answer(&mut self, reader: usize, reply: Reply, now: Instant) {
        if let Some(reader) = self.readers.iter_mut().find(|one| one.id == reader) {
            reader.answer(reply, now);
            if reader.more {
                self.reception.look_again(now);
            }
        }
    }

    fn heed_events(&mut self, now: Instant) {
        for (number, event) in self.reception.events(TURN, now) {
            let found = self.readers.iter_mut().find(|one| one.id == number);
            let Some(reader) = found else { continue };
            // Both directions are closed: nobody is there for an answer.
            if event.is_error() || (event.is_read_closed() && event.is_write_closed()) {
                reader.phase = Phase::Gone;
            }
            reader.more = true;
        }
    }

    fn requests(&mut self, now: Instant) -> Vec<(usize, Resource)> {
        let mut asked = Vec::new();
        for index in 0..self.readers.len() {
            if !self.readers[index].more {
                continue;
            }
            if self.moment.deeds >= DEEDS_PER_MOMENT {
                self.reception.look_again(self.moment.begun + MOMENT);
                break;
            }
            self.moment.deeds += 1;
            let reader = &mut self.readers[index];
            reader.go_on(now);
            match reader.asks(self.names) {
                Ok(None) => {}
                Ok(Some(resource)) => {
                    self.counts.requests += 1;
                    asked.push((reader.id, resource));
                }
                Err(refusal) => {
                    self.counts.requests += 1;
                    reader.last_word(refusal.into(), now);
                }
            }
            if reader.more {
                self.reception.look_again(now);
            }
        }
        asked
    }

    fn take_readers(&mut self, now: Instant) {
        while self.reception.has_more() {
            if self.moment.taken >= TAKEN_PER_MOMENT {
                return self.reception.look_again(self.moment.begun + MOMENT);
            }
            self.moment.taken += 1;
            let Ok(listener) = self.door.socket() else {
                return;
            };
            match self.reception.accept(listener, now) {
                Ok(Some(socket)) => self.welcome(socket, now),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn welcome(&mut self, socket: Socket, now: Instant) {
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let mut reader = Reader::new(self.next, socket, now);
        self.next += 1;
        if !self.make_room(now) {
            self.counts.crowded_out += 1;
            let crowded = "too many read here at this moment: try again";
            return reader.last_word(Reply::plain(503, crowded), now);
        }
        if self.reception.watch(&reader, reader.id).is_ok() {
            self.readers.push(reader);
        }
    }

    /// Makes room for one more: who has been silent for longest gives way, else who has not taken its
    /// answer, or not gone on with its request.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.readers.len() < MOST_READERS {
            return true;
        }
        let longest = |of: &dyn Fn(&Reader) -> bool| {
            let numbered = self.readers.iter().enumerate();
            let some = numbered.filter(|(_, one)| of(one));
            some.min_by_key(|(_, one)| one.still_since)
                .map(|(index, _)| index)
        };
        let stuck = |one: &Reader| {
            one.phase == Phase::Answering && now.saturating_duration_since(one.still_since) >= STUCK
        };
        // Half a request keeps its place for a moment only.
        let slow = |one: &Reader| {
            one.phase == Phase::Asking && now.saturating_duration_since(one.still_since) >= STUCK
        };
        let index = { longest(&Reader::is_silent) }
            .or_else(|| longest(&stuck))
            .or_else(|| longest(&slow));
        let Some(index) = index else {
            return false;
        };
        self.readers.swap_remove(index);
        self.counts.crowded_out += 1;
        true
    }
}

impl AsRawFd for Readers {
    fn as_raw_fd(&self) -> RawFd {
        self.reception.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
