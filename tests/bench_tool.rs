//! `scripts/bench` as its users meet it: its help, what it refuses, one tiny run for real, and that nothing of it
//! stays behind. No speed is asserted anywhere.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::*;
use nix::sys::signal::Signal;
use serde_json::Value;

/// The tool, with the programs that cargo built for the tests.
fn bench(site: &Site, words: &[&str]) -> Command {
    let root = env!("CARGO_MANIFEST_DIR");
    let binaries = Path::new(env!("CARGO_BIN_EXE_forkfront")).with_file_name("");
    let mut command = Command::new("python3");
    command.arg(format!("{root}/scripts/bench")).args(words);
    if words.len() > 2 {
        command.args(["--no-install", "--binaries"]).arg(binaries);
        command.arg("--out").arg(&site.directory);
    }
    command.env(Site::MARK, &site.mark).stdin(Stdio::null());
    command
}

fn run(site: &Site, words: &[&str]) -> Output {
    bench(site, words).output().expect("python3")
}

#[track_caller]
fn says(output: &Output, code: i32, words: &str) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "no {words:?} in {text}");
}

#[test]
fn help_teaches_and_nonsense_is_refused() {
    let site = Site::new();
    says(&run(&site, &["--help"]), 0, "how to read it");
    says(&run(&site, &["sticky", "--help"]), 0, "forkfront-cookie");
    says(&run(&site, &["proxy", "--help"]), 0, "proxy-bulk");
    says(&run(&site, &[]), 2, "QUESTION");
    says(&run(&site, &["fastest"]), 2, "fastest");
    says(&run(&site, &["short", "--peers", "tcp"]), 2, "'tcp'");
    says(&run(&site, &["short", "--rounds", "0"]), 2, "between 1 and");
    let nobody = ["sticky", "--servers", "puma", "--seconds", "1"];
    says(&run(&site, &nobody), 2, "none of these peers can do sticky");
}

const TINY: [&str; 9] = [
    "short",
    "--peers",
    "forkfront,plain",
    "--servers",
    "native",
    "--seconds",
    "1",
    "--rounds",
    "1",
];

#[test]
fn a_tiny_run_gives_figures_with_their_circumstances() {
    let site = Site::new();
    let mut words = TINY.to_vec();
    words.push("--json");
    let output = run(&site, &words);
    says(&output, 0, "round 1 of 1");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(answer["machine"]["cores"].as_u64() >= Some(1), "{answer}");
    assert_eq!(answer["not_measured"], serde_json::json!([]));
    let results = answer["results"].as_array().expect("a list");
    let peers: Vec<&str> = results
        .iter()
        .flat_map(|one| one["peer"].as_str())
        .collect();
    assert_eq!(peers, ["forkfront", "plain"]);
    for result in results {
        assert_eq!(result["failed"], serde_json::json!({}), "{result}");
        assert!(result["answered"].as_u64() > Some(0), "{result}");
        assert!(result["figures"]["rate"]["median"].as_f64() > Some(0.0));
        assert!(result["figures"]["cpu_us"]["median"].as_f64() > Some(0.0));
    }
    let ratio = &results[1]["forkfront_against_it"]["median"];
    assert!(ratio.as_f64() > Some(0.0), "{ratio}");
    assert!(results[0]["figures"]["front_us"]["median"].is_number());
    let picture = std::fs::read_to_string(site.file("short.svg")).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.contains(">forkfront<"));
    assert_eq!(marked(&site.mark), []);
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let site = Site::new();
    let mut words = TINY.to_vec();
    words[6] = "30";
    let mut child = bench(&site, &words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    // Interrupted in the middle of a load: both peers are up, and wrk is at work.
    eventually("wrk runs", || {
        marked(&site.mark)
            .iter()
            .any(|(_, command)| command.contains("wrk.lua"))
            .then_some(())
    });
    send(child.id(), Signal::SIGINT);
    let status = within(DEADLINE, "it ends", || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(1));
    assert_eq!(marked(&site.mark), []);
}
