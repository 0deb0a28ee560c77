//! How one direction of a session is moved, chosen by what flows: by the scratch buffer, little at a time where little
//! comes or the sink takes little, or by a pipe where the whole buffer does not suffice.

use super::pool::SCRATCH;
use crate::config::proxy::Splice;

/// Bytes that are read at a time, at first.
const FIRST_ROOM: usize = 64 * 1024;
/// And at least, where the sink takes little at a time: what it does not take is to be kept.
const LEAST_ROOM: usize = 16 * 1024;
/// A filling of less than this is no stream's, bytes: copying it takes fewer system calls.
const QUIET: usize = 64 * 1024;
/// And so many of them in a row are copied again.
const QUIET_FROM: u8 = 4;

/// How bytes are moved just now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// By so much of the scratch buffer at a time: the more, the more comes and goes on.
    Copy { room_kib: u16 },
    /// By a pipe, which was filled with little so many times in a row.
    Splice { quiet: u8 },
}

impl Means {
    pub fn at_first(splice: Splice) -> Self {
        match splice {
            Splice::On => Self::Splice { quiet: 0 },
            Splice::Auto | Splice::Off => Self::copy(FIRST_ROOM),
        }
    }

    /// So much at a time, bytes.
    pub fn copy(room: usize) -> Self {
        Self::Copy {
            room_kib: (room / 1024) as u16,
        }
    }

    /// How much is to be read at a time, bytes.
    pub fn room(&self) -> usize {
        match self {
            Self::Copy { room_kib } => usize::from(*room_kib) * 1024,
            Self::Splice { .. } => SCRATCH,
        }
    }

    /// `came` bytes were there to be copied, of which the sink has taken `went`. A stream grows to the whole buffer, and
    /// is spliced when that does not suffice.
    pub fn copied(&mut self, came: usize, went: usize, splice: Splice) {
        let now = self.room();
        let is_news = went < came || came >= now;
        if !is_news || !matches!(self, Self::Copy { .. }) {
            return;
        }
        let next = if went < came {
            went.next_multiple_of(LEAST_ROOM).clamp(LEAST_ROOM, now)
        } else {
            now * 2
        };
        *self = if next <= SCRATCH || splice == Splice::Off {
            Self::copy(next.min(SCRATCH))
        } else {
            Self::Splice { quiet: 0 }
        };
    }

    /// A pipe was filled with `count` bytes.
    pub fn filled(&mut self, count: usize, splice: Splice) {
        if let Self::Splice { quiet } = self {
            *quiet = if count < QUIET { *quiet + 1 } else { 0 };
            if *quiet >= QUIET_FROM {
                *self = Self::at_first(splice);
            }
        }
    }
}
