//! One output behind a bounded queue: whoever has a line leaves it here and goes on; the writer thread waits
//! for the output in their place.
//!
//! The lock is held for moving a buffer, never across a system call on the output.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Look;

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
    /// The writer has one in its hands.
    writing: bool,
    /// Lines dropped since the last that was taken.
    dropped: u64,
}

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// Lines that are lost if it cannot be written.
    lines: u64,
}

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
        queue.append(Piece { bytes, lines });
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
        let mut queue = self.lock();
        loop {
            let Some(piece) = queue.pieces.pop_front() else {
                queue.writing = false;
                self.emptied.notify_all();
                let waited = self.filled.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.writing = true;
            drop(queue);
            let written = write_all(output, &piece.bytes);
            queue = self.lock();
            queue.bytes -= piece.bytes.len();
            match written {
                Ok(()) if queue.pieces.is_empty() => queue.note_dropped(),
                Ok(()) => {}
                // Nobody reads any more, or the disk is full: the service does not depend on it.
                Err(_) => queue.dropped += piece.lines,
            }
        }
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
            self.append(Piece {
                bytes: note.into_bytes(),
                lines,
            });
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

/// write(2) until all is written. The output is shared with others, who may have made it non-blocking.
fn write_all(output: &OwnedFd, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(output, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut writable = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut writable, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
