//! The WebSocket of one client: echoes what it is sent, and is pushed the worker's counters. Framing is
//! `tungstenite`'s, over the session's own non-blocking connection.

use std::io;
use std::time::{Duration, Instant};

use serde_json::json;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Message};

use super::routes::Identity;
use super::session::Turn;
use crate::worker::Connection;

/// A client that was silent for so long is pinged.
const PING_AFTER: Duration = Duration::from_secs(15);
/// A client that was silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// Messages that one client gets echoed before others have their turn.
const MESSAGES_PER_TURN: usize = 32;
/// Longest message that is echoed, bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// What may wait for a client that does not read, bytes.
const MAX_UNSENT: usize = 256 * 1024;

/// Its state between two readinesses.
pub struct WebSocket {
    context: WebSocketContext,
    identity: Identity,
    /// When anything last came from the client.
    heard: Instant,
    pinged: bool,
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket")
            .field("heard", &self.heard)
            .field("pinged", &self.pinged)
            .finish_non_exhaustive()
    }
}

impl WebSocket {
    /// The handshake is done; `early` is what came behind it.
    pub fn new(early: Vec<u8>, identity: Identity, now: Instant) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        Self {
            context: WebSocketContext::from_partially_read(early, Role::Server, Some(config)),
            identity,
            heard: now,
            pinged: false,
        }
    }

    /// When the client counts as gone.
    pub fn deadline(&self) -> Instant {
        self.heard + SILENCE
    }

    /// Echoes what has come. Stops reading from a client that does not read.
    pub fn advance(&mut self, connection: &mut Connection, now: Instant) -> Turn {
        for _ in 0..MESSAGES_PER_TURN {
            let flushed = self.context.flush(connection);
            match settle(flushed) {
                Ok(()) => {}
                Err(turn) => return turn,
            }
            let message = match self.context.read(connection) {
                Ok(message) => message,
                Err(error) => return self.refuse(connection, error),
            };
            self.heard = now;
            self.pinged = false;
            let echo = match message {
                Message::Text(text) => {
                    let mut echo = self.identity.as_json();
                    echo["type"] = "echo".into();
                    echo["text"] = text.as_str().into();
                    Message::text(echo.to_string())
                }
                Message::Binary(bytes) => Message::Binary(bytes),
                // Pings are answered and closes confirmed by the next flush.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                    continue;
                }
            };
            if let Turn::Over = self.send(connection, echo) {
                return Turn::Over;
            }
        }
        Turn::Again
    }

    /// Sends `text`, and a ping to a client that has been silent.
    pub fn push(&mut self, connection: &mut Connection, text: &str, now: Instant) -> Turn {
        if !self.context.can_write() {
            return Turn::Waiting;
        }
        if !self.pinged && now >= self.heard + PING_AFTER {
            self.pinged = true;
            if let Turn::Over = self.send(connection, Message::Ping(Bytes::new())) {
                return Turn::Over;
            }
        }
        self.send(connection, Message::text(text))
    }

    /// Says that the worker leaves; the client's own close then ends the session.
    pub fn leave(&mut self, connection: &mut Connection) -> Turn {
        if !self.context.can_write() {
            return Turn::Waiting;
        }
        let text = json!({"type": "leaving", "slot": self.identity.slot, "pid": self.identity.pid});
        if let Turn::Over = self.send(connection, Message::text(text.to_string())) {
            return Turn::Over;
        }
        self.close(connection, CloseCode::Away, "this worker leaves")
    }

    fn send(&mut self, connection: &mut Connection, message: Message) -> Turn {
        match settle(self.context.write(connection, message)) {
            Ok(()) => Turn::Waiting,
            Err(turn) => turn,
        }
    }

    fn close(&mut self, connection: &mut Connection, code: CloseCode, reason: &str) -> Turn {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let closed = self.context.close(connection, Some(frame));
        match settle(closed) {
            Ok(()) => Turn::Waiting,
            Err(turn) => turn,
        }
    }

    /// Reading has failed: says why where the protocol has a word for it (RFC 6455 §7.4.1).
    fn refuse(&mut self, connection: &mut Connection, error: Error) -> Turn {
        let (code, reason) = match error {
            Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Waiting,
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                (CloseCode::Size, "at most 64 KiB")
            }
            Error::Utf8(_) => (CloseCode::Invalid, "not UTF-8"),
            Error::Protocol(_) => (CloseCode::Protocol, "not a WebSocket frame"),
            _ => return Turn::Over,
        };
        self.close(connection, code, reason);
        Turn::Over
    }
}

/// A result of writing: `Err` is what the session is to do about it. A message that could not be written at
/// once is in the buffer.
fn settle(result: Result<(), Error>) -> Result<(), Turn> {
    match result {
        Ok(()) => Ok(()),
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(Turn::Waiting),
        Err(_) => Err(Turn::Over),
    }
}
