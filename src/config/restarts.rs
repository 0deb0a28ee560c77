//! What the end of a worker means for its slot, as people write it: exit codes, and so many restarts in some
//! time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::positive_duration;

/// Within what time restarts are counted unless it is said.
const WINDOW: Duration = Duration::from_secs(60);

/// Exit codes with commas between: `0,78`.
///
/// # Errors
/// A sentence.
///
/// ```
/// assert_eq!(forkfront::config::exit_codes("78,0"), Ok([0, 78].into()));
/// ```
pub fn exit_codes(words: &str) -> Result<BTreeSet<i32>, String> {
    let code = |word: &str| {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        let code = word.parse::<u8>().ok().filter(|_| digits);
        code.map(i32::from)
            .ok_or_else(|| format!("'{word}' is no exit code: these are 0 to 255, as in 0,78"))
    };
    words.split(',').map(|word| code(word.trim())).collect()
}

/// The most restarts and the time they are counted in: `10/1m`, or `10` for so many in a minute.
///
/// # Errors
/// A sentence.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(forkfront::config::max_restarts("10/1h"), Ok((10, Duration::from_secs(3600))));
/// ```
pub fn max_restarts(words: &str) -> Result<(u32, Duration), String> {
    let (count, window) = match words.split_once('/') {
        Some((count, window)) => (
            count,
            positive_duration(window).map_err(|why| format!("behind the slash: {why}"))?,
        ),
        None => (words, WINDOW),
    };
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    match count.parse() {
        Ok(0) => Err("it takes 1 at least; restart never is the word for none".into()),
        Ok(count) if digits => Ok((count, window)),
        _ => Err("it is written as 10/1m, or 10 for so many in a minute".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read() {
        assert_eq!(exit_codes("0"), Ok([0].into()));
        assert_eq!(exit_codes("255, 3,3"), Ok([3, 255].into()));
        for words in ["", "256", "-1", "+1", "1,", "a", "1;2"] {
            let sentence = exit_codes(words).unwrap_err();
            assert!(sentence.contains("0 to 255"), "{words:?}: {sentence}");
        }
    }

    #[test]
    fn restarts_are_read() {
        let seconds = Duration::from_secs;
        assert_eq!(max_restarts("10"), Ok((10, seconds(60))));
        assert_eq!(max_restarts("3/10s"), Ok((3, seconds(10))));
        assert_eq!(max_restarts("1/90"), Ok((1, seconds(90))));
        for (words, part) in [
            ("", "10/1m"),
            ("many", "10/1m"),
            ("-3", "10/1m"),
            ("+3", "10/1m"),
            ("/1m", "10/1m"),
            ("5000000000", "10/1m"),
            ("0", "never"),
            ("0/1m", "never"),
            ("10/", "behind the slash"),
            ("10/0s", "1ms"),
            ("10/1m/2", "behind the slash"),
        ] {
            let sentence = max_restarts(words).unwrap_err();
            assert!(sentence.contains(part), "{words:?}: {sentence}");
        }
    }
}
