//! A look at the server's program before it is started, and at its processes when it does not come up: what
//! the loader ignores silently (a static program, set-user-ID, another class) is said here in a sentence.
//!
//! Only looks. A suspicion is a finding and no verdict, since a static program may be a native worker, and a
//! static launcher may start a server that is none of this: whether a worker has joined decides. The
//! supervisor calls [`resolve`] once, and the diagnoses while a worker is late.

mod diagnose;
mod elf;
mod habits;
mod listening;
mod script;
mod search;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys::privileges::{self, Gain};

pub use diagnose::{diagnose, diagnose_early, diagnose_meanwhile};
use elf::Elf;
pub use habits::habits;
use script::Content;
use search::Search;

/// Longest chain of `#!` lines that is followed; the kernel itself follows four.
const SCRIPTS: usize = 8;

/// The program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The file, with a slash in it; relative only if the command was, and then to the working directory.
    pub path: PathBuf,
    /// Why nothing can be preloaded into it, as far as the file tells.
    pub suspicion: Option<Suspicion>,
}

/// A program that the shim cannot work in, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    program: PathBuf,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Static,
    Go,
    Gains(Gain),
    /// Made for another machine.
    Machine(&'static str),
}

/// Finds the program of `command` as execvp(3) would, in the `PATH` that the worker gets, and follows `#!` lines
/// to the program that will run. `cwd` is the worker's working directory if it is not ours; `identity` its user
/// and group if they are not ours.
///
/// # Errors
/// One sentence if it cannot be started at all: not found, not executable, a directory, an interpreter or a
/// loader that is not there.
pub fn resolve(
    command: &[OsString],
    cwd: Option<&Path>,
    path: Option<&OsStr>,
    identity: Option<(u32, u32)>,
) -> Result<Program> {
    let Some(name) = command.first().filter(|name| !name.is_empty()) else {
        return Err(Error::usage("no command to run was given"));
    };
    let search = Search::new(cwd, path, identity.is_none())?;
    let found = search.program(name, command.len() == 1)?;
    let (uid, gid) = identity.unwrap_or_else(ours);
    let mut file = found.clone();
    for _ in 0..SCRIPTS {
        // A program may be executable and not readable: nothing is known of it then.
        let content = script::read(&search.seen_from_here(&file)).unwrap_or_default();
        let next = match content {
            None => break,
            Some(Content::Elf(elf)) => {
                check_machine(&file, &elf)?;
                check_loader(&file, &elf)?;
                return Ok(Program {
                    suspicion: suspicion_of(&search.seen_from_here(&file), &elf, uid, gid),
                    path: found,
                });
            }
            Some(Content::Script(line)) => line.target(&file, &search)?,
        };
        let Some(next) = next else { break };
        file = next;
    }
    Ok(Program {
        path: found,
        suspicion: None,
    })
}

fn ours() -> (u32, u32) {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    (uid.as_raw(), gid.as_raw())
}

/// The kernel may run it all the same, but not with our shim in it; or execvp(3) gives it to a shell, which
/// complains about the syntax.
fn check_machine(program: &Path, elf: &Elf) -> Result<()> {
    match elf.foreign {
        Some(machine) => Err(Error::failed(format!(
            "cannot start '{}': it is a program for {machine}, and this forkfront is for {}; use a build for that",
            program.display(),
            elf::OUR_MACHINE
        ))),
        None => Ok(()),
    }
}

/// The kernel says only "No such file or directory" when it is the loader that is missing.
fn check_loader(program: &Path, elf: &Elf) -> Result<()> {
    match &elf.loader {
        Some(loader) if !loader.exists() => Err(Error::failed(format!(
            "cannot start '{}': it needs the loader {}, which is not on this system; use a build for this system's \
             C library",
            program.display(),
            loader.display()
        ))),
        _ => Ok(()),
    }
}

/// Neither a program nor a script that says by what it is run: execvp(3) gives it to a shell.
pub fn is_left_to_a_shell(program: &Path) -> bool {
    matches!(script::read(program), Ok(None))
}

/// What is wrong with running `program` as this user, if anything. An unreadable file is no finding.
fn suspect(program: &Path, (uid, gid): (u32, u32)) -> Option<Suspicion> {
    match script::read(program) {
        Ok(Some(Content::Elf(elf))) => suspicion_of(program, &elf, uid, gid),
        _ => None,
    }
}

fn suspicion_of(program: &Path, elf: &Elf, uid: u32, gid: u32) -> Option<Suspicion> {
    let why = if let Some(machine) = elf.foreign {
        Why::Machine(machine)
    } else if elf.go {
        Why::Go
    } else if elf.loader.is_none() && !is_loader(program) {
        Why::Static
    } else {
        Why::Gains(privileges::gain(program, uid, gid).ok().flatten()?)
    };
    Some(Suspicion {
        program: program.to_owned(),
        why,
    })
}

/// `ld-linux.so PROGRAM` preloads, though it is itself linked statically.
fn is_loader(program: &Path) -> bool {
    let name = program.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with("ld-") || name == "ld.so")
}

impl Suspicion {
    /// Whether it still holds for this worker, now that it runs: not if a program that the suspicious one has
    /// started, or has become, is free of it.
    pub fn holds(&self, worker: u32) -> bool {
        diagnose::none_is_free(worker)
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.display();
        match self.why {
            Why::Static => write!(
                f,
                "'{program}' is linked statically, so no library can be preloaded into it and its accept cannot be \
                 answered: link it dynamically, or build it on the forkfront::worker library"
            ),
            Why::Go => write!(
                f,
                "'{program}' is a Go program, which accepts by its own system calls and not through the C library, so \
                 a preloaded library cannot answer them: run it as one process, which uses all cores by itself"
            ),
            Why::Gains(gain) => {
                let (is, instead) = match gain {
                    Gain::User(uid) => (
                        format!("is set-uid (it runs as user {uid})"),
                        "run forkfront as that user, or use a copy without it",
                    ),
                    Gain::Group(gid) => (
                        format!("is set-gid (it runs with group {gid})"),
                        "run forkfront with that group, or use a copy without it",
                    ),
                    Gain::Capabilities => (
                        "has file capabilities".to_owned(),
                        "use a copy without them; forkfront itself opens the ports below 1024",
                    ),
                };
                write!(
                    f,
                    "'{program}' {is}, so the loader ignores LD_PRELOAD: {instead}"
                )
            }
            Why::Machine(machine) => write!(
                f,
                "'{program}' is a program for {machine}, and the library to preload is for {}: use a build for that",
                elf::OUR_MACHINE
            ),
        }
    }
}
