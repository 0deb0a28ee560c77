//! `--sticky-bound`: how much more than its share a slot may have.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A factor above 1, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound(u32);

impl Bound {
    /// The factor, in hundredths: 125 for `1.25`.
    pub fn percent(self) -> u32 {
        self.0
    }
}

impl FromStr for Bound {
    type Err = String;

    /// Reads `1.25`, from 1.01 to 100, with at most two digits behind the point.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    fn from_str(words: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{words}' is no bound: it is how much of its even share a slot may have, 1.01 to 100, as in 1.25"
            )
        };
        let (whole, rest) = words.split_once('.').unwrap_or((words, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > 2 {
            return Err(wrong());
        }
        let hundredths = format!("{rest:0<2}");
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let hundredths: u32 = hundredths.parse().map_err(|_| wrong())?;
        let percent = whole.checked_mul(100).map(|whole| whole + hundredths);
        percent
            .filter(|percent| (101..=10_000).contains(percent))
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Bound {
    /// As it is written after `--sticky-bound`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:02}", self.0 / 100, self.0 % 100);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_read_and_written_back() {
        for (words, percent) in [
            ("1.25", 125),
            ("1.01", 101),
            ("2", 200),
            ("100", 10_000),
            ("1.5", 150),
        ] {
            let bound: Bound = words.parse().unwrap();
            assert_eq!(bound.percent(), percent);
            assert_eq!(bound.to_string(), words);
        }
        for words in [
            "",
            "1",
            "1.",
            "0.9",
            "1.001",
            "100.01",
            "-2",
            "1e2",
            "x",
            "99999999999",
        ] {
            assert!(words.parse::<Bound>().is_err(), "{words}");
        }
    }
}
