//! Where a command's program is, as execvp(3) finds it from the worker's directory and `PATH`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::file::nearest::nearest;
use crate::error::{Error, Result};

/// What execvp(3) searches when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Where to look.
#[derive(Debug)]
pub struct Search {
    cwd: Option<PathBuf>,
    path: OsString,
    /// The workers run as we do, so what we may execute they may.
    as_ourselves: bool,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Directory,
    NotExecutable,
    /// It has the permission bits, and yet may not be executed.
    Forbidden,
    Program,
}

impl Search {
    /// # Errors
    /// A sentence if `cwd` is no directory.
    pub fn new(cwd: Option<&Path>, path: Option<&OsStr>, as_ourselves: bool) -> Result<Self> {
        if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
            return Err(Error::failed(format!(
                "the working directory '{}' does not exist or is not a directory",
                cwd.display()
            )));
        }
        Ok(Self {
            cwd: cwd.map(Path::to_owned),
            path: path.unwrap_or(OsStr::new(DEFAULT_PATH)).to_owned(),
            as_ourselves,
        })
    }

    /// `path` as we reach it, who have another working directory.
    pub fn seen_from_here(&self, path: &Path) -> PathBuf {
        match &self.cwd {
            Some(cwd) => cwd.join(path),
            None => path.to_owned(),
        }
    }

    /// The program called `name`; `alone` if no arguments follow it.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub fn program(&self, name: &OsStr, alone: bool) -> Result<PathBuf> {
        let path = Path::new(name);
        if !has_slash(name) {
            return self
                .in_path(name)
                .ok_or_else(|| self.not_in_path(name, alone));
        }
        let shown = path.display();
        match self.look(path) {
            Found::Program => Ok(path.to_owned()),
            Found::Nothing => Err(Error::failed(format!(
                "cannot start '{shown}': there is no such file{}{}",
                self.cwd.as_ref().filter(|_| path.is_relative()).map_or(
                    String::new(),
                    |cwd| format!(" in the working directory '{}'", cwd.display())
                ),
                if is_a_line(name, alone) { WORDS } else { "" }
            ))),
            unfit => Err(refused(path, unfit)),
        }
    }

    /// The first program of this name in `PATH`, which may be relative to the working directory.
    pub fn in_path(&self, name: &OsStr) -> Option<PathBuf> {
        self.candidates(name)
            .find(|path| self.look(path) == Found::Program)
    }

    /// The program whose name is likeliest meant.
    fn nearest_in_path(&self, name: &OsStr) -> Option<String> {
        let entries = self.candidates(OsStr::new("")).filter_map(|directory| {
            let directory = self.seen_from_here(&directory);
            directory.read_dir().ok()
        });
        let names = entries.flatten().flatten().map(|entry| entry.file_name());
        let names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = nearest(name.to_str()?, &names)?;
        self.in_path(OsStr::new(near))?;
        Some(near.to_owned())
    }

    fn candidates(&self, name: &OsStr) -> impl Iterator<Item = PathBuf> {
        self.path
            .as_bytes()
            .split(|&byte| byte == b':')
            .map(|directory| match directory {
                // An empty entry is the working directory.
                b"" => Path::new("."),
                directory => Path::new(OsStr::from_bytes(directory)),
            })
            .map(move |directory| directory.join(name))
    }

    fn look(&self, path: &Path) -> Found {
        const ANY_EXECUTE: u32 = 0o111;
        let path = self.seen_from_here(path);
        let Ok(file) = path.metadata() else {
            return Found::Nothing;
        };
        if file.is_dir() {
            Found::Directory
        } else if file.permissions().mode() & ANY_EXECUTE == 0 {
            Found::NotExecutable
        } else if self.as_ourselves && access(&path, AccessFlags::X_OK).is_err() {
            Found::Forbidden
        } else {
            Found::Program
        }
    }

    fn not_in_path(&self, name: &OsStr, alone: bool) -> Error {
        let shown = name.display();
        // execvp goes on after a file that it may not execute, and remembers that there was one.
        let unfit = self
            .candidates(name)
            .map(|path| (self.look(&path), path))
            .find(|(found, _)| matches!(found, Found::NotExecutable | Found::Forbidden));
        if let Some((found, path)) = unfit {
            return refused(&path, found);
        }
        let hint = if self.look(Path::new(name)) != Found::Nothing {
            format!("; the one in the working directory is './{shown}'")
        } else if is_a_line(name, alone) {
            WORDS.to_owned()
        } else {
            let near = self.nearest_in_path(name);
            near.map_or(String::new(), |near| format!("; did you mean {near}?"))
        };
        Error::failed(format!(
            "cannot start '{shown}': no directory of PATH has a program of that name{hint}"
        ))
    }
}

/// What is to be said of a whole line in the place of a program.
const WORDS: &str =
    "; give the program and its arguments as words of their own, without quotes around all of them";

fn is_a_line(name: &OsStr, alone: bool) -> bool {
    alone && name.as_bytes().contains(&b' ')
}

fn has_slash(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'/')
}

fn refused(path: &Path, found: Found) -> Error {
    let why = match found {
        Found::Directory => "it is a directory",
        Found::NotExecutable => "it is not executable; chmod +x it, or start it by its interpreter",
        _ => "this user may not execute it, or its file system is mounted noexec",
    };
    Error::failed(format!("cannot start '{}': {why}", path.display()))
}
