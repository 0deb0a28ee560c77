//! The hand-off record: what a channel carries.

use super::PROTOCOL;
use super::address::{Address, address_at, put_address, u16_at, u64_at};

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

/// What a connection belongs to, as far as that is known: the primary's own note, for when it reads the record
/// back. Nothing to the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Belongs {
    /// To its client's address.
    #[default]
    Address,
    /// To nothing: anybody may serve it.
    Nothing,
    /// To the key with this hash.
    Key(u64),
    /// To this slot, by its own word.
    Slot(u16),
}

/// The hand-off record: one per message on a channel.
///
/// 88 bytes, so that a message costs the smallest skb there is (768 bytes of send buffer) and
/// `SIOCINQ / Record::LEN` is the exact length of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the message is.
    pub kind: Kind,
    /// The connection's file description has `O_NONBLOCK` set.
    pub nonblocking: bool,
    /// `peer` is who a trusted proxy said it is, and getpeername(2) tells the proxy.
    pub proxied: bool,
    /// How often this connection was read back and dealt again.
    pub attempt: u16,
    /// Which of the primary's listeners accepted it.
    pub listener: u16,
    /// Never reused by this primary.
    pub connection: u64,
    /// When the primary accepted it, or knew where it goes if that took some of its first bytes: from then on it
    /// waits for a worker. `CLOCK_MONOTONIC`, nanoseconds.
    pub accepted_at: u64,
    /// The client. Travels here because `getpeername` fails once the client has reset.
    pub peer: Address,
    /// The address of the listener; may be a wildcard.
    pub local: Address,
    /// What it belongs to.
    pub belongs: Belongs,
}

impl Record {
    /// Encoded size, bytes.
    pub const LEN: usize = 88;
    const NONBLOCKING: u16 = 1;
    const PROXIED: u16 = 2;
    /// Two bits for the kind of [`Belongs`].
    const BELONGS_SHIFT: u16 = 2;

    /// A record without a connection.
    pub fn control(kind: Kind, listener: u16) -> Self {
        Self {
            kind,
            nonblocking: false,
            proxied: false,
            attempt: 0,
            listener,
            connection: 0,
            accepted_at: 0,
            peer: Address::default(),
            local: Address::default(),
            belongs: Belongs::Address,
        }
    }

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = PROTOCOL as u8;
        out[1] = self.kind as u8;
        let (belongs, to) = match self.belongs {
            Belongs::Address => (0, 0),
            Belongs::Nothing => (1, 0),
            Belongs::Key(hash) => (2, hash),
            Belongs::Slot(slot) => (3, slot.into()),
        };
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let flags = flag(self.nonblocking, Self::NONBLOCKING)
            | flag(self.proxied, Self::PROXIED)
            | belongs << Self::BELONGS_SHIFT;
        out[2..4].copy_from_slice(&flags.to_le_bytes());
        out[4..6].copy_from_slice(&self.attempt.to_le_bytes());
        out[6..8].copy_from_slice(&self.listener.to_le_bytes());
        out[8..16].copy_from_slice(&self.connection.to_le_bytes());
        out[16..24].copy_from_slice(&self.accepted_at.to_le_bytes());
        put_address(&mut out, 24, &self.peer);
        put_address(&mut out, 52, &self.local);
        out[80..88].copy_from_slice(&to.to_le_bytes());
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
        let (flags, to) = (u16_at(bytes, 2), u64_at(bytes, 80));
        let belongs = match flags >> Self::BELONGS_SHIFT & 3 {
            0 => Belongs::Address,
            1 => Belongs::Nothing,
            2 => Belongs::Key(to),
            _ => Belongs::Slot(to as u16),
        };
        Some(Self {
            kind,
            nonblocking: flags & Self::NONBLOCKING != 0,
            proxied: flags & Self::PROXIED != 0,
            attempt: u16_at(bytes, 4),
            listener: u16_at(bytes, 6),
            connection: u64_at(bytes, 8),
            accepted_at: u64_at(bytes, 16),
            peer: address_at(bytes, 24),
            local: address_at(bytes, 52),
            belongs,
        })
    }
}
