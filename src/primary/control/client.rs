//! One client of the control socket: what it has sent so far, what it has not read yet. Every buffer is
//! bounded, no call waits.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::ClientId;
use crate::protocol::{REQUEST_MAX, Reply};
use crate::sys::handover::{Bytes, Kind, Luggage, Ticket};

/// How long a client may take to ask, and how long it may leave an answer unread.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that waits to be read by a client: several times the longest status.
const OUTPUT_MAX: usize = 4 * 1024 * 1024;

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It may ask.
    Asking,
    /// It has asked, the answer is being worked on.
    Waiting,
    /// It gets what is still to be sent, then the connection ends.
    Leaving,
    /// The connection is of no more use.
    Gone,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Never used again.
    pub id: ClientId,
    pub phase: Phase,
    socket: Socket,
    input: Vec<u8>,
    output: Vec<u8>,
    /// It sends nothing more.
    ended: bool,
    deadline: Option<Instant>,
}

/// A client for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenClient {
    id: ClientId,
    phase: Phase,
    socket: Ticket,
    input: Bytes,
    output: Bytes,
    ended: bool,
    /// Time until it is given up.
    left: Option<Duration>,
}

impl Client {
    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>, now: Instant) -> FrozenClient {
        FrozenClient {
            id: self.id,
            phase: self.phase,
            socket: luggage.lend(Kind::Control, self.socket.as_fd()),
            input: Bytes(self.input.clone()),
            output: Bytes(self.output.clone()),
            ended: self.ended,
            left: self.deadline.map(|at| at.saturating_duration_since(now)),
        }
    }

    /// As another image left it.
    ///
    /// # Errors
    /// `InvalidData` if its socket did not come along.
    pub fn thaw(frozen: FrozenClient, luggage: &mut Luggage<'_>, now: Instant) -> io::Result<Self> {
        Ok(Self {
            id: frozen.id,
            phase: frozen.phase,
            socket: luggage.take(frozen.socket, Kind::Control)?.into(),
            input: frozen.input.0,
            output: frozen.output.0,
            ended: frozen.ended,
            deadline: frozen.left.map(|left| now + left),
        })
    }

    /// A client that has just connected; `socket` does not block.
    pub fn new(id: ClientId, socket: Socket, now: Instant) -> Self {
        Self {
            id,
            phase: Phase::Asking,
            socket,
            input: Vec::new(),
            output: Vec::new(),
            ended: false,
            deadline: Some(now + IDLE_TIMEOUT),
        }
    }

    /// When it is to be given up, if it goes on like this.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Its connection, non-blocking.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// Has asked nothing and is owed nothing: its place can be given to another.
    pub fn is_silent(&self) -> bool {
        self.phase == Phase::Asking && self.input.is_empty() && self.output.is_empty()
    }

    /// A complete line is there, not looked at yet.
    pub fn has_line(&self) -> bool {
        self.phase == Phase::Asking && self.input.contains(&b'\n')
    }

    /// Takes all that has come.
    pub fn read(&mut self) {
        let mut buffer = [0; REQUEST_MAX];
        while matches!(self.phase, Phase::Asking | Phase::Waiting) && !self.ended {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    self.input.extend_from_slice(&buffer[..length]);
                    self.check_length();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.phase = Phase::Gone,
            }
        }
        self.leave_if_ended();
    }

    /// A request is short. Who sends more without waiting for the answer is no client of ours.
    fn check_length(&mut self) {
        let line = self.input.iter().position(|byte| *byte == b'\n');
        let waiting = self.phase == Phase::Waiting;
        if line.unwrap_or(self.input.len()) >= REQUEST_MAX
            || (waiting && self.input.len() > REQUEST_MAX)
        {
            self.refuse(&format!(
                "a request is one line of at most {REQUEST_MAX} bytes"
            ));
        }
    }

    fn leave_if_ended(&mut self) {
        if self.ended && self.phase == Phase::Asking && !self.has_line() {
            self.phase = Phase::Leaving;
            self.flush();
        }
    }

    /// The next line asked; the client then waits for its answer.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        if self.phase != Phase::Asking {
            return None;
        }
        let end = self.input.iter().position(|byte| *byte == b'\n')?;
        let rest = self.input.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.input, rest);
        line.truncate(end);
        self.phase = Phase::Waiting;
        self.deadline = None;
        Some(line)
    }

    /// Sends a line; a client that has too much unread already is gone.
    pub fn send<T: Serialize>(&mut self, reply: &Reply<T>) {
        if self.phase == Phase::Gone {
            return;
        }
        let Ok(line) = serde_json::to_vec(reply) else {
            self.phase = Phase::Gone;
            return;
        };
        if self.output.len() + line.len() >= OUTPUT_MAX {
            self.phase = Phase::Gone;
            return;
        }
        self.output.extend_from_slice(&line);
        self.output.push(b'\n');
        self.flush();
    }

    /// The last line of an answer; then the client may ask again.
    pub fn finish<T: Serialize>(&mut self, reply: &Reply<T>, now: Instant) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Asking;
            self.deadline = Some(now + IDLE_TIMEOUT);
            self.send(reply);
            self.leave_if_ended();
        }
    }

    /// Says why there is no answer, and ends the connection.
    pub fn refuse(&mut self, why: &str) {
        if self.phase != Phase::Gone {
            self.phase = Phase::Leaving;
            self.send(&Reply::<()>::Error(why.to_owned()));
        }
    }

    /// Writes as much as the socket takes.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.output.len() {
            match (&self.socket).write(&self.output[sent..]) {
                Ok(0) => break,
                Ok(length) => sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.phase = Phase::Gone;
                    break;
                }
            }
        }
        self.output.drain(..sent);
        match (self.output.is_empty(), self.phase) {
            (true, Phase::Leaving) => self.phase = Phase::Gone,
            (true, Phase::Waiting) => self.deadline = None,
            (true, _) => {}
            // It reads, or it has some time to begin.
            (false, _) if sent > 0 || self.deadline.is_none() => {
                self.deadline = Some(Instant::now() + IDLE_TIMEOUT);
            }
            (false, _) => {}
        }
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
