//! The pre-flight: the new program, in a child, looks at the real state and at the real descriptors.
//!
//! It changes nothing about either, and says in one line that it could go on from there. Whatever else it does,
//! the upgrade is refused and nothing has happened.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use super::{CHECK, environment};
use crate::error::{Error, Result};
use crate::sys::exec;
use crate::sys::handover::{self, Luggage};
use crate::sys::process::{self, Exit};
use crate::sys::signals::Signal;

/// How long it may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How the line begins by which a program says that it could go on; its version follows.
const GREETING: &str = "forkfront takes over: ";
/// The most that is read of what it says.
const LONGEST: usize = 64 * 1024;

/// A trial under way; ends with this.
#[derive(Debug)]
pub struct Trial {
    child: exec::Trial,
}

impl Trial {
    /// Begins it.
    ///
    /// # Errors
    /// Those of [`exec::try_out`].
    pub fn begin(program: &Path, state: &OwnedFd, luggage: &Luggage<'_>) -> io::Result<Self> {
        let name = std::env::args_os().next().unwrap_or_default();
        // To a program that knows nothing of states, the least harmful of all orders.
        let args = [name, OsString::from("--version")];
        let env = environment(CHECK, state.as_raw_fd());
        let mut shown = luggage.shown();
        shown.push(state.as_fd());
        let child = exec::try_out(program, &args, &env, &shown)?;
        Ok(Self { child })
    }

    /// Its process: not to be collected as a stray.
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Becomes readable at its end.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// What came of it, at its end: the version of the program that could go on.
    ///
    /// # Errors
    /// Why it could not, to complete "PROGRAM ...".
    pub fn verdict(&self) -> std::result::Result<String, String> {
        let exit = process::try_wait(self.child.pidfd.as_fd());
        let said = |output: &OwnedFd| {
            let mut bytes = vec![0; LONGEST];
            let length = nix::unistd::read(output, &mut bytes).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        let (stdout, stderr) = (said(&self.child.stdout), said(&self.child.stderr));
        let complaint = stderr.lines().last().unwrap_or_default();
        let complaint = complaint.trim_start_matches("forkfront: ");
        match exit {
            Ok(Some(Exit::Code(0))) => {
                let greeting = stdout.lines().find_map(|line| line.strip_prefix(GREETING));
                let unknown =
                    || "is no forkfront that can take over: it does not say so".to_owned();
                greeting.map(str::to_owned).ok_or_else(unknown)
            }
            Ok(Some(Exit::Code(1))) if !complaint.is_empty() => {
                Err(format!("cannot take over: {complaint}"))
            }
            Ok(Some(exit)) => Err(format!(
                "is no forkfront that can take over: it ended with {exit}"
            )),
            Ok(None) => Err("goes on without an end".to_owned()),
            Err(error) => Err(format!("cannot be waited for: {error}")),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // One that has ended is nobody any more; a pidfd never means another.
        let _ = process::signal(self.child.pidfd.as_fd(), Signal::SIGKILL);
    }
}

/// The child's part: looks at the state behind this number.
///
/// # Errors
/// Why this program could not go on from there.
pub fn check(state: RawFd) -> Result<()> {
    let looked =
        super::read(state).and_then(|(_, state)| handover::check(&state.head.labels, false));
    looked.map_err(|error| Error::failed(error.to_string()))?;
    let line = format!("{GREETING}{}\n", env!("CARGO_PKG_VERSION"));
    let said = io::stdout().write_all(line.as_bytes());
    said.map_err(|error| Error::io("cannot say that all is well", &error))
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, poll};

    use super::*;

    fn verdict(script: &str) -> std::result::Result<String, String> {
        let path = std::env::temp_dir().join(format!(
            "forkfront-trial-{}-{}",
            std::process::id(),
            script.len()
        ));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let state = crate::sys::memfd::seal(b"{}").unwrap();
        let trial = Trial::begin(&path, &state, &Luggage::default()).unwrap();
        let mut ended = [PollFd::new(trial.pidfd(), PollFlags::POLLIN)];
        poll(&mut ended, 10_000_u16).unwrap();
        std::fs::remove_file(&path).unwrap();
        trial.verdict()
    }

    #[test]
    fn only_one_line_and_a_good_end_are_a_yes() {
        assert_eq!(
            verdict("echo 'forkfront takes over: 0.7'"),
            Ok("0.7".to_owned())
        );
        let table = [
            ("true", "does not say so"),
            ("echo 'forkfront takes over: 1'; exit 3", "exit code 3"),
            (
                "echo 'forkfront: it is another state' >&2; exit 1",
                "take over: it is another state",
            ),
            ("kill -9 $$", "SIGKILL"),
            ("exit 1", "exit code 1"),
        ];
        for (script, part) in table {
            let why = verdict(script).unwrap_err();
            assert!(why.contains(part), "{script}: {why}");
        }
    }
}
