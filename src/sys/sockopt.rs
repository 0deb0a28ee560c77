//! Socket options by number: what a server had set on its own socket is set on the primary's in its stead,
//! and what the kernel says of an accept queue.
//!
//! Decides nothing: which options may be set is [`crate::primary::listeners`]' business, since a pointer
//! hidden in a value (`SO_ATTACH_FILTER`) would be read in this process.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// setsockopt(2) with the value's plain bytes. Never to be called for an option whose value holds a pointer.
///
/// # Errors
/// Those of setsockopt(2).
pub fn set(socket: impl AsFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the fd is open as long as `socket` is borrowed; the kernel reads `value.len()` bytes at `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// getsockopt(2) of an option that is one `int`.
///
/// # Errors
/// Those of getsockopt(2).
pub fn get(socket: impl AsFd, level: i32, name: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `value`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The accept queue of a listening TCP socket: connections waiting in it, and its limit. tcp(7): for a
/// listener `tcpi_unacked` and `tcpi_sacked` carry these two.
///
/// # Errors
/// Those of getsockopt(2): `EOPNOTSUPP` for a socket that is not TCP.
pub fn accept_queue(listener: impl AsFd) -> io::Result<(u32, u32)> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `info`; what it does not write stays zero.
    let result = unsafe {
        libc::getsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all of `info` is initialised (zeroed above), and any bit pattern is a `tcp_info`.
    let info = unsafe { info.assume_init() };
    Ok((info.tcpi_unacked, info.tcpi_sacked))
}
