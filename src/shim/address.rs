//! Socket addresses as the C library's callers have them, to and from [`wire::Address`].
//!
//! Also the two ways an address is shown in another family than its socket's: a server that bound IPv4
//! must never see a mapped IPv6 client, and the reverse.

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
}

/// The address as IPv4, if it is mapped; otherwise as it is.
pub fn unmapped(address: &Address) -> Address {
    let Some(v4) = address.mapped_v4() else {
        return *address;
    };
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&v4);
    Address {
        family: Family::V4,
        flowinfo: 0,
        scope: 0,
        ip,
        ..*address
    }
}

/// The address as IPv6, mapped if it is IPv4; otherwise as it is.
pub fn mapped(address: &Address) -> Address {
    if address.family != Family::V4 {
        return *address;
    }
    let mut ip = [0; 16];
    ip[10..12].copy_from_slice(&[0xff, 0xff]);
    ip[12..16].copy_from_slice(&address.ip[..4]);
    Address {
        family: Family::V6,
        ip,
        ..*address
    }
}
