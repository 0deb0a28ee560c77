//! An address in fixed bytes, and how numbers stand in all of these messages.

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

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

pub(super) fn address_at(bytes: &[u8], at: usize) -> Address {
    let mut raw = [0; Address::LEN];
    raw.copy_from_slice(&bytes[at..at + Address::LEN]);
    Address::decode(&raw)
}

pub(super) fn put_address(out: &mut [u8], at: usize, address: &Address) {
    let mut raw = [0; Address::LEN];
    address.encode(&mut raw);
    out[at..at + Address::LEN].copy_from_slice(&raw);
}
