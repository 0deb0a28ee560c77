//! The backend that a key belongs to: a weighted rendezvous hash over what the backends are, not where they stand in
//! the list, so that one that leaves takes only its own clients elsewhere and a list in another order moves nobody.

use super::Upstream;
use crate::policy::affinity::Key;

impl Upstream {
    /// The backend that `key` belongs to, among those that get something and are `allowed`.
    ///
    /// What a backend gets at this moment does not matter (a slow start would move clients away and back again), only
    /// its weight as configured.
    pub fn preferred(&self, key: Key, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let candidates = self.standing.iter().enumerate();
        let candidates =
            candidates.filter(|(place, _)| self.weights[*place] != 0 && allowed(*place));
        let drawn = candidates.map(|(place, one)| (place, key.draw(one.identity, one.weight)));
        { drawn }
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(place, _)| place)
    }
}
