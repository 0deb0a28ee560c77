//! What the program teaches: its help, its topics, its man pages. Whatever they name exists, what they show can be
//! typed as it stands, and all fits where it is read. New commands and options are covered as they come.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use forkfront::cli;
use forkfront::error::ErrorKind;

#[path = "help/pages.rs"]
mod pages;

/// Lines of a terminal, with some for the prompt: what `-h` may have.
const SCREEN: usize = 46;
/// Its columns.
const COLUMNS: usize = 80;

fn forkfront_at(columns: usize, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forkfront"))
        .args(words)
        .env("COLUMNS", columns.to_string())
        .output()
        .expect("the program starts")
}

#[track_caller]
fn said_at(columns: usize, words: &[&str]) -> String {
    let done = forkfront_at(columns, words);
    assert_eq!(done.status.code(), Some(0), "{words:?}: {done:?}");
    String::from_utf8(done.stdout).expect("text")
}

#[track_caller]
fn said(words: &[&str]) -> String {
    said_at(100, words)
}

/// First words of the lines below a heading of the help, up to a blank line.
fn listed(help: &str, heading: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| line.split_whitespace().next());
    words.map(str::to_owned).collect()
}

fn verbs() -> Vec<String> {
    let help = said(&["help"]);
    let headings = help.lines().skip_while(|line| *line != "Start:");
    let headings = headings.take_while(|line| *line != "Options:");
    let headings: Vec<&str> = headings.filter(|line| line.ends_with(':')).collect();
    headings
        .iter()
        .flat_map(|heading| listed(&help, heading))
        .collect()
}

fn topics() -> Vec<String> {
    let topics = listed(&said(&["help"]), "Topics, each by 'forkfront help TOPIC':");
    assert!(topics.len() >= 10, "{topics:?}");
    topics
}

/// All that is shown to people: what it is, and its text.
fn texts() -> Vec<(String, String)> {
    let mut texts = vec![
        ("--help".to_owned(), said(&["--help"])),
        ("-h".to_owned(), said(&["-h"])),
    ];
    for verb in verbs() {
        texts.push((format!("{verb} -h"), said(&[&verb, "-h"])));
        texts.push((format!("{verb} --help"), said(&[&verb, "--help"])));
    }
    for topic in topics() {
        let file = format!("src/cli/topics/{topic}.txt");
        texts.push((file.clone(), source(&file)));
    }
    texts
}

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).expect(file)
}

/// The long options that a command defines, by its help.
fn options_of(verb: &str) -> Vec<String> {
    let help = said(&[verb, "--help"]);
    let lines = help
        .lines()
        .filter(|line| line.starts_with("  -") || line.starts_with("      --"));
    let longs = lines.filter_map(|line| line.split_once("--"));
    longs
        .map(|(_, name)| name.chars().take_while(is_of_a_flag).collect())
        .collect()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "take_while gives it so")]
fn is_of_a_flag(c: &char) -> bool {
    c.is_ascii_alphanumeric() || *c == '-'
}

#[test]
fn every_command_and_topic_can_be_asked_about() {
    for verb in verbs() {
        assert_eq!(said(&["help", &verb]), said(&[&verb, "--help"]), "{verb}");
    }
    for topic in topics() {
        let text = said(&["help", &topic]);
        assert!(text.starts_with(&format!("{topic}: ")), "{text}");
        assert!(text.lines().count() > 10, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
    let table: &[(&[&str], &str)] = &[
        (&["help", "docker"], "containers: "),
        (&["help", "exit", "codes"], "exit-codes: "),
        (
            &["help", "--max-memory"],
            "forkfront run:\n      --max-memory",
        ),
        (&["help", "max-memory"], "512M"),
        (&["help", "-n"], "--workers"),
        (&["help", "changes-only"], "forkfront reload:"),
        (&["help", "--name"], "forkfront status:"),
    ];
    for (words, part) in table {
        let text = said(words);
        assert!(text.contains(part), "{words:?} without {part:?}:\n{text}");
    }
}

#[test]
fn a_slip_gets_the_nearest_word() {
    let table: &[(&[&str], &str)] = &[
        (&["help", "stiky"], "did you mean sticky?"),
        (&["help", "relaod"], "did you mean reload?"),
        (&["help", "--max-memry"], "did you mean max-memory?"),
        (&["help", "sytemd"], "did you mean systemd?"),
        (
            &["help", "quantum"],
            "there is no command, option or topic 'quantum' (see 'forkfront help')",
        ),
        (&["completions", "bsh"], "did you mean bash?"),
        (&["completions", "tcsh"], "takes bash, zsh or fish"),
        (&["completions"], "SHELL is missing"),
        (&["man", "a", "b"], "'b' has no place here"),
    ];
    for (words, part) in table {
        let done = forkfront_at(100, words);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        assert!(said.contains(part), "{words:?} without {part:?}: {said}");
    }
}

#[test]
fn the_short_help_fits_a_screen() {
    let mut all: Vec<Vec<String>> = verbs()
        .into_iter()
        .map(|verb| vec![verb, "-h".into()])
        .collect();
    all.push(vec!["-h".into()]);
    for words in all {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = said_at(COLUMNS, &words);
        let lines = text.lines().count();
        assert!(lines <= SCREEN, "{words:?}: {lines} lines\n{text}");
        for line in text.lines() {
            let wide = line.chars().count();
            assert!(wide <= COLUMNS, "{words:?}: {wide} columns: {line}");
        }
    }
}

#[test]
fn a_topic_is_as_wide_as_the_terminal() {
    let example = source("src/config/file/example.toml");
    for topic in topics() {
        let text = source(&format!("src/cli/topics/{topic}.txt"));
        // What is to be typed or copied stays whole.
        let is_kept = |line: &str| {
            line.strip_prefix("    ").is_some_and(|line| {
                text.lines()
                    .chain(example.lines())
                    .any(|kept| kept.trim_start() == line.trim_start())
            })
        };
        for columns in [50, 80, 200] {
            for line in said_at(columns, &["help", &topic]).lines() {
                let widest = if is_kept(line) { 96 } else { columns.min(100) };
                assert!(
                    line.chars().count() <= widest,
                    "{topic} at {columns}: {line}"
                );
            }
        }
    }
}

/// The command lines of ours in a text: those that stand on lines of their own, and those in backquotes.
fn commands(text: &str) -> BTreeSet<String> {
    // What begins so elsewhere is a sentence that was wrapped.
    let alone = text.lines().filter_map(|line| {
        let typed = line.trim_start();
        let indent = line.len() - typed.len();
        (matches!(indent, 2 | 4) && typed.starts_with("forkfront ")).then_some(typed)
    });
    let quoted = text.split('`').skip(1).step_by(2);
    let quoted = quoted.filter(|words| words.starts_with("forkfront "));
    alone.chain(quoted).flat_map(parts).collect()
}

/// The commands of ours in a line for a shell, without comments.
fn parts(line: &str) -> Vec<String> {
    let line = line.split(" #").next().unwrap_or_default();
    let line = line.trim_end_matches('.');
    // Where it is no command it is a word of the comment.
    let begins = |before: &str| {
        before.is_empty()
            || ["$(", "&& ", "|| ", "| "]
                .iter()
                .any(|one| before.ends_with(one))
    };
    let found = line.match_indices("forkfront ");
    let found = found.filter(|(at, _)| begins(&line[..*at]));
    found
        .map(|(at, _)| {
            let rest = &line[at..];
            let ends = ["   ", " && ", " || ", " | ", " > ", ")"];
            let end = ends.iter().filter_map(|end| rest.find(end)).min();
            rest[..end.unwrap_or(rest.len())].trim().to_owned()
        })
        .collect()
}

/// Why a command line cannot be meant, if so. What stands for something is replaced by one such thing.
fn refusal(line: &str) -> Option<String> {
    let stands_for = [
        ("TOPIC", "sticky"),
        ("COMMAND", "run"),
        ("SLOT", "0"),
        ("SHELL", "bash"),
        ("N", "4"),
        ("KEY", "sticky"),
        ("VALUE", "off"),
        ("ADDR", "8080"),
    ];
    let words = line.split_whitespace().map(|word| {
        let word = word.trim_matches(['\'', '"', ',']);
        let meant = stands_for.iter().find(|(name, _)| *name == word);
        OsString::from(meant.map_or(word, |(_, meant)| *meant))
    });
    match cli::parse(words) {
        // Whether a file is there, and what is in it, is not the line's business.
        Err(error) if error.kind() == ErrorKind::Usage => {
            let said = error.to_string();
            // In a sentence, a command is meant as such.
            (!said.contains(" is missing") && !said.contains(" are missing")).then_some(said)
        }
        _ => None,
    }
}

#[test]
fn every_command_that_is_shown_can_be_typed() {
    let mut texts = texts();
    let readme = source("README.md");
    let blocks: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("    "))
        .collect();
    texts.push(("README.md".into(), blocks.join("\n")));
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (name, text) in texts {
        for line in commands(&text) {
            seen += 1;
            wrong.extend(refusal(&line).map(|why| format!("{name}: {line}\n    {why}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "{seen}");
}

#[test]
fn every_option_that_is_named_exists() {
    let mut known: BTreeSet<String> = verbs().iter().flat_map(|verb| options_of(verb)).collect();
    known.insert("version".into());
    assert!(
        known.contains("listen") && known.contains("changes-only"),
        "{known:?}"
    );
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        for line in text.lines() {
            // Other programs have options, too: in what is to be copied, only ours are looked at.
            let is_ours = line.trim_start().starts_with("forkfront ");
            if line.starts_with("    ") && !is_ours && name.contains("topics") {
                continue;
            }
            // So has the server that is run.
            let ours = line.split(" -- ").next().unwrap_or_default();
            for (at, _) in ours.match_indices("--") {
                let begins = !ours[..at].ends_with(|c: char| c == '-' || is_of_a_flag(&c));
                let flag: String = ours[at + 2..].chars().take_while(is_of_a_flag).collect();
                let flag = flag.trim_end_matches('-');
                if begins && !flag.is_empty() && !known.contains(flag) {
                    wrong.push(format!("{name}: --{flag} in: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
