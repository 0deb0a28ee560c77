//! `--sticky-bound`: how much a slot may have before its clients go on to their next choice, so that one key with
//! very many connections (an office behind one address) does not melt one slot. Consistent hashing with bounded
//! loads (Mirrokni, Thorup and Zadimoghaddam 2018): no table here either, a client is back as soon as there is room.

use crate::config::Bound;
use crate::policy::rotation::{Fleet, load};
use crate::policy::weights::Weights;

/// How much each slot may have at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// All connections and the one to come, times the bound, in hundredths.
    most: u128,
    /// The weights of all that serve.
    whole: u128,
}

impl Ceiling {
    /// What `bound` comes to with what the slots have now: those that serve, since only they can take any.
    pub fn new(bound: Bound, weights: &Weights, fleet: &impl Fleet) -> Self {
        let serving = (0..fleet.slots()).filter(|&slot| fleet.serves(slot));
        let (mut total, mut whole) = (1, 0);
        for slot in serving {
            total += u128::from(load(fleet, slot));
            whole += weight(weights, slot);
        }
        let most = total * u128::from(bound.percent());
        Self { most, whole }
    }

    /// The slot has less than the bound times its share by weight. Of those that serve, one always has.
    pub fn fits(&self, slot: usize, weights: &Weights, fleet: &impl Fleet) -> bool {
        let load = u128::from(load(fleet, slot));
        load * 100 * self.whole < self.most * weight(weights, slot)
    }
}

/// Weights that are all 0 are equal like any others.
fn weight(weights: &Weights, slot: usize) -> u128 {
    if weights.are_equal() {
        1
    } else {
        weights.of(slot).into()
    }
}

#[cfg(test)]
mod tests;
