//! Bytes to lines. Pure.

use memchr::memchr;

/// A longer line is cut into pieces of this many bytes, so that a worker that never ends its line costs
/// no more than this.
pub const LINE_MAX: usize = 64 * 1024;

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
}

impl Splitter {
    /// One that has begun a line already.
    pub fn within(partial: Vec<u8>) -> Self {
        Self { partial }
    }

    /// Takes the next bytes and gives out each line that they end, without its newline; with `true`, if it was
    /// cut and goes on.
    pub fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        while !bytes.is_empty() {
            let room = LINE_MAX - self.partial.len();
            let end = memchr(b'\n', &bytes[..bytes.len().min(room + 1)]);
            let (piece, ended) = match end {
                Some(end) => (&bytes[..end], true),
                None => (&bytes[..bytes.len().min(room)], bytes.len() > room),
            };
            bytes = &bytes[piece.len()..];
            let rest = bytes.strip_prefix(b"\n");
            let cut = ended && rest.is_none();
            if ended {
                // The newline that follows a full piece ends that piece and makes no empty line.
                bytes = rest.unwrap_or(bytes);
            }
            match (ended, self.partial.is_empty()) {
                (true, true) => line(piece, cut),
                (true, false) => {
                    self.partial.extend_from_slice(piece);
                    line(&self.partial, cut);
                    self.partial.clear();
                }
                (false, _) => self.partial.extend_from_slice(piece),
            }
        }
    }

    /// Shows what has no newline yet, if there is anything, and keeps it.
    pub fn peek(&self, line: impl FnOnce(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
        }
    }

    /// Gives out what has no newline yet, if there is anything.
    pub fn finish(&mut self, line: impl FnOnce(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |line, cut| {
                assert_eq!(cut, cut && line.len() == LINE_MAX);
                lines.push(line.to_vec());
            });
        }
        splitter.finish(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_they_arrive() {
        let all = b"one\n\ntwo three\nfour";
        let expected: Vec<&[u8]> = vec![b"one", b"", b"two three", b"four"];
        assert_eq!(split(&[all]), expected);
        for at in 0..all.len() {
            assert_eq!(split(&[&all[..at], &all[at..]]), expected, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(split(&bytes), expected);
    }

    #[test]
    fn a_long_line_is_cut_and_nothing_of_it_is_lost() {
        for length in [LINE_MAX - 1, LINE_MAX, LINE_MAX + 1, 1024 * 1024] {
            for step in [1000, 4096, LINE_MAX, 1024 * 1024] {
                let mut bytes = vec![b'x'; length];
                bytes.extend_from_slice(b"\nnext\n");
                let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
                let lines = split(&pieces);
                let (next, long) = lines.split_last().unwrap();
                assert_eq!(next, b"next", "{length} by {step}");
                assert_eq!(long.len(), length.div_ceil(LINE_MAX), "{length} by {step}");
                assert_eq!(long.concat().len(), length, "{length} by {step}");
            }
        }
    }
}
