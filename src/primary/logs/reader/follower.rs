//! A client of the control socket that is shown lines of the ring, at its own pace: it keeps its place there and
//! nothing else, so one that does not read costs nothing but the lines that are given up before it comes to them,
//! and those are counted.

use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use socket2::Socket;

use super::super::Wish;
use super::super::frozen::Reading;
use super::super::ring::{Chunk, Entry, Kind, Ring, Whose};
use crate::config::{LogFormat, LogTime};
use crate::protocol::line::{Head, Look, Voice};
use crate::protocol::{Done, LogAnswer, LogsOf};
use crate::sys::handover::Bytes;

/// What is made ready to be sent at one time.
const BATCH: usize = 64 * 1024;

/// Batches in one turn: the workers' pipes want theirs.
const BATCHES: usize = 2;

/// Who has read nothing for so long gives way to another.
const PATIENCE: Duration = Duration::from_secs(10);

/// How it goes on with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has all there is, or its socket is full.
    Wait,
    /// There is more for it.
    More,
    /// It is not to be shown anything any more.
    Gone,
}

/// One of them.
#[derive(Debug)]
pub struct Follower {
    socket: Arc<Socket>,
    /// How far it is; its `output` is what is not sent yet, from `sent` on.
    reading: Reading,
    sent: usize,
    /// What it is shown, by the numbers in the ring.
    strands: Vec<usize>,
    /// Since when it takes nothing.
    blocked: Option<Instant>,
}

impl Follower {
    /// One that wishes this. The socket does not block.
    pub fn new(socket: Socket, wish: Wish, ring: &Ring) -> Self {
        let mut this = Self {
            socket: Arc::new(socket),
            reading: Reading {
                of: wish.of,
                only_app: wish.only_app,
                until: (!wish.follow).then_some(ring.next()),
                ..Reading::default()
            },
            sent: 0,
            strands: Vec::new(),
            blocked: None,
        };
        this.look_for_strands(ring);
        this.reading.from = ring.start(&this.strands, wish.since, wish.lines);
        if let Some(unknown) = wish.unknown.filter(|_| this.strands.is_empty()) {
            this.answer(&LogAnswer::Error(unknown));
            this.reading.finished = true;
        }
        this
    }

    /// As another image left it.
    pub fn thaw(socket: Socket, reading: Reading) -> Self {
        Self {
            socket: Arc::new(socket),
            reading,
            sent: 0,
            strands: Vec::new(),
            blocked: None,
        }
    }

    /// What the next image needs.
    pub fn show(&self) -> (Arc<Socket>, Reading) {
        let reading = Reading {
            output: Bytes(self.reading.output.0[self.sent..].to_vec()),
            ..self.reading.clone()
        };
        (Arc::clone(&self.socket), reading)
    }

    /// The ring may be another one, whose numbers begin anew.
    pub fn in_ring(&mut self, ring: &Ring) {
        let next = ring.next();
        self.reading.from = self.reading.from.min(next);
        self.reading.until = self.reading.until.map(|until| until.min(next));
        self.look_for_strands(ring);
    }

    /// Lines of a strand were given up.
    pub fn note_gone(&mut self, strand: usize, chunk: &Chunk) {
        if self.strands.contains(&strand) && chunk.last() >= self.reading.from {
            let unread = chunk
                .entries()
                .filter(|one| one.number >= self.reading.from)
                .filter(|one| self.reading.until.is_none_or(|until| one.number < until));
            self.reading.lost += unread.count() as u64;
        }
    }

    /// Whether it has not taken anything for so long that another may have its place.
    pub fn is_dead_weight(&self) -> bool {
        self.blocked
            .is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// Sends what there is for it, as much as it takes. `named`: the app is said.
    pub fn proceed(&mut self, ring: &Ring, named: bool) -> Next {
        for _ in 0..BATCHES {
            match self.send() {
                Ok(true) => {}
                Ok(false) => return Next::Wait,
                Err(()) => return Next::Gone,
            }
            if self.reading.finished {
                return Next::Gone;
            }
            self.fill(ring, named);
            if self.reading.output.0.is_empty() {
                return Next::Wait;
            }
        }
        Next::More
    }

    /// True: all is sent.
    fn send(&mut self) -> Result<bool, ()> {
        let output = &mut self.reading.output.0;
        while self.sent < output.len() {
            match (&*self.socket).write(&output[self.sent..]) {
                Ok(0) => return Err(()),
                Ok(length) => {
                    self.sent += length;
                    self.blocked = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked.get_or_insert_with(Instant::now);
                    return Ok(false);
                }
                Err(_) => return Err(()),
            }
        }
        self.sent = 0;
        output.clear();
        Ok(true)
    }

    /// Makes the next lines ready.
    fn fill(&mut self, ring: &Ring, named: bool) {
        if self.reading.lost > 0 {
            let lost = std::mem::take(&mut self.reading.lost);
            self.answer(&LogAnswer::Lost(lost));
        }
        let until = self.reading.until.unwrap_or(ring.next());
        if self.reading.from < until {
            self.look_for_strands(ring);
            let mut written = Written::default();
            let mut next = until;
            for (strand, entry) in ring.read(&self.strands, self.reading.from) {
                if entry.number >= until || self.reading.output.0.len() >= BATCH {
                    next = entry.number.min(until);
                    break;
                }
                let out = &mut self.reading.output.0;
                written.line(out, (ring.whose(strand), strand), &entry, named);
            }
            self.reading.from = next;
        }
        if self
            .reading
            .until
            .is_some_and(|until| self.reading.from >= until)
        {
            self.answer(&LogAnswer::Ok(Done::new("that was all")));
            self.reading.finished = true;
        }
    }

    fn answer(&mut self, answer: &LogAnswer<()>) {
        write_line(&mut self.reading.output.0, answer);
    }

    fn look_for_strands(&mut self, ring: &Ring) {
        let Reading { of, only_app, .. } = &self.reading;
        self.strands = ring.strands(|whose| match (of, whose) {
            (None, _) | (Some(LogsOf::Primary), Whose::Primary) => true,
            (Some(LogsOf::App(wanted)), Whose::Slot(app, _)) => **app == **wanted,
            (Some(LogsOf::Slot(wanted)), Whose::Slot(app, slot)) => {
                let of = wanted.app.as_ref().or(only_app.as_ref());
                wanted.slot == *slot && of.is_none_or(|of| **app == **of)
            }
            _ => false,
        });
    }
}

impl AsRawFd for Follower {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn write_line(out: &mut Vec<u8>, answer: &impl Serialize) {
    serde_json::to_writer(&mut *out, answer).expect("memory takes everything");
    out.push(b'\n');
}

/// Writes lines of the ring as answers. Those that follow each other mostly have the same head.
#[derive(Default)]
struct Written {
    last: Option<(usize, i64, u32, Kind)>,
    head: Option<Head>,
}

impl Written {
    fn line(
        &mut self,
        out: &mut Vec<u8>,
        (whose, strand): (&Whose, usize),
        entry: &Entry<'_>,
        named: bool,
    ) {
        let key = (strand, entry.time, entry.pid, entry.kind);
        let head = match &mut self.head {
            Some(head) if self.last == Some(key) => head,
            stale => stale.insert(head(whose, entry, named)),
        };
        self.last = Some(key);
        out.extend_from_slice(b"{\"line\":");
        head.write(out, entry.text, entry.cut);
        // In front of the newline.
        let end = out.len() - 1;
        out.insert(end, b'}');
    }
}

fn head(whose: &Whose, entry: &Entry<'_>, named: bool) -> Head {
    let look = Look {
        format: LogFormat::Json,
        time: LogTime::Utc,
        ..Look::default()
    };
    let voice = match (whose, entry.kind) {
        (Whose::Slot(app, slot), Kind::Worker(stream)) => Voice::Worker {
            app: named.then_some(&**app),
            slot: *slot,
            pid: entry.pid,
            stream,
        },
        (_, Kind::Own(level)) => Voice::Primary(level),
        (Whose::Primary, Kind::Worker(_)) => Voice::Primary(log::Level::Info),
    };
    Head::new(look, voice, entry.time)
}
