//! Text that fits: lines of at most 80 columns, and numbers as people read them.

use std::fmt::Write;

/// No line is longer, whatever is in it.
pub const WIDTH: usize = 80;

/// One line that fits, with nothing in it that a terminal would obey.
pub fn line(out: &mut String, text: &str) {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    for (number, part) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.extend(cut(part, WIDTH).chars().map(plain));
    }
    out.push('\n');
}

/// Words over as many lines as they need, each behind `indent`.
pub fn wrapped(out: &mut String, indent: &str, text: &str) {
    let mut current = String::from(indent);
    for word in text.split_whitespace() {
        let has_words = current.len() > indent.len();
        if has_words && current.chars().count() + 1 + word.chars().count() > WIDTH {
            line(out, &current);
            current = String::from(indent);
        } else if has_words {
            current.push(' ');
        }
        current.push_str(word);
    }
    line(out, &current);
}

/// At most so many characters.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(3));
    kept.chain("...".chars()).collect()
}

/// At most so many characters, without some in the middle: a path is known by its end.
pub fn cut_middle(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(3);
    let head = kept / 3;
    let tail = text.chars().skip(length - (kept - head));
    let head = text.chars().take(head);
    head.chain("...".chars()).chain(tail).collect()
}

/// A length of time, in at most six characters for a hundred days.
pub fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        86_400..8_640_000 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// A number that fits five columns.
pub fn count(number: u64) -> String {
    count_in(number, 5)
}

/// A number that fits so many columns, five to eighteen of them: whole, if it does.
pub fn count_in(number: u64, columns: u32) -> String {
    if number < 10u64.pow(columns) {
        return number.to_string();
    }
    let units = ["", "k", "M", "G", "T", "P"];
    scaled(number as f64, 100_000.0, 1000.0, &units)
}

/// An amount of memory.
pub fn bytes(number: u64) -> String {
    let mebibytes = number as f64 / (1024.0 * 1024.0);
    scaled(mebibytes, 10_000.0, 1024.0, &[" M", " G", " T"])
}

/// An amount of bytes that were moved, in at most six characters for some exabytes.
pub fn bytes_in(number: u64) -> String {
    let units = ["", " K", " M", " G", " T", " P"];
    scaled(number as f64, 10_000.0, 1024.0, &units)
}

/// A short length of time.
pub fn micros(number: u64) -> String {
    match number as f64 {
        us @ ..1000.0 => format!("{us:.0} us"),
        us @ ..1e6 => format!("{:.1} ms", us / 1e3),
        us @ ..1e8 => format!("{:.1} s", us / 1e6),
        us => span(us / 1e6),
    }
}

fn scaled(mut number: f64, limit: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().unwrap_or(&"");
    while number >= limit {
        let Some(next) = units.next() else { break };
        number /= step;
        unit = next;
    }
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(text, "{number:.0}{unit}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([span(59.9), span(61.0)], ["59s", "1m01s"]);
        assert_eq!([span(7_999.0), span(90_000.0)], ["2h13m", "1d01h"]);
        assert_eq!(span(8_640_000.0), "100d");
        assert_eq!([count(99_999), count(1_234_567)], ["99999", "1235k"]);
        let all = count_in(u64::MAX, 8);
        assert_eq!([&*count_in(1_234_567, 8), &*all], ["1234567", "18447P"]);
        assert_eq!(
            [cut_middle("/a/b", 5), cut_middle("/abcdefghij", 9)],
            ["/a/b", "/a...ghij"]
        );
        assert_eq!([bytes(53 << 20), bytes(30 << 30)], ["53 M", "30 G"]);
        assert_eq!([bytes_in(9_999), bytes_in(10_240)], ["9999", "10 K"]);
        assert_eq!(bytes_in(u64::MAX), "16384 P");
        assert_eq!([micros(999), micros(1234)], ["999 us", "1.2 ms"]);
        assert_eq!(
            [micros(99_900_000), micros(5_000_000_000)],
            ["99.9 s", "1h23m"]
        );
    }
}
