//! `upgrade`: another program takes this one's place. First it is tried out on the real state, while all goes on;
//! then everything stands still for a moment, and it is executed.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::debug;
use mio::Interest;
use mio::unix::SourceFd;
use serde::{Deserialize, Serialize};

use super::super::source::Source;
use super::super::{Supervisor, Timer};
use super::{Begun, Job};
use crate::error::Error;
use crate::primary::upgrade::trial::{self, Trial};
use crate::primary::upgrade::{self, RESUME};
use crate::primary::verbs::Audience;
use crate::sys::clock;
use crate::sys::exec::{self, Program};
use crate::sys::footprint;
use crate::sys::handover::{self, Kind, Luggage};

/// How long reading and writing of output may take to come to a standstill.
const STANDSTILL: Duration = Duration::from_millis(500);

/// An upgrade whose program is being tried out.
#[derive(Debug)]
pub struct Upgrade {
    binary: PathBuf,
    trial: Trial,
}

impl Upgrade {
    /// The process of the trial.
    pub fn pid(&self) -> u32 {
        self.trial.pid()
    }

    /// In words.
    pub fn how_far(&self) -> String {
        format!("trying {}", self.binary.display())
    }
}

/// An upgrade for the program that it leads to, which answers who asked for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Passage {
    #[serde(with = "handover::path")]
    binary: PathBuf,
    audience: Audience,
    /// When the dispatchers were stopped, ns on `CLOCK_MONOTONIC`.
    begun: u64,
}

impl Supervisor {
    pub(super) fn begin_upgrade(&mut self, binary: Option<PathBuf>) -> Result<Begun, String> {
        let binary = binary.unwrap_or_else(|| self.binary.clone());
        executable(&binary)?;
        let begun =
            self.standing_still(None, |state, luggage| Trial::begin(&binary, state, luggage));
        let trial =
            begun.map_err(|error| refusal(&binary, &format!("cannot be tried: {error}")))?;
        let pidfd = trial.pidfd().as_raw_fd();
        let token = Source::Trial.token();
        let watched =
            self.poll
                .registry()
                .register(&mut SourceFd(&pidfd), token, Interest::READABLE);
        watched.map_err(|error| refusal(&binary, &format!("cannot be waited for: {error}")))?;
        let late = self.now() + trial::PATIENCE;
        self.deadlines.set(Timer::Trial, late);
        Ok(Begun::Job(Job::Upgrade(Upgrade { binary, trial })))
    }

    /// The program has looked at the state.
    pub(in super::super) fn trial_ended(&mut self) {
        let Some(Job::Upgrade(Upgrade { binary, trial })) = self.operations.job_mut() else {
            return;
        };
        let (binary, verdict) = (binary.clone(), trial.verdict());
        self.deadlines.clear(Timer::Trial);
        let version = match verdict {
            Err(why) => return self.conclude(Err(refusal(&binary, &why))),
            Ok(version) => version,
        };
        debug!(
            "{} is forkfront {version} and could take over",
            binary.display()
        );
        self.tell(&format!("forkfront {version} takes over"));
        let Err(error) = self.exchange(&binary);
        let why = format!("cannot be executed: {error}");
        self.conclude(Err(refusal(&binary, &why)));
    }

    pub(in super::super) fn trial_is_late(&mut self) {
        if let Some(Job::Upgrade(Upgrade { binary, .. })) = self.operations.job_mut() {
            let seconds = trial::PATIENCE.as_secs();
            let why = format!("has not said within {seconds} s that it could take over");
            let sentence = refusal(binary, &why);
            self.conclude(Err(sentence));
        }
    }

    /// Becomes `binary`; returns only if that failed.
    fn exchange(&mut self, binary: &Path) -> io::Result<std::convert::Infallible> {
        let audience = self.operations.current.as_ref();
        let audience = audience.map(|current| current.audience.clone());
        let passage = Passage {
            binary: binary.to_owned(),
            audience: audience.unwrap_or_default(),
            begun: 0,
        };
        // The next image knows nothing of a command that asks, and would never end one that hangs.
        self.health.probes.give_up();
        let args: Vec<_> = std::env::args_os().collect();
        self.standing_still(Some(passage), |state, luggage| {
            let mut keep: Vec<_> = luggage.all().iter().map(AsRawFd::as_raw_fd).collect();
            keep.push(state.as_raw_fd());
            let env = upgrade::environment(RESUME, state.as_raw_fd());
            exec::replace(Program::Path(binary), &args, &env, &keep)
        })
    }

    /// Does something while nobody reads, writes, accepts or deals, with all that there is in sealed memory. Then
    /// all goes on as before.
    fn standing_still<T>(
        &mut self,
        passage: Option<Passage>,
        act: impl FnOnce(&OwnedFd, &Luggage<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let program = exec::own_program()?;
        let still = self.logs.stand_still(Instant::now() + STANDSTILL)?;
        let mut luggage = Luggage::default();
        let begun = clock::now_ns();
        let dispatchers = self.apps.freeze_dispatchers(&mut luggage);
        self.operations.passage = passage.map(|passage| Passage { begun, ..passage });
        let (done, dispatchers, mut luggage) = {
            let program = luggage.pack(Kind::File, program);
            let frozen = self.freeze((program, dispatchers, &still), &mut luggage);
            let sealed = upgrade::seal(&frozen, &luggage);
            let done = sealed.and_then(|state| act(&state, &luggage));
            (done, frozen.dispatchers, luggage.unlent())
        };
        self.operations.passage = None;
        let (workers, means) = (&self.workers, &self.means);
        let going_on = self
            .apps
            .thaw_dispatchers(dispatchers, &mut luggage, workers, means);
        drop(still);
        if let Err(error) = going_on {
            self.fail(Error::io("cannot go on after a try to upgrade", &error));
        }
        done
    }

    /// Another image has handed over to this one, or could not and this is the former program.
    pub fn taken_over(&mut self, from: &str, failed: Option<String>) {
        self.bring_own_shim();
        let Some(passage) = self.operations.passage.take() else {
            return;
        };
        let pause = Duration::from_nanos(clock::now_ns().saturating_sub(passage.begun));
        let to = env!("CARGO_PKG_VERSION");
        let outcome = match failed {
            None => {
                self.binary = passage.binary;
                Ok(format!(
                    "upgraded from {from} to {to} ({}); nobody was accepted for {:.1} ms",
                    self.binary.display(),
                    pause.as_secs_f64() * 1000.0
                ))
            }
            Some(why) => Err(refusal(
                &passage.binary,
                &format!("could not take over: {why}"),
            )),
        };
        self.answer_all("upgrade", passage.audience, outcome);
        let known = self.operations.clients();
        let unknown = "another version of forkfront has understood this, and the one that runs now has not: ask again";
        self.commands.disappoint(&known, unknown);
        self.proceed();
        footprint::forget_the_start();
    }
}

fn refusal(binary: &Path, why: &str) -> String {
    format!("{} {why}; this primary goes on as it was", binary.display())
}

/// Says early, and in better words, what execve(2) would say.
fn executable(binary: &Path) -> Result<(), String> {
    if !binary.is_absolute() {
        return Err(format!("{} is no absolute path", binary.display()));
    }
    let found = fs::metadata(binary);
    let found = found.map_err(|error| refusal(binary, &format!("cannot be executed: {error}")))?;
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return Err(refusal(binary, "is no executable file"));
    }
    Ok(())
}
