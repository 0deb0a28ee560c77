//! The words of the real binary: what it is asked wrongly it answers in one sentence with exit code 2, and
//! its help tells what there is and nothing else.

use std::process::{Command, Output};

#[path = "cli/refused.rs"]
mod refused;

use refused::REFUSED;

fn forkfront(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forkfront"))
        .args(words)
        .env("COLUMNS", "100")
        .output()
        .expect("the program starts")
}

#[track_caller]
fn help(words: &[&str]) -> String {
    let done = forkfront(words);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(done.stderr.is_empty(), "{done:?}");
    String::from_utf8(done.stdout).expect("text")
}

/// Every command, as help lists them.
fn verbs() -> Vec<String> {
    let text = help(&["--help"]);
    let lines = text.lines().skip_while(|line| *line != "Start:");
    let verbs = lines
        .take_while(|line| *line != "Options:")
        .filter_map(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split_whitespace().next());
    verbs.map(str::to_owned).collect()
}

/// Those among them that have a running primary change something.
const CHANGES: [&str; 7] = [
    "reload", "restart", "scale", "drain", "resume", "set", "upgrade",
];

#[test]
fn what_is_asked_wrongly_is_answered_in_one_sentence() {
    for (words, part) in REFUSED {
        let done = forkfront(words);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        assert!(said.starts_with("forkfront: "), "{words:?}: {said}");
        assert!(said.contains(part), "{words:?} without {part:?}: {said}");
        assert!(done.stdout.is_empty(), "{words:?}: {done:?}");
    }
}

#[test]
fn help_teaches_by_example_and_lists_what_works() {
    for words in [&["--help"][..], &["-h"]] {
        let text = help(words);
        for part in [
            "forkfront run -- node server.js",
            "forkfront reload",
            "\n  run ",
        ] {
            assert!(text.contains(part), "{words:?} without {part:?}:\n{text}");
        }
    }
    assert!(help(&["--help"]).contains("Exit codes: 0 done"));
    for verb in verbs() {
        let text = help(&[&verb, "--help"]);
        let usage = format!("Usage: forkfront {verb}");
        assert!(text.contains(&usage), "{verb}:\n{text}");
    }
}

#[test]
fn help_of_what_changes_something_tells_how_and_what_may_fail() {
    for verb in CHANGES {
        let text = help(&[verb, "--help"]);
        for part in [
            "Ctrl-C ends the command only",
            "Exit codes: 0 done; 1 not done",
            "Examples:",
            &format!("  forkfront {verb}"),
            "--name",
            "--control",
        ] {
            assert!(text.contains(part), "{verb} without {part:?}:\n{text}");
        }
        let short = help(&[verb, "-h"]);
        assert!(short.lines().count() < 30, "{short}");
    }
    let text = help(&["reload", "--help"]);
    for part in ["1.  a new worker", "ends there", "HUP and USR2"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn help_of_run_names_every_option_its_default_and_the_signals() {
    let text = help(&["run", "--help"]);
    for part in [
        "-l, --listen",
        "-n, --workers",
        "--balance",
        "--sticky <KEY>",
        "route:NAME     the slot itself",
        "--sticky-down",
        "--sticky-bound",
        "--websocket-sticky",
        "--proxy-protocol",
        "--trusted-proxies",
        "--header-complete",
        "--peek-timeout",
        "--max-peeked",
        "--gather-max",
        "--defer-accept [<TIME>]",
        "--pin",
        "--name",
        "--control",
        "--backlog",
        "--max-held",
        "--ready-timeout",
        "--steal-after",
        "--drain-timeout",
        "--reload-parallel",
        "--max-old",
        "--restart",
        "--stop-exit-codes",
        "--max-restarts",
        "--max-memory",
        "--max-age",
        "--max-connections",
        "--hang-timeout",
        "--health ",
        "--config",
        "--health-interval",
        "--health-timeout",
        "--health-failures",
        "--grace",
        "--orphans",
        "--env",
        "--cwd",
        "--user",
        "--group",
        "-v, --verbose",
        "-q, --quiet",
        "[default: auto]",
        "[default: round-robin]",
        "[default: 30s]",
        "[default: 10s]",
        "FORKFRONT_SLOT",
        "QUIT stops now",
        "--balance idle -- python3",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn no_line_of_help_is_wider_than_a_hundred() {
    let all = verbs();
    let verbs = all.iter().map(|verb| vec![verb.as_str(), "--help"]);
    for words in verbs.chain([vec!["--help"], vec!["-h"]]) {
        for line in help(&words).lines() {
            assert!(line.chars().count() <= 100, "{words:?}: {line:?}");
        }
    }
}

#[test]
fn version_is_one_line() {
    assert_eq!(
        help(&["--version"]),
        concat!("forkfront ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn no_primary_is_exit_code_three() {
    let asked: [&[&str]; 12] = [
        &["status"],
        &["top"],
        &["reload"],
        &["reload", "--app", "web", "--changes-only"],
        &["restart", "web:2"],
        &["scale", "-1"],
        &["scale", "+2"],
        &["drain", "0"],
        &["resume", "1023"],
        &["set", "weight", "2=50", "--app", "web"],
        &["upgrade", "--binary", "./new"],
        &["stop"],
    ];
    for words in asked {
        for target in ["--name", "--control"] {
            let words = [words, &[target, "no-such-primary-here"]].concat();
            let done = forkfront(&words);
            let said = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(3), "{words:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
            assert!(said.contains("no-such-primary-here"), "{words:?}: {said}");
        }
    }
}
