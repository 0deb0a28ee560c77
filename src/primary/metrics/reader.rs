//! One reader: what it has sent so far, what it has not taken yet. Every buffer is bounded, every state has its
//! time, no call waits.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::http::{self, HEAD_MAX, Heard, Names, Refusal, Request, Resource};
use super::reply::Reply;
use crate::sys::handover::{Bytes, Kind, Luggage, Ticket};

/// How long a request may take to come, from its first byte or from the connection.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be kept without a request: more than the minute that scrapers are usually apart.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long an answer may take to be read, however it comes along.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a reader whose connection ends may take to notice.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// The most that is written to one reader in a turn, bytes: others have their turn too.
const WRITE_TURN: usize = 256 * 1024;
/// The most that is read and thrown away of a reader whose connection ends, bytes.
const LINGER_MAX: usize = 256 * 1024;

/// How far a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It may ask.
    Asking,
    /// It has asked.
    Asked,
    /// It gets its answer.
    Answering,
    /// It got its last answer. What it still sends is thrown away: closed on it, it might lose the answer.
    Lingering,
    /// The connection is of no more use.
    Gone,
}

/// One reader.
#[derive(Debug)]
pub struct Reader {
    /// Never used again.
    pub id: usize,
    /// How far it is.
    pub phase: Phase,
    socket: Socket,
    input: Vec<u8>,
    head: Vec<u8>,
    /// Shared with others who asked for the same.
    body: Rc<Vec<u8>>,
    /// Of head and body together.
    sent: usize,
    head_only: bool,
    keep: bool,
    /// There may be more to read, or room to write, of which nothing will tell.
    pub more: bool,
    /// It sends nothing more.
    ended: bool,
    thrown_away: usize,
    deadline: Instant,
    /// Since when it has not moved.
    pub still_since: Instant,
}

/// A reader for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenReader {
    socket: Ticket,
    phase: Phase,
    input: Bytes,
    output: Bytes,
    keep: bool,
    ended: bool,
    left: Duration,
}

impl Reader {
    /// One that has just connected; `socket` does not block.
    pub fn new(id: usize, socket: Socket, now: Instant) -> Self {
        Self {
            id,
            phase: Phase::Asking,
            socket,
            input: Vec::new(),
            head: Vec::new(),
            body: Rc::default(),
            sent: 0,
            head_only: false,
            keep: false,
            more: true,
            ended: false,
            thrown_away: 0,
            deadline: now + HEAD_TIMEOUT,
            still_since: now,
        }
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>, now: Instant) -> FrozenReader {
        let (head, body) = self.unsent();
        FrozenReader {
            socket: luggage.lend(Kind::Connection, self.socket.as_fd()),
            phase: self.phase,
            input: Bytes(self.input.clone()),
            output: Bytes([head, body].concat()),
            keep: self.keep,
            ended: self.ended,
            left: self.deadline.saturating_duration_since(now),
        }
    }

    /// As another image left it.
    ///
    /// # Errors
    /// `InvalidData` if its socket did not come along.
    pub fn thaw(
        id: usize,
        frozen: FrozenReader,
        luggage: &mut Luggage<'_>,
        now: Instant,
    ) -> io::Result<Self> {
        let socket = luggage.take(frozen.socket, Kind::Connection)?.into();
        Ok(Self {
            phase: frozen.phase,
            input: frozen.input.0,
            head: frozen.output.0,
            keep: frozen.keep,
            ended: frozen.ended,
            deadline: now + frozen.left,
            ..Self::new(id, socket, now)
        })
    }

    /// When it is to be given up, if it goes on like this.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// It is owed nothing: its place can be given to another.
    pub fn is_silent(&self) -> bool {
        match self.phase {
            Phase::Asking => self.input.is_empty(),
            Phase::Lingering => true,
            Phase::Asked | Phase::Answering | Phase::Gone => false,
        }
    }

    /// Its time is over. Whether it is told so: it has begun to ask.
    pub fn give_up(&mut self, now: Instant) -> bool {
        let has_begun = self.phase == Phase::Asking && !self.input.is_empty();
        if has_begun {
            self.last_word(Reply::plain(408, "the request did not come in time"), now);
        } else {
            self.phase = Phase::Gone;
        }
        has_begun
    }

    /// Goes on with whatever it is at, as far as its socket allows.
    pub fn go_on(&mut self, now: Instant) {
        self.more = false;
        match self.phase {
            Phase::Asking => self.listen(now),
            Phase::Answering => self.write(now),
            Phase::Lingering => self.throw_away(),
            Phase::Asked => self.more = true,
            Phase::Gone => {}
        }
    }

    fn listen(&mut self, now: Instant) {
        let mut buffer = [0; 4096];
        while self.input.len() < HEAD_MAX && !self.ended {
            match self.receive(&mut buffer) {
                Some(0) => self.ended = true,
                Some(length) => {
                    if self.input.is_empty() {
                        self.deadline = now + HEAD_TIMEOUT;
                    }
                    self.still_since = now;
                    self.input.extend_from_slice(&buffer[..length]);
                }
                None => break,
            }
        }
    }

    /// So many bytes; `None` if there are none now, or never again.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match (&self.socket).read(buffer) {
                Ok(length) => return Some(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => {
                    self.phase = Phase::Gone;
                    return None;
                }
            }
        }
    }

    fn throw_away(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(length) = self.receive(&mut buffer) {
            self.thrown_away += length;
            if length == 0 || self.thrown_away > LINGER_MAX {
                self.phase = Phase::Gone;
                return;
            }
        }
    }

    /// What it asks for, if that is complete.
    ///
    /// # Errors
    /// Why it cannot be answered, which is to be its [`last_word`](Self::last_word).
    pub fn asks(&mut self, names: Names) -> Result<Option<Resource>, Refusal> {
        if self.phase != Phase::Asking || self.input.is_empty() {
            if self.phase == Phase::Asking && self.ended {
                self.phase = Phase::Gone;
            }
            return Ok(None);
        }
        match http::hear(&self.input, names) {
            Heard::Part if self.ended => {
                self.phase = Phase::Gone;
                Ok(None)
            }
            Heard::Part => Ok(None),
            Heard::Request(request, length) => {
                let Request {
                    resource,
                    head_only,
                    keep,
                } = request;
                self.input.drain(..length);
                let last = self.ended && self.input.is_empty();
                (self.head_only, self.keep) = (head_only, keep && !last);
                self.phase = Phase::Asked;
                Ok(Some(resource))
            }
            Heard::Refused(refusal) => Err(refusal),
        }
    }

    /// An answer after which the connection ends.
    pub fn last_word(&mut self, reply: Reply, now: Instant) {
        (self.keep, self.head_only) = (false, false);
        self.answer(reply, now);
    }

    /// The answer to what was asked.
    pub fn answer(&mut self, reply: Reply, now: Instant) {
        self.head = reply.head(self.keep);
        self.body = match self.head_only {
            true => Rc::default(),
            false => reply.body,
        };
        self.sent = 0;
        self.phase = Phase::Answering;
        self.deadline = now + ANSWER_TIMEOUT;
        self.write(now);
    }

    fn unsent(&self) -> (&[u8], &[u8]) {
        let head = self.head.get(self.sent..).unwrap_or_default();
        let body = self.sent.saturating_sub(self.head.len());
        (head, self.body.get(body..).unwrap_or_default())
    }

    /// Writes as much as the socket takes, or as is its turn.
    fn write(&mut self, now: Instant) {
        let mut turn = 0;
        loop {
            let (head, body) = self.unsent();
            if head.is_empty() && body.is_empty() {
                return self.answered(now);
            }
            if turn >= WRITE_TURN {
                self.more = true;
                return;
            }
            let body = &body[..body.len().min(WRITE_TURN)];
            match self
                .socket
                .send_vectored(&[IoSlice::new(head), IoSlice::new(body)])
            {
                Ok(0) => return self.phase = Phase::Gone,
                Ok(length) => {
                    self.sent += length;
                    turn += length;
                    self.still_since = now;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.phase = Phase::Gone,
            }
        }
    }

    fn answered(&mut self, now: Instant) {
        (self.head, self.body, self.sent) = (Vec::new(), Rc::default(), 0);
        // More may have come meanwhile.
        self.more = true;
        if self.keep {
            self.phase = Phase::Asking;
            self.deadline = now + IDLE_TIMEOUT;
        } else if self.socket.shutdown(Shutdown::Write).is_ok() {
            self.phase = Phase::Lingering;
            self.deadline = now + LINGER_TIMEOUT;
        } else {
            self.phase = Phase::Gone;
        }
    }
}

impl AsRawFd for Reader {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
