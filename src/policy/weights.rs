//! How much each slot gets of what comes, in proportion to the others. Plain numbers; what they mean for a choice
//! is the affair of [`super::rotation`] and [`super::affinity`].
//!
//! A slot of weight 0 gets nothing, unless no slot of another weight has a worker that takes connections: then
//! the slots of weight 0 share them evenly, since turning clients away helps nobody. If all weights are 0, they
//! are equal like any others. To keep a slot from getting anything whatever happens, it is put on hold.

use crate::config::WEIGHT;

/// The weights of all slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    of_slot: Vec<u16>,
    equal: bool,
}

impl Weights {
    /// All slots alike.
    pub fn equal(slots: usize) -> Self {
        Self::from(vec![WEIGHT; slots])
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.of_slot.len()
    }

    /// The weight of a slot; 0 of one that there is not.
    pub fn of(&self, slot: usize) -> u16 {
        self.of_slot.get(slot).copied().unwrap_or(0)
    }

    /// All slots count the same.
    pub fn are_equal(&self) -> bool {
        self.equal
    }

    /// Gives a slot another weight; one that there is not has none.
    pub fn set(&mut self, slot: usize, weight: u16) {
        if let Some(entry) = self.of_slot.get_mut(slot) {
            *entry = weight;
            self.equal = all_equal(&self.of_slot);
        }
    }

    /// Adds slots of the usual weight, or takes the last ones away.
    pub fn resize(&mut self, slots: usize) {
        self.of_slot.resize(slots, WEIGHT);
        self.equal = all_equal(&self.of_slot);
    }

    /// The weights, by slot.
    pub fn as_slice(&self) -> &[u16] {
        &self.of_slot
    }
}

impl From<Vec<u16>> for Weights {
    fn from(of_slot: Vec<u16>) -> Self {
        let equal = all_equal(&of_slot);
        Self { of_slot, equal }
    }
}

fn all_equal(weights: &[u16]) -> bool {
    weights.windows(2).all(|two| two[0] == two[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_noticed_at_every_change() {
        let mut weights = Weights::equal(2);
        assert!(weights.are_equal() && weights.slots() == 2);
        weights.set(1, 3);
        assert!(!weights.are_equal());
        assert_eq!((weights.of(1), weights.of(2)), (3, 0));
        weights.set(9, 7);
        weights.resize(1);
        assert!(weights.are_equal());
        weights.resize(3);
        assert_eq!(weights.as_slice(), [WEIGHT; 3]);
        assert!(Weights::from(vec![0, 0]).are_equal());
    }
}
