//! One output behind a bounded queue: whoever has a line leaves it here and goes on; the writer thread waits
//! for the output in their place.
//!
//! The lock is held for moving a buffer, never across a system call on the output. What is not a file is written
//! to only when it is writable, and no more than it then takes at once: so the writer can almost always be paused
//! between two writes, with what is left known to the byte.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use serde::{Deserialize, Serialize};

use super::Look;
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

/// One output.
#[derive(Debug)]
pub struct Sink {
    look: Look,
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces` and in the writer's hands.
    bytes: usize,
    /// The writer has the first piece in its hands and writes from it right now.
    writing: bool,
    /// The writer is to begin no write.
    paused: bool,
    /// Lines dropped since the last that was taken.
    dropped: u64,
}

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// Lines that are lost if it cannot be written.
    lines: u64,
}

/// What waits to be written, for the next image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwritten {
    bytes: Bytes,
    lines: u64,
    dropped: u64,
}

/// What a pipe that polls writable takes without a wait (pipe(7), `PIPE_BUF`).
const AT_ONCE: usize = 4096;

impl Sink {
    /// Starts the writer of this output. The thread lives as long as the process: it may be blocked.
    pub fn start(name: &str, output: OwnedFd) -> io::Result<Arc<Self>> {
        let sink = Arc::new(Self {
            look: Look::of(&output),
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        });
        let writer = Arc::clone(&sink);
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || writer.write(&output))?;
        Ok(sink)
    }

    /// Keeps the writer from beginning another write and waits until it is in none. False: at `deadline` it still
    /// was, and nobody knows what of it was written.
    pub fn pause(&self, deadline: Instant) -> bool {
        let mut queue = self.lock();
        queue.paused = true;
        while queue.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.emptied.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Lets the writer go on.
    pub fn resume(&self) {
        self.lock().paused = false;
        self.filled.notify_one();
    }

    /// What waits now.
    pub fn unwritten(&self) -> Unwritten {
        let queue = self.lock();
        let rest = |piece: &Piece| piece.bytes[piece.written..].to_vec();
        Unwritten {
            bytes: Bytes(queue.pieces.iter().flat_map(rest).collect()),
            lines: queue.pieces.iter().map(|piece| piece.lines).sum(),
            dropped: queue.dropped,
        }
    }

    /// What the image before could not write any more comes first.
    pub fn take_over(&self, unwritten: Unwritten) {
        let Unwritten {
            bytes: Bytes(bytes),
            lines,
            dropped,
        } = unwritten;
        let mut queue = self.lock();
        queue.dropped += dropped;
        if !bytes.is_empty() {
            queue.append(Piece::new(bytes, lines));
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// How lines look here.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Leaves whole lines here, or drops and counts them if there is no room. Never waits for the output.
    pub fn push(&self, bytes: Vec<u8>, lines: u64, origin: Origin) {
        let mut queue = self.lock();
        let room = match origin {
            Origin::Worker => BUDGET,
            Origin::Own => BUDGET + OWN_RESERVE,
        };
        if queue.bytes + bytes.len() > room {
            queue.dropped += lines;
            return;
        }
        queue.note_dropped();
        queue.append(Piece::new(bytes, lines));
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until everything left here has been written or given up. False: not before `deadline`.
    pub fn flush(&self, deadline: Instant) -> bool {
        let mut queue = self.lock();
        while queue.writing || !queue.pieces.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.emptied.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn write(&self, output: &OwnedFd) {
        let at_once = at_once(output);
        let mut queue = self.lock();
        loop {
            if queue.pieces.is_empty() {
                self.emptied.notify_all();
            }
            if queue.paused || queue.pieces.is_empty() {
                let waited = self.filled.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(queue);
            wait_until_writable(output);
            queue = self.lock();
            if queue.paused {
                continue;
            }
            queue = self.write_some(queue, output, at_once);
        }
    }

    /// One write of the first piece, without the lock.
    fn write_some<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        output: &OwnedFd,
        at_once: usize,
    ) -> MutexGuard<'a, Queue> {
        let Some(mut piece) = queue.pieces.pop_front() else {
            return queue;
        };
        queue.writing = true;
        drop(queue);
        let rest = &piece.bytes[piece.written..];
        let written = nix::unistd::write(output, &rest[..rest.len().min(at_once)]);
        let mut queue = self.lock();
        queue.writing = false;
        match written {
            Ok(count) => piece.written += count,
            // The output is shared with others, who may have made it non-blocking.
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // Nobody reads any more, or the disk is full: the service does not depend on it.
            Err(_) => {
                queue.bytes -= piece.bytes.len();
                queue.dropped += piece.lines;
                self.emptied.notify_all();
                return queue;
            }
        }
        if piece.written < piece.bytes.len() {
            queue.pieces.push_front(piece);
        } else {
            queue.bytes -= piece.bytes.len();
            if queue.pieces.is_empty() {
                queue.note_dropped();
            }
        }
        self.emptied.notify_all();
        queue
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Each change of a queue is complete before anything could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Puts the number of dropped lines where they would have been.
    fn note_dropped(&mut self) {
        let lines = std::mem::take(&mut self.dropped);
        if lines > 0 {
            let plural = if lines == 1 { "" } else { "s" };
            let note = format!(
                "forkfront: {lines} line{plural} dropped here, since this output was not read in time\n"
            );
            self.append(Piece::new(note.into_bytes(), lines));
        }
    }

    fn append(&mut self, piece: Piece) {
        self.bytes += piece.bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.bytes.len() + piece.bytes.len() <= GATHER => {
                last.bytes.extend_from_slice(&piece.bytes);
                last.lines += piece.lines;
            }
            _ => self.pieces.push_back(piece),
        }
    }
}

impl Piece {
    fn new(bytes: Vec<u8>, lines: u64) -> Self {
        Self {
            bytes,
            written: 0,
            lines,
        }
    }
}

/// How much may be written at once: all, to a file.
fn at_once(output: &OwnedFd) -> usize {
    let file = fstat(output)
        .is_ok_and(|found| found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits());
    if file { usize::MAX } else { AT_ONCE }
}

/// Waits for as long as it takes. What cannot be polled is written to anyway.
fn wait_until_writable(output: &OwnedFd) {
    let mut writable = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
    while poll(&mut writable, PollTimeout::NONE) == Err(Errno::EINTR) {}
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_writer_whose_output_takes_nothing_is_paused_to_the_byte() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sink = Sink::start("test", OwnedFd::from(writer)).unwrap();
        let line = |n: u32| format!("line {n:>6}\n").into_bytes();
        let all: Vec<u8> = (0..30_000).flat_map(line).collect();
        (0..30_000).for_each(|n| sink.push(line(n), 1, Origin::Worker));
        assert!(
            !sink.flush(Instant::now() + Duration::from_millis(50)),
            "a pipe holds 64 KiB"
        );
        assert!(sink.pause(Instant::now() + Duration::from_secs(5)));
        let unwritten = sink.unwritten();
        assert_eq!(sink.unwritten(), unwritten);
        // As after the exec: another writer on the same pipe.
        let mut written = vec![0; all.len() - unwritten.bytes.0.len()];
        reader.read_exact(&mut written).unwrap();
        let (mut again, writer) = std::io::pipe().unwrap();
        let next = Sink::start("next", OwnedFd::from(writer)).unwrap();
        next.take_over(unwritten);
        let mut rest = vec![0; all.len() - written.len()];
        again.read_exact(&mut rest).unwrap();
        written.extend(rest);
        assert!(written == all);
        // The exec has failed: the old one goes on.
        sink.resume();
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
    }
}
