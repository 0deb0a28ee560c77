//! The upgrade: another program takes this primary's place by execve(2), and nothing is lost on the way.
//!
//! Each owner of something describes itself as plain values, with tickets for its descriptors
//! ([`crate::sys::handover`]), and can be made from those again. All of it is one [`State`] in sealed memory:
//!
//! 1. everything stands still for a moment, and a child that runs the new program looks at the state and at all
//!    descriptors ([`trial`]); while it does, all goes on as before;
//! 2. if it can go on from there, everything stands still again, and the new program takes this one's place;
//! 3. it takes over ([`resumed`]), or goes [back](way_back) to the former program if it cannot.
//!
//! Nothing is ever closed before the new program has all of it; a connection in between waits in its backlog.
//! `main` calls [`resumed`] first, the supervisor the rest.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::supervisor::Supervisor;
use super::supervisor::frozen::Frozen;
use crate::error::{Error, Result};
use crate::sys::handover::{self, Kind, Label, Luggage};
use crate::sys::{directory, memfd};
use crate::wire::PROTOCOL;
use way_back::WayBack;

pub mod trial;
pub mod way_back;

/// The number of the state's descriptor, for the program that is to take over.
pub const RESUME: &str = "FORKFRONT_RESUME";
/// The same, for one that is to look whether it could.
pub const CHECK: &str = "FORKFRONT_RESUME_CHECK";
/// Why another program could not take over, for the one that is the primary again.
pub const FAILED: &str = "FORKFRONT_RESUME_FAILED";

/// Raised when a program that reads the former one could not go on from what is written.
const STATE: u32 = 1;

/// Who has written a state, and what came along with it.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    state: u32,
    /// Of the program that wrote it.
    version: String,
    /// Of channels, scoreboards and the rendezvous: with another one the workers could not be talked to.
    protocol: u16,
    labels: Vec<Label>,
}

/// All that a primary is.
#[derive(Debug, Serialize, Deserialize)]
pub struct State<P = Frozen> {
    #[serde(flatten)]
    head: Head,
    /// What the supervisor goes on from.
    primary: P,
}

/// Puts a state into sealed memory.
///
/// # Errors
/// Those of memfd_create(2) and write(2).
pub fn seal(primary: &Frozen, luggage: &Luggage<'_>) -> io::Result<OwnedFd> {
    let state = State {
        head: Head {
            state: STATE,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            labels: luggage.labels(),
        },
        primary,
    };
    memfd::seal(&serde_json::to_vec(&state)?)
}

/// The environment for a program that is to do something with the state in `memfd`.
pub fn environment(what: &str, memfd: RawFd) -> Vec<(OsString, OsString)> {
    let inherited = std::env::vars_os().filter(|(name, _)| {
        let ours = [RESUME, CHECK, FAILED];
        !ours.iter().any(|ours| name == *ours)
    });
    let ours = (OsString::from(what), memfd.to_string().into());
    inherited.chain([ours]).collect()
}

/// Does what a former image of this process, or one that is about to be, asks for by the environment. `None`: this
/// is a start like any other. To be called by the main thread, before anything else.
pub fn resumed() -> Option<Result<()>> {
    let number = |name| std::env::var(name).ok()?.parse::<RawFd>().ok();
    if let Some(state) = number(CHECK) {
        return Some(trial::check(state));
    }
    let state = number(RESUME)?;
    let failed = std::env::var(FAILED).ok();
    Some(match resume(state, failed) {
        Ok(supervisor) => supervisor.run(),
        Err(error) => Err(error),
    })
}

fn resume(number: RawFd, failed: Option<String>) -> Result<Supervisor> {
    let unusable =
        |error: io::Error| Error::io("cannot go on from the state that was handed over", &error);
    let (state, State { head, primary }) = read(number).map_err(unusable)?;
    let mut luggage = Luggage::claim(&head.labels).map_err(unusable)?;
    let program = luggage
        .take(primary.program, Kind::File)
        .map_err(unusable)?;
    // Who has come back has nowhere else to go.
    let way_back = match failed {
        None => WayBack::open(program, number, &head.labels),
        Some(_) => WayBack::none(),
    };
    let mut supervisor = Supervisor::thaw(primary, &mut luggage, &way_back);
    // The originals that were kept for the way back go, and with them the state.
    way_back.close();
    drop((luggage, state));
    supervisor.taken_over(&head.version, failed);
    Ok(supervisor)
}

fn read(number: RawFd) -> io::Result<(OwnedFd, State)> {
    let memfd = handover::claim(number, Kind::Memfd)?;
    let state = decode(&memfd::open(&memfd)?)?;
    Ok((memfd, state))
}

/// A state that this program can go on from.
fn decode(bytes: &[u8]) -> io::Result<State> {
    let unfit = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    // The head first, whatever the rest looks like: so the sentence is about what matters.
    let head: Head = serde_json::from_slice(bytes)?;
    let (own, of) = (env!("CARGO_PKG_VERSION"), &head.version);
    if head.state != STATE {
        return Err(unfit(format!(
            "forkfront {of} hands over state {}, and forkfront {own} goes on from state {STATE}",
            head.state
        )));
    }
    if head.protocol != PROTOCOL {
        return Err(unfit(format!(
            "the workers of forkfront {of} speak protocol {}, and forkfront {own} speaks {PROTOCOL}: stop and start it",
            head.protocol
        )));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// The path that this program was started by, absolute, its symlinks as they are: an upgrade looks there. Not
/// `/proc/self/exe`, which names what was there then.
pub fn own_path() -> PathBuf {
    let name = std::env::args_os().next().unwrap_or_default();
    let found = if name.as_encoded_bytes().contains(&b'/') {
        directory::absolute(Path::new(&name)).ok()
    } else {
        in_path(&name)
    };
    let here = || std::env::current_exe().unwrap_or_else(|_| "forkfront".into());
    found.filter(|path| path.is_file()).unwrap_or_else(here)
}

fn in_path(name: &OsStr) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
    let found = candidates.find(|candidate| candidate.is_file())?;
    directory::absolute(&found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(state: u32, protocol: u16) -> Vec<u8> {
        let version = "9.9.9".to_owned();
        let labels = Vec::new();
        serde_json::to_vec(&Head {
            state,
            version,
            protocol,
            labels,
        })
        .unwrap()
    }

    #[test]
    fn what_cannot_be_gone_on_from_is_said_in_a_sentence() {
        let why = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert!(why(&head(STATE + 1, PROTOCOL)).contains("hands over state 2"));
        assert!(why(&head(STATE, PROTOCOL + 1)).contains("stop and start"));
        assert!(why(&head(STATE, PROTOCOL)).contains("missing field `primary`"));
        assert!(why(b"{}").contains("missing field"));
        assert!(why(b"\xff").contains("line 1"));
    }

    #[test]
    fn the_own_path_is_absolute_and_there() {
        let path = own_path();
        assert!(path.is_absolute() && path.is_file(), "{}", path.display());
        assert!(in_path(OsStr::new("sh")).is_some_and(|path| path.is_absolute()));
    }

    #[test]
    fn the_environment_names_one_state() {
        let all = environment(RESUME, 7);
        let ours: Vec<_> = all
            .iter()
            .filter(|(name, _)| name == RESUME || name == CHECK)
            .collect();
        assert_eq!(ours, [&(RESUME.into(), "7".into())]);
    }
}
