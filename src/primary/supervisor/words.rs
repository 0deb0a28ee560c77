//! Small words for the supervisor's sentences.

use std::ffi::OsString;
use std::time::Duration;

use crate::policy::lifecycle::Why;

/// A duration as people read it: `35 ms`, `1.4 s`, `2 min`.
pub fn in_words(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", time.as_millis()),
        seconds if seconds < 10.0 && time.subsec_millis() >= 50 => format!("{seconds:.1} s"),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

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
    fn advice_for_who_can_use_it() {
        assert!(advice(libc::EADDRINUSE, 80).contains("ss -ltnp"));
        assert!(advice(libc::EACCES, 80).contains("-l 8080=80"));
        assert_eq!(advice(libc::EACCES, 8080), "");
    }

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
