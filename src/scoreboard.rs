//! The scoreboard: one sealed page pair per worker, mapped by the primary and by every process of the
//! worker that takes connections. It carries what the worker's side knows for nothing.
//!
//! Shared with the preload shim, which includes this very file: `core` only. All fields are atomics, all
//! accesses `Relaxed` or `Acquire`/`Release`; nobody ever waits on it. The primary treats it as untrusted
//! input: it may mislead the choice, never crash or block.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};

/// First word of a scoreboard: "FFSB".
pub const MAGIC: u32 = 0x4253_4646;
/// Size of the shared mapping, bytes.
pub const SIZE: usize = 8192;
/// Processes of one worker that are counted apart; further ones share the last entry.
pub const PROCESSES: usize = 48;
/// Channels (listeners) of one worker.
pub const CHANNELS: usize = 16;
/// Stands for the pid of a process that is just being struck: above all that Linux gives out.
const STRUCK: u32 = i32::MAX as u32;
/// More connections than any process can hold: so many of all workers can be added up without overflow, whatever a
/// hostile page says.
const MOST_OPEN: u64 = 1 << 32;
/// Buckets of the queue-wait histogram: four to each power of two, from 1 µs to 2^24 µs (16.8 s).
pub const BUCKETS: usize = 96;

/// The shared page. All zero but for the head, which the primary writes before anybody else sees it.
#[repr(C)]
pub struct Scoreboard {
    /// [`MAGIC`].
    pub magic: AtomicU32,
    /// [`crate::wire::PROTOCOL`].
    pub version: AtomicU32,
    /// The worker's slot.
    pub slot: AtomicU32,
    /// Set to 1 by the primary when this worker gets nothing more.
    pub draining: AtomicU32,
    /// The worker's id.
    pub worker: AtomicU64,
    /// Longest wait from the primary's accept to the worker's, µs.
    pub longest_wait: AtomicU64,
    /// Last time a connection was taken, `CLOCK_MONOTONIC`, nanoseconds.
    pub last_taken: AtomicU64,
    /// Connections that were received and could not be kept (`MSG_CTRUNC`): each one is a bug.
    pub truncated: AtomicU64,
    /// Set when the server asked for non-blocking connections: 1 yes, 2 no, 0 unknown.
    pub nonblocking: AtomicU32,
    pad: AtomicU32,
    /// Connections that came to be held: taken, and inherited by a fork. Sum over all processes, kept here
    /// too because the choice reads it for every connection.
    pub opened: AtomicU64,
    /// Connections closed, by all processes, dead ones included.
    pub closed: AtomicU64,
    /// Connections taken from each channel since the worker joined, by all its processes.
    pub taken: [AtomicU64; CHANNELS],
    /// Waits from the primary's accept to the worker's, by [`bucket`].
    pub waits: [AtomicU64; BUCKETS],
    /// What each process holds.
    pub processes: [Process; PROCESSES],
    /// All waits together, µs. At the end, where a shim of a former version leaves a zero.
    pub waited: AtomicU64,
}

/// What one process of a worker holds.
#[repr(C, align(64))]
pub struct Process {
    /// Its pid, 0 for a free entry.
    pub pid: AtomicU32,
    /// 1 while the thread that takes connections sleeps in the kernel.
    pub asleep: AtomicU32,
    /// How often that thread has gone to wait: a loop that turns.
    pub loops: AtomicU64,
    /// Connections taken, and those that came with a fork.
    pub opened: AtomicU64,
    /// Connections closed.
    pub closed: AtomicU64,
}

impl Scoreboard {
    /// Connections that the worker's processes hold open. Never negative, whatever the page says.
    pub fn open(&self) -> u64 {
        self.processes
            .iter()
            .filter(|process| process.pid.load(Relaxed) != 0)
            .map(Process::open)
            .sum()
    }

    /// Connections held open, by the two sums at the head: what the choice looks at.
    pub fn open_hint(&self) -> u64 {
        held(&self.opened, &self.closed)
    }

    /// Whether some process's thread that takes connections sleeps in the kernel right now.
    pub fn is_asleep(&self) -> bool {
        self.processes
            .iter()
            .take_while(|process| process.pid.load(Relaxed) != 0)
            .any(|process| process.asleep.load(Relaxed) != 0)
    }

    /// Notes that `process` holds `count` connections more.
    pub fn note_opened(&self, process: &Process, count: u64) {
        process.opened.fetch_add(count, Relaxed);
        self.opened.fetch_add(count, Relaxed);
    }

    /// Notes that `process` holds `count` connections less.
    pub fn note_closed(&self, process: &Process, count: u64) {
        process.closed.fetch_add(count, Relaxed);
        self.closed.fetch_add(count, Relaxed);
    }

    /// Strikes the process `holder`, which has died: what it held counts as closed, its entry is free again.
    /// Several may notice the death at once; one of them strikes.
    pub fn strike(&self, process: &Process, holder: u32) {
        let mine = process
            .pid
            .compare_exchange(holder, STRUCK, Relaxed, Relaxed)
            .is_ok();
        if holder == STRUCK || !mine {
            return;
        }
        self.closed.fetch_add(process.open(), Relaxed);
        process.opened.store(0, Relaxed);
        process.closed.store(0, Relaxed);
        process.asleep.store(0, Relaxed);
        process.pid.store(0, Release);
    }

    /// Connections taken from all channels.
    pub fn taken_in_all(&self) -> u64 {
        self.taken
            .iter()
            .fold(0, |sum, taken| sum.wrapping_add(taken.load(Relaxed)))
    }

    /// Notes one connection taken from `channel` after `waited` µs.
    pub fn note_taken(&self, channel: usize, waited: u64, now_ns: u64) {
        if let Some(taken) = self.taken.get(channel) {
            taken.fetch_add(1, Relaxed);
        }
        self.waits[bucket(waited)].fetch_add(1, Relaxed);
        self.waited.fetch_add(waited, Relaxed);
        self.last_taken.store(now_ns, Relaxed);
        if waited > self.longest_wait.load(Relaxed) {
            self.longest_wait.store(waited, Relaxed);
        }
    }
}

impl Process {
    /// Connections this process holds open.
    pub fn open(&self) -> u64 {
        held(&self.opened, &self.closed)
    }
}

fn held(opened: &AtomicU64, closed: &AtomicU64) -> u64 {
    let closed = closed.load(Relaxed);
    let open = opened.load(Relaxed).saturating_sub(closed);
    open.min(MOST_OPEN)
}

/// The histogram bucket of a wait of `us` microseconds.
pub fn bucket(us: u64) -> usize {
    if us < 4 {
        return us as usize;
    }
    let octave = 63 - us.leading_zeros() as usize;
    let quarter = (us >> (octave - 2)) as usize & 3;
    ((octave - 1) * 4 + quarter).min(BUCKETS - 1)
}

/// The smallest wait, µs, that falls into bucket `index`.
pub fn bucket_floor(index: usize) -> u64 {
    if index < 4 {
        return index as u64;
    }
    let octave = index / 4 + 1;
    ((4 + (index % 4)) as u64) << (octave - 2)
}
