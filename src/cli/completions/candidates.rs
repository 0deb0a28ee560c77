//! What can stand where a value is completed: what runs now, and what clap does not know of our values.
//!
//! It asks running primaries, but only for so long: nobody waits at a key.

use std::ffi::OsStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Arg, ValueEnum};
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use super::super::groups;
use super::super::topics::TOPICS;
use crate::client::{self, Target};
use crate::config::Balance;
use crate::protocol::is_valid_name;
use crate::status::Status;

/// How long a key waits for a primary.
const PATIENCE: Duration = Duration::from_millis(500);

/// The keys of `--sticky`, as they begin.
const STICKY: [(&str, &str); 9] = [
    ("ip", "the client's address"),
    (
        "route:",
        "the slot itself, behind the last dot of a cookie, header or parameter",
    ),
    ("cookie:", "a cookie of the first request"),
    ("header:", "a header of the first request"),
    ("query:", "a parameter of its query"),
    ("path:", "so many segments of its path"),
    ("sni", "the server name that a TLS client asks for"),
    ("alpn", "the protocols that a TLS client asks for"),
    ("proxy", "the source in a PROXY header"),
];

/// Teaches the words what may stand where.
pub fn attach(mut command: clap::Command) -> clap::Command {
    let nothing_typed = is_nothing_typed();
    // Only then each command has its --help.
    command.build();
    command.mut_subcommands(|verb| teach(verb, nothing_typed))
}

/// The same for one command and those below it.
fn teach(verb: clap::Command, nothing_typed: bool) -> clap::Command {
    let starts = matches!(verb.get_name(), "run" | "demo" | "proxy");
    let verb = verb.mut_subcommands(|below| teach(below, nothing_typed));
    verb.mut_args(|arg| {
        // What is hidden is offered only where there is nothing else.
        let arg = if nothing_typed && !arg.is_positional() {
            arg.hide(true)
        } else {
            arg
        };
        match arg.get_id().as_str() {
            "name" if !starts => arg.add(ArgValueCandidates::new(names)),
            "app" => arg.add(ArgValueCandidates::new(apps)),
            "slot" => arg.add(ArgValueCandidates::new(|| slots(""))),
            "backend" => arg.add(ArgValueCandidates::new(backends)),
            "of" => arg.add(ArgValueCandidates::new(printed)),
            "sticky" => arg.add(ArgValueCandidates::new(|| known(&STICKY))),
            "value" => arg.add(ArgValueCandidates::new(setting)),
            "words" => arg.add(ArgValueCandidates::new(helped)),
            "command" => arg.add(ArgValueCompleter::new(command_word)),
            _ => path_by_name(arg),
        }
    })
}

/// Whether the word that is completed is empty. zsh leaves it out.
fn is_nothing_typed() -> bool {
    let words = typed();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    let index = index
        .and_then(|index| index.parse().ok())
        .unwrap_or(words.len().saturating_sub(1));
    words.get(index).is_none_or(String::is_empty)
}

/// What is called a directory is completed as one.
fn path_by_name(arg: Arg) -> Arg {
    let is_directory = arg.get_value_names().is_some_and(|names| names[0] == "DIR");
    if is_directory {
        arg.value_hint(clap::ValueHint::DirPath)
    } else {
        arg
    }
}

fn known(words: &[(&str, &'static str)]) -> Vec<CompletionCandidate> {
    let candidate = |(word, about): &(&str, &'static str)| {
        CompletionCandidate::new(*word).help(Some((*about).into()))
    };
    words.iter().map(candidate).collect()
}

fn names() -> Vec<CompletionCandidate> {
    let names = in_time(client::names).unwrap_or_default();
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn apps() -> Vec<CompletionCandidate> {
    let apps = status().map(|status| status.apps).unwrap_or_default();
    let candidate = |app: crate::status::AppStatus| {
        CompletionCandidate::new(app.name).help(Some(app.command.join(" ").into()))
    };
    apps.into_iter().map(candidate).collect()
}

/// The backends of the primary that is meant, each name once.
fn backends() -> Vec<CompletionCandidate> {
    let backends = status().map(|status| status.backends).unwrap_or_default();
    let mut names: Vec<&str> = backends.iter().map(|one| one.backend.as_str()).collect();
    names.dedup();
    let candidate = |name: &&str| {
        let about = backends.iter().find(|one| one.backend == *name);
        let about = about.map(|one| format!("{:?}, {} open", one.state, one.open).to_lowercase());
        CompletionCandidate::new(*name).help(about.map(Into::into))
    };
    names.iter().map(candidate).collect()
}

/// The slots of the primary that is meant, each with `behind` it.
fn slots(behind: &str) -> Vec<CompletionCandidate> {
    let Some(status) = status() else {
        return Vec::new();
    };
    let several = status.apps.len() > 1;
    let candidate = |slot: &crate::status::SlotStatus| {
        let number = slot.slot;
        let word = if several {
            format!("{}:{number}{behind}", slot.app)
        } else {
            format!("{number}{behind}")
        };
        let about = match slot.pid {
            Some(pid) => format!("{:?}, pid {pid}, {} open", slot.state, slot.open),
            None => format!("{:?}", slot.state),
        };
        CompletionCandidate::new(word).help(Some(about.to_lowercase().into()))
    };
    status.slots.iter().map(candidate).collect()
}

/// Whose lines `logs` can show.
fn printed() -> Vec<CompletionCandidate> {
    let mut of = slots("");
    of.push(CompletionCandidate::new("primary").help(Some("what forkfront itself said".into())));
    of
}

/// The value of `set`, by the key that stands before it.
fn setting() -> Vec<CompletionCandidate> {
    let words = typed();
    let has = |key: &str| words.iter().any(|word| word == key);
    if has("balance") {
        let policies = Balance::value_variants().iter();
        policies
            .filter_map(ValueEnum::to_possible_value)
            .map(|policy| {
                CompletionCandidate::new(policy.get_name()).help(policy.get_help().cloned())
            })
            .collect()
    } else if has("sticky") {
        let mut keys = known(&STICKY);
        keys.push(CompletionCandidate::new("off").help(Some("no stickiness".into())));
        keys
    } else if has("weight") {
        slots("=")
    } else {
        ["error", "warn", "info", "debug", "trace"]
            .map(CompletionCandidate::new)
            .into()
    }
}

/// What can be asked about by `help`.
fn helped() -> Vec<CompletionCandidate> {
    let command = groups::command();
    let verbs = groups::verbs().map(|verb| {
        let about = command
            .find_subcommand(verb)
            .and_then(clap::Command::get_about);
        CompletionCandidate::new(verb).help(about.cloned())
    });
    let topics = TOPICS
        .iter()
        .map(|topic| CompletionCandidate::new(topic.name).help(Some(topic.about().into())));
    verbs.chain(topics).collect()
}

/// A word of the command that is to run: a program for the first one, else a file.
fn command_word(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = typed();
    let behind = words
        .iter()
        .position(|word| word == "--")
        .map_or(0, |at| words.len() - at);
    let begun = current.to_str().unwrap_or_default();
    let mut candidates = Vec::new();
    if behind <= 2 && !begun.is_empty() && !begun.contains('/') {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let files = std::env::split_paths(&path).filter_map(|directory| directory.read_dir().ok());
        let names = files.flatten().flatten().map(|file| file.file_name());
        let mut programs: Vec<String> = names
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with(begun))
            .collect();
        programs.sort_unstable();
        programs.dedup();
        candidates.extend(programs.into_iter().map(CompletionCandidate::new));
    }
    candidates.extend(PathCompleter::any().complete(current));
    candidates
}

/// The state of the primary that the words typed so far mean.
fn status() -> Option<Status> {
    let words = typed();
    let of = |option: &str| {
        let with = format!("{option}=");
        let behind = |at: usize| words.get(at + 1).cloned();
        words
            .iter()
            .enumerate()
            .find_map(|(at, word)| match word.strip_prefix(&with) {
                Some(value) => Some(value.to_owned()),
                None => (word == option).then(|| behind(at)).flatten(),
            })
    };
    let target = match (
        of("--name").filter(|name| is_valid_name(name)),
        of("--control"),
    ) {
        (Some(name), _) => Target::Named(name),
        (None, Some(path)) => Target::At(path.into()),
        (None, None) => Target::Only,
    };
    in_time(move || client::status(&target).ok())?
}

/// The command line that is being typed: what stands behind the first `--` of ours.
fn typed() -> Vec<String> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// What `ask` finds out, if it does so in time.
fn in_time<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (answer, answered) = mpsc::channel();
    // Whoever is late ends with the process.
    thread::spawn(move || answer.send(ask()));
    answered.recv_timeout(PATIENCE).ok()
}
