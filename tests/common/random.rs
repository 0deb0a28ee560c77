//! The one source of chance: a seed that is printed, so that a run can be had again.

/// xorshift64*.
pub struct Random(u64);

impl Random {
    /// From `FORKFRONT_TEST_SEED`, else from the clock; printed either way.
    pub fn seeded() -> Self {
        let seed = std::env::var("FORKFRONT_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .expect("after 1970");
                now.as_nanos() as u64 | 1
            });
        println!("seed: FORKFRONT_TEST_SEED={seed}");
        Self(seed)
    }

    /// From this seed, which is not zero.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
