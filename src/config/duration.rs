//! Lengths of time as people write them: `200us`, `500ms`, `10s`, `2m`, `1h`, or a plain number of seconds.

use std::time::Duration;

/// The longest length of time that is taken: beyond it a slip of the pen is likelier than a wish.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads a length of time.
///
/// # Errors
/// A sentence that says how it is written.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(forkfront::config::duration("1.5s"), Ok(Duration::from_millis(1500)));
/// ```
pub fn duration(words: &str) -> Result<Duration, String> {
    let wrong = || "a length of time is written as 500ms, 10s, 2m or 1h (a plain number: seconds)";
    let end = words
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(words.len());
    let (number, unit) = words.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "us" => number / 1_000_000.0,
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong().into()),
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|&length| length <= LONGEST)
        .ok_or_else(|| "it is longer than a week (168h)".into())
}

/// The same, but nothing is no answer.
///
/// # Errors
/// A sentence.
pub fn positive_duration(words: &str) -> Result<Duration, String> {
    match duration(words)? {
        length if length < Duration::from_millis(1) => Err("it must be 1ms at least".into()),
        length => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        let table = [
            ("500ms", 500),
            ("2000us", 2),
            ("10s", 10_000),
            ("10", 10_000),
            ("0", 0),
            ("0.25", 250),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("168h", 604_800_000),
        ];
        for (words, millis) in table {
            let expected = Duration::from_millis(millis);
            assert_eq!(duration(words), Ok(expected), "{words}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for words in [
            "", "s", "ms", "us", ".", "-1", "+1", "1d", "1 s", "1,5s", "1e3", "inf", "nan", "1.2.3",
        ] {
            let sentence = duration(words).unwrap_err();
            assert!(sentence.contains("written as"), "{words:?}: {sentence}");
        }
        for words in ["169h", "99999999999999999999999999h"] {
            assert!(duration(words).unwrap_err().contains("week"), "{words}");
        }
        assert!(positive_duration("0").unwrap_err().contains("1ms"));
        assert!(positive_duration("999us").unwrap_err().contains("1ms"));
        assert!(positive_duration("1ms").is_ok());
    }
}
