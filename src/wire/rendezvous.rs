//! The rendezvous: what a worker asks when its server binds, and what it is answered.

use super::PROTOCOL;
use super::address::{Address, address_at, put_address, u16_at, u32_at, u64_at};

/// What a worker asks at the rendezvous. One request and one answer per connection, `SOCK_SEQPACKET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verb {
    /// `bind()` was called. Answer: pass through, a channel, the listener itself, or an errno.
    Bind = 1,
    /// `listen()` was called on the channel named by `inode`. Answer: an errno, 0 for success.
    Listen = 2,
    /// A listening fd of the channel was closed by the calling process. No answer is sent.
    Closed = 3,
    /// The caller found a channel it does not know (it came over an exec). Answer as for `Bind`, with the
    /// scoreboard as the only fd.
    Recognise = 4,
    /// `count` threads of the caller sit in a blocked `accept` that must return: send as many wakes. No answer.
    Wake = 5,
    /// Options were set on the listening socket after `bind`. Answer: an errno.
    Options = 6,
    /// A proxy worker asks for its backends. Answer: three fds, see [`Outcome::Backends`].
    Backends = 7,
}

/// A request at the rendezvous: a fixed head, then up to [`MAX_OPTIONS`] socket options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// `IPV6_V6ONLY` of the server's socket.
    pub v6only: bool,
    /// `SO_REUSEPORT` of the server's socket: a second bind by the same worker is welcome.
    pub reuse_port: bool,
    /// The caller is a program built on `forkfront::worker`, not the shim.
    pub native: bool,
    /// The server asks for non-blocking connections (`accept4` with `SOCK_NONBLOCK`): a hint.
    pub nonblocking: bool,
    /// The worker, from `FORKFRONT_WORKER` in its environment.
    pub worker: u64,
    /// Backlog for [`Verb::Listen`], count for [`Verb::Wake`].
    pub number: i32,
    /// Address as asked, for [`Verb::Bind`].
    pub address: Address,
    /// `st_ino` of the channel for all verbs but [`Verb::Bind`].
    pub inode: u64,
}

impl Request {
    /// Encoded size of the head, bytes.
    pub const LEN: usize = 64;

    /// The head's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0..2].copy_from_slice(&PROTOCOL.to_le_bytes());
        out[2] = self.verb as u8;
        out[3] = u8::from(self.v6only)
            | u8::from(self.reuse_port) << 1
            | u8::from(self.native) << 2
            | u8::from(self.nonblocking) << 3;
        out[4..8].copy_from_slice(&self.number.to_le_bytes());
        out[8..16].copy_from_slice(&self.worker.to_le_bytes());
        out[16..24].copy_from_slice(&self.inode.to_le_bytes());
        put_address(&mut out, 24, &self.address);
        out
    }

    /// Reads the head; `None` for a short message, another version or an unknown verb.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < Self::LEN || u16_at(bytes, 0) != PROTOCOL {
            return None;
        }
        let verb = match bytes[2] {
            1 => Verb::Bind,
            2 => Verb::Listen,
            3 => Verb::Closed,
            4 => Verb::Recognise,
            5 => Verb::Wake,
            6 => Verb::Options,
            7 => Verb::Backends,
            _ => return None,
        };
        Some(Self {
            verb,
            v6only: bytes[3] & 1 != 0,
            reuse_port: bytes[3] & 2 != 0,
            native: bytes[3] & 4 != 0,
            nonblocking: bytes[3] & 8 != 0,
            number: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            worker: u64_at(bytes, 8),
            inode: u64_at(bytes, 16),
            address: address_at(bytes, 24),
        })
    }
}

/// A socket option that a server set on its listening socket, as `setsockopt` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOption {
    /// `SOL_SOCKET`, `IPPROTO_TCP`, ...
    pub level: i32,
    /// `TCP_NODELAY`, ...
    pub name: i32,
    /// How many bytes of `value` count.
    pub len: u8,
    /// The value's bytes.
    pub value: [u8; 16],
}

/// The most options one request carries.
pub const MAX_OPTIONS: usize = 32;

impl SocketOption {
    /// Encoded size, bytes.
    pub const LEN: usize = 28;

    /// The option's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0..4].copy_from_slice(&self.level.to_le_bytes());
        out[4..8].copy_from_slice(&self.name.to_le_bytes());
        out[8] = self.len;
        out[12..28].copy_from_slice(&self.value);
        out
    }

    /// Reads one option; `None` if the length does not fit.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < Self::LEN || bytes[8] > 16 {
            return None;
        }
        let mut value = [0; 16];
        value.copy_from_slice(&bytes[12..28]);
        Some(Self {
            level: u32_at(bytes, 0) as i32,
            name: u32_at(bytes, 4) as i32,
            len: bytes[8],
            value,
        })
    }
}

/// What the primary answers at the rendezvous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Not shared: do the call on your own socket.
    PassThrough = 0,
    /// Two fds follow: the channel's worker end, the scoreboard ([`Verb::Recognise`]: the scoreboard only).
    Channel = 1,
    /// Two fds follow: the listening socket itself, the scoreboard (`--balance kernel`).
    Listener = 2,
    /// The call ends with `errno` (0: success).
    Errno = 3,
    /// Three fds follow: the board of backends; an eventfd that the worker watches edge-triggered and never reads,
    /// written whenever there is something new on the board for all; an eventfd that it writes when a backend fails.
    Backends = 4,
}

/// An answer at the rendezvous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What to do.
    pub outcome: Outcome,
    /// For [`Outcome::Errno`].
    pub errno: i32,
    /// The listener's id.
    pub listener: u16,
    /// Index of this channel in [`crate::scoreboard::Scoreboard::taken`].
    pub channel: u16,
    /// The channel's server has called `listen` already (for [`Verb::Recognise`]).
    pub listening: bool,
    /// `IPV6_V6ONLY` as the server asked at `bind` (for [`Verb::Recognise`]).
    pub v6only: bool,
    /// The address the server asked for at `bind`: what `getsockname` must say.
    pub asked: Address,
}

impl Answer {
    /// Encoded size, bytes.
    pub const LEN: usize = 48;

    /// An answer that is only an errno.
    pub fn errno(errno: i32) -> Self {
        Self {
            errno,
            ..Self::plain(Outcome::Errno)
        }
    }

    /// An answer with nothing but its outcome.
    pub fn plain(outcome: Outcome) -> Self {
        Self {
            outcome,
            errno: 0,
            listener: 0,
            channel: 0,
            listening: false,
            v6only: false,
            asked: Address::default(),
        }
    }

    /// The answer's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0..2].copy_from_slice(&PROTOCOL.to_le_bytes());
        out[2] = self.outcome as u8;
        out[3] = u8::from(self.listening) | u8::from(self.v6only) << 1;
        out[4..8].copy_from_slice(&self.errno.to_le_bytes());
        out[8..10].copy_from_slice(&self.listener.to_le_bytes());
        out[10..12].copy_from_slice(&self.channel.to_le_bytes());
        put_address(&mut out, 12, &self.asked);
        out
    }

    /// Reads an answer; `None` for another length, version or outcome.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LEN || u16_at(bytes, 0) != PROTOCOL {
            return None;
        }
        let outcome = match bytes[2] {
            0 => Outcome::PassThrough,
            1 => Outcome::Channel,
            2 => Outcome::Listener,
            3 => Outcome::Errno,
            4 => Outcome::Backends,
            _ => return None,
        };
        Some(Self {
            outcome,
            listening: bytes[3] & 1 != 0,
            v6only: bytes[3] & 2 != 0,
            errno: u32_at(bytes, 4) as i32,
            listener: u16_at(bytes, 8),
            channel: u16_at(bytes, 10),
            asked: address_at(bytes, 12),
        })
    }
}
