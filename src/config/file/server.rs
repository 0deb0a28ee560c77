//! An `[[app]]` that has a `command`, a server to run: the keys that only such an app has.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::app::{
    App, NUMBER, Places, TIME, WORD, check_listeners, choice, finish, listeners, set, shared,
};
use super::routing;
use super::table::{Table, Value, words};
use crate::config::{self, AppConfig, Balance, Health, Limits, ONLY, Probe, Restart};

const COMMAND: &str = "the program and its arguments as an array, [\"node\", \"server.js\"]";
const CODES: &str = "exit codes, as in [0, 78]";
const PATH: &str = "a path";
const VARIABLES: &str = "a table of variables, { NAME = \"value\" }";

/// Reads one; relative paths begin at `directory`.
pub fn read(table: &Table<'_>, directory: &Path) -> App {
    let command = command(table);
    let (listen, listen_places) = listeners(table, directory, str::parse);
    let mut app = AppConfig {
        listen,
        cwd: Some(cwd(table, directory)),
        env: environment(table),
        ..AppConfig::new(command)
    };
    routing::read(table, &mut app);
    set(
        &mut app.ready_timeout,
        table.word("ready-timeout", TIME, config::positive_duration),
    );
    app.restart = restart(table);
    app.limits = limits(table);
    app.health = health(table);
    let name = shared(table, &mut app);
    app.name = name.clone().unwrap_or_else(|| ONLY.to_owned());
    check_listeners(table, &app, &listen_places);
    check_kernel(table, &app, &listen_places);
    finish(table);
    let places = Places {
        name: table.place("name"),
        command: table.place("command"),
        cwd: table.place("cwd"),
        workers: table.place("workers"),
        listen: listen_places,
        to: Vec::new(),
    };
    App {
        config: app,
        name,
        places,
    }
}

fn command(table: &Table<'_>) -> Vec<OsString> {
    let Some(value) = table.get("command") else {
        let sentence =
            format!("this app has no 'command'; it takes {COMMAND}; or, to be a proxy, 'to'");
        table.refuse(table.start, sentence);
        return Vec::new();
    };
    match value.get_ref() {
        DeValue::Array(array) => {
            let words = array.iter();
            let words = words.filter_map(|word| argument(table, "command", word));
            let words: Vec<OsString> = words.map(Into::into).collect();
            let complete = words.len() == array.len();
            if complete && words.first().is_none_or(|program| program.is_empty()) {
                let sentence = format!("'command' names no program: it takes {COMMAND}");
                table.refuse(value.span().start, sentence);
            }
            words
        }
        _ => {
            table.refuse_kind("command", value, COMMAND);
            Vec::new()
        }
    }
}

fn argument(table: &Table<'_>, key: &str, value: Value<'_>) -> Option<String> {
    table.read(key, value, "an array of strings", |word| {
        if word.contains('\0') {
            return Err("no word of a command can hold a zero byte".into());
        }
        Ok(word.to_owned())
    })
}

fn cwd(table: &Table<'_>, directory: &Path) -> PathBuf {
    match table.text("cwd", PATH) {
        Some(path) => super::under(directory, path),
        None => directory.to_owned(),
    }
}

fn environment(table: &Table<'_>) -> Vec<(OsString, OsString)> {
    let Some(value) = table.get("env") else {
        return Vec::new();
    };
    let DeValue::Table(variables) = value.get_ref() else {
        table.refuse_kind("env", value, VARIABLES);
        return Vec::new();
    };
    let read = |(name, value): (&Spanned<DeString<'_>>, Value<'_>)| {
        let key = name.get_ref().as_ref();
        if let Err(sentence) = config::variable(key.as_ref()) {
            table.refuse(name.span().start, sentence);
            return None;
        }
        let text = match value.get_ref() {
            DeValue::Boolean(truth) => truth.to_string(),
            other => match words(other) {
                Some(words) => words.into_owned(),
                None => {
                    table.refuse_kind(&format!("env.{key}"), value, "a string or a number");
                    return None;
                }
            },
        };
        if text.contains('\0') {
            let sentence = format!("'env.{key}' cannot hold a zero byte");
            table.refuse(value.span().start, sentence);
            return None;
        }
        Some((key.into(), text.into()))
    };
    variables.iter().filter_map(read).collect()
}

fn restart(table: &Table<'_>) -> Restart {
    let mut restart = Restart::default();
    set(&mut restart.when, table.word("restart", WORD, choice));
    restart.stop_exit_codes = table
        .list("stop-exit-codes")
        .iter()
        .filter_map(|value| table.read("stop-exit-codes", value, CODES, config::exit_codes))
        .flatten()
        .collect::<BTreeSet<i32>>();
    restart.most = table.word(
        "max-restarts",
        "a number in some time, as in \"10/1m\"",
        config::max_restarts,
    );
    restart
}

fn limits(table: &Table<'_>) -> Limits {
    let time = |key| table.word(key, TIME, config::positive_duration);
    Limits {
        max_memory: table.word("max-memory", "a size, as in \"512M\"", config::size),
        max_age: time("max-age"),
        max_connections: table.word("max-connections", NUMBER, config::max_connections),
        hang_timeout: time("hang-timeout"),
    }
}

fn health(table: &Table<'_>) -> Option<Health> {
    let takes = "\"http:/path\", or a command";
    let probe = table.get("health").and_then(|value| match value.get_ref() {
        DeValue::Array(words) => {
            let words = words.iter();
            let words = words.filter_map(|word| argument(table, "health", word));
            Probe::command(words.collect())
                .map_err(|sentence| {
                    table.refuse(value.span().start, format!("'health': {sentence}"))
                })
                .ok()
        }
        _ => table.read("health", value, takes, str::parse),
    });
    let asked = table.has("health");
    let mut health = Health::new(probe.unwrap_or(Probe::Http("/".into())));
    let time = |key| table.word(key, TIME, config::positive_duration);
    let (interval, timeout) = (time("health-interval"), time("health-timeout"));
    let failures = table.word("health-failures", NUMBER, config::health_failures);
    for key in ["health-interval", "health-timeout", "health-failures"] {
        if !asked && table.has(key) {
            let sentence = format!("'{key}' means nothing without 'health', which takes {takes}");
            table.refuse(table.key_place(key), sentence);
        }
    }
    set(&mut health.interval, interval);
    set(&mut health.timeout, timeout);
    set(&mut health.failures, failures);
    asked.then_some(health)
}

/// What goes by what the primary sees of a connection.
fn check_kernel(table: &Table<'_>, app: &AppConfig, places: &[usize]) {
    if app.routing.balance != Balance::Kernel {
        return;
    }
    if app.health.is_some() {
        table.refuse(
            table.place("health"),
            "'health' cannot be asked with balance = \"kernel\", since there no connection can be given to one \
             certain worker",
        );
    }
    for (index, listen) in app.listen.iter().enumerate() {
        let mut others = app.listen[..index].iter();
        if others.any(|other| other.shared_port() == listen.shared_port()) {
            table.refuse(
                places[index],
                "with balance = \"kernel\" each port of the server has one listening socket: give it one listen",
            );
        }
    }
}
