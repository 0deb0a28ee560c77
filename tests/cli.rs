//! The words of the real binary: what it is asked wrongly it answers in one sentence with exit code 2, and
//! its help tells what there is and nothing else.

use std::process::{Command, Output};

fn forkfront(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forkfront"))
        .args(words)
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

/// Wrong words, and what the sentence must say.
const REFUSED: &[(&[&str], &str)] = &[
    (&[], "run, demo, status or stop"),
    (&["strat"], "there is no command 'strat'"),
    (&["stats"], "did you mean status?"),
    (&["--fast"], "there is no option '--fast'"),
    (&["reload"], "there is no command 'reload'"),
    (&["run"], "the COMMAND to run is missing"),
    (
        &["run", "--"],
        "as in 'forkfront run -n 4 -- node server.js'",
    ),
    (&["run", "--", ""], "the COMMAND to run is missing"),
    (&["run", "node", "x"], "goes behind --"),
    (&["run", "--blance", "idle"], "did you mean --balance?"),
    (
        &["run", "--balance", "random", "--", "x"],
        "takes round-robin, least-connections, idle or kernel",
    ),
    (
        &["run", "--balance", "round-robbin", "--", "x"],
        "did you mean round-robin?",
    ),
    (&["run", "--orphans", "x", "--", "x"], "takes drain or kill"),
    (&["run", "-n"], "'--workers' needs a value"),
    (&["run", "-n", "0", "--", "x"], "1 to 1024, or auto"),
    (&["run", "-n", "-1", "--", "x"], "1 to 1024, or auto"),
    (&["run", "-n", "10000", "--", "x"], "1 to 1024, or auto"),
    (&["run", "-l", "0", "--", "x"], "port 0 cannot be shared"),
    (&["run", "-l", "70000", "--", "x"], "above 65535"),
    (&["run", "-l", "::1:80", "--", "x"], "brackets"),
    (
        &["run", "-l", "web:80", "--", "x"],
        "names are not looked up",
    ),
    (
        &["run", "-l", "80=web", "--", "x"],
        "no port number of the server",
    ),
    (
        &["run", "-l", "80", "-l", ":80", "--", "x"],
        "'-l 80' is given twice",
    ),
    (
        &["run", "--sticky", "cookie:a", "--", "x"],
        "ip, ip/24 or ip/24,56",
    ),
    (
        &["run", "--sticky", "ip", "--balance", "kernel", "--", "x"],
        "the kernel chooses",
    ),
    (&["run", "--grace", "1d", "--", "x"], "500ms, 10s, 2m or 1h"),
    (&["run", "--ready-timeout", "0", "--", "x"], "1ms at least"),
    (&["run", "--max-held", "-1", "--", "x"], "from 0 to 1000000"),
    (&["run", "--backlog", "0", "--", "x"], "'--backlog'"),
    (&["run", "--name", "a/b", "--", "x"], "a name has"),
    (
        &["run", "--name", "a", "--name", "b"],
        "'--name' is given twice",
    ),
    (&["run", "--env", "A", "--", "x"], "NAME=VALUE"),
    (
        &["run", "--env", "FORKFRONT_SLOT=1", "--", "x"],
        "by forkfront itself",
    ),
    (
        &["run", "--user", "no-such-user-x", "--", "x"],
        "no user 'no-such-user-x'",
    ),
    (
        &["run", "--group", "no-such-group-x", "--", "x"],
        "no group",
    ),
    (&["run", "--cwd"], "'--cwd' needs a value"),
    (&["run", "-v", "-q", "--", "x"], "exclude each other"),
    (&["demo", "-n", "0"], "see 'forkfront demo --help'"),
    (&["demo", "x"], "'x' has no place here"),
    (
        &["status", "--name", "a", "--control", "b"],
        "exclude each other",
    ),
    (&["status", "--jsn"], "did you mean --json?"),
    (&["stop", "8080"], "--name 8080"),
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
            "forkfront demo",
            "Exit codes: 0 done",
        ] {
            assert!(text.contains(part), "{words:?} without {part:?}:\n{text}");
        }
        let verbs = text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let verbs: Vec<&str> = verbs
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(verbs, ["run", "demo", "status", "stop"], "{text}");
    }
}

#[test]
fn help_of_run_names_every_option_its_default_and_the_signals() {
    let text = help(&["run", "--help"]);
    for part in [
        "-l, --listen",
        "-n, --workers",
        "--balance",
        "--sticky",
        "--name",
        "--control",
        "--backlog",
        "--max-held",
        "--ready-timeout",
        "--steal-after",
        "--drain-timeout",
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
    for later in ["--config", "cookie", "rolling"] {
        assert!(!text.contains(later), "{later:?} in:\n{text}");
    }
}

#[test]
fn no_line_of_help_is_wider_than_a_hundred() {
    for words in [
        &["--help"][..],
        &["run", "--help"],
        &["demo", "--help"],
        &["stop", "--help"],
    ] {
        for line in help(words).lines() {
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
    for verb in ["status", "stop"] {
        for target in ["--name", "--control"] {
            let done = forkfront(&[verb, target, "no-such-primary-here"]);
            let said = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(3), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains("no-such-primary-here"), "{said}");
        }
    }
}
