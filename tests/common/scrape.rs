//! What is to be read over HTTP, by curl, and what Prometheus makes of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// What `curl WORDS` prints.
#[track_caller]
pub fn curl(words: &[&str]) -> String {
    let common = ["--silent", "--show-error", "--max-time", "20"];
    let output = Command::new("curl").args(common).args(words).output();
    let output = output.expect("curl runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {words:?}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

/// Status code and body of a GET.
#[track_caller]
pub fn fetch(url: &str) -> (u16, String) {
    let whole = curl(&["--write-out", "\n%{http_code}", url]);
    let (body, code) = whole.rsplit_once('\n').expect("a code");
    (code.parse().expect("a number"), body.to_owned())
}

/// Every sample of a text in which promtool finds nothing wrong.
#[track_caller]
pub fn scraped(text: &str) -> BTreeMap<String, f64> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs: scripts/test installs it");
    let mut input = promtool.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("written");
    drop(input);
    let said = promtool.wait_with_output().expect("promtool ends");
    let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && complaint.is_empty(), "{complaint}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(sample).collect()
}

/// All samples of a family together.
pub fn sum(all: &BTreeMap<String, f64>, family: &str) -> f64 {
    let of = |name: &&String| name.split('{').next() == Some(family);
    all.keys().filter(of).map(|name| all[name]).sum()
}

/// No counter of `before` is less in `after`.
#[track_caller]
pub fn only_up(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    for (name, value) in before {
        let family = name.split('{').next().unwrap_or_default();
        let counts = ["_total", "_bucket", "_sum", "_count"];
        if counts.iter().any(|end| family.ends_with(end)) {
            let now = after.get(name).copied().unwrap_or(-1.0);
            assert!(now >= *value, "{name} was {value} and is {now}");
        }
    }
}
