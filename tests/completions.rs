//! Completions: what is offered, and that real shells offer it. The shells are typed into at a terminal
//! (tests/programs/typed.py).

mod common;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

use common::*;
use forkfront::protocol::run_directories;

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_forkfront")
}

/// What is offered for the last of `words`, in the order in which it is.
fn offered(words: &[&str]) -> Vec<String> {
    let done = Command::new(program())
        .env("FORKFRONT_COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .args(["--", "forkfront"])
        .args(words)
        .output()
        .expect("the program starts");
    assert_eq!(done.status.code(), Some(0), "{words:?}: {done:?}");
    let text = String::from_utf8(done.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn offers(words: &[&str], expected: &[&str]) {
    let all = offered(words);
    for one in expected {
        assert!(
            all.iter().any(|all| all == one),
            "{words:?}: no {one} in {all:?}"
        );
    }
}

#[test]
fn every_command_and_each_of_its_options_is_offered() {
    let verbs = offered(&[""]);
    assert!(!verbs.contains(&"demo-worker".into()), "{verbs:?}");
    let verbs: Vec<&String> = verbs.iter().filter(|verb| !verb.starts_with('-')).collect();
    assert!(verbs.len() > 12, "{verbs:?}");
    for verb in verbs {
        let help = Command::new(program()).args([verb, "--help"]).output();
        let help = String::from_utf8(help.expect("help").stdout).expect("text");
        let named = help
            .lines()
            .filter(|line| line.starts_with("  -") || line.starts_with("      --"));
        let named = named.filter_map(|line| line.split_once("--"));
        let named = named.filter_map(|(_, rest)| rest.split([' ', '.', ',']).next());
        let named: Vec<String> = named.map(|name| format!("--{name}")).collect();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        assert!(named.contains(&"--help"), "{verb}: {help}");
        offers(&[verb, "--"], &named);
    }
}

#[test]
fn values_that_are_known_are_offered() {
    let table: &[(&[&str], &[&str])] = &[
        (
            &["run", "--balance", ""],
            &["round-robin", "idle", "kernel"],
        ),
        (
            &["run", "--sticky", ""],
            &["ip", "cookie:", "route:", "sni"],
        ),
        (&["run", "--sticky-down", "h"], &["hold"]),
        (&["set", ""], &["balance", "sticky", "weight", "log-level"]),
        (&["set", "balance", "l"], &["least-connections"]),
        (&["set", "sticky", "o"], &["off"]),
        (&["set", "log-level", "d"], &["debug"]),
        (
            &["help", ""],
            &["run", "sticky", "exit-codes", "troubleshooting"],
        ),
        (&["completions", ""], &["bash", "zsh", "fish"]),
        (&["run", "--", "pytho"], &["python3"]),
        (&["check", "/et"], &["/etc/"]),
        (&["man", "/et"], &["/etc/"]),
    ];
    for (words, expected) in table {
        offers(words, expected);
    }
}

#[test]
fn what_runs_is_offered() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &[]);
    let control = site.control();
    let control = control.to_str().expect("text");
    offers(&["restart", "--control", control, ""], &["0", "1", "2"]);
    offers(
        &["drain", &format!("--control={control}"), ""],
        &["0", "1", "2"],
    );
    offers(&["logs", "--control", control, ""], &["0", "2", "primary"]);
    offers(&["set", "--control", control, "weight", ""], &["0=", "2="]);
    assert_eq!(
        offered(&["reload", "--control", control, "--app", ""]),
        ["app"]
    );
    // Nobody is there, and nobody waits.
    assert!(
        offered(&["restart", "--control", "/nowhere", ""])
            .iter()
            .all(|one| one.starts_with('-'))
    );
    balancer.finish();
}

#[test]
fn names_of_primaries_are_offered() {
    let directory = run_directories().remove(0);
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory);
    made.expect("the run directory");
    let name = format!("completed-{}", std::process::id());
    let path = directory.join(format!("{name}.sock"));
    let listener = UnixListener::bind(&path).expect("a control socket");
    let all = offered(&["status", "--name", "completed-"]);
    drop(listener);
    fs::remove_file(path).expect("removed");
    assert!(all.contains(&name), "{all:?}");
}

#[test]
fn a_shell_that_asks_and_is_not_known_is_told_so() {
    let done = Command::new(program())
        .env("FORKFRONT_COMPLETE", "tcsh")
        .args(["--", "forkfront", ""])
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("tcsh"), "{said}");
    // Whoever has set it to nothing asks for nothing.
    let done = Command::new(program())
        .env("FORKFRONT_COMPLETE", "")
        .arg("--version")
        .output()
        .expect("the program starts");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
}

/// Installs the script for `shell` as its help says, and types.
fn typed(site: &Site, shell: &str, script: &str, cases: &[(&str, &str)]) -> Output {
    let written = Command::new(program())
        .args(["completions", shell])
        .output();
    let path = site.file(script);
    fs::write(&path, written.expect("a script").stdout).expect("written");
    std::os::unix::fs::symlink(program(), site.file("forkfront")).expect("a link");
    let paths = std::env::var("PATH").expect("PATH");
    let mut python = Command::new("python3");
    python
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/programs/typed.py"
        ))
        .arg(shell)
        .arg(&path)
        .env("PATH", format!("{}:{paths}", site.directory.display()))
        .env("HOME", &site.directory)
        .env("TERM", "dumb")
        .envs(site.environment());
    for (keys, expected) in cases {
        python.args([keys, expected]);
    }
    python.output().expect("python3")
}

fn offers_at_the_terminal(shell: &str, script: &str, more: &[(&str, &str)]) {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let control = site.control();
    let slot = format!("forkfront restart --control {} \t", control.display());
    let mut cases = vec![
        ("forkfront relo\t", "forkfront reload"),
        ("forkfront run --max-mem\t", "--max-memory"),
        ("forkfront run --balance le\t", "least-connections"),
        ("forkfront run --sticky coo\t", "cookie:"),
        ("forkfront help troub\t", "troubleshooting"),
        (&slot, "control.sock 0"),
    ];
    cases.extend(more);
    let done = typed(&site, shell, script, &cases);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{shell}, which scripts/test installs: {said}"
    );
    balancer.finish();
}

#[test]
fn bash_completes() {
    let more = [
        (
            "forkfront run --balance=le\t",
            "--balance=least-connections",
        ),
        ("forkfront run --sticky=coo\t", "--sticky=cookie:"),
        ("forkfront set sticky cookie\t", "cookie:"),
        ("forkfront run -n 2 -- pytho\t", "-- python"),
    ];
    offers_at_the_terminal("bash", "forkfront.bash", &more);
}

#[test]
fn zsh_completes() {
    offers_at_the_terminal("zsh", "_forkfront", &[]);
}

#[test]
fn fish_completes() {
    offers_at_the_terminal("fish", "forkfront.fish", &[]);
}
