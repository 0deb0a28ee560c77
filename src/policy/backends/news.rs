//! What there is to tell of backends, as facts and as sentences.

use std::fmt;
use std::time::Duration;

use crate::policy::words::in_words;

/// Something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Checks have found a backend to be down.
    Down {
        /// Which one.
        name: String,
        /// What the last check found.
        why: String,
        /// So many bad checks in a row.
        bad: u32,
    },
    /// Checks have found it to be up again.
    Up {
        /// Which one.
        name: String,
        /// How long it was down.
        after: Duration,
    },
    /// It is taken out for a while, since sessions could not connect.
    Ejected {
        /// Which one.
        name: String,
        /// So many connects failed in a row.
        failing: u32,
        /// The errno of the last.
        error: u32,
        /// For how long.
        time: Duration,
    },
    /// It would have been, but too many are out already, or it is the only one.
    Spared {
        /// Which one.
        name: String,
        /// So many connects failed in a row.
        failing: u32,
        /// The errno of the last.
        error: u32,
        /// There is no other.
        only: bool,
    },
    /// Its time out is over: few sessions try it.
    Trial {
        /// Which one.
        name: String,
    },
    /// Sessions connect to it again.
    Back {
        /// Which one.
        name: String,
    },
    /// No backend but the backups can serve: they do.
    Backups,
    /// Others than the backups can serve again.
    BackupsOver,
    /// No backend can serve: all that are not drained get sessions.
    FailOpen,
    /// Some can serve again.
    FailOpenOver,
    /// No backend is to get sessions.
    Nobody,
    /// One more.
    Joined {
        /// Which one, and where it is if that is not the same.
        name: String,
    },
    /// One less.
    Leaves {
        /// Which one.
        name: String,
    },
    /// A name, or a part of what it leads to, could not be resolved; how many addresses of before are kept.
    Unresolved {
        /// A sentence with the name in it.
        why: String,
        /// Addresses that are kept.
        kept: usize,
    },
    /// It could be again.
    Resolved {
        /// As it was written.
        name: String,
    },
    /// There are more addresses than places.
    Full {
        /// What does not fit.
        name: String,
    },
}

impl News {
    /// Whether somebody may have to do something about it.
    pub fn is_bad(&self) -> bool {
        match self {
            Self::Down { .. }
            | Self::Ejected { .. }
            | Self::Spared { .. }
            | Self::Backups
            | Self::FailOpen
            | Self::Nobody
            | Self::Unresolved { .. }
            | Self::Full { .. } => true,
            Self::Up { .. }
            | Self::Trial { .. }
            | Self::Back { .. }
            | Self::BackupsOver
            | Self::FailOpenOver
            | Self::Joined { .. }
            | Self::Leaves { .. }
            | Self::Resolved { .. } => false,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { name, why, bad: 1 } => {
                write!(f, "backend {name} is down: its check found that {why}")
            }
            Self::Down { name, why, bad } => {
                write!(
                    f,
                    "backend {name} is down: {bad} checks in a row found that {why}"
                )
            }
            Self::Up { name, after } => {
                write!(f, "backend {name} is up again after {}", in_words(*after))
            }
            Self::Ejected {
                name,
                failing,
                error,
                time,
            } => write!(
                f,
                "backend {name} gets nothing for {}: {}",
                in_words(*time),
                failed(*failing, *error)
            ),
            Self::Spared {
                name,
                failing,
                error,
                only,
            } => {
                let why = match only {
                    true => "there is no other",
                    false => "as many are out as may be",
                };
                let failed = failed(*failing, *error);
                write!(f, "backend {name}: {failed}; it stays in, since {why}")
            }
            Self::Trial { name } => write!(f, "backend {name} is tried again with few sessions"),
            Self::Back { name } => write!(f, "backend {name} is back: a session has connected"),
            _ => self.about_all(f),
        }
    }
}

impl News {
    /// What is not about one backend only, or about the list.
    fn about_all(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backups => write!(f, "only backups can serve: they get all sessions"),
            Self::BackupsOver => write!(f, "the backups are not needed any more"),
            Self::FailOpen => write!(
                f,
                "no backend can serve as far as is known: all get sessions, since one may after all"
            ),
            Self::FailOpenOver => write!(f, "some backend can serve again"),
            Self::Nobody => write!(
                f,
                "all backends are drained or gone: clients are turned away"
            ),
            Self::Joined { name } => write!(f, "backend {name} joins"),
            Self::Leaves { name } => {
                write!(
                    f,
                    "backend {name} leaves: nothing new, and its sessions may end"
                )
            }
            Self::Unresolved { why, kept: 0 } => f.write_str(why),
            Self::Unresolved { why, .. } => write!(f, "{why}; its last addresses are kept"),
            Self::Resolved { name } => write!(f, "backend {name} can be resolved again"),
            Self::Full { name } => write!(f, "backend {name}: there is no room for so many"),
            _ => Ok(()),
        }
    }
}

/// `3 connects in a row failed, the last with "Connection refused"`.
pub fn failed(failing: u32, error: u32) -> String {
    let times = match failing {
        1 => "a connect failed".to_owned(),
        failing => format!("{failing} connects in a row failed, the last"),
    };
    format!("{times} with \"{}\"", error_in_words(error))
}

/// What an errno means.
pub fn error_in_words(error: u32) -> String {
    let code = i32::try_from(error).unwrap_or(0);
    let words = std::io::Error::from_raw_os_error(code).to_string();
    match words.find(" (os error") {
        Some(end) => words[..end].to_owned(),
        None => words,
    }
}
