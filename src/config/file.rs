//! The configuration file: TOML text to a [`Config`].
//!
//! Every flag of `run` is a key under its long name, and means the same; what is not given has the flag's
//! default. All that is wrong is said at once, each with its place, and nothing is taken from a file in which
//! anything is. The command line, `check` and a reload read through [`Origin::read`] or [`Origin::inspect`]; beside
//! the file itself only the user database is looked at. All keys are in [`EXAMPLE`], which people read, too.
//!
//! Paths (`cwd`, `control`, `unix:`) begin at the directory of the file, by the words that lead there: a
//! symlink among them is followed anew whenever a worker starts. Words of `command` are left as they are.

mod app;
mod finding;
mod logs;
pub mod nearest;
mod proxy;
mod routing;
mod server;
mod speed;
mod table;
mod text;
mod whole;

use std::cell::RefCell;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use log::LevelFilter;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

use super::{Config, ListenAt, UNIX_PATH_MAX};
use crate::error::{Error, Result};
use crate::sys::directory;
use crate::sys::handover;
use app::App;
pub use app::Places;
use finding::Marks;
pub use finding::{Finding, Findings, Place};
pub use nearest::nearest;
use table::Table;

/// A file with every key that there is, those that few need behind a `#`.
pub const EXAMPLE: &str = include_str!("file/example.toml");

/// Where a configuration comes from: a file, and what the command line says over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The file.
    #[serde(with = "handover::path")]
    pub path: PathBuf,
    /// `--name`.
    pub name: Option<String>,
    /// `--control`.
    #[serde(with = "handover::path_if_any", default)]
    pub control: Option<PathBuf>,
    /// `-v` or `-q`.
    pub log_level: Option<LevelFilter>,
}

/// A file that was read, with its places.
#[derive(Debug)]
pub struct Inspected {
    /// What it says.
    pub config: Config,
    file: PathBuf,
    text: String,
    places: Vec<Places>,
    log_file: usize,
}

impl Origin {
    /// This file, and nothing else said.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// What the file says now.
    ///
    /// # Errors
    /// What is wrong with it, each finding in a line `FILE:LINE:COLUMN: SENTENCE`, the first one first and the others
    /// indented. Usage: what it says will be as wrong when it is tried again. Failed: it cannot be read, or something of it
    /// is wrong here and now, as a user whom nobody knows yet.
    pub fn read(&self) -> Result<Config> {
        match self.inspect() {
            Ok(inspected) => Ok(inspected.config),
            Err(findings) if findings.may_pass() => Err(Error::failed(findings.to_string())),
            Err(findings) => Err(Error::usage(findings.to_string())),
        }
    }

    /// The same, with the places of what it says.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn inspect(&self) -> std::result::Result<Inspected, Findings> {
        let path = directory::absolute(&self.path).map_err(|error| {
            Findings::whole(&self.path, format!("its directory is not known: {error}"))
        })?;
        let text = text::read(&self.path)?;
        let directory = path.parent().unwrap_or(&path);
        let (mut config, places, log_file) = parse(&text, directory).map_err(|marks| Findings {
            file: self.path.clone(),
            list: marks.findings(&text),
        })?;
        if let Some(name) = &self.name {
            config.name = Some(name.clone());
        }
        if let Some(control) = &self.control {
            config.control = Some(control.clone());
        }
        if let Some(level) = self.log_level {
            config.log_level = level;
        }
        config.file = Some(Self {
            path,
            ..self.clone()
        });
        Ok(Inspected {
            config,
            file: self.path.clone(),
            text,
            places,
            log_file,
        })
    }
}

impl Inspected {
    /// Where the parts of the app at `index` are.
    pub fn places(&self, index: usize) -> &Places {
        &self.places[index]
    }

    /// Where the log file is named.
    pub fn log_file(&self) -> usize {
        self.log_file
    }

    /// Findings about the file at these offsets.
    pub fn findings(&self, found: impl IntoIterator<Item = (usize, String)>) -> Findings {
        let mut marks = Marks::default();
        for (offset, sentence) in found {
            marks.add(offset, sentence);
        }
        Findings {
            file: self.file.clone(),
            list: marks.findings(&self.text),
        }
    }
}

/// `path` seen from `directory`; `.` is left out.
fn under(directory: &Path, path: impl AsRef<Path>) -> PathBuf {
    let parts = path.as_ref().components();
    let mut whole = directory.to_owned();
    whole.extend(parts.filter(|part| *part != Component::CurDir));
    whole
}

/// What `text` says; relative paths begin at `directory`.
fn parse(text: &str, directory: &Path) -> std::result::Result<(Config, Vec<Places>, usize), Marks> {
    let document = document(text)?;
    let marks = RefCell::new(Marks::default());
    let top = Table::new(document.get_ref(), 0, &marks);
    let name = top.word("name", "a name in quotation marks", super::name);
    let control = control(&top, directory);
    let metrics = metrics(&top, directory);
    let level = top.word("log-level", "a word in quotation marks", super::log_level);
    let logs = logs::read(&top, directory);
    let tables = app_tables(&top);
    let apps: Vec<App> = tables
        .iter()
        .map(|(entries, start)| app::read(&Table::new(entries, *start, &marks), directory))
        .collect();
    top.finish(
        |key| {
            let of_apps = app::of_servers().contains(&key) || app::of_proxies().contains(&key);
            of_apps.then_some("under [[app]]")
        },
        "there are name, control, metrics, [[app]], and log-level and others about the log",
    );
    let log_file = top.place("log-file");
    whole::check(&apps, &mut marks.borrow_mut());
    let listen = apps.iter().flat_map(|app| &app.config.listen);
    if let Some(misfit) = metrics
        .as_ref()
        .and_then(|at| super::metrics_misfit(at, listen))
    {
        top.refuse(top.place("metrics"), misfit);
    }
    let marks = marks.into_inner();
    if !marks.is_empty() {
        return Err(marks);
    }
    let (apps, places) = apps.into_iter().map(|app| (app.config, app.places)).unzip();
    let config = Config {
        name,
        control,
        metrics,
        log_level: level.unwrap_or(LevelFilter::Info),
        logs,
        invitation: None,
        file: None,
        apps,
    };
    Ok((config, places, log_file))
}

/// All keys.
#[derive(Debug)]
pub struct Keys {
    /// Those of the primary.
    pub top: Vec<&'static str>,
    /// Those of an app with a command.
    pub servers: Vec<&'static str>,
    /// Those of an app with `to`, a proxy.
    pub proxies: Vec<&'static str>,
}

/// All keys that there are.
pub fn keys() -> Keys {
    let mut top = vec!["name", "control", "metrics", "log-level"];
    top.extend(logs::KEYS);
    Keys {
        top,
        servers: app::of_servers(),
        proxies: app::of_proxies(),
    }
}

/// The TOML of `text`; a mark for each line that is none.
fn document(text: &str) -> std::result::Result<Spanned<DeTable<'_>>, Marks> {
    refuse_depth(text)?;
    let (document, mut errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(document);
    }
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    errors.sort_by_key(start);
    let mut marks = Marks::default();
    let mut before = None;
    for error in &errors {
        let offset = finding::boundary(text, start(error));
        // What follows on the same line is mostly the first mistake once more.
        if before.is_none_or(|before: usize| text[before..offset].contains('\n')) {
            marks.add(offset, format!("this is no TOML: {}", error.message()));
        }
        before = Some(offset);
    }
    Err(marks)
}

/// The reader of TOML bounds the brackets in each other and the dots of a key, each by itself; the tables that both
/// make together can be so deep that to drop them would overflow the stack.
fn refuse_depth(text: &str) -> std::result::Result<(), Marks> {
    const MOST_DOTS: usize = 8;
    let mut dots = 0;
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Atom
            | TokenKind::Whitespace
            | TokenKind::BasicString
            | TokenKind::LiteralString => {}
            _ => dots = 0,
        }
        if dots > MOST_DOTS {
            let mut marks = Marks::default();
            marks.add(token.span().start(), "no key goes so deep");
            return Err(marks);
        }
    }
    Ok(())
}

fn control(top: &Table<'_>, directory: &Path) -> Option<PathBuf> {
    let path = under(directory, top.text("control", "a path")?);
    let length = path.as_os_str().len();
    if length > UNIX_PATH_MAX {
        top.refuse(
            top.place("control"),
            format!(
                "the path of a socket has {UNIX_PATH_MAX} bytes at most, and '{}' has {length}",
                path.display()
            ),
        );
    }
    Some(path)
}

fn metrics(top: &Table<'_>, directory: &Path) -> Option<ListenAt> {
    const TAKES: &str =
        "a port of this machine, as in 9100, or an address, as in \"127.0.0.1:9100\"";
    top.word("metrics", TAKES, |words| {
        let at = super::metrics(words)?;
        app::beside(at, words, directory)
    })
}

/// The `[[app]]` tables, each with its place.
fn app_tables<'a>(top: &Table<'a>) -> Vec<(&'a DeTable<'a>, usize)> {
    const FORM: &str = "an app is written under [[app]], with two brackets";
    let Some(value) = top.get("app") else {
        top.refuse(0, "there is no [[app]] here, and one at least is needed");
        return Vec::new();
    };
    let DeValue::Array(tables) = value.get_ref() else {
        top.refuse(top.key_place("app"), FORM);
        return Vec::new();
    };
    if tables.is_empty() {
        top.refuse(value.span().start, FORM);
    }
    let table = |value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
        DeValue::Table(entries) => Some((entries, value.span().start)),
        _ => {
            top.refuse(value.span().start, FORM);
            None
        }
    };
    tables.iter().filter_map(table).collect()
}

#[cfg(test)]
mod tests;
