//! The source of chance.

use std::time::Duration;

use forkfront::policy::deadlines::Moment;

/// xorshift64: the walks must be the same on every machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        (self.number() >> 16) % sides
    }

    pub fn in_ms(&mut self, from: Moment, most: u64) -> Moment {
        from + Duration::from_millis(self.roll(most))
    }
}
