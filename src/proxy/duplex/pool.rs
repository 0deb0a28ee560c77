//! What a worker lends to each session's turn: the scratch buffer that everything is read into, buffers for what a slow
//! side does not take, and pipes for streams. All of it bounded; what was not needed for a while is given back.

use std::ops::Range;
use std::rc::Rc;

use crate::sys::splice::{Pipe, ignore_sigpipe};

/// Bytes that one read takes at most. What a stream costs is system calls and wake-ups: a quarter less with 256 KiB than
/// with 64 KiB at a time, measured.
pub const SCRATCH: usize = 256 * 1024;
/// From here on what is to be kept is not copied, the scratch buffer itself is kept and another takes its place. At half
/// of it, so that a slow reader costs twice what he is still to get at most.
const WORTH_A_SWAP: usize = 128 * 1024;
/// Buffers kept for the next session that needs one.
const SPARES: usize = 32;
/// What a pipe is to hold, bytes: the most that an unprivileged user gets for one. A third less processor time for each
/// byte than with 256 KiB, measured; and a network's packets take a page of it each, be they half of one.
const PIPE_SIZE: u32 = 1024 * 1024;
/// A pipe that is smaller has been cut by the user's quota (pipe(7)): copying is as fast.
const LEAST_PIPE_SIZE: u32 = 256 * 1024;
/// Most pipes of one worker, those that hold something included: a quarter of what all processes of an unprivileged
/// user may have. Streams beyond that are copied.
const PIPES: usize = 16;
/// After a pipe was refused so many sessions are copied before the kernel is asked again.
const REFUSED_FOR: u32 = 256;

/// Lent to one session at a time.
#[derive(Debug)]
pub struct Tools {
    pub(super) scratch: Box<[u8]>,
    spares: Vec<Box<[u8]>>,
    pub(super) pipes: Pipes,
    /// The fewest spares since the last [`tidy`](Self::tidy): so many were not needed.
    unused_spares: usize,
}

impl Tools {
    /// One for each worker. From here on SIGPIPE is ignored in this process, since splice(2) would raise it.
    pub fn new() -> Self {
        ignore_sigpipe();
        Self {
            scratch: buffer(),
            spares: Vec::new(),
            pipes: Pipes::default(),
            unused_spares: 0,
        }
    }

    /// Gives back what was not needed since this was last called: to be called every ten seconds or so.
    pub fn tidy(&mut self) {
        drop(self.spares.drain(..self.unused_spares));
        self.unused_spares = self.spares.len();
        drop(self.pipes.idle.drain(..self.pipes.unused));
        self.pipes.unused = self.pipes.idle.len();
    }

    /// Whether there is something to [tidy](Self::tidy) away, now or when it was not needed for longer.
    pub fn has_spares(&self) -> bool {
        !(self.spares.is_empty() && self.pipes.idle.is_empty())
    }

    /// Keeps a part of the scratch buffer.
    pub(super) fn keep(&mut self, part: Range<usize>) -> Chunk {
        if part.len() < WORTH_A_SWAP {
            return Chunk::from(Box::from(&self.scratch[part]));
        }
        let fresh = self.spares.pop().unwrap_or_else(buffer);
        self.unused_spares = self.unused_spares.min(self.spares.len());
        Chunk {
            bytes: std::mem::replace(&mut self.scratch, fresh),
            start: part.start as u32,
            end: part.end as u32,
        }
    }

    /// Takes a buffer back.
    pub(super) fn put_back(&mut self, chunk: Chunk) {
        if chunk.bytes.len() == SCRATCH && self.spares.len() < SPARES {
            self.spares.push(chunk.bytes);
        }
    }
}

impl Default for Tools {
    fn default() -> Self {
        Self::new()
    }
}

fn buffer() -> Box<[u8]> {
    vec![0; SCRATCH].into_boxed_slice()
}

/// Pipes that hold nothing, and how many there are in all.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    idle: Vec<Lent>,
    /// One more reference for each pipe that there is, whoever has it.
    count: Rc<()>,
    /// The fewest idle ones since the last [`Tools::tidy`].
    unused: usize,
    refused: u32,
}

impl Pipes {
    /// An empty one, the one that was used last. `None`: there is none to be had now.
    pub fn take(&mut self) -> Option<Lent> {
        if let Some(pipe) = self.idle.pop() {
            self.unused = self.unused.min(self.idle.len());
            return Some(pipe);
        }
        if self.refused > 0 || Rc::strong_count(&self.count) > PIPES {
            self.refused = self.refused.saturating_sub(1);
            return None;
        }
        let made = Pipe::new(PIPE_SIZE).ok();
        let pipe = made.filter(|pipe| pipe.size() >= LEAST_PIPE_SIZE);
        if pipe.is_none() {
            self.refused = REFUSED_FOR;
        }
        pipe.map(|pipe| Lent {
            pipe,
            _counted: Rc::clone(&self.count),
        })
    }

    /// Takes an empty one back; one that is not empty is of no use to others.
    pub fn put_back(&mut self, lent: Lent) {
        if lent.pipe.inside() == 0 {
            self.idle.push(lent);
        }
    }
}

/// A pipe, counted for as long as it lives.
#[derive(Debug)]
pub(super) struct Lent {
    pub pipe: Pipe,
    _counted: Rc<()>,
}

/// Bytes that are still to be delivered.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Chunk {
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    /// So many of them are delivered.
    pub fn advance(&mut self, by: usize) {
        self.start += by as u32;
    }
}

impl From<Box<[u8]>> for Chunk {
    fn from(bytes: Box<[u8]>) -> Self {
        let end = bytes.len() as u32;
        Self {
            bytes,
            start: 0,
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_bounded_and_those_that_are_not_needed_are_given_back() {
        let mut tools = Tools::new();
        let taken: Vec<Lent> = std::iter::from_fn(|| tools.pipes.take()).collect();
        assert!((1..=PIPES).contains(&taken.len()), "{}", taken.len());
        taken
            .into_iter()
            .for_each(|lent| tools.pipes.put_back(lent));
        // They were all needed until now.
        tools.tidy();
        assert!(!tools.pipes.idle.is_empty());
        let one = tools.pipes.take().unwrap();
        tools.pipes.put_back(one);
        tools.tidy();
        assert_eq!(tools.pipes.idle.len(), 1);
        assert!(tools.has_spares());
        tools.tidy();
        assert_eq!(Rc::strong_count(&tools.pipes.count), 1);
        assert!(!tools.has_spares());
    }

    #[test]
    fn little_is_copied_and_much_is_kept_where_it_is() {
        let mut tools = Tools::new();
        tools.scratch[..4].copy_from_slice(b"some");
        let little = tools.keep(1..4);
        assert_eq!((little.rest(), little.bytes.len()), (&b"ome"[..], 3));
        tools.put_back(little);
        assert!(tools.spares.is_empty());
        let much = tools.keep(1..SCRATCH);
        assert_eq!(&much.rest()[..3], b"ome");
        tools.put_back(much);
        assert_eq!((tools.spares.len(), tools.scratch.len()), (1, SCRATCH));
        assert!(tools.has_spares());
        tools.tidy();
        tools.tidy();
        assert!(!tools.has_spares());
    }
}
