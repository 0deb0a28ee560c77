//! What a ready descriptor is: the one place where the demo's poll tokens are made and read.

use mio::Token;

/// Half of a token's bits say where a session is, the other half which one it was.
const HALF: u32 = usize::BITS / 2;
const LOW: usize = (1 << HALF) - 1;

/// A source of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The listener.
    Listener,
    /// The session that was at this place in the slab at this age: an event that comes after its end names
    /// nobody, even when the place is taken again.
    Session {
        /// Key in the slab.
        place: usize,
        /// [`Session::age`](super::session::Session::age).
        age: u32,
    },
}

impl Source {
    /// The token of this source.
    pub fn token(self) -> Token {
        match self {
            Self::Listener => Token(LOW),
            Self::Session { place, age } => Token((age as usize) << HALF | place),
        }
    }

    /// The source of this token.
    pub fn of(token: Token) -> Self {
        match token.0 & LOW {
            LOW => Self::Listener,
            place => Self::Session {
                place,
                age: (token.0 >> HALF) as u32,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_what_they_were() {
        let session = |place, age| Source::Session { place, age };
        for source in [
            Source::Listener,
            session(0, 0),
            session(9_999, 7),
            session(3, (1 << (HALF - 1)) - 1),
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
        assert_ne!(session(3, 1).token(), session(3, 2).token());
    }
}
