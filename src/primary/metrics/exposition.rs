//! The text format of Prometheus, version 0.0.4: families with their help, samples with their labels.
//!
//! Names and order are up to [`super::families`]. A sample whose name and labels were written already is left out,
//! since a reader refuses the whole text for it.

use std::collections::HashSet;
use std::fmt::{Display, Write};

/// What the text is, for HTTP.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never goes down.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Name and value of each label.
pub type Labels<'a> = [(&'a str, &'a str)];

/// Text that grows.
#[derive(Debug, Default)]
pub struct Text {
    written: String,
    family: &'static str,
    seen: HashSet<String>,
}

impl Text {
    /// Begins a family.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        self.seen.clear();
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = write!(self.written, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self
    }

    /// A family of one sample, which has no labels.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &Labels<'_>, value: impl Display) -> &mut Self {
        self.line("", labels, value);
        self
    }

    /// The samples of a histogram: how many were up to each bound, in seconds; how many in all; their sum.
    pub fn histogram(&mut self, labels: &Labels<'_>, bounds: &[(f64, u64)], count: u64, sum: f64) {
        for (bound, below) in bounds {
            let bound = bound.to_string();
            self.line("_bucket", &[labels, &[("le", &bound)]].concat(), below);
        }
        self.line("_bucket", &[labels, &[("le", "+Inf")]].concat(), count);
        self.line("_sum", labels, sum);
        self.line("_count", labels, count);
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, value: impl Display) {
        let mut series = format!("{}{suffix}", self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(series, "{before}{name}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            series.push('}');
        }
        if self.seen.contains(&series) {
            return;
        }
        let _ = writeln!(self.written, "{series} {value}");
        self.seen.insert(series);
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.written
    }
}

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str(r"\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str(r"\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_expects() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "All\nof \\it.")
            .sample(&[], 3)
            .sample(&[("app", "a\"b\\c\nd"), ("slot", "0")], u64::MAX)
            .sample(&[], 4);
        text.family("wait_seconds", Kind::Histogram, "Waits.");
        text.histogram(&[("app", "x")], &[(0.000016, 1), (0.5, 2)], 3, 1.5);
        let expected = "\
# HELP a_total All\\nof \\\\it.
# TYPE a_total counter
a_total 3
a_total{app=\"a\\\"b\\\\c\\nd\",slot=\"0\"} 18446744073709551615
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
wait_seconds_bucket{app=\"x\",le=\"0.000016\"} 1
wait_seconds_bucket{app=\"x\",le=\"0.5\"} 2
wait_seconds_bucket{app=\"x\",le=\"+Inf\"} 3
wait_seconds_sum{app=\"x\"} 1.5
wait_seconds_count{app=\"x\"} 3
";
        assert_eq!(text.finish(), expected);
    }
}
