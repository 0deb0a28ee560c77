//! Who this process is to the primary, from three environment variables, read once by the constructor.
//!
//! Without them the shim does nothing at all.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::next;
use crate::wire::{ENV_PRIMARY, ENV_RENDEZVOUS, ENV_WORKER};

/// The most bytes of a path that fit into a `sockaddr_un`, with its closing zero.
const PATH_MAX: usize = 107;

struct Path(UnsafeCell<[u8; PATH_MAX]>);

// SAFETY: written by the constructor alone, before `PATH_LEN` says that there is something to read.
unsafe impl Sync for Path {}

static PATH: Path = Path(UnsafeCell::new([0; PATH_MAX]));
static PATH_LEN: AtomicUsize = AtomicUsize::new(0);
static WORKER: AtomicU64 = AtomicU64::new(0);
static PRIMARY: AtomicU32 = AtomicU32::new(0);

/// Reads the variables. For the constructor.
pub fn read() {
    next::environment(|entry| {
        if let Some(path) = value(entry, ENV_RENDEZVOUS) {
            keep_path(path);
        } else if let Some(id) = value(entry, ENV_WORKER) {
            WORKER.store(number(id), Relaxed);
        } else if let Some(pid) = value(entry, ENV_PRIMARY) {
            PRIMARY.store(number(pid) as u32, Relaxed);
        }
    });
}

/// This process belongs to a worker.
#[inline(always)]
pub fn is_worker() -> bool {
    PATH_LEN.load(Relaxed) != 0
}

/// Path of the rendezvous socket; empty outside a worker.
pub fn rendezvous() -> &'static [u8] {
    let len = PATH_LEN.load(Relaxed);
    // SAFETY: not written after the constructor, see `Path`.
    let path: &'static [u8; PATH_MAX] = unsafe { &*PATH.0.get() };
    path.get(..len).unwrap_or(&[])
}

/// The worker's id.
pub fn worker() -> u64 {
    WORKER.load(Relaxed)
}

/// The primary's pid.
pub fn primary() -> u32 {
    PRIMARY.load(Relaxed)
}

fn keep_path(path: &[u8]) {
    if path.len() > PATH_MAX {
        return;
    }
    // SAFETY: the constructor is the only writer and runs before any other code of the shim.
    let kept = unsafe { &mut *PATH.0.get() };
    if let Some(room) = kept.get_mut(..path.len()) {
        room.copy_from_slice(path);
        PATH_LEN.store(path.len(), Relaxed);
    }
}

fn value<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .fold(0, |sum: u64, digit| {
            sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
        })
}
