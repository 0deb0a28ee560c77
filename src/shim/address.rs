//! Socket addresses as the C library's callers have them, to and from [`wire::Address`].
//!
//! Also how an address is shown in another family than its socket's: a server that bound IPv4 must never see a
//! mapped IPv6 client, and the reverse.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::sys::{AF_INET, AF_INET6, EFAULT, EINVAL, Errno};
use crate::wire::{Address, Family};

/// A `sockaddr_in` or `sockaddr_in6`, in bytes.
pub struct SockAddr {
    bytes: [u8; Self::V6_LEN],
    len: usize,
}

impl SockAddr {
    const V4_LEN: usize = 16;
    const V6_LEN: usize = 28;

    /// The address as the kernel would write it.
    pub fn encode(address: &Address) -> Self {
        let mut bytes = [0; Self::V6_LEN];
        let port = address.port.to_be_bytes();
        match address.family {
            Family::V4 => {
                bytes[0..2].copy_from_slice(&(AF_INET as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&port);
                bytes[4..8].copy_from_slice(&address.ip[..4]);
                Self {
                    bytes,
                    len: Self::V4_LEN,
                }
            }
            Family::V6 => {
                bytes[0..2].copy_from_slice(&(AF_INET6 as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&port);
                bytes[4..8].copy_from_slice(&address.flowinfo.to_ne_bytes());
                bytes[8..24].copy_from_slice(&address.ip);
                bytes[24..28].copy_from_slice(&address.scope.to_ne_bytes());
                Self {
                    bytes,
                    len: Self::V6_LEN,
                }
            }
            // AF_UNIX, unnamed: its family is all there is.
            Family::None => {
                bytes[0..2].copy_from_slice(&(crate::sys::AF_UNIX as u16).to_ne_bytes());
                Self { bytes, len: 2 }
            }
        }
    }

    /// Reads an address; `None` if it is neither IPv4 nor IPv6, or too short for its family.
    pub fn decode(bytes: &[u8]) -> Option<Address> {
        let family = i32::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let mut ip = [0; 16];
        match family {
            AF_INET if bytes.len() >= Self::V4_LEN => {
                ip[..4].copy_from_slice(&bytes[4..8]);
                Some(Address {
                    family: Family::V4,
                    port: u16::from_be_bytes([bytes[2], bytes[3]]),
                    flowinfo: 0,
                    scope: 0,
                    ip,
                })
            }
            AF_INET6 if bytes.len() >= Self::V6_LEN => {
                ip.copy_from_slice(&bytes[8..24]);
                Some(Address {
                    family: Family::V6,
                    port: u16::from_be_bytes([bytes[2], bytes[3]]),
                    flowinfo: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
                    scope: u32::from_ne_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]),
                    ip,
                })
            }
            _ => None,
        }
    }

    /// Writes the address where a caller of accept(2) or getsockname(2) wants it: cut to the room there
    /// is, with the full length told.
    ///
    /// # Safety
    /// `len` must be null or point to a `socklen_t`, and `to` be null or have room for as many bytes as it
    /// says, as those calls demand.
    pub unsafe fn write(&self, to: *mut u8, len: *mut u32) -> Result<(), Errno> {
        if len.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: not null, and the caller's promise.
        let room = unsafe { len.read() };
        if (room as i32) < 0 {
            return Err(EINVAL);
        }
        let count = self.len.min(room as usize);
        if to.is_null() && count > 0 {
            return Err(EFAULT);
        }
        // SAFETY: `to` has room for `room` bytes by the caller's promise; `count` is at most that.
        unsafe {
            core::ptr::copy_nonoverlapping(self.bytes.as_ptr(), to, count);
            len.write(self.len as u32);
        }
        Ok(())
    }

    /// Writes the address where a caller of getsockopt(2) wants `SO_PEERNAME`: as many bytes as asked for, of
    /// which there must not be more than the address has.
    ///
    /// # Safety
    /// As for [`SockAddr::write`].
    pub unsafe fn write_whole(&self, to: *mut u8, len: *mut u32) -> Result<usize, Errno> {
        // SAFETY: the caller's promise.
        let room = *unsafe { len.as_ref() }.ok_or(EFAULT)? as usize;
        let whole = self.bytes.get(..self.len).unwrap_or(&[]);
        let asked = whole.get(..room).ok_or(EINVAL)?;
        if to.is_null() && room > 0 {
            return Err(EFAULT);
        }
        // SAFETY: `to` has room for `room` bytes by the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(asked.as_ptr(), to, asked.len()) };
        Ok(0)
    }
}

/// An address that any thread may read and write; what is written meanwhile may be read in part.
pub struct SharedAddress([AtomicU32; Address::LEN / 4]);

impl SharedAddress {
    /// No address.
    pub const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; Address::LEN / 4])
    }

    /// What was stored last.
    pub fn load(&self) -> Address {
        let mut bytes = [0; Address::LEN];
        for (word, room) in self.0.iter().zip(bytes.chunks_exact_mut(4)) {
            room.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        Address::decode(&bytes)
    }

    /// Replaces it.
    pub fn store(&self, address: &Address) {
        let mut bytes = [0; Address::LEN];
        address.encode(&mut bytes);
        for (word, part) in self.0.iter().zip(bytes.chunks_exact(4)) {
            let value = u32::from_ne_bytes([part[0], part[1], part[2], part[3]]);
            word.store(value, Relaxed);
        }
    }
}

/// The same endpoint in this family; `None` if the family has no name for it.
fn translated(address: &Address, family: Family) -> Option<Address> {
    let mut ip = [0; 16];
    match (family, address.family) {
        (Family::V4, Family::V6) => ip[..4].copy_from_slice(&address.mapped_v4()?),
        (Family::V6, Family::V4) => {
            ip[10..12].copy_from_slice(&[0xff, 0xff]);
            ip[12..16].copy_from_slice(&address.ip[..4]);
        }
        (_, own) => return (own == family && own != Family::None).then_some(*address),
    }
    Some(Address {
        family,
        port: address.port,
        ip,
        ..Address::default()
    })
}

/// What a server of this family is shown of an endpoint, whatever it is. One that the family has no name for is
/// the loopback address if it is that by its own word (a Unix socket, `::1`), and otherwise the unspecified
/// address, which is nobody's and so is let in nowhere.
pub fn shown_in(address: &Address, family: Family) -> Address {
    const LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let is_local = address.family == Family::None || address.ip == LOOPBACK;
    translated(address, family).unwrap_or_else(|| {
        let mut ip = [0; 16];
        match family {
            Family::V4 if is_local => ip[..4].copy_from_slice(&[127, 0, 0, 1]),
            Family::V6 if is_local => ip = LOOPBACK,
            _ => {}
        }
        Address {
            family,
            port: address.port,
            ip,
            ..Address::default()
        }
    })
}
