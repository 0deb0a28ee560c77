//! The keys about the log, at the top of the file, as cli/run/logs.rs has them.

use std::path::Path;

use super::app::{WORD, choice, set};
use super::table::Table;
use super::under;
use crate::config::{self, LOG_KEEP, LogFile, Logs, Spelling};

/// All of them.
pub const KEYS: [&str; 5] = [
    "log-format",
    "log-time",
    "log-file",
    "log-max-size",
    "log-keep",
];

/// Reads them; a relative path begins at `directory`.
pub fn read(top: &Table<'_>, directory: &Path) -> Logs {
    let refused = top.refused();
    let mut logs = Logs::default();
    set(&mut logs.format, top.word("log-format", WORD, choice));
    set(&mut logs.time, top.word("log-time", WORD, choice));
    let path = top.word("log-file", "the path of a file", config::log_file);
    let max_size = top.word("log-max-size", "a size, as in \"100M\"", config::size);
    let keep = top.word("log-keep", "a number", config::log_keep);
    logs.file = path.map(|path| LogFile {
        path: under(directory, path),
        max_size,
        keep: keep.unwrap_or(LOG_KEEP),
    });
    if top.refused() == refused {
        for misfit in logs.misfits(Spelling::Keys, |key| top.has(key)) {
            top.refuse(top.key_place(misfit.key), misfit.sentence);
        }
    }
    logs
}
