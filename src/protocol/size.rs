//! To how many workers an app is scaled: `4`, `+2`, `-1`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::words;
use crate::config::MAX_WORKERS;

/// A number of workers, or a change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many, 1 to [`MAX_WORKERS`].
    Exactly(usize),
    /// So many more than there are.
    More(usize),
    /// So many less.
    Fewer(usize),
}

impl Size {
    /// How many that are when there are `now`.
    ///
    /// # Errors
    /// A sentence if there cannot be so many or so few.
    pub fn from(self, now: usize) -> Result<usize, String> {
        let to = match self {
            Self::Exactly(to) => Some(to),
            Self::More(more) => now.checked_add(more),
            Self::Fewer(fewer) => now.checked_sub(fewer),
        };
        to.filter(|to| (1..=MAX_WORKERS).contains(to)).ok_or_else(|| {
            format!("an app has 1 to {MAX_WORKERS} workers, and there are {now}: {self} cannot be done")
        })
    }
}

impl FromStr for Size {
    type Err = String;

    /// Reads `4`, `+2`, `-1`.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    fn from_str(words: &str) -> Result<Self, String> {
        let (made, digits): (fn(usize) -> Self, _) = match words.as_bytes().first() {
            Some(b'+') => (Self::More, &words[1..]),
            Some(b'-') => (Self::Fewer, &words[1..]),
            _ => (Self::Exactly, words),
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse()
            .ok()
            .filter(|number| plain && (1..=MAX_WORKERS).contains(number))
            .map(made)
            .ok_or_else(|| format!("it takes 1 to {MAX_WORKERS}, or a change, as in +2 or -1"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{number}"),
            Self::More(number) => write!(f, "+{number}"),
            Self::Fewer(number) => write!(f, "-{number}"),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        words::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        words::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        let table = [
            ("4", Size::Exactly(4)),
            ("+2", Size::More(2)),
            ("-1", Size::Fewer(1)),
            ("1024", Size::Exactly(1024)),
        ];
        for (words, size) in table {
            assert_eq!(words.parse(), Ok(size));
            assert_eq!(size.to_string(), words);
        }
        for words in [
            "", "+", "-", "0", "+0", "-0", "1025", "++1", "+-1", "four", "1.5",
        ] {
            let sentence = words.parse::<Size>().unwrap_err();
            assert!(sentence.contains("+2 or -1"), "{words}: {sentence}");
        }
    }

    #[test]
    fn a_change_goes_from_what_there_is() {
        assert_eq!(Size::Exactly(4).from(2), Ok(4));
        assert_eq!(Size::More(2).from(2), Ok(4));
        assert_eq!(Size::Fewer(1).from(2), Ok(1));
        for (size, now) in [
            (Size::Fewer(2), 2),
            (Size::Fewer(3), 2),
            (Size::More(1), 1024),
        ] {
            let sentence = size.from(now).unwrap_err();
            assert!(sentence.contains(&size.to_string()), "{sentence}");
        }
    }
}
