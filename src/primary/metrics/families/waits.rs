//! Waits as a histogram of Prometheus: how many were up to each bound.

use super::super::exposition::{Labels, Text};
use super::super::tally::Waits;
use crate::scoreboard::bucket_floor;

/// Bounds, µs: each is the floor of a bucket of the scoreboard, so nothing is guessed.
/// A wait of exactly the bound is counted above it, half a microsecond off what Prometheus means.
const BOUNDS_US: [u64; 16] = [
    16,
    64,
    256,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 13,
    1 << 14,
    1 << 15,
    1 << 16,
    1 << 17,
    1 << 18,
    1 << 19,
    1 << 20,
    1 << 22,
    1 << 24,
];

/// The samples of one.
pub fn histogram(text: &mut Text, labels: &Labels<'_>, waits: &Waits) {
    let (bounds, count) = cumulated(waits);
    text.histogram(labels, &bounds, count, waits.sum_us as f64 / 1e6);
}

/// How many waits were below each bound, in seconds, and how many there were.
fn cumulated(waits: &Waits) -> (Vec<(f64, u64)>, u64) {
    let mut bounds = Vec::with_capacity(BOUNDS_US.len());
    let mut below = 0u64;
    let mut next = 0;
    for bound in BOUNDS_US {
        while next < waits.buckets.len() && bucket_floor(next) < bound {
            below = below.saturating_add(waits.buckets[next]);
            next += 1;
        }
        bounds.push((bound as f64 / 1e6, below));
    }
    let above = waits.buckets[next.min(waits.buckets.len())..].iter();
    (
        bounds,
        above.fold(below, |sum, count| sum.saturating_add(*count)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoreboard::{BUCKETS, bucket};

    #[test]
    fn each_bound_is_the_floor_of_a_bucket() {
        for bound in BOUNDS_US {
            assert_eq!(bucket_floor(bucket(bound)), bound);
        }
    }

    #[test]
    fn waits_are_counted_up_to_each_bound() {
        let mut waits = Waits::default();
        for us in [0, 15, 16, 300, 1_000_000, 100_000_000] {
            waits.buckets[bucket(us)] += 1;
        }
        let (bounds, count) = cumulated(&waits);
        let below = |seconds: f64| {
            bounds
                .iter()
                .find(|(bound, _)| *bound == seconds)
                .unwrap()
                .1
        };
        assert_eq!((below(0.000016), below(0.000064)), (2, 3));
        assert_eq!((below(0.000512 * 2.0), below(1.048576)), (4, 5));
        assert_eq!((below(16.777216), count), (5, 6));
        waits.buckets = vec![u64::MAX; BUCKETS];
        let (bounds, count) = cumulated(&waits);
        assert_eq!((bounds[0].1, count), (u64::MAX, u64::MAX));
    }
}
