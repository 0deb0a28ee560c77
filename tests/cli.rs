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

/// Every command, as help lists them.
const VERBS: [&str; 12] = [
    "run", "demo", "status", "check", "reload", "restart", "scale", "drain", "resume", "set",
    "upgrade", "stop",
];

/// Those among them that have a running primary change something.
const CHANGES: [&str; 7] = [
    "reload", "restart", "scale", "drain", "resume", "set", "upgrade",
];

/// Wrong words, and what the sentence must say.
const REFUSED: &[(&[&str], &str)] = &[
    (&[], "run, demo, status, check, reload"),
    (&["strat"], "there is no command 'strat'"),
    (&["stats"], "did you mean status?"),
    (&["--fast"], "there is no option '--fast'"),
    (&["relaod"], "did you mean reload?"),
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
        &["run", "--sticky", "kuchen:a", "--", "x"],
        "cookie:NAME, query:NAME, path:N",
    ),
    (
        &["run", "--sticky", "ip", "--balance", "kernel", "--", "x"],
        "the kernel chooses",
    ),
    (
        &["run", "-l", "80", "-l", "0.0.0.0:80", "--", "x"],
        "are the same address",
    ),
    (
        &[
            "run",
            "--health",
            "http:/",
            "--balance",
            "kernel",
            "--",
            "x",
        ],
        "--health cannot be asked",
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
    (
        &["run", "--reload-parallel", "0", "--", "x"],
        "from 1 to 1024",
    ),
    (&["run", "--max-old", "-1", "--", "x"], "from 1 to 100"),
    (
        &["run", "--restart", "on-failur", "--", "x"],
        "did you mean on-failure?",
    ),
    (
        &["run", "--stop-exit-codes", "-1", "--", "x"],
        "0 to 255, as in 0,78",
    ),
    (&["run", "--max-restarts", "0", "--", "x"], "1 at least"),
    (
        &["run", "--max-restarts", "3/soon", "--", "x"],
        "behind the slash",
    ),
    (
        &["run", "--max-memory", "512", "--", "x"],
        "a number without a unit is bytes",
    ),
    (&["run", "--max-memory", "-1M", "--", "x"], "512M, 2G"),
    (&["run", "--max-age", "0", "--", "x"], "1ms at least"),
    (&["run", "--max-connections", "0", "--", "x"], "from 1 up"),
    (
        &["run", "--hang-timeout", "x", "--", "x"],
        "500ms, 10s, 2m or 1h",
    ),
    (
        &["run", "--health", "http:ping", "--", "x"],
        "as in http:/health",
    ),
    (&["run", "--health", "nc 'x", "--", "x"], "not closed"),
    (
        &["run", "--health-interval", "1s", "--", "x"],
        "--health is missing",
    ),
    (
        &["run", "--health", "x", "--health-failures", "0", "--", "x"],
        "from 1 to 1000",
    ),
    (
        &["run", "--config", "f", "--", "x"],
        "'COMMAND' is said in the file",
    ),
    (
        &["run", "-n", "2", "--config", "f"],
        "'--workers' is said in the file",
    ),
    (
        &["run", "--config", "f", "--health-timeout", "1"],
        "'--health-timeout' is said",
    ),
    (&["run", "--config"], "'--config' needs a value"),
    (&["demo", "-n", "0"], "see 'forkfront demo --help'"),
    (&["demo", "x"], "'x' has no place here"),
    (
        &["status", "--name", "a", "--control", "b"],
        "exclude each other",
    ),
    (&["check"], "FILE is missing"),
    (&["check", "a", "b"], "'b' has no place here"),
    (&["status", "--jsn"], "did you mean --json?"),
    (&["stop", "8080"], "--name 8080"),
    (&["reload", "web"], "an app is named by --app web"),
    (&["reload", "--app", "a/b"], "a name has"),
    (
        &["reload", "--chnages-only"],
        "did you mean --changes-only?",
    ),
    (&["restart"], "SLOT is missing"),
    (&["restart", "web"], "as in web:2"),
    (&["restart", "1024"], "0 to 1023"),
    (&["drain", "-1"], "as in web:2"),
    (&["drain", "2", "3"], "'3' has no place here"),
    (&["resume", "a b:1"], "as in web:2"),
    (&["scale"], "N is missing"),
    (&["scale", "0"], "1 to 1024, or a change, as in +2 or -1"),
    (&["scale", "four"], "as in +2 or -1"),
    (&["scale", "-0"], "as in +2 or -1"),
    (&["scale", "4", "5"], "'5' has no place here"),
    (&["set"], "KEY and VALUE are missing"),
    (&["set", "balanc", "idle"], "did you mean balance?"),
    (
        &["set", "workers", "4"],
        "balance, sticky, weight or log-level",
    ),
    (&["set", "balance", "random"], "idle or kernel"),
    (&["set", "sticky", "kuchen:a"], "route:NAME, or off"),
    (&["set", "weight", "50"], "as in 2=50 or web:2=50"),
    (&["set", "weight", "2=0"], "is drained"),
    (&["set", "weight", "2=-1"], "1 to 1000"),
    (
        &["set", "weight", "a:2=50", "--app", "b"],
        "'a:2' is no slot of --app b",
    ),
    (&["set", "log-level", "off"], "debug or trace"),
    (
        &["set", "log-level", "info", "--app", "a"],
        "for the whole primary",
    ),
    (&["upgrade", "./new"], "--binary ./new"),
    (&["upgrade", "--binary"], "'--binary' needs a value"),
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
            "Exit codes: 0 done",
        ] {
            assert!(text.contains(part), "{words:?} without {part:?}:\n{text}");
        }
        let verbs = text.lines().skip_while(|line| *line != "Start:");
        let verbs: Vec<&str> = verbs
            .take_while(|line| *line != "Options:")
            .filter_map(|line| line.strip_prefix("  "))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(verbs, VERBS, "{text}");
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
    for part in ["1. a new worker", "ends there", "HUP and USR2"] {
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
        "--sticky",
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
    assert!(!text.contains("cookie"), "a later version's:\n{text}");
}

#[test]
fn no_line_of_help_is_wider_than_a_hundred() {
    let verbs = VERBS.map(|verb| vec![verb, "--help"]);
    for words in verbs.into_iter().chain([vec!["--help"], vec!["-h"]]) {
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
    let asked: [&[&str]; 11] = [
        &["status"],
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
