//! The words of `forkfront logs`.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use super::TargetWords;
use crate::client::Target;
use crate::config;
use crate::protocol::{LogsOf, Request};

/// Lines that are shown if nothing else is said.
const LINES: usize = 100;

/// What `logs` is.
pub const LONG: &str = "\
Show the last lines that the workers and the primary itself have printed.

The primary keeps the last lines of each slot, 4 MB in all, wherever else they go; what is older is in the log \
files or in the journal, if there are any. With -f, what is printed from now on is shown too, until Ctrl-C. \
Whoever reads too slowly misses lines, and is told how many; the workers never wait.";

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  forkfront logs -f                   all, as it comes
  forkfront logs 2                    slot 2; web:2 where several apps run, web: all of that app
  forkfront logs primary              what forkfront itself said
  forkfront logs --since 10m          of the last ten minutes; also 14:30, 2026-11-23T14:30
  forkfront logs --json | jq 'select(.stream == \"stderr\").message'";

/// The words after `forkfront logs`.
#[derive(Debug, clap::Args)]
pub struct LogsWords {
    /// Whose lines: a slot as in `status`, an app, or primary [default: all]
    #[arg(value_name = "SLOT", allow_negative_numbers = true)]
    of: Option<LogsOf>,

    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,

    /// So many lines [default: 100; with --since all of them]
    #[arg(short = 'n', long, value_name = "LINES", allow_negative_numbers = true, value_parser = count)]
    lines: Option<usize>,

    /// Since then: 10m (ago), 14:30, 2026-11-23T14:30, with seconds or an offset if need be
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = since)]
    since: Option<i64>,

    /// One JSON object per line, for programs
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: TargetWords,
}

impl LogsWords {
    /// Of whom what is asked, and whether JSON is wanted.
    pub fn into_request(self) -> (Target, Request, bool) {
        let lines = match (self.lines, self.since) {
            (None, None) => Some(LINES),
            (lines, _) => lines,
        };
        let request = Request::Logs {
            of: self.of,
            since: self.since,
            lines,
            follow: self.follow,
        };
        (self.target.into(), request, self.json)
    }
}

fn count(words: &str) -> Result<usize, String> {
    let digits = !words.is_empty() && words.bytes().all(|byte| byte.is_ascii_digit());
    let number = words.parse().ok().filter(|_| digits);
    number.ok_or_else(|| "it takes a number of lines, from 0 up".into())
}

/// A moment, ms since 1970.
fn since(words: &str) -> Result<i64, String> {
    moment(words, &Zoned::now())
}

fn moment(words: &str, now: &Zoned) -> Result<i64, String> {
    if let Some(ago) = ago(words) {
        return Ok(now.timestamp().as_millisecond() - ago.as_millis() as i64);
    }
    let read = words
        .parse::<Timestamp>()
        .ok()
        .or_else(|| of_day(words, now))
        .or_else(|| local(words, now.time_zone()));
    match read {
        Some(time) => Ok(time.as_millisecond()),
        None => Err(
            "a time is written as 10m or 2h (ago), 14:30, 2026-11-23 or 2026-11-23T14:30:00, which is local unless \
             Z or +01:00 follows"
                .into(),
        ),
    }
}

/// `10m`, `2h`, `3d`; a number alone would be a year as well as seconds.
fn ago(words: &str) -> Option<Duration> {
    match words.strip_suffix('d') {
        Some(days) => {
            let days: u32 = days.parse().ok().filter(|days| *days <= 10_000)?;
            Some(Duration::from_secs(u64::from(days) * 24 * 3600))
        }
        None => {
            let unit = words.ends_with(|c: char| c.is_ascii_alphabetic());
            config::duration(words).ok().filter(|_| unit)
        }
    }
}

/// The last time that it was that late.
fn of_day(words: &str, now: &Zoned) -> Option<Timestamp> {
    let time: Time = words.parse().ok().filter(|_| words.contains(':'))?;
    let today = now.date().to_datetime(time);
    let at = today.to_zoned(now.time_zone().clone()).ok()?;
    let at = if at > *now {
        at.checked_sub(1.day()).ok()?
    } else {
        at
    };
    Some(at.timestamp())
}

fn local(words: &str, zone: &TimeZone) -> Option<Timestamp> {
    let time: DateTime = words.parse().ok()?;
    Some(time.to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let now = now.to_zoned(berlin);
        let table = [
            ("10m", "2026-11-23T11:50:00Z"),
            ("1.5h", "2026-11-23T10:30:00Z"),
            ("500ms", "2026-11-23T11:59:59.5Z"),
            ("2d", "2026-11-21T12:00:00Z"),
            ("12:30", "2026-11-23T11:30:00Z"),
            ("12:30:05", "2026-11-23T11:30:05Z"),
            ("14:30", "2026-11-22T13:30:00Z"),
            ("2026-11-23", "2026-11-22T23:00:00Z"),
            ("2026-11-23T10:00", "2026-11-23T09:00:00Z"),
            ("2026-11-23 10:00:00", "2026-11-23T09:00:00Z"),
            ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
            ("2026-11-23T10:00:00.250+05:00", "2026-11-23T05:00:00.25Z"),
        ];
        for (words, expected) in table {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(
                moment(words, &now),
                Ok(expected.as_millisecond()),
                "{words}"
            );
        }
        for words in [
            "",
            "now",
            "10",
            "2026",
            "-1m",
            "25:00",
            "2026-13-01",
            "yesterday",
            "1w",
            "99999d",
        ] {
            assert!(moment(words, &now).is_err(), "{words}");
        }
    }
}
