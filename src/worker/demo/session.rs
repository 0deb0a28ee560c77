//! One client of the demo: what its connection is now, and how far it gets without waiting. Never blocks,
//! never trusts; told by the loop when its socket is ready, when a second is over and when it is late.

use std::io::{self, Read};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::exchange::{Exchange, Step};
use super::routes::Identity;
use super::socket::WebSocket;
use crate::worker::Connection;

/// From the first byte of a request (or from the connection's start) to the end of its head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two requests on one connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Without a client taking a single byte of what is sent to it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// From our end of a connection to the client's.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// What a client may still send after our end, bytes.
const LINGER_BYTES: usize = 256 * 1024;

/// Where a session stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It waits for its socket.
    Waiting,
    /// It has had its share and wants another turn.
    Again,
    /// It is over.
    Over,
}

/// What all sessions of the worker share.
#[derive(Debug)]
pub struct Site {
    /// Who we are.
    pub identity: Identity,
    /// Requests answered.
    pub served: u64,
    /// The worker leaves: answers end their connections.
    pub finishing: bool,
}

/// One client.
#[derive(Debug)]
pub struct Session {
    /// Tells this session from an earlier one at the same place.
    pub age: u32,
    connection: Connection,
    stage: Stage,
    /// When patience ends.
    deadline: Instant,
}

/// What the connection is.
#[derive(Debug)]
enum Stage {
    /// Requests and answers.
    Http(Exchange),
    /// Messages.
    WebSocket(Box<WebSocket>),
    /// We have ended our direction and read what still comes, since closing with unread bytes would make
    /// the kernel reset the connection, and the client lose the answer with it (KF16).
    Lingering {
        /// What may still come, bytes.
        left: usize,
    },
}

impl Session {
    /// A fresh connection, non-blocking.
    pub fn new(connection: Connection, age: u32, now: Instant) -> Self {
        Self {
            age,
            connection,
            stage: Stage::Http(Exchange::default()),
            deadline: now + HEAD_TIMEOUT,
        }
    }

    /// The connection, to register it.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Goes as far as it gets.
    pub fn advance(&mut self, site: &mut Site, now: Instant) -> Turn {
        match &mut self.stage {
            Stage::Http(exchange) => {
                let step = exchange.advance(&mut self.connection, site, now, &mut self.deadline);
                match step {
                    Step::Turn(turn) => turn,
                    Step::End => self.linger(now),
                    Step::Upgrade(early) => {
                        let socket = Box::new(WebSocket::new(early, site.identity, now));
                        self.deadline = socket.deadline();
                        self.stage = Stage::WebSocket(socket);
                        Turn::Again
                    }
                }
            }
            Stage::WebSocket(socket) => {
                let turn = socket.advance(&mut self.connection, now);
                self.deadline = socket.deadline();
                match turn {
                    // Its closing handshake is done, or it has broken the protocol and was told so.
                    Turn::Over => self.linger(now),
                    turn => turn,
                }
            }
            Stage::Lingering { left } => discard(&mut self.connection, left),
        }
    }

    /// Sends `counters` if this is a WebSocket.
    pub fn push(&mut self, counters: &str, now: Instant) -> Turn {
        match &mut self.stage {
            Stage::WebSocket(socket) => socket.push(&mut self.connection, counters, now),
            Stage::Http(_) | Stage::Lingering { .. } => Turn::Waiting,
        }
    }

    /// The worker leaves: ends what is idle. A connection that has not asked anything yet is waited for,
    /// since its request may be on its way.
    pub fn finish(&mut self, now: Instant) -> Turn {
        match &mut self.stage {
            Stage::Http(exchange) if exchange.is_idle() => self.linger(now),
            Stage::WebSocket(socket) => socket.leave(&mut self.connection),
            Stage::Http(_) | Stage::Lingering { .. } => Turn::Waiting,
        }
    }

    /// Whether patience has ended.
    pub fn is_late(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Whether this is a WebSocket.
    pub fn is_websocket(&self) -> bool {
        matches!(self.stage, Stage::WebSocket(_))
    }

    fn linger(&mut self, now: Instant) -> Turn {
        if self.connection.stream().shutdown(Shutdown::Write).is_err() {
            return Turn::Over;
        }
        self.deadline = now + LINGER_TIMEOUT;
        let mut left = LINGER_BYTES;
        let turn = discard(&mut self.connection, &mut left);
        self.stage = Stage::Lingering { left };
        turn
    }
}

/// Reads and forgets until the client's end.
fn discard(connection: &mut Connection, left: &mut usize) -> Turn {
    let mut buffer = [0; 4096];
    while *left > 0 {
        match connection.read(&mut buffer) {
            Ok(0) => return Turn::Over,
            Ok(length) => *left = left.saturating_sub(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Waiting,
            Err(_) => return Turn::Over,
        }
    }
    Turn::Over
}
