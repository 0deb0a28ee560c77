//! The figure of the log, full size: ignored by `cargo test`, run and printed by `scripts/figures`. Small versions
//! are among the scenarios (tests/log_files.rs, tests/log_verb.rs).

mod common;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::*;

/// Lines in a minute, by both workers together.
const LINES: u64 = 10_000_000;
/// How long each of the loads without lines is looked at.
const SILENCE: Duration = Duration::from_secs(15);

/// Prints its half of the lines in a minute, once the file is there, buffered as a server's library would: 8 KiB in
/// one write. Then it is silent, as before.
const PRINTER: &str = r"
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
half, begun, count = int(sys.argv[2]) // 2, time.monotonic(), 0
while count < half:
    due = min(half, int((time.monotonic() - begun) * half / 60))
    while count < due:
        sys.stdout.write(f'127.0.0.1 GET /some/path?with=words HTTP/1.1 200 {count:>8} 0.000123 s agent\n')
        count += 1
    time.sleep(0.005)
sys.stdout.flush()
time.sleep(1000)
";

/// The words of two node servers, each with a printer beside it.
fn words(site: &Site, log: &[&str]) -> Vec<String> {
    let script = site.file("printer.py");
    fs::write(&script, PRINTER).expect("written");
    let line = format!(
        "python3 {} {} {LINES} & exec node {} >/dev/null",
        script.display(),
        site.file("go").display(),
        server("http.js")
    );
    let mut words: Vec<String> = ["run", "-n", "2"].map(str::to_owned).to_vec();
    words.extend(log.iter().map(|word| (*word).to_owned()));
    words.extend(["--", "sh", "-c", &line].map(str::to_owned));
    words
}

/// Connections per second that are answered while `until` does not hold, with what the primary has used.
fn look(balancer: &Balancer<'_>, what: &str, mut until: impl FnMut(Duration) -> bool) {
    let (begun, ticks) = (Instant::now(), cpu_ticks(balancer.pid()));
    let load = Load::start(balancer.site.to(), 16, 1, DEADLINE);
    while !until(begun.elapsed()) {
        load.proceed(100);
    }
    let report = load.stop();
    report.clean();
    let seconds = begun.elapsed().as_secs_f64();
    let status = balancer.status();
    println!(
        "{what:34} {:>6.0} connections/s, slowest {:>8.1?}; primary: {:>3.0} % of a core, {:>5} KiB; lines {}, dropped {}",
        report.tally.answered() as f64 / seconds,
        report.tally.slowest(),
        (cpu_ticks(balancer.pid()) - ticks) as f64 / seconds,
        rss_kib(balancer.pid()),
        status.lines_printed,
        status.lines_dropped,
    );
}

fn compare(balancer: Balancer<'_>, what: &str) {
    let quiet = |at: Duration| at >= SILENCE;
    look(&balancer, "silent workers", quiet);
    fs::write(balancer.site.file("go"), "").expect("written");
    look(&balancer, what, |_| {
        balancer.status().lines_printed >= LINES
    });
    look(&balancer, "silent again", quiet);
    assert_eq!(balancer.status().lines_printed, LINES);
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn ten_million_lines_a_minute_into_a_file() {
    let site = Site::new();
    let file = site.file("app.log").display().to_string();
    let log = [
        "--log-file",
        &file,
        "--log-max-size",
        "200M",
        "--log-keep",
        "2",
    ];
    let balancer = Balancer::start(&site, &words(&site, &log));
    compare(balancer, "10,000,000 lines/min into a file");
}

#[test]
#[ignore = "figure"]
fn ten_million_lines_a_minute_that_nobody_reads() {
    let site = Site::new();
    // A pipe that is full at once.
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let mut balancer = Balancer::spawn_changed(&site, &words(&site, &[]), |command| {
        command.stdout(writer).stderr(Stdio::null());
    });
    balancer.all_ready();
    compare(balancer, "10,000,000 lines/min, nobody reads");
}
