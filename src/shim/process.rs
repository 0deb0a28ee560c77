//! This process as one of the worker's: its entry in the scoreboard, and whether it is a fork of the one
//! that joined.
//!
//! A page under `MADV_WIPEONFORK` holds the pid. After a fork it reads zero, so the child knows itself for
//! new without any `pthread_atfork`; in a vfork child, which borrows the parent's memory, it holds
//! another pid than the kernel's, and then nothing here may be changed. Nothing is allocated until the
//! worker's first channel arrives, so helpers pay nothing.

use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::room;
use crate::scoreboard::{MAGIC, PROCESSES, Process, SIZE, Scoreboard};
use crate::sys::{self, ESRCH};
use crate::table::{self, EPOLL};

/// Size of the page that a fork wipes; the largest page there is on the machines we know.
const PAGE: usize = 65_536;

/// [`Local::entry`] right after a fork.
const UNKNOWN: u32 = 0;
/// [`Local::entry`] while there is none.
const NONE: u32 = u32::MAX;

/// What a fork must not copy.
pub struct Local {
    /// The process this is; 0 right after a fork.
    pid: AtomicU32,
    /// Index of the entry in the scoreboard, plus 1; [`UNKNOWN`] until it is claimed, [`NONE`] meanwhile.
    entry: AtomicU32,
    /// The thread that took the last connection.
    taker: AtomicUsize,
    /// Bit per listener of which this very process has taken connections or for which it listened.
    used: [AtomicU32; 2],
}

static LOCAL: AtomicPtr<Local> = AtomicPtr::new(null_mut());
static BOARD: AtomicPtr<Scoreboard> = AtomicPtr::new(null_mut());
/// 1 in the process that joined by itself, as opposed to its forks: it has no inherited epoll instance.
static JOINED_AS: AtomicU32 = AtomicU32::new(0);

/// Maps the scoreboard that came with a channel, once; the descriptor is closed in any case.
pub fn join(board: i32) {
    if board >= 0 {
        if BOARD.load(Acquire).is_null()
            && let Ok(page) = sys::map(board, SIZE)
        {
            let page = page.cast::<Scoreboard>();
            // SAFETY: SIZE bytes, just mapped, sealed against shrinking by the primary; all atomics.
            if unsafe { (*page).magic.load(Relaxed) } == MAGIC {
                BOARD.store(page, Release);
            }
        }
        let _ = sys::close(board);
    }
    if LOCAL.load(Acquire).is_null()
        && let Ok(page) = sys::map(-1, PAGE)
    {
        let _ = sys::wipe_on_fork(page, PAGE);
        JOINED_AS.store(sys::getpid(), Relaxed);
        // SAFETY: PAGE bytes, just mapped and zero, which is a valid `Local`; never unmapped.
        register(unsafe { &*page.cast::<Local>() });
        LOCAL.store(page.cast(), Release);
    }
}

/// The scoreboard, once the worker has joined.
#[inline(always)]
pub fn board() -> Option<&'static Scoreboard> {
    let page = BOARD.load(Acquire);
    // SAFETY: mapped in `join`, never unmapped; all atomics.
    unsafe { page.as_ref() }
}

/// The process's own page; `None` before the worker has joined. A fork registers itself here.
#[inline(always)]
fn local() -> Option<&'static Local> {
    let page = LOCAL.load(Acquire);
    // SAFETY: mapped in `join`, never unmapped; all atomics, for which zeroes are valid.
    let local = unsafe { page.as_ref() }?;
    if local.entry.load(Relaxed) == UNKNOWN {
        register(local);
    }
    Some(local)
}

/// This process, or the one it was forked from, has a listener.
pub fn has_joined() -> bool {
    !LOCAL.load(Acquire).is_null()
}

/// This process may change what the shim knows: it is no vfork child that borrows its parent's memory.
pub fn is_own_memory() -> bool {
    let page = LOCAL.load(Acquire);
    // SAFETY: as in `local`.
    let Some(local) = (unsafe { page.as_ref() }) else {
        return true;
    };
    let pid = local.pid.load(Relaxed);
    if pid != 0 && pid != sys::getpid() {
        return false;
    }
    if local.entry.load(Relaxed) == UNKNOWN {
        register(local);
    }
    true
}

/// A fork has just been made, and this is the child. It says who it is before it can make a vfork child of its
/// own, which would be taken for it; its entry in the scoreboard has time, since most children only exec.
pub fn begin() {
    let page = LOCAL.load(Acquire);
    // SAFETY: as in `local`.
    if let Some(local) = unsafe { page.as_ref() } {
        local.pid.store(sys::getpid(), Relaxed);
    }
}

/// This process joined by itself and is no fork of one that did.
pub fn is_original() -> bool {
    JOINED_AS.load(Relaxed) == sys::getpid()
}

/// Who is to be told that the service is over: the process that joined, which looks after its forks and
/// would only replace one that ended by itself. This process, if it is that one or has lost it.
pub fn head() -> u32 {
    let joined = JOINED_AS.load(Relaxed);
    if sys::getppid() == joined {
        joined
    } else {
        sys::getpid()
    }
}

/// Notes that this very process uses the listener.
#[inline(always)]
pub fn note_use(listener: usize) {
    let Some(word) = local().and_then(|local| local.used.get(listener / 32)) else {
        return;
    };
    let bit = 1 << (listener % 32);
    if word.load(Relaxed) & bit == 0 {
        word.fetch_or(bit, Relaxed);
    }
}

/// This very process has taken connections from the listener, or listened on it.
pub fn has_used(listener: usize) -> bool {
    local()
        .and_then(|local| local.used.get(listener / 32))
        .is_some_and(|word| word.load(Relaxed) & (1 << (listener % 32)) != 0)
}

/// Counts one connection that this process holds from now on, and remembers the thread that took it.
#[inline(always)]
pub fn note_opened() {
    if let Some(local) = local() {
        local.taker.store(crate::arch::thread(), Relaxed);
        if let (Some(board), Some(entry)) = (board(), entry_of(local)) {
            board.note_opened(entry, 1);
        }
    }
}

/// Counts one connection that this process holds no longer.
#[inline(always)]
pub fn note_closed() {
    if let (Some(board), Some(entry)) = (board(), local().and_then(entry_of)) {
        board.note_closed(entry, 1);
    }
}

/// While it lives, the scoreboard says that the thread that takes connections sleeps in the kernel.
pub struct Asleep(Option<&'static Process>);

impl Asleep {
    /// The calling thread is about to wait; nothing is said if it is not the one that takes connections.
    #[inline(always)]
    pub fn begin() -> Self {
        let page = LOCAL.load(Acquire);
        // SAFETY: as in `local`. A fresh fork reads a taker of 0, which is no thread.
        let entry = unsafe { page.as_ref() }
            .filter(|local| local.taker.load(Relaxed) == crate::arch::thread())
            .and_then(entry_of);
        if let Some(entry) = entry {
            // Only this thread writes it, so a plain add will do.
            entry
                .loops
                .store(entry.loops.load(Relaxed).wrapping_add(1), Relaxed);
            entry.asleep.store(1, Relaxed);
        }
        Self(entry)
    }
}

impl Drop for Asleep {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            entry.asleep.store(0, Relaxed);
        }
    }
}

/// Gives the entry back. For the destructor; a process that is killed leaves it to its successor.
pub fn leave() {
    let page = LOCAL.load(Acquire);
    // SAFETY: as in `local`.
    let Some(local) = (unsafe { page.as_ref() }) else {
        return;
    };
    let pid = local.pid.load(Relaxed);
    if pid == 0 || pid != sys::getpid() {
        return;
    }
    if let (Some(board), Some(entry)) = (board(), entry_of(local)) {
        board.strike(entry, pid);
    }
}

#[inline(always)]
fn entry_of(local: &Local) -> Option<&'static Process> {
    let index = (local.entry.load(Relaxed) as usize).checked_sub(1)?;
    board()?.processes.get(index)
}

/// A process that the page does not know: it joins, or is a fork. It holds what its parent held.
#[cold]
fn register(local: &Local) {
    let pid = sys::getpid();
    let known = local.pid.compare_exchange(0, pid, AcqRel, Relaxed);
    if known.is_err_and(|other| other != pid) {
        return;
    }
    let first = local.entry.compare_exchange(UNKNOWN, NONE, AcqRel, Relaxed);
    if first.is_err() {
        return;
    }
    room::after_fork();
    let mut inherited = 0;
    table::each(0, u32::MAX, |fd, byte| {
        if table::is_counted(byte) {
            inherited += 1;
        } else if byte == EPOLL && JOINED_AS.load(Relaxed) != pid {
            // Shared with the parent, whose registrations are not this process's to take away.
            table::set(fd, 0);
        }
    });
    let Some(board) = board() else { return };
    let index = claim(board, pid, inherited);
    local.entry.store(index as u32 + 1, Relaxed);
}

/// Finds an entry for `pid`: its own (it was exec'd), a free one, a dead process's, or the last, shared.
fn claim(board: &Scoreboard, pid: u32, inherited: u64) -> usize {
    let entries = &board.processes;
    for entry in entries {
        let holder = entry.pid.load(Relaxed);
        if holder == pid || (holder != 0 && sys::kill(holder, 0) == Err(ESRCH)) {
            board.strike(entry, holder);
        }
    }
    let free = |entry: &Process| {
        let taken = entry.pid.compare_exchange(0, pid, AcqRel, Relaxed);
        taken.is_ok()
    };
    let index = entries.iter().position(free).unwrap_or(PROCESSES - 1);
    if let Some(entry) = entries.get(index) {
        board.note_opened(entry, inherited);
    }
    index
}
