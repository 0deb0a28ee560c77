//! The bytes that cross a process boundary: the hand-off record that travels with each connection, and
//! the requests and answers of the rendezvous by which a worker joins.
//!
//! Shared with the preload shim, which includes this very file: `core` only, no allocation, every decoder
//! total. Little-endian, fixed offsets, versioned. Nothing here touches a file descriptor; that is
//! [`crate::sys::fdpass`] on this side and the shim's raw calls on the other.

/// Version of everything in this file. A worker and a primary of different versions refuse each other.
pub const PROTOCOL: u16 = 1;

/// Environment: path of the rendezvous socket. Its presence is what wakes the shim up.
pub const ENV_RENDEZVOUS: &str = "FORKFRONT_RENDEZVOUS";
/// Environment: the worker's id, decimal.
pub const ENV_WORKER: &str = "FORKFRONT_WORKER";
/// Environment: pid of the primary, decimal. A channel is known by `SO_PEERCRED` naming this pid.
pub const ENV_PRIMARY: &str = "FORKFRONT_PRIMARY";

/// An endpoint in a fixed 28 bytes: what `sockaddr_in` and `sockaddr_in6` hold, without their padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// What the rest means.
    pub family: Family,
    /// Port, host byte order.
    pub port: u16,
    /// `sin6_flowinfo` as the kernel gave it.
    pub flowinfo: u32,
    /// `sin6_scope_id`: the interface of a link-local address.
    pub scope: u32,
    /// IPv4 in the first four bytes, or IPv6, network byte order.
    pub ip: [u8; 16],
}

/// Address family, in our own numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Family {
    /// Unknown, or an unnamed Unix socket.
    #[default]
    None = 0,
    /// `AF_INET`.
    V4 = 4,
    /// `AF_INET6`.
    V6 = 6,
}

impl Address {
    /// Encoded size, bytes.
    pub const LEN: usize = 28;

    /// Writes the address into `out`, which is [`Address::LEN`] bytes.
    pub fn encode(&self, out: &mut [u8; Self::LEN]) {
        out[0..2].copy_from_slice(&(self.family as u16).to_le_bytes());
        out[2..4].copy_from_slice(&self.port.to_le_bytes());
        out[4..8].copy_from_slice(&self.flowinfo.to_le_bytes());
        out[8..12].copy_from_slice(&self.scope.to_le_bytes());
        out[12..28].copy_from_slice(&self.ip);
    }

    /// Reads an address; an unknown family becomes [`Family::None`].
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let family = match u16_at(bytes, 0) {
            4 => Family::V4,
            6 => Family::V6,
            _ => Family::None,
        };
        let mut ip = [0; 16];
        ip.copy_from_slice(&bytes[12..28]);
        Self {
            family,
            port: u16_at(bytes, 2),
            flowinfo: u32_at(bytes, 4),
            scope: u32_at(bytes, 8),
            ip,
        }
    }

    /// The IPv4 address inside `::ffff:a.b.c.d`, if that is what this is.
    pub fn mapped_v4(&self) -> Option<[u8; 4]> {
        const PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        if self.family == Family::V6 && self.ip[..12] == PREFIX {
            Some([self.ip[12], self.ip[13], self.ip[14], self.ip[15]])
        } else {
            None
        }
    }
}

/// What one message on a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A connection; exactly one fd comes with it.
    Connection = 0,
    /// No fd. Wakes one thread that is blocked in `accept`, which then looks at what it should do.
    Wake = 1,
    /// No fd. The worker gets nothing more: finish what is open, then exit.
    Drain = 2,
}

/// The hand-off record: one per message on a channel.
///
/// 80 bytes, so that a message costs the smallest skb there is (768 bytes of send buffer) and
/// `SIOCINQ / Record::LEN` is the exact length of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the message is.
    pub kind: Kind,
    /// The connection's file description has `O_NONBLOCK` set.
    pub nonblocking: bool,
    /// How often this connection was read back and dealt again.
    pub attempt: u16,
    /// Which of the primary's listeners accepted it.
    pub listener: u16,
    /// Never reused by this primary.
    pub connection: u64,
    /// When the primary accepted it, `CLOCK_MONOTONIC`, nanoseconds.
    pub accepted_at: u64,
    /// The client. Travels here because `getpeername` fails once the client has reset.
    pub peer: Address,
    /// The address of the listener; may be a wildcard.
    pub local: Address,
}

impl Record {
    /// Encoded size, bytes.
    pub const LEN: usize = 80;
    const NONBLOCKING: u16 = 1;

    /// A record without a connection.
    pub fn control(kind: Kind, listener: u16) -> Self {
        Self {
            kind,
            nonblocking: false,
            attempt: 0,
            listener,
            connection: 0,
            accepted_at: 0,
            peer: Address::default(),
            local: Address::default(),
        }
    }

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = PROTOCOL as u8;
        out[1] = self.kind as u8;
        out[2..4].copy_from_slice(
            &(if self.nonblocking {
                Self::NONBLOCKING
            } else {
                0
            })
            .to_le_bytes(),
        );
        out[4..6].copy_from_slice(&self.attempt.to_le_bytes());
        out[6..8].copy_from_slice(&self.listener.to_le_bytes());
        out[8..16].copy_from_slice(&self.connection.to_le_bytes());
        out[16..24].copy_from_slice(&self.accepted_at.to_le_bytes());
        put_address(&mut out, 24, &self.peer);
        put_address(&mut out, 52, &self.local);
        out
    }

    /// Reads a record; `None` for another length, version or kind.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LEN || bytes[0] != PROTOCOL as u8 {
            return None;
        }
        let kind = match bytes[1] {
            0 => Kind::Connection,
            1 => Kind::Wake,
            2 => Kind::Drain,
            _ => return None,
        };
        Some(Self {
            kind,
            nonblocking: u16_at(bytes, 2) & Self::NONBLOCKING != 0,
            attempt: u16_at(bytes, 4),
            listener: u16_at(bytes, 6),
            connection: u64_at(bytes, 8),
            accepted_at: u64_at(bytes, 16),
            peer: address_at(bytes, 24),
            local: address_at(bytes, 52),
        })
    }
}

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
    /// The worker, from [`ENV_WORKER`].
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

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn address_at(bytes: &[u8], at: usize) -> Address {
    let mut raw = [0; Address::LEN];
    raw.copy_from_slice(&bytes[at..at + Address::LEN]);
    Address::decode(&raw)
}

fn put_address(out: &mut [u8], at: usize, address: &Address) {
    let mut raw = [0; Address::LEN];
    address.encode(&mut raw);
    out[at..at + Address::LEN].copy_from_slice(&raw);
}
