//! The board of backends: sealed memory that the primary and all proxy workers of one app map.
//!
//! The primary writes the plan (which backends there are, and how a session is to be treated: JSON of
//! [`Plan`](crate::config::proxy::Plan)) and what each backend gets now; the workers write what they see of it. All
//! fields are atomics and nobody waits on anybody. Whoever reads takes every number for a hint: a worker that has
//! gone mad may mislead the choice, never crash or block another.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use crate::scoreboard::{BUCKETS, bucket};

/// First word: "FFBB".
pub const MAGIC: u32 = 0x4242_4646;
/// Raised when the layout changes.
pub const VERSION: u32 = 1;
/// Most backends at a time, by address: a name with three addresses is three.
pub const BACKENDS: usize = 512;
/// Most proxy workers at a time, those that leave included.
pub const ROWS: usize = 2048;
/// The longest plan, bytes.
pub const PLAN_MAX: usize = 512 * 1024;
/// What the weight 1 is in [`Entry::weight`]: a backend in its slow start gets parts of it.
pub const UNIT: u32 = 256;

/// The shared memory. All zero but for the head, which the primary writes before anybody else sees it.
#[repr(C)]
pub struct BackendBoard {
    /// [`MAGIC`].
    pub magic: AtomicU32,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// Which plan holds; 0: none yet. Raised once the plan of that number is whole.
    pub generation: AtomicU64,
    /// Whose turn it is in round robin, over all workers.
    pub turn: AtomicU64,
    /// Sessions of all workers that wait for room at a backend.
    pub waiting: AtomicU64,
    /// Clients that no backend served and that were reset for it, by [`TurnedAway`].
    pub turned_away: [AtomicU64; TurnedAway::ALL.len()],
    /// Connects to backends for which no port of our own was free.
    pub without_port: AtomicU64,
    /// One for each backend of the plan, by its place there.
    pub entries: [Entry; BACKENDS],
    /// Whose the rows are: pids; 0: nobody's. Apart from the rows, so that to look for one touches few pages.
    pub owners: [AtomicU32; ROWS],
    /// One for each worker: what is to be taken back from the entries when it dies.
    pub rows: [Row; ROWS],
    plans: [PlanText; 2],
}

/// Why a client was served by no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// No backend gets sessions now.
    Shut,
    /// Those that were tried could not be connected to.
    Unreachable,
    /// All were full, and as many sessions waited as may.
    QueueFull,
    /// All were full for longer than a session waits.
    QueueTimeout,
    /// The worker had no descriptor or memory left.
    Exhausted,
    /// No port was left to connect from.
    NoPort,
}

impl TurnedAway {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Shut,
        Self::Unreachable,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Exhausted,
        Self::NoPort,
    ];
}

impl std::fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shut => "no backend takes sessions",
            Self::Unreachable => "no backend could be connected to",
            Self::QueueFull => "all backends are full, and too many sessions wait already",
            Self::QueueTimeout => "all backends were full for too long",
            Self::Exhausted => "the worker has no file descriptor or memory left",
            Self::NoPort => "no port is left to connect to a backend from",
        })
    }
}

/// One backend.
#[repr(C, align(128))]
pub struct Entry {
    /// Written by the primary: what it gets compared with others, in parts of [`UNIT`]; 0: nothing new. Health,
    /// drain, slow start, backups and failing open are in it already.
    pub weight: AtomicU32,
    /// Written by the primary: raised when its sessions are to be ended now (`--on-down kill`, a drain's deadline).
    pub cut: AtomicU32,
    /// Sessions that are open or connecting, of all workers. May be off by a few after a `kill -9`.
    pub open: AtomicU32,
    /// Connects that failed since the last that did not.
    pub failing: AtomicU32,
    /// The errno of the last that failed.
    pub last_error: AtomicU32,
    /// Written by the primary: so many failures in a row are to be reported at once.
    pub report_at: AtomicU32,
    /// Connects that came about.
    pub connects: AtomicU64,
    /// Connects that failed.
    pub failures: AtomicU64,
    /// Sessions that tried again, at another backend if there was one, since this one could not be connected to.
    pub retried: AtomicU64,
    /// Bytes from clients to it.
    pub bytes_in: AtomicU64,
    /// Bytes from it to clients.
    pub bytes_out: AtomicU64,
    /// How long connects took, by [`bucket`] of µs.
    pub connect_us: [AtomicU64; BUCKETS],
    /// All of them together, µs.
    pub connect_time: AtomicU64,
    /// The longest, µs.
    pub connect_longest: AtomicU64,
}

// Counts that came later lie where nothing was: workers of another version share the board.
const _: () = assert!(std::mem::offset_of!(BackendBoard, entries) == 128);

impl Entry {
    /// A connect came about after so many µs.
    pub fn connected(&self, us: u64) {
        self.failing.store(0, Relaxed);
        self.connects.fetch_add(1, Relaxed);
        self.connect_us[bucket(us)].fetch_add(1, Relaxed);
        self.connect_time.fetch_add(us, Relaxed);
        self.connect_longest.fetch_max(us, Relaxed);
    }
}

/// What one worker has in the entries.
#[repr(C, align(64))]
pub struct Row {
    /// Its part of [`Entry::open`].
    pub open: [AtomicU32; BACKENDS],
    /// Its part of [`BackendBoard::waiting`].
    pub waiting: AtomicU32,
}

#[repr(C, align(64))]
struct PlanText {
    length: AtomicU64,
    words: [AtomicU64; PLAN_MAX / 8],
}

impl BackendBoard {
    /// Writes the next plan. Only the primary does, one thread of it.
    ///
    /// # Errors
    /// It is longer than [`PLAN_MAX`].
    pub fn publish(&self, text: &[u8]) -> Result<u64, usize> {
        if text.len() > PLAN_MAX {
            return Err(text.len());
        }
        // 0 means that there is none, and a worker that has gone mad may have written anything.
        let next = self.generation.load(Relaxed).wrapping_add(1).max(1);
        let plan = &self.plans[(next % 2) as usize];
        // Who sees a word of this text sees the number of the one before it too, so that it takes no mixture for whole.
        fence(Release);
        for (word, bytes) in plan.words.iter().zip(text.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        plan.length.store(text.len() as u64, Relaxed);
        self.generation.store(next, Release);
        Ok(next)
    }

    /// The plan that holds, and its number; `None`: there is none yet, or it is being replaced twice over while we
    /// read, so look again.
    pub fn plan(&self) -> Option<(u64, Vec<u8>)> {
        let generation = self.generation.load(Acquire);
        let plan = &self.plans[(generation % 2) as usize];
        let length = usize::try_from(plan.length.load(Relaxed)).ok()?;
        if generation == 0 || length > PLAN_MAX {
            return None;
        }
        let words = plan.words[..length.div_ceil(8)].iter();
        let mut text: Vec<u8> = words
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect();
        text.truncate(length);
        fence(Acquire);
        // The text of this number is overwritten only once the next one holds.
        (self.generation.load(Relaxed) == generation).then_some((generation, text))
    }

    /// A row for the worker `pid`: its own, or a free one. `None`: all are taken.
    pub fn claim_row(&self, pid: u32) -> Option<usize> {
        let free = |owner: &AtomicU32| {
            let claimed = owner.compare_exchange(0, pid, Relaxed, Relaxed);
            claimed.is_ok()
        };
        self.row_of(pid)
            .or_else(|| self.owners.iter().position(free))
    }

    /// The worker `pid` is dead: what it had counts no more. Only the primary does this.
    pub fn strike(&self, pid: u32) {
        let Some(at) = self.row_of(pid) else {
            return;
        };
        let row = &self.rows[at];
        for (entry, open) in self.entries.iter().zip(&row.open) {
            lower(&entry.open, open.swap(0, Relaxed));
        }
        let waiting = u64::from(row.waiting.swap(0, Relaxed));
        let _ = self
            .waiting
            .fetch_update(Relaxed, Relaxed, |all| Some(all.saturating_sub(waiting)));
        self.owners[at].store(0, Release);
    }

    fn row_of(&self, pid: u32) -> Option<usize> {
        let mut owners = self.owners.iter();
        owners.position(|owner| owner.load(Relaxed) == pid)
    }

    /// The worker of `row` has one session more at the backend `at`.
    pub fn opened(&self, row: usize, at: usize) {
        // The row first: a worker that is killed in between leaves a number that is too low, and that heals.
        self.rows[row].open[at].fetch_add(1, Relaxed);
        self.entries[at].open.fetch_add(1, Relaxed);
    }

    /// As [`opened`](Self::opened), unless `most` sessions are open there already.
    pub fn opened_within(&self, row: usize, at: usize, most: u32) -> bool {
        let more = |open: u32| (open < most).then_some(open + 1);
        self.rows[row].open[at].fetch_add(1, Relaxed);
        let open = &self.entries[at].open;
        let granted = open.fetch_update(Relaxed, Relaxed, more).is_ok();
        if !granted {
            lower(&self.rows[row].open[at], 1);
        }
        granted
    }

    /// The worker of `row` has one session less there.
    pub fn closed(&self, row: usize, at: usize) {
        lower(&self.entries[at].open, 1);
        lower(&self.rows[row].open[at], 1);
    }
}

impl BackendBoard {
    /// The worker of `row` has one session more that waits for room.
    pub fn waits(&self, row: usize) {
        self.rows[row].waiting.fetch_add(1, Relaxed);
        self.waiting.fetch_add(1, Relaxed);
    }

    /// The worker of `row` has one session less that waits.
    pub fn waits_no_more(&self, row: usize) {
        let waiting = &self.waiting;
        let _ = waiting.fetch_update(Relaxed, Relaxed, |all| Some(all.saturating_sub(1)));
        lower(&self.rows[row].waiting, 1);
    }
}

/// Never below zero, whatever was counted wrong.
fn lower(count: &AtomicU32, by: u32) {
    if by != 0 {
        let _ = count.fetch_update(Relaxed, Relaxed, |now| Some(now.saturating_sub(by)));
    }
}

#[cfg(test)]
mod tests {
    use crate::sys::board;

    use super::*;

    #[test]
    fn a_plan_is_read_whole_whatever_its_number() {
        let board = board::Backends::fresh().unwrap();
        assert_eq!(board.plan(), None);
        assert_eq!(board.publish(b"one"), Ok(1));
        assert_eq!(board.plan(), Some((1, b"one".to_vec())));
        assert_eq!(board.publish(b"another one"), Ok(2));
        assert_eq!(board.plan(), Some((2, b"another one".to_vec())));
        assert_eq!(board.publish(&[0; PLAN_MAX + 1]), Err(PLAN_MAX + 1));
        // Somebody has gone mad.
        board.generation.store(u64::MAX, Relaxed);
        assert_eq!(board.publish(b"a third"), Ok(1));
        assert_eq!(board.plan(), Some((1, b"a third".to_vec())));
    }
}
