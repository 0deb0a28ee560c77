//! What follows the death of a worker: the rest of its session, the words about it, its burial.

use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use log::{debug, error, info, warn};
use mio::unix::SourceFd;

use super::lives::random;
use super::words::{self, in_words};
use super::{Supervisor, Timer};
use crate::error::Error;
use crate::policy::deadlines::Moment;
use crate::policy::fleet::{CRASH_LOOP, Verdict};
use crate::policy::ids::{AppId, SlotId, WorkerId};
use crate::policy::lifecycle::{End, Event, State, Why};
use crate::primary::messages::Command;
use crate::primary::preflight;
use crate::primary::workers::Worker;
use crate::sys::process::{self, Exit};
use crate::sys::signals::Signal;

/// How soon what is left of a dead worker is looked for: at first, since most of it dies at once, and at last. It
/// takes a walk over all processes.
const MOURNING_STEPS: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_millis(250);

impl Supervisor {
    /// It does not even die of SIGKILL (uninterruptible sleep): its slot goes on without it.
    pub(super) fn give_up_on(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let State::Killing { why, .. } = worker.state else {
            return;
        };
        if std::mem::replace(&mut worker.abandoned, true) {
            return;
        }
        let (app, slot, pid) = (worker.app, worker.slot, worker.pid);
        let now = self.now();
        self.apps[app].dispatcher.send(Command::Forget(id));
        let fleet = &mut self.apps[app].fleet;
        let verdict = fleet.ended(slot, id, (End::Killed(why), None), now, random());
        let why = format!("worker {pid} does not die of SIGKILL, and is left to the kernel");
        error!("{}: {why}", self.place(app, slot));
        if verdict != Verdict::Nothing {
            self.pronounce((app, slot), Some(pid), &why, verdict);
        }
        // Nor does a reload wait for it.
        self.advance();
    }

    /// The pidfd of a worker says that its first process has ended.
    pub(super) fn exited(&mut self, id: WorkerId) {
        let now = self.now();
        if self.workers.get(id).is_none() || self.is_mourned(id) {
            return;
        }
        let census = self.census();
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let exit = match process::peek_exit(worker.pidfd()) {
            Ok(Some(exit)) => exit,
            Ok(None) => return,
            // Somebody else waited for it; it is dead all the same.
            Err(_) => Exit::Code(1),
        };
        worker.exit = Some(exit);
        let patience_left = match worker.state {
            State::Draining { .. } => now + self.apps[worker.app].config.grace,
            State::Leaving { until, .. } => until,
            State::Starting { .. } | State::Ready | State::Killing { .. } | State::Gone(_) => {
                Moment::default()
            }
        };
        worker.mourned_until = patience_left;
        let (app, slot, pid) = (worker.app, worker.slot, worker.pid);
        let pidfd = worker.pidfd().as_raw_fd();
        // Level or edge, a dead process stays readable: it must not wake anybody again.
        let _ = self.poll.registry().deregister(&mut SourceFd(&pidfd));
        let survives = census.counts(worker);
        if survives && patience_left > now {
            census.signal(worker, Signal::SIGTERM);
        }
        let success = exit == Exit::Code(0);
        self.happen(id, Event::Exited { success });
        self.apps[app].dispatcher.send(Command::Forget(id));
        self.deadlines.clear(Timer::Diagnose(id));
        let why = self.obituary(id, exit, survives) + self.lack_of_memory(id, exit);
        if let Some(State::Gone(end)) = self.workers.get(id).map(|worker| worker.state) {
            let code = match exit {
                Exit::Code(code) => Some(code),
                Exit::Signal(_) => None,
            };
            let fleet = &mut self.apps[app].fleet;
            let verdict = fleet.ended(slot, id, (end, code), now, random());
            self.apps[app].ended_well &= success || verdict == Verdict::Nothing;
            self.pronounce((app, slot), Some(pid), &why, verdict);
        }
        self.late.remove(&id);
        if let Some(backends) = &self.apps[app].backends {
            backends.strike(pid);
        }
        self.health.drains.forget(id);
        if survives {
            self.mourn(id);
        } else {
            // The dead start nothing: none can have appeared since.
            self.bury(id);
        }
    }

    /// Waits until nothing is left of a dead worker's session, then collects its first process.
    pub(super) fn mourn(&mut self, id: WorkerId) {
        let now = self.now();
        if !self.is_mourned(id) {
            return;
        }
        let census = self.census();
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if census.counts(worker) {
            let (first, last) = (*MOURNING_STEPS.start(), *MOURNING_STEPS.end());
            let step = (worker.mourning_step * 2).clamp(first, last);
            worker.mourning_step = step;
            let mut again = now + step;
            if now >= worker.mourned_until {
                census.signal(worker, Signal::SIGKILL);
                worker.mourning_step = Duration::ZERO;
            } else {
                again = again.min(worker.mourned_until);
            }
            self.deadlines.set(Timer::Worker(id), again);
            return;
        }
        self.bury(id);
    }

    /// Nothing is left of a worker: its pid may be somebody else's from now on.
    fn bury(&mut self, id: WorkerId) {
        self.deadlines.clear(Timer::Worker(id));
        if let Some(worker) = self.workers.remove(id) {
            let _ = process::try_wait(worker.pidfd());
            self.metrics.bury(&worker);
            self.left_alone(worker.app);
        }
        self.strays = true;
        // A reload may have waited for old workers to go.
        self.advance();
    }

    /// Collects orphans that have come to us and ended.
    pub(super) fn reap(&mut self) {
        if std::mem::take(&mut self.strays) {
            let trial = self.operations.trial();
            let helps = |pid| trial == Some(pid) || self.health.probes.is_helper(pid);
            process::reap_strays(|pid| self.workers.is_leader(pid) || helps(pid));
        }
    }

    /// What the kernel's lack of memory may have to do with an end.
    fn lack_of_memory(&mut self, id: WorkerId, exit: Exit) -> &'static str {
        let state = self.workers.get(id).map(|worker| worker.state);
        state.map_or("", |state| self.health.memory.explain(exit, state))
    }

    /// What is said of a dead worker.
    fn obituary(&self, id: WorkerId, exit: Exit, survives: bool) -> String {
        let Some(worker) = self.workers.get(id) else {
            return String::new();
        };
        let pid = worker.pid;
        let config = &worker.release.config;
        let command = words::command(&config.command);
        match worker.state {
            State::Gone(End::Early) if exit == Exit::Code(0) && survives => {
                format!(
                    "{command} went into the background (worker {pid} ended at once, what it started lives on); \
                     run it in the foreground"
                )
            }
            State::Gone(End::Early) if !self.apps[worker.app].fleet.is_proven() => {
                let printed = match &worker.refused {
                    Some(refused) => refused,
                    None if self.logs.tail(pid).is_empty() => "it printed nothing",
                    None => "what it printed is above",
                };
                let advice = advice(worker, exit);
                format!(
                    "{command} ended with {exit} before it listened (worker {pid}): {printed}{advice}"
                )
            }
            State::Gone(End::Early) => {
                format!("worker {pid} ended with {exit} before it was ready")
            }
            State::Gone(End::Killed(Why::Late)) => {
                let limit = in_words(config.ready_timeout);
                let reason = self
                    .late
                    .get(&id)
                    .cloned()
                    .unwrap_or_else(words::not_listening);
                format!("worker {pid} was not ready within {limit}: {reason}")
            }
            _ => format!("worker {pid} ended with {exit}"),
        }
    }

    /// What comes of the end of a slot's worker, and the words for it. `pid` was its first process, if there
    /// was one.
    pub(super) fn pronounce(
        &mut self,
        (app, slot): (AppId, SlotId),
        pid: Option<u32>,
        why: &str,
        verdict: Verdict,
    ) {
        if verdict != Verdict::Nothing {
            self.apps[app].last_words.insert(slot, why.to_owned());
        }
        if matches!(verdict, Verdict::Finished | Verdict::Failed { .. }) {
            self.apps[app].dispatcher.send(Command::Abandon(slot));
        }
        let place = self.place(app, slot);
        match verdict {
            Verdict::Nothing => debug!("{place}: {why}"),
            Verdict::Hopeless => self.is_hopeless(app, slot, why),
            Verdict::Inherited => warn!("{place}: {why}; its successor starts"),
            Verdict::SuccessorFailed { .. } => {
                warn!("{place}: {why}; the worker that it was to replace goes on");
            }
            Verdict::Finished => {
                info!("{place}: {why}; no other follows, as --restart and --stop-exit-codes say")
            }
            Verdict::Failed { restarts, within } => error!(
                "{place}: {why}; no other follows, since {} within {} are what --max-restarts allows; forkfront restart or reload tries again",
                words::count(restarts.into(), "restart"),
                in_words(within)
            ),
            Verdict::Retry {
                wait, failures: 0, ..
            } => {
                debug_assert!(wait.is_zero());
                info!("{place}: {why}; the next one starts");
            }
            Verdict::Retry {
                wait,
                crash_loop: true,
                failures,
            } => error!(
                "{place}: {why}, the {failures}th failure in a row; trying again in {}, then ever less \
                 often, and silently",
                in_words(wait)
            ),
            Verdict::Retry { wait, failures, .. } if failures < CRASH_LOOP => {
                warn!("{place}: {why}; the next one starts in {}", in_words(wait));
            }
            Verdict::Retry { wait, .. } => {
                debug!("{place}: {why}; the next one starts in {}", in_words(wait));
            }
        }
        if !matches!(verdict, Verdict::Nothing | Verdict::Inherited) {
            self.operation_fails_at(app, slot, why, pid);
            self.end_if_over();
        }
    }

    /// No worker of an app was ever ready, and the first one has failed. At the start of an only app that is the
    /// end; beside other apps, or where others were before, it is tried again.
    pub(super) fn is_hopeless(&mut self, app: AppId, slot: SlotId, why: &str) {
        if self.apps.count() == 1 && !self.announced {
            return self.fail(Error::failed(why));
        }
        let place = self.place(app, slot);
        let failures = self.apps[app].fleet.waiting(slot, self.now());
        if failures.is_some_and(|(failures, _)| failures > 1) {
            debug!("{place}: {why}");
        } else {
            error!("{place}: {why}; it is tried again, ever less often, and silently");
        }
    }

    /// Without a slot that could ever have a worker again, there is nothing to be a primary of: whoever
    /// supervises this process is told by its exit code.
    fn end_if_over(&mut self) {
        if self.stopping || !self.apps.iter().all(|app| app.fleet.is_over()) {
            return;
        }
        if !self.apps.iter().all(|app| app.ended_well) {
            let nobody =
                "every worker has ended, and by --restart and --max-restarts none is started again";
            self.failure = Some(Error::failed(nobody));
        }
        self.stop("no worker is left");
    }
}

/// What can be done about a command of which no worker has listened yet.
fn advice(worker: &Worker, exit: Exit) -> &'static str {
    let release = &worker.release;
    let cwd = release.cwd.as_deref().unwrap_or(Path::new(""));
    if preflight::is_left_to_a_shell(&cwd.join(&release.program)) {
        "; it has no #! line, so a shell ran it: give it one, or put its interpreter before it"
    } else if exit == Exit::Code(0) {
        "; a server stays, and listens on a TCP port"
    } else {
        ""
    }
}
