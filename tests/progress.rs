//! What people and programs are told while something takes its time: the first lines of a primary, a start, and
//! changes, at a terminal, in a pipe and as JSON.

mod common;

use std::fs;
use std::path::PathBuf;

use common::*;
use forkfront::status::AwaitedState;
use serde_json::Value;

/// Node workers whose start can be held up.
struct Held {
    hold: PathBuf,
    line: String,
}

impl Held {
    fn at(site: &Site) -> Self {
        let hold = site.file("hold");
        let line = format!(
            "while [ -e {} ]; do sleep 0.05; done; exec node {}",
            hold.display(),
            server("http.js")
        );
        Self { hold, line }
    }

    fn words<'a>(&'a self, n: &'a str) -> [&'a str; 7] {
        ["run", "-n", n, "--", "sh", "-c", &self.line]
    }

    fn hold(&self) {
        fs::write(&self.hold, "").expect("written");
    }

    fn go_on(&self) {
        fs::remove_file(&self.hold).expect("removed");
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

fn events(stdout: &str) -> Vec<Value> {
    let parsed = stdout.lines().map(serde_json::from_str);
    parsed.map(|event| event.expect("JSON")).collect()
}

#[test]
fn the_first_lines_say_what_is_shared_and_the_three_commands() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let output = eventually("all has been said", || {
        let output = balancer.output();
        output.contains("both workers are ready").then_some(output)
    });
    let control = site.control().display().to_string();
    // A slow machine has more to tell of the start.
    let late = |line: &&str| line.contains(" ago: ") || line.contains(" of 2 workers ready after ");
    // Behind the time, where the output has that.
    let lines = output.lines().filter(|line| line.contains("forkfront: "));
    let lines: Vec<&str> = lines.filter(|line| !late(line)).collect();
    assert_eq!(lines.len(), 5, "{output}");
    has(
        lines[0],
        &[
            &site.to().port().to_string(),
            "is shared by 2 workers of 'node ",
        ],
    );
    for (line, verb) in lines[1..].iter().zip(["status", "reload", "stop"]) {
        has(line, &[&format!("forkfront {verb} --control {control}")]);
    }
    balancer.finish();
}

#[test]
fn quiet_is_quiet() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["-q"]);
    let output = balancer.output();
    assert!(!output.contains("forkfront"), "{output}");
    balancer.finish();
}

#[test]
fn a_slow_start_says_what_it_waits_for() {
    let site = Site::new();
    let held = Held::at(&site);
    held.hold();
    let mut balancer = Balancer::spawn(&site, &held.words("2"));
    balancer.says("ago: has not bound a TCP port yet; --ready-timeout gives it 30 s");
    let progress = balancer.status().progress.expect("a start");
    assert_eq!(
        (&*progress.what, progress.done, progress.of),
        ("start", 0, 2)
    );
    assert_eq!(progress.awaited[0].state, AwaitedState::Starting);
    held.go_on();
    balancer.all_ready();
    assert_eq!(balancer.status().progress, None);
    balancer.finish_as_it_is();
}

#[test]
fn a_change_is_json_for_programs() {
    let site = Site::new();
    let held = Held::at(&site);
    let balancer = Balancer::start(&site, &held.words("1"));
    held.hold();
    let scale = balancer.begin(&["scale", "2", "--json"]);
    balancer.until("it takes long", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.for_s > 1.6)
    });
    held.go_on();
    let scale = scale.end().done();
    let all = events(&scale.stdout);
    let (first, last) = (&all[0], all.last().expect("an end"));
    assert_eq!(
        (&first["event"], &first["message"]),
        (&"progress".into(), &"scale to 2".into())
    );
    assert_eq!(last["event"], "done");
    has(
        last["message"].as_str().expect("words"),
        &["scaled to 2 workers in "],
    );
    let waiting = all.iter().find(|event| event["event"] == "waiting");
    let progress = &waiting.expect("it took more than a second")["progress"];
    assert_eq!((&progress["done"], &progress["of"]), (&1.into(), &2.into()));
    assert_eq!(progress["awaited"][0]["slot"], 1);
    assert_eq!(progress["awaited"][0]["state"], "starting");

    // Whoever keeps only what comes on stdout does not take it for begun.
    let refused = balancer
        .command(&["restart", "7"])
        .failed(1, &["no slot 7"]);
    assert_eq!(refused.stdout, "");
    let restart = balancer.command(&["restart", "7", "--json"]);
    let restart = restart.failed(1, &["no slot 7"]);
    let all = events(&restart.stdout);
    let last = all.last().expect("an end");
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"failed".into(), &1.into())
    );
    has(
        last["message"].as_str().expect("words"),
        &["there is no slot 7"],
    );
    balancer.finish_as_it_is();
}

#[test]
fn in_a_pipe_lines_come_ever_less_often() {
    let site = Site::new();
    let held = Held::at(&site);
    let balancer = Balancer::start(&site, &held.words("1"));
    held.hold();
    let restart = balancer.begin(&["restart", "0"]);
    balancer.until("it takes long", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.for_s > 1.3)
    });
    held.go_on();
    let restart = restart.end().done();
    let lines: Vec<&str> = restart.stdout.lines().collect();
    assert_eq!(lines[0], "restart of slot 0");
    has(lines[1], &["0 of 1 slot renewed, slot 0 is starting (1 s)"]);
    // With a slow machine one more tells that it is watched.
    let [.., renewed, done] = lines[2..] else {
        panic!("{lines:?}");
    };
    has(renewed, &["slot 0 has its new worker: 1 of 1 slot renewed"]);
    has(done, &["restarted 1 slot in "]);
    assert!(lines.len() <= 5, "{lines:?}");
    balancer.finish_as_it_is();
}

#[test]
fn at_a_terminal_one_line_is_rewritten() {
    let site = Site::new();
    let held = Held::at(&site);
    let balancer = Balancer::start(&site, &held.words("1"));
    held.hold();
    let command = format!(
        "{} reload --control {}",
        env!("CARGO_BIN_EXE_forkfront"),
        site.control().display()
    );
    let terminal = std::process::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("script of util-linux");
    balancer.until("it takes long", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.for_s > 2.5)
    });
    held.go_on();
    let done = terminal.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    let (line, rest) = shown
        .trim_end()
        .rsplit_once("\r\x1b[K")
        .expect("a line that is rewritten");
    has(rest, &["reloaded 1 slot in "]);
    assert!(!line.contains('\n'), "one line only: {shown:?}");
    has(
        line,
        &["s] reload: 0 of 1 slot renewed, slot 0 is starting ("],
    );
    balancer.finish_as_it_is();
}
