//! Connections whose first bytes are waited for, as values.

use std::io;

use serde::{Deserialize, Serialize};

use super::{Awaits, Peek, Peeked};
use crate::primary::dispatcher::deal::Hand;
use crate::primary::dispatcher::frozen::FrozenHand;
use crate::primary::dispatcher::state::State;
use crate::status::Keys;

/// All of them, the one whose time is up first before the others.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct FrozenPeek {
    waiting: Vec<FrozenPeeked>,
    counts: Keys,
}

#[derive(Debug, Serialize, Deserialize)]
struct FrozenPeeked {
    hand: FrozenHand,
    awaits: Awaits,
    /// The end of its time, by a clock that goes on meanwhile.
    deadline: u64,
}

impl FrozenPeek {
    /// The connections themselves.
    pub fn hands(&self) -> impl Iterator<Item = &FrozenHand> {
        self.waiting.iter().map(|one| &one.hand)
    }
}

impl Peek {
    /// The epoll in which they are is closed with all that is not frozen.
    pub fn freeze(mut self, mut pack: impl FnMut(Hand) -> FrozenHand) -> FrozenPeek {
        let keys: Vec<usize> = self.waiting.keys().collect();
        let waiting = keys.into_iter().map(|key| {
            let deadline = self.waiting.deadline(key);
            let one = self.waiting.remove(key);
            FrozenPeeked {
                hand: pack(one.hand),
                awaits: one.awaits,
                deadline,
            }
        });
        FrozenPeek {
            waiting: waiting.collect(),
            counts: self.counts,
        }
    }
}

impl State {
    /// Waits for them again; what has come meanwhile is seen at once.
    pub(in super::super) fn thaw_peek(
        &mut self,
        frozen: FrozenPeek,
        mut unpack: impl FnMut(FrozenHand) -> io::Result<Hand>,
    ) -> io::Result<()> {
        self.peek.counts = frozen.counts;
        for one in frozen.waiting {
            let peeked = Peeked {
                hand: unpack(one.hand)?,
                awaits: one.awaits,
                seen: None,
                looks: 0,
                watched: false,
            };
            let key = self.peek.waiting.insert(peeked, one.deadline);
            self.watch_peeked(key);
        }
        Ok(())
    }
}
