//! `forkfront check`: what can be known of a configuration file without starting anything. The file is read as
//! a start or a reload would, and the directories and programs that it names are looked for, the log file too. Opens
//! no socket and makes no file.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

mod backends;

use super::app::release::Release;
use super::logs::files;
use crate::config::AppConfig;
use crate::config::file::{Finding, Findings, Inspected, Origin, Place};
use crate::config::proxy::Backend;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The file, by the words it was asked for with.
    file: PathBuf,
    ok: bool,
    errors: Vec<Said>,
    /// What may work and probably does not.
    warnings: Vec<Said>,
    /// As they would run; empty if they cannot.
    apps: Vec<Summary>,
}

#[derive(Debug, Serialize)]
struct Said {
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    /// `FILE:LINE:COLUMN`, as editors read it.
    #[serde(skip)]
    at: String,
}

#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    command: Vec<String>,
    /// What it leads to, if it is a proxy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
    listen: Vec<String>,
    workers: usize,
    cwd: Option<PathBuf>,
}

/// Looks at the configuration in `file`.
pub fn check(file: PathBuf) -> Checked {
    let origin = Origin::new(file.clone());
    let inspected = match origin.inspect() {
        Ok(inspected) => inspected,
        Err(findings) => return Checked::refused(file, findings),
    };
    let (mut errors, warnings) = look(&inspected);
    errors.extend(backends::unresolved(&inspected));
    let errors = said(inspected.findings(errors));
    let apps = inspected.config.apps.iter().map(Summary::of);
    Checked {
        file,
        ok: errors.is_empty(),
        apps: apps.filter(|_| errors.is_empty()).collect(),
        warnings: said(inspected.findings(warnings)),
        errors,
    }
}

/// What the file names and is not there, for a reload.
///
/// # Errors
/// The places where it is named.
pub fn all_is_there(inspected: &Inspected) -> Result<(), Findings> {
    match look(inspected).0 {
        errors if errors.is_empty() => Ok(()),
        errors => Err(inspected.findings(errors)),
    }
}

/// Sentences with their places in the file.
type Marked = Vec<(usize, String)>;

/// What cannot work, and what probably does not.
fn look(inspected: &Inspected) -> (Marked, Marked) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let log_file = inspected.config.logs.file.as_ref().map(files::check);
    if let Some(Err(sentence)) = log_file {
        errors.push((inspected.log_file(), sentence));
    }
    errors.extend(backends::own(inspected));
    for (index, app) in inspected.config.apps.iter().enumerate() {
        let places = inspected.places(index);
        if let Some(cwd) = app.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
            let sentence = format!("there is no directory '{}'", cwd.display());
            errors.push((places.cwd, sentence));
            continue;
        }
        match Release::find(0, Arc::new(app.clone()), None) {
            Err(error) => errors.push((places.command, error.to_string())),
            Ok(release) => {
                let suspicion = release.suspicion.map(|why| why.to_string());
                let sentences = suspicion.into_iter().chain(release.habits);
                warnings.extend(sentences.map(|why| (places.command, why)));
            }
        }
    }
    (errors, warnings)
}

fn said(findings: Findings) -> Vec<Said> {
    let file = findings.file.display().to_string();
    let said = |finding: Finding| {
        let (line, column) = finding
            .place
            .map(|Place { line, column }| (line, column))
            .unzip();
        let at = match finding.place {
            Some(Place { line, column }) => format!("{file}:{line}:{column}"),
            None => file.clone(),
        };
        Said {
            line,
            column,
            message: finding.sentence,
            at,
        }
    };
    findings.list.into_iter().map(said).collect()
}

impl Checked {
    fn refused(file: PathBuf, findings: Findings) -> Self {
        Self {
            file,
            ok: false,
            errors: said(findings),
            warnings: Vec::new(),
            apps: Vec::new(),
        }
    }

    /// What is wrong and what may be, a line each: `FILE:LINE:COLUMN: SENTENCE`.
    pub fn complaints(&self) -> Vec<String> {
        let line = |what, said: &Said| format!("{}: {what}{}", said.at, said.message);
        let errors = self.errors.iter().map(|said| line("", said));
        let warnings = self.warnings.iter().map(|said| line("warning: ", said));
        errors.chain(warnings).collect()
    }

    /// The verdict for `main`, if it is not that all is well.
    pub fn refusal(&self) -> Option<String> {
        let file = self.file.display();
        match self.errors.len() {
            0 => None,
            1 => Some(format!("{file} cannot be used: one thing is wrong")),
            many => Some(format!("{file} cannot be used: {many} things are wrong")),
        }
    }
}

impl Summary {
    fn of(app: &AppConfig) -> Self {
        // What a proxy runs is nobody's business.
        let words = app.command.iter().filter(|_| app.proxy.is_none());
        let to = app.proxy.iter().flat_map(|proxy| &proxy.to);
        Self {
            name: app.name.clone(),
            to: to.map(Backend::to_string).collect(),
            command: words
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            listen: app
                .listen
                .iter()
                .map(|listen| match app.proxy {
                    Some(_) => listen.at.to_string(),
                    None => listen.to_string(),
                })
                .collect(),
            workers: app.workers,
            cwd: app.cwd.clone(),
        }
    }
}

impl fmt::Display for Checked {
    /// `FILE: ok` and a line for each app.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ok", self.file.display())?;
        for app in &self.apps {
            let (name, command) = (&app.name, app.command.join(" "));
            let workers = match app.workers {
                1 => "1 worker".to_owned(),
                many => format!("{many} workers"),
            };
            let listen = match app.listen.as_slice() {
                [] => "where it binds".to_owned(),
                listen => format!("on {}", listen.join(", ")),
            };
            write!(f, "\n  {name}: {workers} {listen}: {command}")?;
            if !app.to.is_empty() {
                write!(f, "to {}", app.to.join(", "))?;
            }
        }
        Ok(())
    }
}
