//! A file's bytes as text, with everything refused that is no plain file of a sensible size. Never waits: a
//! FIFO or a device is looked at and left alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::finding::{Findings, Marks};

/// The largest file that is read.
pub const MOST_BYTES: u64 = 1 << 20;

/// The text of the file at `path`.
///
/// # Errors
/// One finding.
pub fn read(path: &Path) -> Result<String, Findings> {
    let whole = |sentence: String| Findings::whole(path, sentence);
    let bytes = bytes(path).map_err(whole)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let before = String::from_utf8_lossy(&bytes[..valid]);
        let mut marks = Marks::default();
        marks.add(
            valid,
            format!(
                "the byte 0x{:02x} is no UTF-8 text, and a configuration is; save the file as UTF-8",
                bytes[valid]
            ),
        );
        Findings {
            file: path.to_owned(),
            list: marks.findings(&before),
        }
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        _ => format!("it cannot be read: {error}"),
    };
    let file = open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a named pipe"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        return Err(format!("it is {what}; a configuration is a plain file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err("it is larger than 1 MiB, which no configuration is".into());
    }
    Ok(bytes)
}

/// Non-blocking, since open(2) of a FIFO waits for a writer otherwise, and never our controlling terminal.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}
