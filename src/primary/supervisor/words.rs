//! Small words for the supervisor's sentences.

use std::borrow::Cow;
use std::ffi::OsString;

use crate::policy::lifecycle::Why;
pub use crate::policy::words::in_words;

/// `1 connection`, `2 connections`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Words of a command for people.
pub fn lossy(words: &[OsString]) -> Vec<String> {
    let lossy = words.iter().map(|word| word.to_string_lossy());
    lossy.map(String::from).collect()
}

/// A command as it was typed, in quotes.
pub fn command(words: &[OsString]) -> String {
    format!("'{}'", lossy(words).join(" "))
}

/// A word as it is to be typed.
pub fn quoted(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).unwrap_or(word.into())
}

/// Why a worker goes, in a few words.
pub fn leaving(why: Why) -> &'static str {
    match why {
        Why::Late => "was not ready in time",
        Why::Broken => "its channel broke",
        Why::Replaced => "was replaced",
        Why::Scaled => "its slot is no more",
        Why::Hung => "hangs",
        Why::Stop => "the app stops",
    }
}

/// What can be done about an address that a server could not have.
pub fn advice(error: i32, port: u16) -> String {
    match error {
        libc::EADDRINUSE => " (ss -ltnp shows who has it)".to_owned(),
        libc::EACCES if port < 1024 => {
            format!(
                " (it takes root; with -l 8080={port} clients use port 8080, and nobody needs to be)"
            )
        }
        _ => String::new(),
    }
}

/// Why a worker is late, if nothing better is known.
pub fn not_listening() -> String {
    "it has not listened on any TCP port that is shared; if its start takes long, give --ready-timeout"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_typed_as_it_is_said() {
        assert_eq!(quoted("/run/web.sock"), "/run/web.sock");
        assert_eq!(quoted("/run/my web.sock"), "'/run/my web.sock'");
    }

    #[test]
    fn advice_for_who_can_use_it() {
        assert!(advice(libc::EADDRINUSE, 80).contains("ss -ltnp"));
        assert!(advice(libc::EACCES, 80).contains("-l 8080=80"));
        assert_eq!(advice(libc::EACCES, 8080), "");
    }
}
