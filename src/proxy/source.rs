//! What a ready descriptor is: the one place where the proxy's poll tokens are made and read.

use mio::Token;

use super::duplex::Side;

/// Half of a token's bits say where a session is, the other half which one it was.
const HALF: u32 = usize::BITS / 2;
const LOW: usize = (1 << HALF) - 1;
/// Low halves that are no session's.
const LISTENER: usize = LOW;
const BELL: usize = LOW - 1;
const STOPPER: usize = LOW - 2;

/// Which session: its place in the slab, and its age. An event that comes after its end names nobody, even when the
/// place is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// Key in the slab.
    pub place: usize,
    /// Counts sessions.
    pub age: u32,
}

/// A source of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The listener.
    Listener,
    /// Something on the board of backends is new.
    Bell,
    /// A signal has come to a worker that is leaving already.
    Stopper,
    /// One of a session's sockets.
    Session(Id, Side),
}

impl Source {
    /// The token of this source.
    pub fn token(self) -> Token {
        match self {
            Self::Listener => Token(LISTENER),
            Self::Bell => Token(BELL),
            Self::Stopper => Token(STOPPER),
            Self::Session(id, side) => {
                let low = id.place << 1 | usize::from(side == Side::Backend);
                Token((id.age as usize) << HALF | low)
            }
        }
    }

    /// The source of this token.
    pub fn of(token: Token) -> Self {
        match token.0 & LOW {
            LISTENER => Self::Listener,
            BELL => Self::Bell,
            STOPPER => Self::Stopper,
            low => {
                let side = match low & 1 {
                    0 => Side::Client,
                    _ => Side::Backend,
                };
                let id = Id {
                    place: low >> 1,
                    age: (token.0 >> HALF) as u32,
                };
                Self::Session(id, side)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_what_they_were() {
        let session = |place, age, side| Source::Session(Id { place, age }, side);
        for source in [
            Source::Listener,
            Source::Bell,
            Source::Stopper,
            session(0, 0, Side::Client),
            session(0, 0, Side::Backend),
            session(1_000_000, u32::MAX, Side::Backend),
            session(3, 1 << 31, Side::Client),
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
