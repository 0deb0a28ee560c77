//! One output behind a bounded queue: whoever has a line leaves it here and goes on; the writer thread
//! ([`super::writer`]) waits for the output in their place.
//!
//! The lock is held for moving a buffer, never across a system call on the output. So the writer can almost always
//! be paused between two writes, with what is left known to the byte.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use log::Level;
use serde::{Deserialize, Serialize};

use super::now_ms;
use crate::protocol::line::{Head, Look, Voice};
use crate::sys::handover::Bytes;

/// What the workers' lines may take up while they wait.
const BUDGET: usize = 4 * 1024 * 1024;

/// What our own lines may take up on top of it, so that they are not the first to be dropped.
const OWN_RESERVE: usize = 256 * 1024;

/// Lines are gathered up to this many bytes for one write.
const GATHER: usize = 64 * 1024;

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A worker's.
    Worker,
    /// Ours.
    Own,
}

/// Name of one file of several behind one output; none where the output is one.
pub type Name = Option<Arc<str>>;

/// One output.
#[derive(Debug)]
pub struct Sink {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
    /// Lines that no output took, since the start of the primary.
    lost: Arc<AtomicU64>,
}

/// What waits, and what the writer is to do beside writing it.
#[derive(Debug)]
pub(super) struct Queue {
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces` and in the writer's hands.
    bytes: usize,
    /// The writer has the first piece in its hands and writes from it right now.
    writing: bool,
    /// The writer is to begin no write.
    paused: bool,
    /// Lines dropped since the last that was taken, by the file that they were for.
    dropped: BTreeMap<Name, u64>,
    look: Look,
    /// Files are to be opened anew.
    pub(super) reopen: bool,
    /// Once all is written, this was the last of it.
    closed: bool,
}

/// Whole lines on their way.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) name: Name,
    pub(super) bytes: Vec<u8>,
    /// How many of them are written.
    pub(super) written: usize,
    /// Lines that are lost if it cannot be written.
    lines: u64,
    /// How many of those are not counted as lost yet: a note about lost lines stands for some that are.
    uncounted: u64,
}

/// What waits to be written, for the next image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwritten {
    bytes: Bytes,
    lines: u64,
    dropped: u64,
}

impl Sink {
    /// An output that nobody writes to yet.
    pub(super) fn new(look: Look, lost: &Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::new(look)),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            lost: Arc::clone(lost),
        })
    }

    /// Keeps the writer from beginning another write and waits until it is in none. False: at `deadline` it still
    /// was, and nobody knows what of it was written.
    pub fn pause(&self, deadline: Instant) -> bool {
        let mut queue = self.lock();
        queue.paused = true;
        self.wait_while(queue, deadline, |queue| queue.writing)
    }

    /// False: at `deadline` it was still so.
    fn wait_while(
        &self,
        queue: MutexGuard<'_, Queue>,
        deadline: Instant,
        so: impl Fn(&Queue) -> bool,
    ) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .emptied
            .wait_timeout_while(queue, left, |queue| so(queue));
        let (_queue, late) = waited.unwrap_or_else(PoisonError::into_inner);
        !late.timed_out()
    }

    /// Lets the writer go on.
    pub fn resume(&self) {
        self.lock().paused = false;
        self.filled.notify_one();
    }

    /// What waits now, by the file that it is for.
    pub fn unwritten(&self) -> BTreeMap<Name, Unwritten> {
        let queue = self.lock();
        let mut all: BTreeMap<Name, Unwritten> = BTreeMap::new();
        for piece in &queue.pieces {
            let one = all.entry(piece.name.clone()).or_default();
            one.bytes.0.extend_from_slice(&piece.bytes[piece.written..]);
            one.lines += piece.lines;
        }
        for (name, dropped) in &queue.dropped {
            all.entry(name.clone()).or_default().dropped = *dropped;
        }
        all
    }

    /// What the image before could not write any more comes first.
    pub fn take_over(&self, name: Name, unwritten: Unwritten) {
        let Unwritten {
            bytes: Bytes(bytes),
            lines,
            dropped,
        } = unwritten;
        let mut queue = self.lock();
        if dropped > 0 {
            *queue.dropped.entry(name.clone()).or_default() += dropped;
        }
        if !bytes.is_empty() {
            queue.append(Piece::new(name, bytes, lines));
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// How lines look here.
    pub fn look(&self) -> Look {
        self.lock().look
    }

    /// How they look from now on.
    pub fn set_look(&self, look: Look) {
        self.lock().look = look;
    }

    /// Has the writer open its files anew, behind what waits for the write that is under way.
    pub fn reopen(&self) {
        self.lock().reopen = true;
        self.filled.notify_one();
    }

    /// Nothing more comes: the writer ends when all is written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
        self.emptied.notify_all();
    }

    /// Nothing more comes, and all is written.
    pub fn is_done(&self) -> bool {
        self.lock().is_done()
    }

    /// Waits until that is so, however long it takes.
    pub(super) fn await_end(&self) {
        let ended = self
            .emptied
            .wait_while(self.lock(), |queue| !queue.is_done());
        drop(ended);
    }

    /// Leaves whole lines here, or drops and counts them if there is no room. Never waits for the output.
    pub fn push(&self, name: &Name, bytes: Vec<u8>, lines: u64, origin: Origin) {
        let mut queue = self.lock();
        let room = match origin {
            Origin::Worker => BUDGET,
            Origin::Own => BUDGET + OWN_RESERVE,
        };
        if queue.bytes + bytes.len() > room {
            *queue.dropped.entry(name.clone()).or_default() += lines;
            self.lost.fetch_add(lines, Relaxed);
            return;
        }
        queue.note_dropped(name);
        queue.append(Piece::new(name.clone(), bytes, lines));
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until everything left here has been written or given up. False: not before `deadline`.
    pub fn flush(&self, deadline: Instant) -> bool {
        self.wait_while(self.lock(), deadline, |queue| {
            queue.writing || !queue.pieces.is_empty()
        })
    }

    /// For the writer: waits until something is to be done. False: nothing ever will be.
    pub(super) fn await_work(&self) -> bool {
        let mut queue = self.lock();
        loop {
            if queue.pieces.is_empty() {
                self.emptied.notify_all();
            }
            if !queue.paused && (queue.reopen || !queue.pieces.is_empty()) {
                return true;
            }
            if queue.closed && queue.pieces.is_empty() {
                return false;
            }
            let waited = self.filled.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the writer: whether files are to be opened anew before the next write. To be asked once.
    pub(super) fn is_to_reopen(&self) -> bool {
        std::mem::take(&mut self.lock().reopen)
    }

    /// For the writer: the first piece, unless there is none or nothing is to be written.
    pub(super) fn take(&self) -> Option<Piece> {
        let mut queue = self.lock();
        if queue.paused {
            return None;
        }
        let piece = queue.pieces.pop_front();
        queue.writing = piece.is_some();
        piece
    }

    /// For the writer: what has become of the piece that it took. What is not wholly written comes again, unless it
    /// never can be.
    pub(super) fn give_back(&self, piece: Piece, lost: bool) {
        let mut queue = self.lock();
        queue.writing = false;
        if lost {
            queue.bytes -= piece.bytes.len();
            *queue.dropped.entry(piece.name).or_default() += piece.lines;
            self.lost.fetch_add(piece.uncounted, Relaxed);
        } else if piece.written < piece.bytes.len() {
            queue.pieces.push_front(piece);
        } else {
            queue.bytes -= piece.bytes.len();
            if queue.pieces.is_empty() {
                let names: Vec<Name> = queue.dropped.keys().cloned().collect();
                names.iter().for_each(|name| queue.note_dropped(name));
            }
        }
        drop(queue);
        self.emptied.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Each change of a queue is complete before anything could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn new(look: Look) -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            writing: false,
            paused: false,
            dropped: BTreeMap::new(),
            look,
            reopen: false,
            closed: false,
        }
    }

    fn is_done(&self) -> bool {
        self.closed && !self.writing && self.pieces.is_empty()
    }

    /// Puts the number of dropped lines where they would have been.
    fn note_dropped(&mut self, name: &Name) {
        let Some(lines) = self.dropped.remove(name).filter(|lines| *lines > 0) else {
            return;
        };
        let plural = if lines == 1 { "" } else { "s" };
        let note = format!(
            "{lines} line{plural} dropped here, since this output did not take them in time"
        );
        let mut bytes = Vec::new();
        let head = Head::new(self.look, Voice::Primary(Level::Warn), now_ms());
        head.write(&mut bytes, note.as_bytes(), false);
        let note = Piece {
            uncounted: 0,
            ..Piece::new(name.clone(), bytes, lines)
        };
        self.append(note);
    }

    fn append(&mut self, piece: Piece) {
        self.bytes += piece.bytes.len();
        match self.pieces.back_mut() {
            Some(last)
                if last.name == piece.name && last.bytes.len() + piece.bytes.len() <= GATHER =>
            {
                last.bytes.extend_from_slice(&piece.bytes);
                last.lines += piece.lines;
                last.uncounted += piece.uncounted;
            }
            _ => self.pieces.push_back(piece),
        }
    }
}

impl Piece {
    fn new(name: Name, bytes: Vec<u8>, lines: u64) -> Self {
        Self {
            name,
            bytes,
            written: 0,
            lines,
            uncounted: lines,
        }
    }
}
