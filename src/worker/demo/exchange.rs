//! Requests and answers on one connection, one at a time: an answer is out before the next request is looked
//! at, so a client that pipelines without reading stops itself.

use std::io::{self, Read, Write};
use std::time::Instant;

use super::http::{MAX_HEAD, Method, Reply, read_head};
use super::routes::{Then, answer};
use super::session::{HEAD_TIMEOUT, IDLE_TIMEOUT, Site, Turn, WRITE_TIMEOUT};
use crate::worker::Connection;

/// Requests that one client gets answered before others have their turn.
const REQUESTS_PER_TURN: usize = 32;
/// An output buffer beyond this is given back after use, bytes.
const KEPT_BUFFER: usize = 4096;

/// What the session is to do next.
#[derive(Debug)]
pub enum Step {
    /// Go on as an exchange.
    Turn(Turn),
    /// End the connection in good order.
    End,
    /// It is a WebSocket; these bytes of it have come already.
    Upgrade(Vec<u8>),
}

/// The state between two readinesses.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Read, not understood yet.
    input: Vec<u8>,
    /// To be written, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// Bytes of a request's body still to be skipped.
    body: u64,
    /// Requests answered.
    answered: u64,
    after: After,
}

/// What follows once the output is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum After {
    #[default]
    Request,
    End,
    WebSocket,
    Crash,
}

/// What came of reading or writing without waiting.
enum Io {
    /// All of it, or something.
    Done,
    /// The socket is not ready.
    Blocked,
    /// The client has ended its direction.
    Eof,
    /// The connection is of no use.
    Broken,
}

impl Exchange {
    /// Between two requests: nothing half-read, nothing half-written, and at least one answered.
    pub fn is_idle(&self) -> bool {
        self.answered > 0 && self.input.is_empty() && self.output.is_empty() && self.body == 0
    }

    /// Goes as far as it gets; moves `deadline` along.
    pub fn advance(
        &mut self,
        connection: &mut Connection,
        site: &mut Site,
        now: Instant,
        deadline: &mut Instant,
    ) -> Step {
        for _ in 0..REQUESTS_PER_TURN {
            let (written, had_output) = (self.written, !self.output.is_empty());
            match self.write(connection) {
                Io::Done if had_output && self.input.is_empty() => *deadline = now + IDLE_TIMEOUT,
                Io::Done if had_output => *deadline = now + HEAD_TIMEOUT,
                Io::Done => {}
                Io::Blocked => {
                    if self.written > written {
                        *deadline = now + WRITE_TIMEOUT;
                    }
                    return Step::Turn(Turn::Waiting);
                }
                Io::Eof | Io::Broken => return Step::Turn(Turn::Over),
            }
            match self.after {
                After::Request => {}
                After::End => return Step::End,
                After::WebSocket => return Step::Upgrade(std::mem::take(&mut self.input)),
                After::Crash => crash(),
            }
            match self.request(connection, site, now, deadline) {
                Io::Done => *deadline = now + WRITE_TIMEOUT,
                Io::Blocked => return Step::Turn(Turn::Waiting),
                Io::Eof | Io::Broken => return Step::Turn(Turn::Over),
            }
        }
        Step::Turn(Turn::Again)
    }

    /// Reads until a request is whole and answers it.
    fn request(
        &mut self,
        connection: &mut Connection,
        site: &mut Site,
        now: Instant,
        deadline: &mut Instant,
    ) -> Io {
        loop {
            self.skip_body();
            let head = if self.body > 0 || self.input.is_empty() {
                Ok(None)
            } else {
                read_head(&self.input)
            };
            match head {
                Ok(Some(head)) => {
                    let (reply, then) = answer(&head, connection.ticket(), &site.identity);
                    self.input.drain(..head.length);
                    self.body = head.body;
                    let keep_alive = head.keep_alive && !reply.close && !site.finishing;
                    reply.write_to(&mut self.output, keep_alive, head.method != Method::Head);
                    self.after = match then {
                        Then::Crash => After::Crash,
                        Then::WebSocket => After::WebSocket,
                        Then::Continue if keep_alive => After::Request,
                        Then::Continue => After::End,
                    };
                    self.answered += 1;
                    site.served += 1;
                    return Io::Done;
                }
                Err(status) => {
                    Reply::plain(status).write_to(&mut self.output, false, true);
                    self.after = After::End;
                    return Io::Done;
                }
                Ok(None) => {}
            }
            let was_empty = self.input.is_empty();
            match self.read(connection) {
                Io::Done if was_empty => *deadline = now + HEAD_TIMEOUT,
                Io::Done => {}
                stuck => return stuck,
            }
        }
    }

    /// Drops what belongs to a body from the input.
    fn skip_body(&mut self) {
        let skipped = self
            .input
            .len()
            .min(usize::try_from(self.body).unwrap_or(usize::MAX));
        self.input.drain(..skipped);
        self.body -= skipped as u64;
    }

    fn read(&mut self, connection: &mut Connection) -> Io {
        debug_assert!(self.input.len() < MAX_HEAD || self.body > 0);
        let mut buffer = [0; 4096];
        loop {
            match connection.read(&mut buffer) {
                Ok(0) => return Io::Eof,
                Ok(length) => {
                    self.input.extend_from_slice(&buffer[..length]);
                    return Io::Done;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Io::Blocked,
                Err(_) => return Io::Broken,
            }
        }
    }

    fn write(&mut self, connection: &mut Connection) -> Io {
        while self.written < self.output.len() {
            match connection.write(&self.output[self.written..]) {
                Ok(0) => return Io::Broken,
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Io::Blocked,
                Err(_) => return Io::Broken,
            }
        }
        self.output.clear();
        self.output.shrink_to(KEPT_BUFFER);
        self.written = 0;
        Io::Done
    }
}

/// What the page's button does: as sudden an end as a bug would make.
fn crash() -> ! {
    log::error!("crashing, as asked on the page");
    std::process::abort()
}
