//! What a terminal would obey becomes words that it shows.

use std::borrow::Cow;

use super::Look;

/// Appends a line so that it stays one: control characters become `\x1b`-like words, but for tabs and, unless a
/// terminal is to have none, colours (`ESC [ ... m`). Bytes that are no text go to files and pipes as they are.
pub fn write_visible(out: &mut Vec<u8>, line: &[u8], look: Look) {
    if !line.iter().any(|byte| is_suspect(*byte, look.terminal)) {
        out.extend_from_slice(line);
        return;
    }
    let colours = look.colour || !look.terminal;
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
        if look.terminal {
            write_bytes(out, chunk.invalid());
        } else {
            out.extend_from_slice(chunk.invalid());
        }
    }
    if coloured {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// Whether a line with this byte has to be looked at: control characters of one byte and the first byte of those of
/// two (U+0080 to U+009F); to a terminal, all that may be no text.
fn is_suspect(byte: u8, terminal: bool) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f || byte == 0xc2 || (terminal && byte >= 0x80)
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
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

/// A line of any bytes as text: those that are none become `\xff`-like words.
pub fn text(line: &[u8]) -> String {
    let mut text = Vec::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        write_bytes(&mut text, chunk.invalid());
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// One line of ours, whatever is in it; without colours.
pub fn single(message: &str) -> Cow<'_, str> {
    if !message.contains(char::is_control) {
        return message.into();
    }
    let mut safe = Vec::new();
    let look = Look {
        terminal: true,
        ..Look::default()
    };
    write_visible(&mut safe, message.as_bytes(), look);
    String::from_utf8_lossy(&safe).into_owned().into()
}
