//! What changes good bytes by chance into bytes that are nearly right.

use crate::random::Random;

impl Random {
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A few changes of the kinds that parsers stumble over.
    pub fn damage(&mut self, bytes: &mut Vec<u8>, inserts: &[&[u8]]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(12)).min(bytes.len());
            match self.below(8) {
                0 if at < bytes.len() => bytes[at] = self.next() as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
                3 => drop(bytes.drain(at..end)),
                4 => bytes.truncate(at),
                5 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let insert = self.pick(inserts).to_vec();
                    bytes.splice(at..at, insert);
                }
            }
        }
    }
}
