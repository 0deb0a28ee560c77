//! The source of chance.

use std::time::Duration;

use forkfront::policy::deadlines::Moment;

/// Seeded: the walks must be the same on every machine.
pub struct Dice(pub oorandom::Rand64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0.rand_range(0..sides)
    }

    pub fn in_ms(&mut self, from: Moment, most: u64) -> Moment {
        from + Duration::from_millis(self.roll(most))
    }
}
