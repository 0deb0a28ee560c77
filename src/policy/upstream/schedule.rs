//! The order of turns: a table in which each backend stands as often as its weight says, as evenly as it can.

/// Most entries of the table: weights that need more are rounded.
const LONGEST: u64 = 4096;

/// Whose turn it is, by the number of the turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule(Vec<u16>);

impl Schedule {
    /// A table for these weights; whose weight is 0 is not in it.
    pub fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().copied().fold(0, gcd);
        if divisor == 0 {
            return Self::default();
        }
        let all: u64 = weights
            .iter()
            .map(|weight| u64::from(weight / divisor))
            .sum();
        let rounded = |weight: u32| {
            let times = u64::from(weight / divisor);
            match weight {
                0 => 0,
                _ if all <= LONGEST => times,
                _ => (times * LONGEST / all).max(1),
            }
        };
        // Each divides the round into as many equal parts as it has turns, and has one in the middle of each.
        let mut turns: Vec<(u64, u16)> = Vec::new();
        for (place, &weight) in weights.iter().enumerate() {
            let times = rounded(weight);
            let middle = |nth: u64| ((2 * nth + 1) << 32) / (2 * times);
            turns.extend((0..times).map(|nth| (middle(nth), place as u16)));
        }
        turns.sort_unstable();
        Self(turns.into_iter().map(|(_, place)| place).collect())
    }

    /// Nobody has a turn.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who has the turn of this number, and who would have the next ones, once around.
    pub fn from(&self, turn: u64) -> impl Iterator<Item = usize> {
        let at = (turn % self.0.len().max(1) as u64) as usize;
        let (before, after) = self.0.split_at(at);
        after.iter().chain(before).map(|place| usize::from(*place))
    }
}

fn gcd(one: u32, other: u32) -> u32 {
    if other == 0 {
        one
    } else {
        gcd(other, one % other)
    }
}
