//! What a program file begins with: an ELF header, or a `#!` line and what that leads to (execve(2)).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::elf::{self, Elf};
use super::search::Search;
use crate::error::{Error, Result};

/// How much of a file the kernel reads to find the interpreter (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// What the kernel can run.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// A program.
    Elf(Elf),
    /// A file for an interpreter.
    Script(Line),
}

/// A `#!` line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    interpreter: PathBuf,
    /// All that follows it: the kernel passes it as one argument.
    argument: Option<OsString>,
}

/// Looks at the file; `None` if it is neither, so that a shell has to make sense of it.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read(path: &Path) -> io::Result<Option<Content>> {
    let file = File::open(path)?;
    if let Some(elf) = elf::read(&file) {
        return Ok(Some(Content::Elf(elf)));
    }
    let mut head = [0; HEAD];
    let length = file.read_at(&mut head, 0)?;
    Ok(Line::parse(&head[..length]).map(Content::Script))
}

impl Line {
    fn parse(head: &[u8]) -> Option<Self> {
        let line = head.strip_prefix(b"#!")?;
        let line = line.split(|&byte| byte == b'\n').next()?;
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = line.iter().position(|byte| !is_blank(byte))?;
        let line = &line[start..];
        let end = line.iter().position(is_blank).unwrap_or(line.len());
        let argument = line[end..].trim_ascii();
        Some(Self {
            interpreter: PathBuf::from(OsStr::from_bytes(&line[..end])),
            argument: (!argument.is_empty()).then(|| OsString::from_vec(argument.to_vec())),
        })
    }

    /// The next file to look at: the interpreter, or what `env` will find. `None` if it cannot be told.
    ///
    /// # Errors
    /// A sentence if it is not there; the kernel would say only "No such file or directory" of the script.
    pub fn target(&self, script: &Path, search: &Search) -> Result<Option<PathBuf>> {
        let interpreter = &self.interpreter;
        if !search.seen_from_here(interpreter).exists() {
            let why = if interpreter.as_os_str().as_bytes().ends_with(b"\r") {
                "its first line ends in a carriage return; save it with Unix line ends".to_owned()
            } else {
                format!(
                    "its first line names the interpreter {}, which does not exist",
                    interpreter.display()
                )
            };
            return Err(cannot_start(script, &why));
        }
        if interpreter.file_name() != Some(OsStr::new("env")) {
            return Ok(Some(interpreter.clone()));
        }
        let Some(name) = self.argument.as_deref().and_then(behind_env) else {
            return Ok(None);
        };
        match search.in_path(name) {
            Some(found) => Ok(Some(found)),
            None => {
                let name = name.display();
                let why = format!("its first line asks env for '{name}', which is not in PATH");
                Err(cannot_start(script, &why))
            }
        }
    }
}

fn cannot_start(script: &Path, why: &str) -> Error {
    Error::failed(format!("cannot start '{}': {why}", script.display()))
}

/// The program that env(1) will run, unless an option that is not known here stands before it.
fn behind_env(argument: &OsStr) -> Option<&OsStr> {
    argument
        .as_bytes()
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty() && !word.contains(&b'='))
        .find(|word| !matches!(*word, b"-S" | b"-i" | b"-" | b"--split-string"))
        .filter(|word| !word.starts_with(b"-") && !word.contains(&b'/'))
        .map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(head: &[u8]) -> Option<(String, Option<String>)> {
        let line = Line::parse(head)?;
        let text = |word: OsString| word.into_string().unwrap();
        Some((
            text(line.interpreter.into_os_string()),
            line.argument.map(text),
        ))
    }

    #[test]
    fn lines_are_cut_as_the_kernel_does() {
        let pair = |interpreter: &str, argument: Option<&str>| {
            Some((interpreter.to_owned(), argument.map(str::to_owned)))
        };
        assert_eq!(line(b"#!/bin/sh\necho"), pair("/bin/sh", None));
        assert_eq!(line(b"#! \t/bin/sh -e \nx"), pair("/bin/sh", Some("-e")));
        assert_eq!(
            line(b"#!/usr/bin/env -S node --flag"),
            pair("/usr/bin/env", Some("-S node --flag"))
        );
        assert_eq!(line(b"#!/bin/sh\r\n"), pair("/bin/sh\r", None));
        assert_eq!(line(b"#!  \n/bin/sh"), None);
        assert_eq!(line(b"echo"), None);
    }

    #[test]
    fn env_is_looked_through_where_that_is_certain() {
        let behind = |words: &str| {
            behind_env(OsStr::new(words)).map(|name| name.to_str().unwrap().to_owned())
        };
        assert_eq!(behind("node"), Some("node".into()));
        assert_eq!(behind("-S FOO=1 node --x"), Some("node".into()));
        assert_eq!(behind("-u HOME node"), None);
        assert_eq!(behind("FOO=1"), None);
    }
}
