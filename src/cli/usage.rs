//! clap's findings as one sentence each.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::groups;
use crate::error::Error;

/// One sentence, with the nearest word that exists, and where to read on. `verb` is the first word given.
pub fn sentence(error: &clap::Error, verb: Option<&str>) -> Error {
    let verb = verb.filter(|verb| groups::verbs().any(|known| known == *verb));
    let said = said(error, verb);
    let read_on = match verb {
        Some(verb) => format!("see 'forkfront {verb} --help'"),
        None => "see 'forkfront --help'".into(),
    };
    Error::usage(format!("{said}{} ({read_on})", nearest(error)))
}

fn said(error: &clap::Error, verb: Option<&str>) -> String {
    let of = |kind| text(error, kind);
    let argument = option(of(ContextKind::InvalidArg));
    let value = of(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&argument, verb),
        ErrorKind::InvalidSubcommand => {
            let invalid = of(ContextKind::InvalidSubcommand).unwrap_or_default();
            no_such_command(&invalid, verb)
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("what is to be done is missing: {}", listed(&verbs_of(verb)))
        }
        ErrorKind::InvalidValue => match value.filter(|value| !value.is_empty()) {
            Some(value) => {
                let valid = of(ContextKind::ValidValue).unwrap_or_default();
                format!("'{value}' cannot be given to '{argument}', which takes {valid}")
            }
            None => format!("'{argument}' needs a value"),
        },
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            let (value, why) = (value.unwrap_or_default(), why.unwrap_or_default());
            format!("'{value}' cannot be given to '{argument}': {why}")
        }
        ErrorKind::MissingRequiredArgument => missing(error, verb),
        ErrorKind::ArgumentConflict => match option(of(ContextKind::PriorArg)) {
            other if other.is_empty() || other == argument => {
                format!("'{argument}' is given twice")
            }
            other if argument == "--config" || other == "--config" => {
                let said = if other == "--config" { argument } else { other };
                format!("'{said}' is said in the file that --config names")
            }
            other => format!("'{argument}' and '{other}' exclude each other"),
        },
        _ => plain(error),
    }
}

/// A word or an option that nobody knows here.
fn unknown(argument: &str, verb: Option<&str>) -> String {
    if !argument.starts_with('-') {
        let where_to = where_it_goes(argument, verb);
        return format!("'{argument}' has no place here{where_to}");
    }
    let whose = match verb {
        None if groups::has_option("run", argument) => {
            "; options of a server go behind 'run', as in 'forkfront run -n 4 -- node server.js'"
        }
        Some("proxy") if argument == "--config" => {
            "; a file with proxies in it is run by 'forkfront run --config FILE'"
        }
        Some(_) if groups::has_option("run", argument) => "; 'run' has it",
        _ => "",
    };
    format!("there is no option '{argument}'{whose}")
}

/// Where a word goes that has no place behind `verb`.
fn where_it_goes(argument: &str, verb: Option<&str>) -> String {
    match verb {
        Some("run") => {
            "; the server to run goes behind --, as in 'forkfront run -- node server.js'".into()
        }
        Some("status" | "top" | "metrics" | "stop") => {
            format!("; a primary is named by --name {argument}")
        }
        Some("proxy") => format!("; a backend is named by --to {argument}"),
        Some("upgrade") => format!("; the new executable is named by --binary {argument}"),
        Some("reload") => {
            format!("; an app is named by --app {argument}, a primary by --name {argument}")
        }
        _ => String::new(),
    }
}

/// What other programs call what we have, and what somebody tries who has just the name of a server.
fn meant(verb: &str) -> String {
    const ELSEWHERE: [(&str, &[&str]); 8] = [
        ("run", &["start", "serve", "exec", "launch"]),
        ("status", &["ps", "ls", "list", "show", "info", "jlist"]),
        ("stop", &["kill", "quit", "delete", "shutdown", "down"]),
        ("reload", &["graceful", "renew", "rollout"]),
        ("check", &["configtest", "validate", "lint", "test"]),
        ("top", &["monit", "monitor", "dash", "dashboard"]),
        ("upgrade", &["update"]),
        ("set", &["config", "configure"]),
    ];
    let known = ELSEWHERE.iter().find(|(_, others)| others.contains(&verb));
    let known = known.filter(|(ours, _)| groups::verbs().any(|verb| verb == *ours));
    match known {
        Some((ours, _)) => format!("; here it is '{ours}'"),
        None if verb.contains(['/', '.']) || SERVERS.contains(&verb) => {
            format!("; a server is run by 'forkfront run -- {verb} ...'")
        }
        None => String::new(),
    }
}

/// What servers are started by.
const SERVERS: [&str; 14] = [
    "node", "npm", "npx", "yarn", "bun", "deno", "python", "python3", "ruby", "puma", "php",
    "gunicorn", "uvicorn", "java",
];

/// The commands of a command that has some, or else all.
fn verbs_of(verb: Option<&str>) -> Vec<String> {
    let own = verb.map(groups::verbs_of).unwrap_or_default();
    match own.is_empty() {
        true => groups::verbs().map(str::to_owned).collect(),
        false => own,
    }
}

fn no_such_command(invalid: &str, verb: Option<&str>) -> String {
    let own = verb.map(|verb| (verb, groups::verbs_of(verb)));
    match own.filter(|(_, all)| !all.is_empty()) {
        Some((verb, all)) => {
            let all = listed(&all);
            format!("'{verb}' has no '{invalid}': it has {all}")
        }
        None => format!("there is no command '{invalid}'{}", meant(invalid)),
    }
}

fn missing(error: &clap::Error, verb: Option<&str>) -> String {
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.as_slice(),
        _ => &[],
    };
    let missing: Vec<String> = missing
        .iter()
        .map(|one| option(Some(one.clone())))
        .collect();
    let are = if missing.len() > 1 { "are" } else { "is" };
    let hint = match verb {
        Some("restart") => "; all slots are renewed by 'forkfront reload'",
        Some("completions") => ": bash, zsh or fish",
        Some("proxy") => ", as in 'forkfront proxy -l 5432 --to 10.0.0.1:5432,10.0.0.2:5432'",
        _ => "",
    };
    format!("{} {are} missing{hint}", missing.join(" and "))
}

/// The option or word itself, of what clap calls it: `--grace <TIME>`, `--verbose...`, `<SLOT>`, `[COMMAND]...`.
fn option(called: Option<String>) -> String {
    let called = called.unwrap_or_default();
    let name = called.split(' ').next().unwrap_or_default();
    name.trim_end_matches("...")
        .replace(['<', '>', '[', ']'], "")
}

fn nearest(error: &clap::Error) -> String {
    [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(|kind| text(error, kind))
    .map(|near| format!("; did you mean {near}?"))
    .unwrap_or_default()
}

/// What clap says itself, less its heading, its usage line and its advice.
fn plain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches("error: ").to_owned()
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(listed(texts)),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

fn listed(texts: &[impl AsRef<str>]) -> String {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    match texts.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        others => others.concat(),
    }
}
