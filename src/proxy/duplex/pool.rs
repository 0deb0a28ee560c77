//! What a worker lends to each session's turn: the scratch buffer that everything is read into, and buffers for what
//! a slow side does not take.

use std::ops::Range;

/// Bytes that one read takes at most.
pub const SCRATCH: usize = 64 * 1024;
/// From here on what is to be kept is not copied, the scratch buffer itself is kept and another takes its place.
const WORTH_A_SWAP: usize = 8 * 1024;
/// Buffers kept for the next session that needs one.
const SPARES: usize = 64;

/// Lent to one session at a time.
#[derive(Debug)]
pub struct Tools {
    pub(super) scratch: Box<[u8]>,
    spares: Vec<Box<[u8]>>,
}

impl Tools {
    /// One for each worker.
    pub fn new() -> Self {
        Self {
            scratch: buffer(),
            spares: Vec::new(),
        }
    }

    /// Keeps a part of the scratch buffer.
    pub(super) fn keep(&mut self, part: Range<usize>) -> Chunk {
        if part.len() < WORTH_A_SWAP {
            return Chunk::from(Box::from(&self.scratch[part]));
        }
        let fresh = self.spares.pop().unwrap_or_else(buffer);
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
