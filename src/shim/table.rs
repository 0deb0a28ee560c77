//! What the shim knows about each descriptor of the process: one byte per number, no locks.
//!
//! The byte is a hint, never proof, because a descriptor can be closed behind the shim's back
//! (io_uring, a raw system call): whoever acts on a listener proves it by its inode first, and `accept`
//! notices a connection whose number is given out again. Numbers above [`SIZE`] are not known at all.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Descriptors that are known; the most a process may have by default is 1,048,576.
pub const SIZE: usize = 1 << 20;

/// A connection that came over a channel; asked for by [`is_connection`], since it may be a bit of an index.
pub const CONNECTION: u8 = 0x01;
/// With [`CONNECTION`]: an IPv6 socket whose addresses are shown as IPv4.
pub const AS_V4: u8 = 0x02;
/// With [`CONNECTION`]: an IPv4 socket whose addresses are shown as mapped IPv6.
pub const AS_V6: u8 = 0x04;
/// An epoll instance.
pub const EPOLL: u8 = 0x08;
/// With [`CONNECTION`]: its client is the one in [`crate::sources`], not the proxy that the kernel knows.
pub const PROXIED: u8 = 0x10;
/// With [`CONNECTION`]: a duplicate, whose connection is counted under another number.
const COPY: u8 = 0x20;
/// A listener; the other bits are its index in [`crate::listeners`].
const LISTENER: u8 = 0x80;

static BYTES: [AtomicU8; SIZE] = [const { AtomicU8::new(0) }; SIZE];
/// One above the highest number ever noted.
static HIGH: AtomicUsize = AtomicUsize::new(0);

/// The byte of `fd`; 0 for a number outside the table.
#[inline(always)]
pub fn get(fd: i32) -> u8 {
    BYTES.get(fd as usize).map_or(0, |byte| byte.load(Relaxed))
}

/// Notes what `fd` is; returns what it was.
#[inline]
pub fn set(fd: i32, value: u8) -> u8 {
    let Some(byte) = BYTES.get(fd as usize) else {
        return 0;
    };
    if value != 0 && HIGH.load(Relaxed) <= fd as usize {
        HIGH.fetch_max(fd as usize + 1, Relaxed);
    }
    byte.swap(value, Relaxed)
}

/// `byte` stands for a connection that came over a channel.
#[inline(always)]
pub fn is_connection(byte: u8) -> bool {
    byte & (LISTENER | CONNECTION) == CONNECTION
}

/// `byte` stands for a connection that counts as open until this number is closed.
#[inline(always)]
pub fn is_counted(byte: u8) -> bool {
    byte & (LISTENER | CONNECTION | COPY) == CONNECTION
}

/// `byte` stands for a connection of a proxy's, made for the client in [`crate::sources`].
#[inline(always)]
pub fn is_proxied(byte: u8) -> bool {
    is_connection(byte) && byte & PROXIED != 0
}

/// `byte` stands for a connection whose addresses are not all shown as the kernel has them.
#[inline(always)]
pub fn is_altered(byte: u8) -> bool {
    is_connection(byte) && byte & (AS_V4 | AS_V6 | PROXIED) != 0
}

/// The byte of a duplicate, if it is to be known as one.
#[inline(always)]
pub fn copy_of(byte: u8) -> Option<u8> {
    is_altered(byte).then_some(byte | COPY)
}

/// The index of the listener that `byte` stands for.
#[inline(always)]
pub fn listener_of(byte: u8) -> Option<usize> {
    (byte & LISTENER != 0).then_some((byte & !LISTENER) as usize)
}

/// The byte of the listener with this index.
pub fn listener_byte(index: usize) -> u8 {
    LISTENER | index as u8
}

/// Calls `look` with each number from `first` to `last` that has something noted, and what.
pub fn each(first: u32, last: u32, mut look: impl FnMut(i32, u8)) {
    let end = HIGH.load(Relaxed).min((last as usize).saturating_add(1));
    let Some(bytes) = BYTES.get(first as usize..end) else {
        return;
    };
    for (offset, byte) in bytes.iter().enumerate() {
        let value = byte.load(Relaxed);
        if value != 0 {
            look((first as usize + offset) as i32, value);
        }
    }
}
