//! What a generation's workers are started from, looked up anew by each reload: the program that the command
//! leads to now, and the directory.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::warn;
use serde::{Deserialize, Serialize};

use crate::config::{AppConfig, Probe};
use crate::error::Result;
use crate::primary::preflight::{self, Suspicion};
use crate::sys::handover;

/// One generation's way to start.
#[derive(Debug)]
pub struct Release {
    /// Raised by each reload.
    pub generation: u32,
    /// The app as it was when this was made.
    pub config: Arc<AppConfig>,
    /// The program of its command.
    pub program: PathBuf,
    /// Why nothing can be preloaded into it, as far as the file tells.
    pub suspicion: Option<Suspicion>,
    /// What its command is used to that does not go with ours: a sentence each.
    pub habits: Vec<String>,
    /// Where workers are started: by the words that lead there, so that a symlink to a release directory is
    /// followed at each start (G14). `None`: wherever the primary is.
    pub cwd: Option<PathBuf>,
}

/// A release for the next image, which looks at the program anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenRelease {
    generation: u32,
    config: AppConfig,
    #[serde(with = "handover::path")]
    program: PathBuf,
    #[serde(with = "handover::path_if_any")]
    cwd: Option<PathBuf>,
}

impl Release {
    /// What the next image needs.
    pub fn freeze(&self) -> FrozenRelease {
        FrozenRelease {
            generation: self.generation,
            config: (*self.config).clone(),
            program: self.program.clone(),
            cwd: self.cwd.clone(),
        }
    }

    /// As another image left it.
    pub fn thaw(frozen: FrozenRelease) -> Self {
        let found = resolve(&frozen.config, frozen.cwd.as_deref());
        Self {
            suspicion: found.ok().and_then(|program| program.suspicion),
            generation: frozen.generation,
            habits: habits(&frozen.config),
            config: Arc::new(frozen.config),
            program: frozen.program,
            cwd: frozen.cwd,
        }
    }

    /// Finds what `config` leads to now; `home` is the primary's own directory, if it has a name.
    ///
    /// # Errors
    /// One sentence: a command that cannot be run.
    pub fn find(generation: u32, config: Arc<AppConfig>, home: Option<&Path>) -> Result<Self> {
        let cwd = config.cwd.clone().or_else(|| home.map(Path::to_owned));
        let program = resolve(&config, cwd.as_deref())?;
        if let Some(Probe::Command(words)) = config.health.as_ref().map(|health| &health.probe) {
            program_of(words, &config, cwd.as_deref())?;
        }
        Ok(Self {
            generation,
            program: program.path,
            suspicion: program.suspicion,
            habits: habits(&config),
            cwd,
            config,
        })
    }

    /// Tells those of its habits that are not `known` already.
    pub fn warn_of_habits(&self, known: &[String]) {
        for habit in self.habits.iter().filter(|one| !known.contains(one)) {
            warn!("{habit}");
        }
    }
}

fn resolve(config: &AppConfig, cwd: Option<&Path>) -> Result<preflight::Program> {
    if config.proxy.is_some() {
        // What the primary itself runs, though there may be another file at its path by now: they share memory, so
        // they must be of one version.
        return Ok(preflight::Program {
            path: "/proc/self/exe".into(),
            suspicion: None,
        });
    }
    program_of(&config.command, config, cwd)
}

/// The program of a command that is run as the workers are.
///
/// # Errors
/// One sentence: it cannot be run.
pub fn program_of(
    command: &[OsString],
    config: &AppConfig,
    cwd: Option<&Path>,
) -> Result<preflight::Program> {
    preflight::resolve(
        command,
        cwd,
        variable_of_workers(config, "PATH").as_deref(),
        config.identity.as_ref().map(|who| (who.uid, who.gid)),
    )
}

/// The working directory by the words that led there, if they still do: `PWD`, as the shell keeps it. To be
/// asked at the start: a symlink in it may lead elsewhere later, and is then to be followed.
pub fn logical_directory() -> Option<PathBuf> {
    let words = PathBuf::from(std::env::var_os("PWD")?);
    let identity = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let leads_here = words.is_absolute() && identity(&words)? == identity(Path::new("."))?;
    leads_here.then_some(words)
}

/// What the workers' environment says.
fn variable_of_workers(config: &AppConfig, name: &str) -> Option<OsString> {
    let given = config.env.iter().rev();
    let mut given = given.filter(|(one, _)| one == OsStr::new(name));
    let given = given.next().map(|(_, value)| value.clone());
    given.or_else(|| std::env::var_os(name))
}

fn habits(config: &AppConfig) -> Vec<String> {
    if config.proxy.is_some() {
        return Vec::new();
    }
    preflight::habits(&config.command, |name| variable_of_workers(config, name))
}
