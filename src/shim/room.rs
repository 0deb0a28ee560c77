//! Proof that there is a number for one more descriptor, before a connection is taken off a channel: without
//! one, recvmsg(2) would take it and drop it (KF8).
//!
//! The kernel's accept(2) reserves its number first. That cannot be had with recvmsg(2). Threads that accept
//! each prove a number of their own, so they never count on the same one; when those run out, one thread at a
//! time proves and receives. What remains is a race with threads that open files in the last microsecond
//! before the limit.

use core::hint::spin_loop;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Relaxed, SeqCst},
};

use crate::sys::{self, EBADF, Errno};

/// How often a thread looks before it goes on without its turn, because the one that it waits for is the very
/// thread that its signal handler has interrupted; about 30 ms, longer than a thread is off the processor.
const PATIENCE: u32 = 400;
/// How often of these without sleeping.
const SPINS: u32 = 100;
/// Sleep between later looks, nanoseconds.
const PAUSE: i64 = 50_000;

/// Bit per thread that counts on a number near the limit.
static SHARED: AtomicU64 = AtomicU64::new(0);
/// One thread counts on whatever number is left.
static ALONE: AtomicBool = AtomicBool::new(false);

/// A number that is free, as long as this is kept.
pub struct Room(Kind);

enum Kind {
    /// This bit of [`SHARED`].
    Shared(u64),
    /// [`ALONE`].
    Alone,
    /// Nobody could be waited for any longer.
    Unsure,
}

impl Drop for Room {
    #[inline(always)]
    fn drop(&mut self) {
        match self.0 {
            Kind::Shared(bit) => {
                SHARED.fetch_and(!bit, AcqRel);
            }
            Kind::Alone => ALONE.store(false, SeqCst),
            Kind::Unsure => {}
        }
    }
}

/// Forgets the threads that have not come along into the child of a fork.
pub fn after_fork() {
    SHARED.store(0, Relaxed);
    ALONE.store(false, Relaxed);
}

/// Fails with `EMFILE` (or whatever the kernel says) if no number is free. What it returns is to be kept until
/// the number is used. `fd` is any open descriptor.
#[inline(always)]
pub fn prove(fd: i32) -> Result<Room, Errno> {
    // Read each time: a program may lower it, and a limit believed for too long has lost connections.
    let limit = sys::open_files_limit().unwrap_or(0).min(i32::MAX as u64) as i32;
    if let Some((index, room)) = share()
        && index < limit
        && sys::descriptor_flags(limit - 1 - index) == Err(EBADF)
    {
        return Ok(room);
    }
    alone(fd)
}

/// A place among those that count on a number near the limit, unless one thread is alone.
#[inline(always)]
fn share() -> Option<(i32, Room)> {
    let mut seen = SHARED.load(Relaxed);
    let room = loop {
        let bit = !seen & seen.wrapping_add(1);
        if bit == 0 {
            return None;
        }
        match SHARED.compare_exchange_weak(seen, seen | bit, SeqCst, Relaxed) {
            Ok(_) => break Room(Kind::Shared(bit)),
            Err(now) => seen = now,
        }
    };
    let Kind::Shared(bit) = room.0 else {
        return None;
    };
    // Looked at only now: whoever is alone from here on waits for this place to be given up.
    (!ALONE.load(SeqCst)).then_some((bit.trailing_zeros() as i32, room))
}

/// Waits until no other thread counts on a number, and proves that there is one.
#[cold]
fn alone(fd: i32) -> Result<Room, Errno> {
    let free = || ALONE.compare_exchange(false, true, SeqCst, Relaxed).is_ok();
    let room = Room(if eventually(free) {
        Kind::Alone
    } else {
        Kind::Unsure
    });
    eventually(|| SHARED.load(SeqCst) == 0);
    let proof = sys::duplicate(fd, 0)?;
    let _ = sys::close(proof);
    Ok(room)
}

/// Looks until `look` is satisfied or patience ends.
fn eventually(look: impl Fn() -> bool) -> bool {
    for turn in 0..PATIENCE {
        if look() {
            return true;
        }
        if turn < SPINS {
            spin_loop();
        } else {
            sys::sleep(PAUSE);
        }
    }
    false
}
