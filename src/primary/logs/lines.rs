//! Bytes to lines, and lines to what is written: prefix, line, newline. Pure.

use super::Look;

/// A longer line is cut into pieces of this many bytes, so that a worker that never ends its line costs
/// no more than this.
pub const LINE_MAX: usize = 64 * 1024;

/// One colour per slot, in turn; those that read well on dark and on light.
const COLOURS: [&str; 6] = ["36", "33", "32", "35", "34", "31"];

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

    /// Takes the next bytes and gives out each line that they end, without its newline.
    pub fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LINE_MAX - self.partial.len();
            let (piece, ended) = match bytes.iter().take(room + 1).position(|&b| b == b'\n') {
                Some(end) => (&bytes[..end], true),
                None => (&bytes[..bytes.len().min(room)], bytes.len() > room),
            };
            bytes = &bytes[piece.len()..];
            if ended {
                // The newline that follows a full piece ends that piece and makes no empty line.
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            match (ended, self.partial.is_empty()) {
                (true, true) => line(piece),
                (true, false) => {
                    self.partial.extend_from_slice(piece);
                    line(&self.partial);
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

/// `[0 12345] `: who printed a line.
pub fn prefix(slot: &str, pid: u32, look: Look) -> Vec<u8> {
    if look.colour {
        // Neighbours differ, whatever is in front of the number.
        let sum: usize = slot.bytes().map(usize::from).sum();
        let colour = COLOURS[sum % COLOURS.len()];
        return format!("\x1b[{colour}m[{slot} {pid}]\x1b[0m ").into_bytes();
    }
    format!("[{slot} {pid}] ").into_bytes()
}

/// Appends one whole line. Bytes go through as they are, except to a terminal, which would obey them.
pub fn write(out: &mut Vec<u8>, prefix: &[u8], line: &[u8], look: Look) {
    out.extend_from_slice(prefix);
    if look.terminal {
        write_visible(out, line.strip_suffix(b"\r").unwrap_or(line), look.colour);
    } else {
        out.extend_from_slice(line);
    }
    out.push(b'\n');
}

/// Control characters and bytes that are no text become `\x1b`-like words; colours (`ESC [ ... m`) stay if
/// ours are wanted.
fn write_visible(out: &mut Vec<u8>, line: &[u8], colours: bool) {
    let mut coloured = false;
    for chunk in line.utf8_chunks() {
        let mut text = chunk.valid();
        while let Some(first) = text.chars().next() {
            let colour = if colours { colour_code(text) } else { 0 };
            let length = if colour > 0 { colour } else { first.len_utf8() };
            let (piece, rest) = text.split_at(length);
            if colour > 0 || first == '\t' || !first.is_control() {
                out.extend_from_slice(piece.as_bytes());
            } else {
                out.extend_from_slice(format!("\\x{:02x}", u32::from(first)).as_bytes());
            }
            coloured |= colour > 0;
            text = rest;
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    if coloured {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// Length of the colour code (SGR, ECMA-48 8.3.117) that `text` begins with, or 0.
fn colour_code(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
    match end {
        Some(end) if parameters[end..].starts_with('m') => 2 + end + 1,
        _ => 0,
    }
}

/// One line of ours, whatever is in it.
pub fn single(message: &str) -> String {
    if !message.contains(char::is_control) {
        return message.to_owned();
    }
    let mut safe = Vec::new();
    write_visible(&mut safe, message.as_bytes(), false);
    String::from_utf8_lossy(&safe).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |line| lines.push(line.to_vec()));
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

    #[test]
    fn bytes_go_through_except_to_a_terminal() {
        let line = b"a\x00\x1b[2Jb\xff\xc2\x9b\t\x1b[31mred\r";
        let mut out = Vec::new();
        write(&mut out, b"[0 1] ", line, Look::default());
        assert_eq!(out, [b"[0 1] ", &line[..], b"\n"].concat());

        let shown = |colour| {
            let look = Look {
                terminal: true,
                colour,
            };
            let mut out = Vec::new();
            write(&mut out, b"", line, look);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(false), "a\\x00\\x1b[2Jb\\xff\\x9b\t\\x1b[31mred\n");
        assert_eq!(
            shown(true),
            "a\\x00\\x1b[2Jb\\xff\\x9b\t\x1b[31mred\x1b[0m\n"
        );
    }

    #[test]
    fn our_own_lines_cannot_be_forged() {
        assert_eq!(single("plain"), "plain");
        assert_eq!(single("a\nforkfront: b"), "a\\x0aforkfront: b");
    }
}
