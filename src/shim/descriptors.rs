//! Descriptors that end or change their meaning: close and its relatives, dup over, new epoll instances.
//!
//! Nothing is noted in a vfork child, which works in its parent's memory.

use crate::arch::number as nr;
use crate::sys::{self, Errno, forward};
use crate::table::{self, EPOLL, PROXIED};
use crate::{bind, environment, listeners, process, sources};

const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// close(2).
#[inline]
pub fn close(fd: i32) -> Result<usize, Errno> {
    let ended = end(fd, table::get(fd));
    let result = sys::close(fd);
    if let Some(index) = ended {
        bind::after_close(index);
    }
    result
}

/// close_range(2).
pub fn close_range(first: u32, last: u32, flags: u32) -> Result<usize, Errno> {
    // Bit per listener that ends here.
    let mut ended = 0_u64;
    if environment::is_worker() && flags & CLOSE_RANGE_CLOEXEC == 0 && first <= last {
        table::each(first, last, |fd, byte| {
            if let Some(index) = end(fd, byte) {
                ended |= 1_u64.checked_shl(index as u32).unwrap_or(0);
            }
        });
    }
    let arguments = [first as usize, last as usize, flags as usize, 0, 0, 0];
    let result = forward(nr::CLOSE_RANGE, arguments);
    for index in (0..64).filter(|index| ended & 1 << index != 0) {
        bind::after_close(index);
    }
    result
}

/// dup2(2).
pub fn dup2(old: i32, new: i32) -> Result<usize, Errno> {
    if old == new {
        return sys::descriptor_flags(old).map(|_| new as usize);
    }
    replace(old, new, 0)
}

/// dup3(2).
pub fn dup3(old: i32, new: i32, flags: i32) -> Result<usize, Errno> {
    replace(old, new, flags as usize)
}

/// dup(2), or fcntl(2) to the same end, just done: `new` is a duplicate of `old`, or negative.
#[inline]
pub fn note_copy(old: i32, new: i32) {
    if new >= 0
        && let Some(copy) = table::copy_of(table::get(old))
        && process::is_own_memory()
    {
        know(old, new, copy);
    }
}

/// epoll_create(2) or epoll_create1(2), just done.
pub fn note_epoll(made: Result<usize, Errno>) -> Result<usize, Errno> {
    if environment::is_worker()
        && let Ok(fd) = made
        && process::is_own_memory()
    {
        table::set(fd as i32, EPOLL);
    }
    made
}

fn replace(old: i32, new: i32, flags: usize) -> Result<usize, Errno> {
    let was = table::get(new);
    let ended = if was != 0 && sys::descriptor_flags(old).is_ok() && old != new {
        end(new, was)
    } else {
        None
    };
    let result = sys::dup3(old, new, flags);
    if result.is_ok() {
        if table::listener_of(table::get(old)).is_some() && process::is_own_memory() {
            table::set(new, table::get(old));
        }
        note_copy(old, new);
    }
    if let Some(index) = ended {
        bind::after_close(index);
    }
    result
}

/// Notes `new` as a duplicate of the connection `old`, with the same client.
#[cold]
fn know(old: i32, new: i32, copy: u8) {
    let kept = copy & PROXIED == 0 || sources::of(old).is_some_and(|it| sources::keep(new, &it));
    let copy = if kept { copy } else { copy & !PROXIED };
    if table::is_counted(table::set(new, copy)) {
        // Its number was given out again, so the connection that had it was closed unseen.
        process::note_closed();
    }
}

/// Forgets `fd`, of which the table says `byte`; the index of the listener that it was.
#[inline]
fn end(fd: i32, byte: u8) -> Option<usize> {
    // Before the worker has joined nobody can tell a vfork child, and an epoll instance may be noted that is
    // no more.
    if byte == 0 || byte == EPOLL && !process::has_joined() || !process::is_own_memory() {
        return None;
    }
    // Before it is closed: afterwards another thread may be given the number.
    table::set(fd, 0);
    if table::is_counted(byte) {
        process::note_closed();
        return None;
    }
    let index = table::listener_of(byte)?;
    let inode = listeners::at(index)?.inode();
    if sys::inode(fd) != Ok(inode) {
        return None;
    }
    bind::before_close(fd);
    Some(index)
}
