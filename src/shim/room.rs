//! Proof that there is a number for one more descriptor, before a connection is taken off a channel: without
//! one, recvmsg(2) would take it and drop it (KF8).
//!
//! The kernel's accept(2) reserves its number first. That cannot be had with recvmsg(2), so what remains is a
//! race with other threads that open files in the last microsecond before the limit.

use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::sys::{self, EBADF, Errno};

/// How many proofs a limit is believed before it is read again.
const TURNS: u32 = 64;
/// How often the gate is tried. Its holder may be a thread that a fork left behind, or the one that a signal
/// handler has interrupted: after that it is passed without.
const PATIENCE: u32 = 2000;
/// Below this many numbers from the limit threads may pass without looking at each other.
const SPARE: u64 = 64;

/// Near the limit one thread at a time proves and receives, or two would count on the same number.
static GATE: AtomicBool = AtomicBool::new(false);

/// The gate is kept until this goes; `false` if there was no need for it.
pub struct Gate(bool);

impl Drop for Gate {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0 {
            GATE.store(false, Release);
        }
    }
}

/// Fails with `EMFILE` (or whatever the kernel says) if no number is free. What it returns is to be kept until
/// the number is used. `fd` is any open descriptor.
#[inline(always)]
pub fn prove(fd: i32) -> Result<Gate, Errno> {
    /// The limit, as last read.
    static LIMIT: AtomicU64 = AtomicU64::new(0);
    static TURN: AtomicU32 = AtomicU32::new(0);

    let mut limit = LIMIT.load(Relaxed);
    if TURN.fetch_add(1, Relaxed).is_multiple_of(TURNS) || limit == 0 {
        limit = sys::open_files_limit().unwrap_or(0);
        LIMIT.store(limit, Relaxed);
    }
    let last = limit.saturating_sub(SPARE).min(i32::MAX as u64) as i32;
    // Numbers are given out from below: if this one is free, it and those above are too, unless they have
    // been used up before. That costs least.
    if last > 0 && sys::descriptor_flags(last) == Err(EBADF) {
        return Ok(Gate(false));
    }
    near_the_limit(fd)
}

#[cold]
fn near_the_limit(fd: i32) -> Result<Gate, Errno> {
    let mut gate = Gate(false);
    for _ in 0..PATIENCE {
        if GATE.compare_exchange(false, true, Acquire, Relaxed).is_ok() {
            gate = Gate(true);
            break;
        }
        sys::give_way();
    }
    let proof = sys::duplicate(fd, 0)?;
    let _ = sys::close(proof);
    Ok(gate)
}
