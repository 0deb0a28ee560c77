//! How values are said to people, wherever a rule or a sentence about one needs it.

use std::time::Duration;

/// A duration as people read it: `350 ms`, `1.4 s`, `30 s`, `5 min`.
pub fn in_words(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", time.as_millis()),
        seconds if seconds < 10.0 && time.subsec_millis() >= 50 => format!("{seconds:.1} s"),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let said: Vec<_> = [35, 999, 1000, 1449, 30_000, 119_000, 180_000]
            .map(|ms| in_words(Duration::from_millis(ms)))
            .into();
        assert_eq!(
            said,
            ["35 ms", "999 ms", "1 s", "1.4 s", "30 s", "119 s", "3 min"]
        );
    }
}
