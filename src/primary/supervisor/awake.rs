//! The supervisor's clock: it stands still while the primary itself is stopped.
//!
//! After a SIGSTOP of the primary, or a pause of the whole machine, every deadline would be over at once and
//! healthy workers would be judged for the primary's own absence (C4). So a turn of the loop that took much
//! longer than it was to sleep counts only for as long as it was to sleep.

use std::time::{Duration, Instant};

use crate::policy::deadlines::Moment;

/// A turn that takes so much longer than its sleep was not slow: somebody stopped us.
const STOPPED: Duration = Duration::from_secs(1);

/// The longest sleep while a deadline is pending: what of a stop can hide in it.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Counts the time for which the primary was awake.
#[derive(Debug)]
pub struct AwakeClock {
    last: Instant,
    now: Moment,
}

impl AwakeClock {
    /// A clock that starts at zero.
    pub fn new(at: Instant) -> Self {
        Self {
            last: at,
            now: Moment::default(),
        }
    }

    /// One that goes on from `now`, of another image of this process.
    pub fn from(now: Moment, at: Instant) -> Self {
        Self { last: at, now }
    }

    /// The time as of the last tick.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Goes on to `at`, after a sleep of at most `asked` (`None`: there was no deadline to be judged).
    pub fn tick(&mut self, at: Instant, asked: Option<Duration>) -> Moment {
        let step = at.saturating_duration_since(self.last);
        self.last = at;
        self.now = self.now
            + match asked {
                Some(asked) if step > asked + STOPPED => asked,
                _ => step,
            };
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_while_the_primary_is_stopped() {
        let start = Instant::now();
        let mut clock = AwakeClock::new(start);
        let second = Duration::from_secs(1);
        assert_eq!(clock.tick(start + second, Some(second)), Moment(second));
        let resumed = start + second * 31;
        assert_eq!(clock.tick(resumed, Some(second)), Moment(second * 2));
        assert_eq!(
            clock.tick(resumed + second * 3600, None),
            Moment(second * 3602),
            "a quiet hour without deadlines counts"
        );
        assert_eq!(clock.tick(start, Some(second)), Moment(second * 3602));
    }
}
