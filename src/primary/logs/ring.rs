//! The last lines of everybody, bounded in bytes: what `forkfront logs` shows.
//!
//! Each slot, and the primary itself, has a strand of its own, and it is always the longest strand that gives way: a
//! slot that prints without end does not push out what the others said. Lines are numbered across all strands, so
//! that they can be read in the order in which they came. Only the log thread has it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use log::Level;

use super::dump;
use crate::protocol::line::Stream;

/// All lines together, in bytes.
pub const BUDGET: usize = 4 * 1024 * 1024;

/// Lines are kept, and given up, in chunks of about this many bytes; of less, if there are many strands.
const CHUNK: usize = 16 * 1024;
const LEAST_CHUNK: usize = 1024;
/// What a chunk costs beside its bytes.
const OVERHEAD: usize = 64;

/// What stands in front of a line: number, time, pid, length, and what it is.
const HEAD: usize = 8 + 8 + 4 + 4 + 1;

/// In the last byte of the head: the line goes on in the next.
const CUT: u8 = 0x80;

/// Whose lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The primary's own.
    Primary,
    /// A slot's.
    Slot(Arc<str>, u16),
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A worker's.
    Worker(Stream),
    /// The primary's own.
    Own(Level),
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number; for [`Ring::push`] of no meaning.
    pub number: u64,
    /// ms since 1970.
    pub time: i64,
    /// Who printed it.
    pub pid: u32,
    /// What it is.
    pub kind: Kind,
    /// It goes on in the next line.
    pub cut: bool,
    /// What was printed.
    pub text: &'a [u8],
}

/// The lines of one voice.
#[derive(Debug)]
pub struct Strand {
    pub whose: Whose,
    pub(super) chunks: VecDeque<Chunk>,
    bytes: usize,
}

/// Some lines that follow each other in their strand.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The number of the last.
    pub(super) last: u64,
    pub(super) bytes: Vec<u8>,
}

/// The lines of all.
#[derive(Debug)]
pub struct Ring {
    strands: Vec<Strand>,
    bytes: usize,
    budget: usize,
    next: u64,
    /// The memory of a chunk that was given up.
    spare: Vec<u8>,
}

impl Ring {
    /// An empty one.
    pub fn new(budget: usize) -> Self {
        Self {
            strands: Vec::new(),
            bytes: 0,
            budget,
            next: 0,
            spare: Vec::new(),
        }
    }

    /// With these strands, whose lines were numbered below `next`.
    pub(super) fn restored(
        budget: usize,
        strands: Vec<(Whose, VecDeque<Chunk>)>,
        next: u64,
    ) -> Self {
        let mut ring = Self::new(budget);
        ring.next = next;
        for (whose, chunks) in strands {
            let bytes = chunks.iter().map(Chunk::size).sum();
            ring.bytes += bytes;
            ring.strands.push(Strand {
                whose,
                chunks,
                bytes,
            });
        }
        ring.shrink(&mut |_, _| {});
        ring
    }

    /// As bytes, for the next image.
    pub fn dump(&self) -> Vec<u8> {
        dump::write(&self.strands, self.next)
    }

    /// The number of the next line.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The strand of this voice, for [`push`](Ring::push).
    pub fn strand(&mut self, whose: &Whose) -> usize {
        let known = self.strands.iter().position(|one| one.whose == *whose);
        known.unwrap_or_else(|| {
            self.strands.push(Strand {
                whose: whose.clone(),
                chunks: VecDeque::new(),
                bytes: 0,
            });
            self.strands.len() - 1
        })
    }

    /// The strands of those who are `wanted`.
    pub fn strands(&self, wanted: impl Fn(&Whose) -> bool) -> Vec<usize> {
        let all = self.strands.iter().enumerate();
        all.filter(|(_, one)| wanted(&one.whose))
            .map(|(at, _)| at)
            .collect()
    }

    /// Whose strand it is.
    pub fn whose(&self, strand: usize) -> &Whose {
        &self.strands[strand].whose
    }

    /// Keeps one more line; `gone` gets the chunks that had to go for it, with the number of their strand.
    pub fn push(&mut self, strand: usize, line: Entry<'_>, gone: &mut impl FnMut(usize, &Chunk)) {
        let room = (self.budget / 8 / self.strands.len()).clamp(LEAST_CHUNK, CHUNK);
        let length = HEAD + line.text.len();
        let number = self.next;
        self.next += 1;
        let one = &mut self.strands[strand];
        let fits = |chunk: &&mut Chunk| chunk.bytes.len() + length <= room;
        let chunk = match one.chunks.back_mut().filter(fits) {
            Some(chunk) => chunk,
            None => {
                let mut bytes = std::mem::take(&mut self.spare);
                bytes.clear();
                if !one.chunks.is_empty() {
                    // Who has filled one will fill this one too.
                    bytes.reserve_exact(room.max(length));
                }
                one.bytes += OVERHEAD;
                self.bytes += OVERHEAD;
                one.chunks.push_back(Chunk { last: 0, bytes });
                let last = one.chunks.len() - 1;
                &mut one.chunks[last]
            }
        };
        chunk.last = number;
        line.write(number, &mut chunk.bytes);
        one.bytes += length;
        self.bytes += length;
        self.shrink(gone);
    }

    fn shrink(&mut self, gone: &mut impl FnMut(usize, &Chunk)) {
        while self.bytes > self.budget {
            let all = self.strands.iter().enumerate();
            let Some((longest, _)) = all.max_by_key(|(_, one)| one.bytes) else {
                return;
            };
            let one = &mut self.strands[longest];
            let Some(chunk) = one.chunks.pop_front() else {
                return;
            };
            one.bytes -= chunk.size();
            self.bytes -= chunk.size();
            gone(longest, &chunk);
            // A line may have been longer than any chunk is to be.
            if chunk.bytes.capacity() <= 2 * CHUNK {
                self.spare = chunk.bytes;
            }
        }
    }

    /// Lines of these strands from number `from` on, in their order.
    pub fn read(&self, strands: &[usize], from: u64) -> impl Iterator<Item = (usize, Entry<'_>)> {
        let mut heads = BinaryHeap::new();
        let mut readers = Vec::new();
        for &strand in strands {
            let mut reader = self.strands[strand].from(from);
            if let Some(entry) = reader.next() {
                heads.push(Reverse((entry.number, readers.len())));
                readers.push((strand, entry, reader));
            }
        }
        std::iter::from_fn(move || {
            let Reverse((_, at)) = heads.pop()?;
            let (strand, entry, reader) = &mut readers[at];
            let taken = (*strand, *entry);
            if let Some(next) = reader.next() {
                *entry = next;
                heads.push(Reverse((next.number, at)));
            }
            Some(taken)
        })
    }

    /// Where to begin, to read of these strands what was said `since` then, and of that the last `lines`.
    pub fn start(&self, strands: &[usize], since: Option<i64>, lines: Option<usize>) -> u64 {
        let entries = strands
            .iter()
            .flat_map(|strand| self.strands[*strand].from(0));
        let late = entries.filter(|entry| since.is_none_or(|since| entry.time >= since));
        let mut numbers: Vec<u64> = late.map(|entry| entry.number).collect();
        numbers.sort_unstable();
        let skipped = lines.map_or(0, |lines| numbers.len().saturating_sub(lines));
        numbers.get(skipped).copied().unwrap_or(self.next)
    }
}

impl Strand {
    fn from(&self, number: u64) -> impl Iterator<Item = Entry<'_>> {
        let first = self.chunks.partition_point(|chunk| chunk.last < number);
        let chunks = self.chunks.range(first..);
        chunks
            .flat_map(Chunk::entries)
            .skip_while(move |entry| entry.number < number)
    }
}

impl Chunk {
    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }

    /// The number of its last line.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Its lines.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (entry, behind) = Entry::read(rest)?;
            rest = behind;
            Some(entry)
        })
    }
}

impl<'a> Entry<'a> {
    fn write(&self, number: u64, out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Worker(Stream::Stdout) => 0,
            Kind::Worker(Stream::Stderr) => 1,
            Kind::Own(level) => 1 + level as u8,
        };
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&number.to_le_bytes());
        head[8..16].copy_from_slice(&self.time.to_le_bytes());
        head[16..20].copy_from_slice(&self.pid.to_le_bytes());
        head[20..24].copy_from_slice(&(self.text.len() as u32).to_le_bytes());
        head[24] = kind | if self.cut { CUT } else { 0 };
        out.extend_from_slice(&head);
        out.extend_from_slice(self.text);
    }

    /// The first of `bytes`, and what is behind it; `None` at the end, and where they make no sense.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        let four = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        let (text, rest) = rest.split_at_checked(four(20) as usize)?;
        let kind = match head[24] & !CUT {
            0 => Kind::Worker(Stream::Stdout),
            1 => Kind::Worker(Stream::Stderr),
            level => Kind::Own(Level::iter().nth(usize::from(level) - 2)?),
        };
        let entry = Self {
            number: eight(0),
            time: eight(8) as i64,
            pid: four(16),
            kind,
            cut: head[24] & CUT != 0,
            text,
        };
        Some((entry, rest))
    }
}

#[cfg(test)]
mod tests;
