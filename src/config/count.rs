//! Numbers and names as people write them, each read by one function for the command line and the file alike.

use super::MAX_WORKERS;
use crate::protocol;
use crate::sys::limits;

/// The most connections that may be held while no worker can take them.
pub const MAX_HELD: u32 = 1_000_000;

/// The most generations of old workers that may finish at one time.
pub const MAX_OLD: usize = 100;

/// The most rotated log files.
const MOST_KEPT: u32 = 1000;

/// The most wrong answers in a row that a health check may wait for.
pub const MAX_FAILURES: u32 = 1000;

/// A number of workers, or `auto`: one per processor that we may really use.
///
/// # Errors
/// A sentence.
pub fn workers(words: &str) -> Result<usize, String> {
    if words == "auto" {
        return Ok(limits::cpus().min(MAX_WORKERS));
    }
    within(words, 1, MAX_WORKERS as u64)
        .map(|n| n as usize)
        .map_err(|_| format!("it takes 1 to {MAX_WORKERS}, or auto"))
}

/// How many slots are renewed at one time.
///
/// # Errors
/// A sentence.
pub fn reload_parallel(words: &str) -> Result<usize, String> {
    within(words, 1, MAX_WORKERS as u64).map(|n| n as usize)
}

/// How many generations of old workers may finish at one time.
///
/// # Errors
/// A sentence.
pub fn max_old(words: &str) -> Result<usize, String> {
    within(words, 1, MAX_OLD as u64).map(|n| n as usize)
}

/// How many connections are held at most.
///
/// # Errors
/// A sentence.
pub fn max_held(words: &str) -> Result<usize, String> {
    within(words, 0, u64::from(MAX_HELD)).map(|n| n as usize)
}

/// How many connections' first bytes are waited for at most.
///
/// # Errors
/// A sentence.
pub fn max_peeked(words: &str) -> Result<usize, String> {
    within(words, 1, u64::from(MAX_HELD)).map(|n| n as usize)
}

/// The length of the kernel's queue.
///
/// # Errors
/// A sentence.
pub fn backlog(words: &str) -> Result<i32, String> {
    within(words, 1, i32::MAX as u64).map(|n| n as i32)
}

/// After how many connections a worker is replaced.
///
/// # Errors
/// A sentence.
pub fn max_connections(words: &str) -> Result<u64, String> {
    within(words, 1, u64::MAX)
}

/// After how many wrong answers in a row a worker is replaced.
///
/// # Errors
/// A sentence.
pub fn health_failures(words: &str) -> Result<u32, String> {
    within(words, 1, u64::from(MAX_FAILURES)).map(|n| n as u32)
}

/// How many rotated log files are kept.
///
/// # Errors
/// A sentence.
pub fn log_keep(words: &str) -> Result<u32, String> {
    within(words, 1, u64::from(MOST_KEPT)).map(|n| n as u32)
}

fn within(words: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits = !words.is_empty() && words.bytes().all(|byte| byte.is_ascii_digit());
    let number = words.parse().ok().filter(|_| digits);
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| match most {
            u64::MAX => format!("it takes a number from {least} up"),
            most => format!("it takes a number from {least} to {most}"),
        })
}

/// What can be a file name and a word on a command line.
///
/// # Errors
/// A sentence.
pub fn name(words: &str) -> Result<String, String> {
    if protocol::is_valid_name(words) {
        return Ok(words.to_owned());
    }
    Err(
        "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with none of '.' and '-'"
            .into(),
    )
}

/// How much is said on stderr.
///
/// # Errors
/// A sentence.
pub fn log_level(words: &str) -> Result<log::LevelFilter, String> {
    use log::LevelFilter::{Debug, Error, Info, Trace, Warn};
    [Error, Warn, Info, Debug, Trace]
        .into_iter()
        .find(|level| level.as_str().to_ascii_lowercase() == words)
        .ok_or_else(|| "it takes error, warn, info, debug or trace".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_counts() {
        for (words, expected) in [("1", Some(1)), ("1024", Some(1024)), ("007", Some(7))] {
            assert_eq!(workers(words).ok(), expected, "{words}");
        }
        assert!(workers("auto").is_ok_and(|n| n >= 1));
        for words in ["0", "1025", "10000", "-1", "+1", "", "two", "1.5", "AUTO"] {
            assert_eq!(workers(words).unwrap_err(), "it takes 1 to 1024, or auto");
        }
    }

    #[test]
    fn other_counts_have_their_bounds() {
        assert_eq!(reload_parallel("2"), Ok(2));
        assert_eq!(max_old("100"), Ok(100));
        assert_eq!(max_held("0"), Ok(0));
        assert_eq!(backlog("2147483647"), Ok(i32::MAX));
        assert_eq!(max_connections("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(health_failures("3"), Ok(3));
        for refused in [
            reload_parallel("0").map(|_| ()),
            max_old("101").map(|_| ()),
            max_held("1000001").map(|_| ()),
            backlog("0").map(|_| ()),
            backlog("2147483648").map(|_| ()),
            max_connections("18446744073709551616").map(|_| ()),
            health_failures("-1").map(|_| ()),
        ] {
            assert!(refused.unwrap_err().contains("it takes a number from"));
        }
    }

    #[test]
    fn names() {
        for words in ["8080", "web-1", "a", "a.b_c", &"x".repeat(64)] {
            assert_eq!(name(words).as_deref(), Ok(words));
        }
        for words in [
            "",
            ".",
            "..",
            ".hidden",
            "-n",
            "a/b",
            "a b",
            "a:b",
            "\u{e9}",
            &"x".repeat(65),
        ] {
            assert!(name(words).is_err(), "{words}");
        }
    }

    #[test]
    fn log_levels() {
        assert_eq!(log_level("debug"), Ok(log::LevelFilter::Debug));
        for words in ["", "off", "INFO", "verbose"] {
            assert!(log_level(words).unwrap_err().contains("warn"), "{words}");
        }
    }
}
