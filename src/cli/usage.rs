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
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            let where_to = match verb {
                Some("run") => {
                    "; the server to run goes behind --, as in 'forkfront run -- node server.js'"
                        .into()
                }
                Some("status" | "top" | "stop") => {
                    format!("; a primary is named by --name {argument}")
                }
                Some("upgrade") => format!("; the new executable is named by --binary {argument}"),
                Some("reload") => {
                    format!("; an app is named by --app {argument}, a primary by --name {argument}")
                }
                _ => String::new(),
            };
            format!("'{argument}' has no place here{where_to}")
        }
        ErrorKind::UnknownArgument => format!("there is no option '{argument}'"),
        ErrorKind::InvalidSubcommand => {
            let verb = of(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("there is no command '{verb}'")
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!(
                "what is to be done is missing: {}",
                listed(&groups::verbs().collect::<Vec<_>>())
            )
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
        ErrorKind::MissingRequiredArgument => missing(error),
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

fn missing(error: &clap::Error) -> String {
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.as_slice(),
        _ => &[],
    };
    let missing: Vec<String> = missing
        .iter()
        .map(|one| option(Some(one.clone())))
        .collect();
    let verb = if missing.len() > 1 { "are" } else { "is" };
    format!("{} {verb} missing", missing.join(" and "))
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
