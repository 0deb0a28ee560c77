//! What a readiness event means: one enum, mapped to mio's tokens and back.
//!
//! The numbers inside are ids that are never used twice, so an event that was still in the batch when its
//! source went away decodes to something that nobody knows any more, never to its successor.

use mio::Token;

use crate::policy::ids::WorkerId;

/// Whose event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The signalfd.
    Signals,
    /// The dispatcher, through its `Waker`.
    Reports,
    /// The rendezvous, with all who ask there.
    Rendezvous,
    /// The control socket, with all its clients.
    Control,
    /// The pidfd of a worker: it has exited.
    Exit(WorkerId),
    /// The pidfd of a program that is tried out.
    Trial,
    /// What the worker's health is asked by.
    Probe(WorkerId),
    /// Those who read the state over HTTP, all of them.
    Metrics,
}

/// Low bits of a token: the kind. The rest: the id.
const KIND_BITS: u32 = 4;

impl Source {
    /// The token to register the source with.
    pub fn token(self) -> Token {
        let (kind, id) = match self {
            Self::Signals => (0, 0),
            Self::Reports => (1, 0),
            Self::Rendezvous => (2, 0),
            Self::Control => (3, 0),
            Self::Exit(WorkerId(id)) => (4, id),
            Self::Trial => (5, 0),
            Self::Probe(WorkerId(id)) => (6, id),
            Self::Metrics => (7, 0),
        };
        Token(kind | (id << KIND_BITS) as usize)
    }

    /// What `token` was made from; `None` if it was not made here.
    pub fn decode(token: Token) -> Option<Self> {
        let id = token.0 as u64 >> KIND_BITS;
        let kind = token.0 & ((1 << KIND_BITS) - 1);
        Some(match (kind, id) {
            (0, 0) => Self::Signals,
            (1, 0) => Self::Reports,
            (2, 0) => Self::Rendezvous,
            (3, 0) => Self::Control,
            (4, id) => Self::Exit(WorkerId(id)),
            (5, 0) => Self::Trial,
            (6, id) => Self::Probe(WorkerId(id)),
            (7, 0) => Self::Metrics,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut sources = vec![
            Source::Signals,
            Source::Reports,
            Source::Rendezvous,
            Source::Control,
            Source::Trial,
            Source::Metrics,
        ];
        for id in [0, 1, 2, 7, 8, 1 << 20, (1 << 59) - 1] {
            sources.push(Source::Exit(WorkerId(id)));
            sources.push(Source::Probe(WorkerId(id)));
        }
        let mut seen = std::collections::HashSet::new();
        for source in sources {
            assert_eq!(Source::decode(source.token()), Some(source));
            assert!(seen.insert(source.token()), "{source:?} shares its token");
        }
    }

    #[test]
    fn a_token_of_nobody_is_nothing() {
        for token in [8, 15, 1 << 4, (1 << 4) | 1, (9 << 4) | 3, usize::MAX] {
            assert_eq!(Source::decode(Token(token)), None, "{token:#x}");
        }
    }
}
