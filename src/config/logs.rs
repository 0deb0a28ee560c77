//! How the log looks and where it goes, for the whole primary: the values of `--log-format` and its like.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Misfit, Spelling};
use crate::sys::handover;

/// Rotated files that are kept unless something else is said.
pub const LOG_KEEP: u32 = 5;

/// What the name of the primary's own lines is where a slot's or an app's would be.
const OWN_SLOT: &str = "primary";
const OWN_APP: &str = "forkfront";

/// How the log looks and where it goes.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logs {
    /// What a line is.
    pub format: LogFormat,
    /// The time in front of a line.
    pub time: LogTime,
    /// The file that takes the lines, in place of stdout and stderr.
    pub file: Option<LogFile>,
}

/// What a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Time, slot and pid in front of what was printed.
    #[default]
    Text,
    /// One object.
    Json,
}

/// The time in front of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogTime {
    /// Local; none where the journal has its own.
    #[default]
    Auto,
    /// Local, with its distance from UTC.
    Local,
    /// UTC.
    Utc,
    /// None.
    None,
}

/// A log file, or one for each slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// Absolute; what stands for app and slot is in its last part.
    #[serde(with = "handover::path")]
    pub path: PathBuf,
    /// It is rotated before it is longer than this, in bytes.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// How many rotated ones are kept.
    #[serde(default = "usual_keep")]
    pub keep: u32,
}

fn usual_keep() -> u32 {
    LOG_KEEP
}

impl Logs {
    /// What does not go together. `given` says of a setting with a usual value whether it was given nevertheless.
    pub fn misfits(&self, spelling: Spelling, given: impl Fn(&str) -> bool) -> Vec<Misfit> {
        let name = |key| spelling.name(key);
        let without = |key, needed| Misfit {
            key,
            sentence: format!("{} means nothing without {}", name(key), name(needed)),
            is_contrary: false,
        };
        let max_size = self.file.as_ref().and_then(|file| file.max_size);
        let (sized, kept) = (given("log-max-size"), given("log-keep"));
        let mut misfits = Vec::new();
        if sized && self.file.is_none() {
            misfits.push(without("log-max-size", "log-file"));
        }
        if kept && max_size.is_none() && !sized {
            misfits.push(without("log-keep", "log-max-size"));
        }
        misfits
    }
}

impl LogFile {
    /// The directory of all its files.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The name of the file that takes the lines of a slot; `app` where it is to be named.
    pub fn name_of(&self, app: &str, slot: u16, named: bool) -> String {
        let slot = match (named, self.has('a')) {
            (true, false) => format!("{app}-{slot}"),
            _ => slot.to_string(),
        };
        self.fill(app, &slot)
    }

    /// The name of the file that takes the primary's own lines.
    pub fn own_name(&self) -> String {
        self.fill(OWN_APP, OWN_SLOT)
    }

    fn pattern(&self) -> &str {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    fn has(&self, wanted: char) -> bool {
        parts(self.pattern()).any(|part| part == Part::Named(wanted))
    }

    fn fill(&self, app: &str, slot: &str) -> String {
        let mut name = String::new();
        for part in parts(self.pattern()) {
            match part {
                Part::Plain(c) => name.push(c),
                Part::Named('a') => name.push_str(app),
                Part::Named(_) => name.push_str(slot),
            }
        }
        name
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// One character of a file's name, or what stands for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Plain(char),
    /// `%` and this.
    Named(char),
}

fn parts(pattern: &str) -> impl Iterator<Item = Part> {
    let mut all = pattern.chars();
    std::iter::from_fn(move || match all.next()? {
        '%' => match all.next() {
            Some('%') => Some(Part::Plain('%')),
            other => Some(Part::Named(other.unwrap_or('%'))),
        },
        plain => Some(Part::Plain(plain)),
    })
}

/// Reads the path of a log file, as it was written.
///
/// # Errors
/// A sentence that says what it cannot be.
pub fn log_file(words: &str) -> Result<PathBuf, String> {
    if words.is_empty() || words.contains('\0') {
        return Err("it is the path of a file".into());
    }
    let path = Path::new(words);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err("it is the path of a file".into());
    };
    if words.ends_with('/') {
        return Err("it is the path of a file, and this is a directory".into());
    }
    let directory = path.parent().map(Path::to_string_lossy).unwrap_or_default();
    if directory.contains('%') {
        return Err("a % can only be in the name of the file, not in its directory".into());
    }
    let known = |part| matches!(part, Part::Plain(_) | Part::Named('s' | 'a'));
    if !parts(name).all(known) {
        return Err(
            "behind a % there can be s, the number of the slot, a, the name of the app, or another %".into(),
        );
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> [String; 3] {
        let file = LogFile {
            path: log_file(path).unwrap(),
            max_size: None,
            keep: LOG_KEEP,
        };
        [
            file.name_of("web", 2, false),
            file.name_of("web", 2, true),
            file.own_name(),
        ]
    }

    #[test]
    fn names_of_files() {
        let table = [
            ("/var/log/app.log", ["app.log", "app.log", "app.log"]),
            (
                "/var/log/app-%s.log",
                ["app-2.log", "app-web-2.log", "app-primary.log"],
            ),
            ("/l/%a.log", ["web.log", "web.log", "forkfront.log"]),
            ("/l/%a.%s", ["web.2", "web.2", "forkfront.primary"]),
            ("x/100%%", ["100%", "100%", "100%"]),
        ];
        for (path, expected) in table {
            assert_eq!(names(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for path in [
            "",
            "/",
            "..",
            "logs/",
            "a\0b",
            "/l/%d.log",
            "/l/%",
            "/%s/log",
            "/%a/%s",
        ] {
            assert!(log_file(path).is_err(), "{path:?}");
        }
    }
}
