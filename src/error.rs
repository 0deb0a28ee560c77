//! What ends the program: a sentence that says what, where and what to do, and the exit code.
//!
//! The failure of one thing (a worker, a client) is never an [`Error`]: it is an event for the policy, a
//! counter and a log line.

use std::fmt;
use std::io;

/// Why the program ends without having done what it was asked.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    sentence: String,
}

/// The class of an error: the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It was tried and did not work: exit code 1.
    Failed,
    /// It was not asked properly: exit code 2.
    Usage,
    /// There is no primary to talk to: exit code 3.
    NoPrimary,
}

/// Result with our [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Something was tried and did not work.
    pub fn failed(sentence: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Failed,
            sentence: sentence.into(),
        }
    }

    /// The request itself is wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Usage,
            sentence: sentence.into(),
        }
    }

    /// No running primary answers.
    pub fn no_primary(sentence: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::NoPrimary,
            sentence: sentence.into(),
        }
    }

    /// An I/O error, with what was being done: `doing` reads "cannot ...".
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        Self::failed(format!("{doing}: {error}"))
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// 1 failed, 2 usage, 3 no primary found.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            ErrorKind::NoPrimary => 3,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Error {}
