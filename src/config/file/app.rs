//! One `[[app]]` of the file. Each key is read here and nowhere else, and by the reader that the flag of that
//! name has.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::nearest::nearest;
use super::table::{Table, Value, words};
use super::{logs, routing, speed};
use crate::config::{
    self, AppConfig, Balance, Health, Identity, Limits, Listen, ListenAt, ONLY, Probe, Restart,
    UNIX_PATH_MAX,
};

/// What a time is written as.
pub const TIME: &str = "a time, as in \"500ms\", \"10s\", \"2m\", or a number of seconds";
const NUMBER: &str = "a number";
/// What is one of several words.
pub const WORD: &str = "a word in quotation marks";
const COMMAND: &str = "the program and its arguments as an array, [\"node\", \"server.js\"]";
const LISTEN: &str =
    "an address, as in 8080, \"127.0.0.1:8080\" or \"0.0.0.0:80=3000\", or an array of them";
const CODES: &str = "exit codes, as in [0, 78]";
const PATH: &str = "a path";
const WHO: &str = "a name or a number";
const VARIABLES: &str = "a table of variables, { NAME = \"value\" }";

/// An app, and where in the file its parts are, for what is found out about it later.
#[derive(Debug)]
pub struct App {
    /// What it is to be.
    pub config: AppConfig,
    /// The name that the file gives it.
    pub name: Option<String>,
    /// Where in the file it is.
    pub places: Places,
}

/// Offsets in the file, of the value or, where there is none, of the `[[app]]`.
#[derive(Clone, Debug)]
pub struct Places {
    /// Its name.
    pub name: usize,
    /// Its command.
    pub command: usize,
    /// Its directory.
    pub cwd: usize,
    /// Its number of workers.
    pub workers: usize,
    /// Each of its listeners.
    pub listen: Vec<usize>,
}

/// Reads one `[[app]]`; relative paths begin at `directory`. What cannot be read is marked, and left as it is by
/// default.
pub fn read(table: &Table<'_>, directory: &Path) -> App {
    let name = table.word("name", WORD, config::name);
    let command = command(table);
    let (listen, listen_places) = listeners(table, directory);
    let mut app = AppConfig {
        listen,
        cwd: Some(cwd(table, directory)),
        env: environment(table),
        ..AppConfig::new(command)
    };
    slots_and_queue(table, &mut app);
    times_and_reload(table, &mut app);
    app.restart = restart(table);
    app.limits = limits(table);
    app.health = health(table);
    app.identity = identity(table);
    speed::read(table, &mut app);
    app.name = name.clone().unwrap_or_else(|| ONLY.to_owned());
    check_together(table, &app, &listen_places);
    table.finish(
        |key| {
            (matches!(key, "control" | "metrics" | "log-level") || logs::KEYS.contains(&key))
                .then_some("at the top of the file, before any [[app]]")
        },
        "the keys are the long options of 'forkfront run --help'",
    );
    let places = Places {
        name: table.place("name"),
        command: table.place("command"),
        cwd: table.place("cwd"),
        workers: table.place("workers"),
        listen: listen_places,
    };
    App {
        config: app,
        name,
        places,
    }
}

/// All keys that an app may have.
pub fn keys() -> Vec<&'static str> {
    let (nothing, marks) = (DeTable::new(), RefCell::default());
    let table = Table::new(&nothing, 0, &marks);
    read(&table, Path::new("/"));
    table.asked()
}

fn command(table: &Table<'_>) -> Vec<OsString> {
    let Some(value) = table.get("command") else {
        let sentence = format!("this app has no 'command'; it takes {COMMAND}");
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

fn listeners(table: &Table<'_>, directory: &Path) -> (Vec<Listen>, Vec<usize>) {
    let read = |words: &str| {
        let mut listen: Listen = words.parse()?;
        listen.at = beside(listen.at, words, directory)?;
        Ok(listen)
    };
    let found = table.list("listen").iter().filter_map(|value| {
        let listen = table.read("listen", value, LISTEN, read)?;
        Some((listen, value.span().start))
    });
    found.unzip()
}

/// An address that was read of `words`, a path in it seen from `directory`.
///
/// # Errors
/// A sentence about a path that cannot be one.
pub fn beside(mut at: ListenAt, words: &str, directory: &Path) -> Result<ListenAt, String> {
    if let ListenAt::Unix(path) = &mut at {
        *path = directory.join(&*path);
        let length = path.as_os_str().len();
        if words.contains('\0') {
            return Err("a path cannot hold a zero byte".into());
        }
        if length > UNIX_PATH_MAX {
            return Err(format!(
                "the path of a Unix socket has {UNIX_PATH_MAX} bytes at most, and '{}' has {length}",
                path.display()
            ));
        }
    }
    Ok(at)
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

fn slots_and_queue(table: &Table<'_>, app: &mut AppConfig) {
    let workers = "a number, or \"auto\"";
    app.workers = match table.get("workers") {
        Some(value) => table.read("workers", value, workers, config::workers),
        None => config::workers("auto").ok(),
    }
    .unwrap_or(app.workers);
    routing::read(table, app);
    app.backlog = table.word("backlog", NUMBER, config::backlog);
    set(&mut app.orphans, table.word("orphans", WORD, choice));
}

fn times_and_reload(table: &Table<'_>, app: &mut AppConfig) {
    let some = |key| table.word(key, TIME, config::duration);
    set(
        &mut app.ready_timeout,
        table.word("ready-timeout", TIME, config::positive_duration),
    );
    set(&mut app.drain_timeout, some("drain-timeout"));
    set(&mut app.grace, some("grace"));
    set(
        &mut app.reload_parallel,
        table.word("reload-parallel", NUMBER, config::reload_parallel),
    );
    set(
        &mut app.max_old,
        table.word("max-old", NUMBER, config::max_old),
    );
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

fn identity(table: &Table<'_>) -> Option<Identity> {
    let own = |words: &str| Ok(words.to_owned());
    let user = table.word("user", WHO, own);
    let group = table.word("group", WHO, |words| {
        config::identity::check_group(words).map_err(|error| error.to_string())?;
        own(words)
    });
    let unread = |key, read: &Option<String>| table.has(key) && read.is_none();
    if unread("user", &user) || unread("group", &group) {
        return None;
    }
    let at = table.place(if user.is_some() { "user" } else { "group" });
    config::identity::resolve(user.as_deref(), group.as_deref())
        .map_err(|error| table.refuse(at, error.to_string()))
        .ok()
        .flatten()
}

/// What no key says by itself.
fn check_together(table: &Table<'_>, app: &AppConfig, places: &[usize]) {
    for (index, listen) in app.listen.iter().enumerate() {
        let mut others = app.listen[..index].iter();
        if let Some(other) = others.find(|other| other.at.overlaps(&listen.at)) {
            table.refuse(
                places[index],
                format!(
                    "'{}' and '{}' are the same address: give it once",
                    other.at, listen.at
                ),
            );
        }
    }
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

/// One of the words that clap knows for this option.
pub fn choice<T: ValueEnum>(word: &str) -> Result<T, String> {
    T::from_str(word, false).map_err(|_| {
        let values = T::value_variants().iter();
        let values: Vec<_> = values.filter_map(ValueEnum::to_possible_value).collect();
        let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        let near = nearest(word, &names)
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        match names.as_slice() {
            [first @ .., last] => format!("it takes {} or {last}{near}", first.join(", ")),
            [] => near,
        }
    })
}

/// Changes it, if there is another value.
pub fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}
