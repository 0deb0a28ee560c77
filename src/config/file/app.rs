//! One `[[app]]` of the file. Each key is read here and nowhere else, and by the reader that the flag of that
//! name has.

use std::cell::RefCell;
use std::path::Path;

use clap::ValueEnum;
use toml::de::DeTable;

use super::nearest::nearest;
use super::table::Table;
use super::{logs, proxy, server, speed};
use crate::config::{self, AppConfig, Identity, Listen, ListenAt, UNIX_PATH_MAX};
use crate::error::Error;

/// What a time is written as.
pub const TIME: &str = "a time, as in \"500ms\", \"10s\", \"2m\", or a number of seconds";
/// What is counted.
pub const NUMBER: &str = "a number";
/// What is one of several words.
pub const WORD: &str = "a word in quotation marks";
const LISTEN: &str =
    "an address, as in 8080, \"127.0.0.1:8080\" or \"0.0.0.0:80=3000\", or an array of them";
const WHO: &str = "a name or a number";

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
    /// Its command, or what it leads to.
    pub command: usize,
    /// Its directory.
    pub cwd: usize,
    /// Its number of workers.
    pub workers: usize,
    /// Each of its listeners.
    pub listen: Vec<usize>,
    /// Each of its backends.
    pub to: Vec<usize>,
}

/// Reads one `[[app]]`; relative paths begin at `directory`. What cannot be read is marked, and left as it is by
/// default.
pub fn read(table: &Table<'_>, directory: &Path) -> App {
    if proxy::is_one(table) {
        proxy::read(table, directory)
    } else {
        server::read(table, directory)
    }
}

/// What all apps have, whatever they are. Its name, if it has one.
pub fn shared(table: &Table<'_>, app: &mut AppConfig) -> Option<String> {
    let name = table.word("name", WORD, config::name);
    slots_and_queue(table, app);
    times_and_reload(table, app);
    app.identity = identity(table);
    speed::read(table, app);
    name
}

/// Refuses what is no key of this kind of app.
pub fn finish(table: &Table<'_>) {
    let is_proxy = proxy::is_one(table);
    table.finish(
        |key| match key {
            "control" | "metrics" | "log-level" => {
                Some("at the top of the file, before any [[app]]")
            }
            key if logs::KEYS.contains(&key) => Some("at the top of the file, before any [[app]]"),
            key if is_proxy && of_servers().contains(&key) => {
                Some("into an app with a 'command', and this one has 'to'")
            }
            key if !is_proxy && of_proxies().contains(&key) => {
                Some("into an app with 'to' in place of a 'command', a proxy")
            }
            _ => None,
        },
        if is_proxy {
            "the keys are the long options of 'forkfront proxy --help'"
        } else {
            "the keys are the long options of 'forkfront run --help'"
        },
    );
}

/// All keys that an app with a command may have.
pub fn of_servers() -> Vec<&'static str> {
    asked(server::read)
}

/// All keys that a proxy may have.
pub fn of_proxies() -> Vec<&'static str> {
    asked(proxy::read)
}

fn asked(read: impl Fn(&Table<'_>, &Path) -> App) -> Vec<&'static str> {
    let (nothing, marks) = (DeTable::new(), RefCell::default());
    let table = Table::new(&nothing, 0, &marks);
    read(&table, Path::new("/"));
    table.asked()
}

/// Where it listens, each with its place; one is read by `read`.
pub fn listeners(
    table: &Table<'_>,
    directory: &Path,
    read: fn(&str) -> Result<Listen, String>,
) -> (Vec<Listen>, Vec<usize>) {
    let read = |words: &str| {
        let mut listen = read(words)?;
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

fn slots_and_queue(table: &Table<'_>, app: &mut AppConfig) {
    let workers = "a number, or \"auto\"";
    app.workers = match table.get("workers") {
        Some(value) => table.read("workers", value, workers, config::workers),
        None => config::workers("auto").ok(),
    }
    .unwrap_or(app.workers);
    app.backlog = table.word("backlog", NUMBER, config::backlog);
    set(&mut app.orphans, table.word("orphans", WORD, choice));
}

fn times_and_reload(table: &Table<'_>, app: &mut AppConfig) {
    let some = |key| table.word(key, TIME, config::duration);
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

fn identity(table: &Table<'_>) -> Option<Identity> {
    let own = |words: &str| Ok(words.to_owned());
    let user = table.word("user", WHO, own);
    let group = table.word("group", WHO, own);
    let unread = |key, read: &Option<String>| table.has(key) && read.is_none();
    if unread("user", &user) || unread("group", &group) {
        return None;
    }
    // What the user database does not know, or say, while the machine starts, it may a second later.
    let refuse = |key, error: Error| table.refuse_for_now(table.place(key), error.to_string());
    if let Some(Err(error)) = group.as_deref().map(config::identity::check_group) {
        refuse("group", error);
        return None;
    }
    let key = if user.is_some() { "user" } else { "group" };
    config::identity::resolve(user.as_deref(), group.as_deref())
        .map_err(|error| refuse(key, error))
        .ok()
        .flatten()
}

/// No two of its listeners can be one.
pub fn check_listeners(table: &Table<'_>, app: &AppConfig, places: &[usize]) {
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
