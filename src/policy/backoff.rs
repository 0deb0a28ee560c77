//! How long a slot waits before its next start: doubled with each failure in a row, capped, and spread so that
//! slots that failed together do not start together.
//!
//! With these numbers a program that exits at once is started ten times in its first minute and twice a
//! minute from then on.

use std::time::Duration;

/// The wait after the first failure.
pub const FIRST: Duration = Duration::from_millis(100);
/// The longest wait of a slot whose workers never get ready, before jitter.
pub const CAP: Duration = Duration::from_secs(30);
/// The longest wait of a slot whose last worker did get ready, before jitter: its start is known to work, and
/// each second without it is capacity lost.
pub const CAP_AFTER_READY: Duration = Duration::from_secs(1);
/// The jitter adds up to one part in so many: 20 %.
const JITTER_PARTS: u32 = 5;

/// The wait after `failures` failures in a row, at most `cap` plus jitter; `random` is any number, uniformly
/// distributed. No failure, no wait.
pub fn delay(failures: u32, cap: Duration, random: u64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let wait = FIRST.saturating_mul(factor).min(cap);
    let share = (random >> 32) as f64 / f64::from(u32::MAX);
    wait + (wait / JITTER_PARTS).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_from_a_tenth_of_a_second_to_the_cap() {
        assert_eq!(delay(0, CAP, u64::MAX), Duration::ZERO);
        assert_eq!(delay(1, CAP, 0), FIRST);
        assert_eq!(delay(4, CAP, 0), FIRST * 8);
        for failures in [10, 33, 1000, u32::MAX] {
            assert_eq!(delay(failures, CAP, 0), CAP);
        }
    }

    #[test]
    fn jitter_only_adds_and_at_most_a_fifth() {
        for failures in 1..40 {
            for random in [0, 1 << 40, u64::MAX / 3, u64::MAX] {
                let least = delay(failures, CAP, 0);
                let got = delay(failures, CAP, random);
                assert!(got >= least && got <= least.mul_f64(1.2), "{got:?}");
            }
        }
    }

    #[test]
    fn a_program_that_exits_at_once_is_not_started_often() {
        let starts = |within: Duration| {
            (1..)
                .scan(Duration::ZERO, |at, failures| {
                    *at += delay(failures, CAP, 0);
                    Some(*at)
                })
                .take_while(|at| *at < within)
                .count()
                + 1
        };
        assert!(starts(Duration::from_secs(60)) <= 12);
        assert!(starts(Duration::from_secs(600)) <= 30);
    }
}
