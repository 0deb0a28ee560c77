//! What people are told without asking: once, when the first worker is ready, what is shared and how to go on; and,
//! when a start, an operation or a stop takes more than a second, how far it is and what it waits for.
//!
//! The log has it, and those who wait for an operation or a stop. A terminal that shows more than that asks for
//! the status.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use log::{error, info};

use super::notices::Notices;
use super::words::{self, count, in_words, quoted};
use super::{Supervisor, Timer};
use crate::policy::deadlines::Moment;
use crate::policy::fleet::{Condition, SETTLING};
use crate::policy::ids::{AppId, SlotId};
use crate::policy::lifecycle::State;
use crate::primary::app::App;
use crate::primary::preflight;
use crate::primary::workers::Worker;
use crate::protocol::{INSTANCE_PREFIX, UNNAMED_SOCKET, run_directories};
use crate::status::{Awaited, AwaitedState};
use crate::sys::footprint;

/// How long after its beginning something is told of: ever less often, to the last of these intervals.
const TOLD_AFTER: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(100),
    Duration::from_secs(300),
];

/// A longer command is cut where it stands beside other words, characters.
const COMMAND_SHOWN: usize = 60;

/// More slots than this are not named one by one.
const SLOTS_NAMED: usize = 3;

/// What takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Start,
    Operation,
    Stop,
}

/// What people have been told so far.
#[derive(Debug, Default)]
pub struct Telling {
    /// All slots have been ready once, or were as ready as they could be.
    started: bool,
    /// What is told of, and since when that has been under way.
    subject: Option<(Subject, Moment)>,
    said: usize,
    stop_begun: Option<Moment>,
    /// What the service manager has been told.
    pub notices: Notices,
}

impl Telling {
    /// Of a primary that another image has started.
    pub fn taken_over() -> Self {
        Self {
            started: true,
            ..Self::default()
        }
    }
}

impl Supervisor {
    /// The first workers have been started, and not all are ready.
    pub(super) fn is_starting(&self) -> bool {
        !self.telling.started
    }

    /// Looks what is under way and when to say so. To be called in each turn of the loop.
    pub(super) fn plan_telling(&mut self) {
        self.note_start();
        let now = self.now();
        if self.stopping {
            self.telling.stop_begun.get_or_insert(now);
        }
        let subject = if let Some(begun) = self.telling.stop_begun {
            Some((Subject::Stop, begun))
        } else if let Some(begun) = self.operations.begun() {
            Some((Subject::Operation, begun))
        } else {
            let start = (Subject::Start, Moment::default());
            self.is_starting().then_some(start)
        };
        if subject != self.telling.subject {
            (self.telling.subject, self.telling.said) = (subject, 0);
            self.plan_words();
        }
    }

    fn plan_words(&mut self) {
        match self.telling.subject {
            Some((_, begun)) => {
                let after = told_after(self.telling.said);
                self.deadlines.set(Timer::Tell, begun + after);
            }
            None => self.deadlines.clear(Timer::Tell),
        }
    }

    /// Says how far it is.
    pub(super) fn tell_how_far(&mut self) {
        let Some((subject, begun)) = self.telling.subject else {
            return;
        };
        match subject {
            Subject::Start => self.tell_of_start(begun),
            Subject::Operation => {
                if let Some(words) = self.operation_words() {
                    info!("{words}");
                    self.tell(&words);
                }
            }
            Subject::Stop => self.tell_of_stop(),
        }
        self.telling.said += 1;
        self.plan_words();
    }

    fn tell_of_start(&self, begun: Moment) {
        let passed = in_words(self.now().since(begun));
        for app in self.apps.iter() {
            let awaited = self.awaited(app, |_| true);
            let Some(first) = awaited.first() else {
                continue;
            };
            let label = self.label(app);
            if app.fleet.is_proven() {
                let ready = self.ready_slots(app);
                let words = self.awaited_words(&awaited);
                info!(
                    "{label}{ready} of {} ready after {passed}{words}",
                    workers(app)
                );
            } else if let Some(worker) = self.workers.iter().find(|one| first.pid == Some(one.pid))
            {
                let (command, pid) = (shown(app), worker.pid);
                let why = self.why_not_listening(worker);
                let listen = &app.config.listen;
                let so_far = preflight::diagnose_meanwhile(pid, listen);
                let so_far = so_far.map_or(String::new(), |found| format!("; {found}"));
                info!("{label}{command} (worker {pid}), started {passed} ago: {why}{so_far}");
            }
        }
    }

    /// Of a worker that is not ready yet.
    pub(super) fn why_not_listening(&self, worker: &Worker) -> String {
        if let Some(found) = self.late.get(&worker.id) {
            return found.clone();
        }
        let waits = match worker.joined {
            true => "has bound its port, but does not listen yet",
            false => "has not bound a TCP port yet",
        };
        let limit = in_words(worker.release.config.ready_timeout);
        format!("{waits}; --ready-timeout gives it {limit}")
    }

    fn tell_of_stop(&mut self) {
        let living = || self.workers.iter().filter(|one| one.exit.is_none());
        let open: u64 = living().map(|worker| worker.open()).sum();
        let left = living().count() as u64;
        if left == 0 {
            return;
        }
        let open = match open {
            0 => String::new(),
            open => format!(" with {}", count(open, "open connection")),
        };
        let words = format!("waiting for {}{open} to end", count(left, "worker"));
        info!("{words}; a second SIGINT ends them at once");
        self.commands.progress_of_stop(&words);
    }

    /// Once: the workers that were to be started are ready, or as ready as they will be.
    fn note_start(&mut self) {
        if self.telling.started || self.stopping || self.apps.iter().any(starts) {
            return;
        }
        self.telling.started = true;
        let serving = || self.apps.iter().filter(|app| app.phase.is_serving());
        let all: usize = serving().map(|app| app.config.workers).sum();
        let ready: usize = serving().map(|app| self.ready_slots(app)).sum();
        let took = in_words(self.now().since(Moment::default()));
        match all {
            0 | 1 => {}
            2 if ready == 2 => info!("both workers are ready after {took}"),
            _ if ready == all => info!("all {all} workers are ready after {took}"),
            _ => info!(
                "{ready} of {all} workers are ready after {took}; forkfront status says why the others are not"
            ),
        }
        footprint::forget_the_start();
    }

    pub(super) fn ready_slots(&self, app: &App) -> usize {
        let is_ready = |slot: &SlotId| app.fleet.condition(*slot) == Some(Condition::Ready);
        slots(app).filter(is_ready).count()
    }

    /// Slots whose next worker is not there yet, of those that are `meant`.
    pub(super) fn awaited(&self, app: &App, meant: impl Fn(SlotId) -> bool) -> Vec<Awaited> {
        let meant = slots(app).filter(|slot| meant(*slot));
        let awaited = meant.filter_map(|slot| {
            let fleet = &app.fleet;
            let next = fleet.successor(slot).or(fleet.worker(slot));
            let next = next.and_then(|id| self.workers.get(id));
            let (state, next) = match next {
                Some(worker) if matches!(worker.state, State::Starting { .. }) => {
                    (AwaitedState::Starting, next)
                }
                _ if fleet.is_settling(slot) => (AwaitedState::Settling, next),
                _ if fleet.condition(slot) == Some(Condition::Ready) && !fleet.awaits(slot) => {
                    return None;
                }
                _ => (AwaitedState::Waiting, None),
            };
            Some(Awaited {
                app: app.config.name.clone(),
                slot: slot.0,
                state,
                pid: next.map(|worker| worker.pid),
                for_s: next.map_or(0.0, |worker| worker.started.elapsed().as_secs_f64()),
            })
        });
        awaited.collect()
    }

    /// Behind how far something is: `, slot 3 is starting (4 s)`.
    pub(super) fn awaited_words(&self, awaited: &[Awaited]) -> String {
        let of = |state| awaited.iter().filter(move |one| one.state == state);
        let starting: Vec<String> = of(AwaitedState::Starting)
            .map(|one| self.name_of(one))
            .collect();
        let longest = of(AwaitedState::Starting).map(|one| one.for_s);
        let time = match longest.fold(0.0, f64::max).round() as u64 {
            0 => String::new(),
            seconds => format!(" ({})", in_words(Duration::from_secs(seconds))),
        };
        match starting.as_slice() {
            [] => match of(AwaitedState::Settling).next() {
                Some(one) => format!(
                    ", slot {}'s new worker listens and is watched for {}",
                    self.name_of(one),
                    in_words(SETTLING)
                ),
                None => String::new(),
            },
            [one] => format!(", slot {one} is starting{time}"),
            [some @ .., last] if some.len() < SLOTS_NAMED => {
                format!(", slots {} and {last} are starting{time}", some.join(", "))
            }
            many => format!(", {} slots are starting{time}", many.len()),
        }
    }

    fn name_of(&self, awaited: &Awaited) -> String {
        match self.apps.count() {
            0 | 1 => awaited.slot.to_string(),
            _ => format!("{}:{}", awaited.app, awaited.slot),
        }
    }

    /// Said when the first worker of an app is ready: from now on it works.
    pub(super) fn announce(&mut self, app: AppId) {
        let ports = self.apps.iter().map(|app| app.listeners.first_port());
        if let Some(port) = ports.flatten().next()
            && let Err(error) = self.run_dir.claim_name(port)
        {
            // The unnamed socket still answers, and `status` finds it if it is the only one.
            error!("{error}");
        }
        let app = &self.apps[app];
        let addresses = app.listeners.addresses().join(", ");
        let (label, workers, command) = (self.label(app), workers(app), shown(app));
        match &app.backends {
            Some(backends) => {
                let backends = count(backends.status(&app.config.name).len() as u64, "backend");
                info!("{label}{addresses} leads to {backends} by {workers}");
            }
            None => info!("{label}{addresses} is shared by {workers} of {command}"),
        }
        if std::mem::replace(&mut self.announced, true) {
            return;
        }
        let which = self.which();
        let or_key = if stderr().is_terminal() {
            ", as Ctrl-C here does"
        } else {
            ""
        };
        info!("  forkfront status{which}   what runs, and how it is doing");
        match self.apps.iter().all(|app| app.backends.is_some()) {
            // What most want while a proxy runs: its workers are ours, and seldom need to be renewed.
            true => info!("  forkfront top{which}      the same live, and keys to drain a backend"),
            false => {
                info!("  forkfront reload{which}   new workers for old, and no connection lost")
            }
        }
        info!("  forkfront stop{which}     finish what is open, then end{or_key}");
        if let Some(url) = self.metrics.url() {
            info!("{url} shows the same live");
        }
        if let Some(invitation) = &self.config.invitation {
            info!("{invitation}");
        }
    }

    /// What a command needs to find this primary.
    fn which(&self) -> String {
        if let Some(path) = &self.config.control {
            return format!(" --control {}", quoted(&path.display().to_string()));
        }
        if self.has_neighbours() {
            return format!(" --name {}", self.name());
        }
        String::new()
    }

    /// Other primaries of this user run, or have left their sockets.
    fn has_neighbours(&self) -> bool {
        let own = self.run_dir.control_path();
        let instance = format!("{INSTANCE_PREFIX}{}", std::process::id());
        let entries = run_directories().into_iter();
        let entries = entries.filter_map(|directory| directory.read_dir().ok());
        entries.flatten().flatten().any(|entry| {
            let (path, name) = (entry.path(), entry.file_name());
            let named = path.extension().is_some_and(|end| end == "sock") && path != own;
            let name = name.to_string_lossy();
            let unnamed = name.starts_with(INSTANCE_PREFIX) && *name != *instance;
            named || (unnamed && path.join(UNNAMED_SOCKET).exists())
        })
    }
}

/// How long after its beginning something is told of that has been told of so often.
fn told_after(said: usize) -> Duration {
    let last = TOLD_AFTER.len() - 1;
    let more = u32::try_from(said.saturating_sub(last)).unwrap_or(u32::MAX);
    TOLD_AFTER[said.min(last)] + TOLD_AFTER[last].saturating_mul(more)
}

/// Its workers of the beginning are on their way.
fn starts(app: &App) -> bool {
    let on_its_way = |slot| match app.fleet.condition(slot) {
        Some(Condition::Starting) => true,
        Some(Condition::Waiting) => {
            let waiting = app.fleet.waiting(slot, Moment::default());
            waiting.is_some_and(|(failures, _)| failures == 0)
        }
        Some(Condition::Ready | Condition::Finished | Condition::Failed) | None => false,
    };
    app.phase.is_serving() && slots(app).any(on_its_way)
}

fn slots(app: &App) -> impl Iterator<Item = SlotId> {
    (0..app.config.workers).filter_map(|slot| u16::try_from(slot).ok().map(SlotId))
}

fn workers(app: &App) -> String {
    count(app.config.workers as u64, "worker")
}

/// Its command in quotes, cut if it is long.
fn shown(app: &App) -> String {
    if app.config.proxy.is_some() {
        return "the proxy".to_owned();
    }
    let command = words::lossy(&app.config.command).join(" ");
    if command.chars().count() <= COMMAND_SHOWN {
        return format!("'{command}'");
    }
    let kept: String = command.chars().take(COMMAND_SHOWN - 3).collect();
    format!("'{kept}...'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_told_of_ever_less_often_and_never_given_up() {
        let told: Vec<u64> = (0..9).map(|said| told_after(said).as_secs()).collect();
        assert_eq!(told, [1, 3, 10, 30, 100, 300, 600, 900, 1200]);
    }
}
