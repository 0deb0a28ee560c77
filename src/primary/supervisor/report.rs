//! Puts the primary's state together for `status`: the dispatcher's ledger, the workers' scoreboards and what
//! the kernel says they use. Changes nothing.

mod keys;
mod proxy;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Supervisor;
use super::words::{self, in_words};
use crate::config::Balance;
use crate::policy::fleet::Condition;
use crate::policy::ids::SlotId;
use crate::policy::lifecycle::{State, Why};
use crate::primary::app::App;
use crate::primary::messages::{SlotCounts, Snapshot};
use crate::primary::workers::Worker;
use crate::scoreboard::{BUCKETS, Scoreboard, bucket_floor};
use crate::status::{
    AppStatus, LeavingStatus, Ledger, PrimaryStatus, QueueWait, SlotState, SlotStatus, Status,
};
use crate::sys::process::{self, Usage};

/// The shortest time over which processor time is measured.
const LEAST_LOOK: Duration = Duration::from_millis(500);

/// What the processor time of each session was when last looked at.
#[derive(Debug)]
pub struct LastLook {
    at: Instant,
    ticks: HashMap<u32, u64>,
}

impl LastLook {
    fn now(usage: &HashMap<u32, Usage>) -> Self {
        let ticks = usage
            .iter()
            .map(|(session, used)| (*session, used.cpu_ticks));
        Self {
            at: Instant::now(),
            ticks: ticks.collect(),
        }
    }
}

impl Default for LastLook {
    fn default() -> Self {
        Self {
            at: Instant::now(),
            ticks: HashMap::new(),
        }
    }
}

impl Supervisor {
    /// The state as of now; `None` if a dispatcher does not answer.
    pub(super) fn status(&mut self) -> Option<Status> {
        let usage = process::usage_by_session();
        let apps = self
            .apps
            .iter()
            .filter(|app| app.phase.is_serving() || self.stopping);
        let apps: Vec<&App> = apps.collect();
        let mut status = self.frame(apps.first()?);
        for app in apps {
            let snapshot = app.dispatcher.snapshot()?;
            status.held += snapshot.held;
            status.accepted += snapshot.accepted_in_all();
            status.dealt += snapshot.slots.iter().map(|slot| slot.dealt).sum::<u64>();
            status.closed_by_policy += snapshot.closed_by_policy;
            status.client_gone += snapshot.client_gone;
            let accepted: HashMap<_, _> = snapshot.accepted.iter().copied().collect();
            let accepted = |id| accepted.get(&id).copied().unwrap_or(0);
            status
                .listeners
                .extend(app.listeners.statuses(&app.config.name, accepted));
            let slots = (0..app.config.workers).filter_map(|number| u16::try_from(number).ok());
            let slots = slots.map(|slot| self.slot_status(app, SlotId(slot), &snapshot, &usage));
            status.slots.extend(slots);
            if let Some(backends) = &app.backends {
                status.backends.extend(backends.status(&app.config.name));
            }
            status.apps.push(app_status(app, &snapshot));
        }
        speak_for_all(&mut status);
        // Several may look at once; over a moment processor time says nothing.
        if self.last_look.at.elapsed() >= LEAST_LOOK {
            self.last_look = LastLook::now(&usage);
        }
        Some(status)
    }

    /// What does not come from the apps; of them there is nothing in it yet.
    fn frame(&self, first: &App) -> Status {
        Status {
            name: self.name(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            generation: first.release.generation,
            balance: first.config.routing.balance,
            sticky: None,
            websocket_sticky: false,
            keys: None,
            evenness: None,
            command: words::lossy(&first.config.command),
            stopping: self.stopping,
            operation: self.operation_words(),
            progress: self.operation_progress(),
            metrics: self.metrics.url(),
            primary: own_usage(),
            lines_dropped: self.logs.dropped(),
            lines_printed: self.logs.printed(),
            log_file: self.config.logs.file.as_ref().map(ToString::to_string),
            apps: Vec::new(),
            listeners: Vec::new(),
            held: 0,
            accepted: 0,
            dealt: 0,
            closed_by_policy: 0,
            client_gone: 0,
            backends: Vec::new(),
            slots: Vec::new(),
            leaving: self.leaving(),
        }
    }

    /// Workers that serve no slot any more, the oldest first.
    fn leaving(&self) -> Vec<LeavingStatus> {
        let now = self.now();
        let leaving = self.workers.iter().filter_map(|worker| {
            let (state, why) = match worker.state {
                State::Draining { why, .. } => (SlotState::Draining, why),
                State::Leaving { why, .. } => (SlotState::Leaving, why),
                State::Killing { why, .. } => (SlotState::Killing, why),
                // Of an app that goes.
                State::Ready => (SlotState::Draining, Why::Stop),
                State::Starting { .. } | State::Gone(_) => return None,
            };
            let app = self.apps.get(worker.app)?;
            let has_the_slot = app.fleet.worker(worker.slot) == Some(worker.id)
                || app.fleet.former(worker.slot) == Some(worker.id);
            // While all stop, what is left of them is shown where they were.
            let serves = self.stopping || (app.phase.is_serving() && has_the_slot);
            (!serves).then(|| LeavingStatus {
                app: app.config.name.clone(),
                slot: worker.slot.0,
                pid: worker.pid,
                generation: worker.release.generation,
                state,
                why: words::leaving(why).to_owned(),
                open: worker.open(),
                left_s: worker
                    .state
                    .deadline()
                    .map_or(0.0, |at| at.since(now).as_secs_f64()),
            })
        });
        leaving.collect()
    }

    fn slot_status(
        &self,
        app: &App,
        slot: SlotId,
        snapshot: &Snapshot,
        usage: &HashMap<u32, Usage>,
    ) -> SlotStatus {
        let counts = snapshot
            .slots
            .get(slot.index())
            .copied()
            .unwrap_or_default();
        let worker = match app.fleet.worker(slot) {
            Some(id) => self.workers.get(id),
            // While all stop, a slot shows the last of its workers until it is gone.
            None => self
                .workers
                .of_slot(app.id, slot)
                .filter(|_| !app.phase.is_serving()),
        };
        let used = worker
            .and_then(|worker| usage.get(&worker.pid))
            .copied()
            .unwrap_or_default();
        SlotStatus {
            app: app.config.name.clone(),
            slot: slot.0,
            pid: worker.map(|worker| worker.pid),
            state: slot_state(app, slot, worker),
            why: self.why_not_ready(app, slot, worker),
            weight: counts.weight,
            drained: counts.on_hold,
            generation: worker.map_or(app.release.generation, |worker| worker.release.generation),
            uptime_s: worker.map_or(0.0, |worker| worker.started.elapsed().as_secs_f64()),
            restarts: app.fleet.restarts(slot),
            crashes: app.fleet.crashes(slot),
            dealt: counts.dealt,
            accepted: taken(app, worker, counts),
            open: worker.map_or(0, Worker::open),
            queued: counts.queued,
            read_back: counts.read_back,
            rss_bytes: used.rss_bytes,
            cpu_percent: worker.map_or(0.0, |worker| self.cpu_percent(worker, used)),
            cpu_s: used.cpu_seconds(),
            queue_wait_us: worker.map_or_else(QueueWait::default, |one| waits(&one.board)),
        }
    }

    fn why_not_ready(&self, app: &App, slot: SlotId, worker: Option<&Worker>) -> Option<String> {
        if let Some(worker) = worker {
            return match worker.state {
                State::Starting { .. } => Some(self.why_not_listening(worker)),
                _ if worker.is_paused() => Some(
                    "its server has closed its listening socket; it is dealt to when it listens again".to_owned(),
                ),
                State::Ready => {
                    let failures = self.health.probes.failures(worker.id);
                    failures.map(|(count, why)| format!("{why} (failed check {count} in a row)"))
                }
                _ => None,
            };
        }
        let last = app.last_words.get(&slot).map_or("", String::as_str);
        let given_up = app.fleet.condition(slot);
        if let Some(Condition::Finished | Condition::Failed) = given_up
            && app.phase.is_serving()
        {
            return Some(format!("{last}; forkfront restart or reload tries again"));
        }
        let (failures, wait) = app.fleet.waiting(slot, self.now())?;
        (failures > 0 && app.phase.is_serving()).then(|| {
            format!(
                "{last}; {} in a row, next start in {}",
                words::count(u64::from(failures), "failure"),
                in_words(wait)
            )
        })
    }

    /// Since the last look, or since the worker's start if that was later.
    fn cpu_percent(&self, worker: &Worker, used: Usage) -> f64 {
        let before = self.last_look.ticks.get(&worker.pid);
        let time = match before {
            Some(_) => self.last_look.at.elapsed(),
            None => worker.started.elapsed(),
        };
        let spent = Usage {
            cpu_ticks: used.cpu_ticks.saturating_sub(before.copied().unwrap_or(0)),
            ..used
        };
        let percent = spent.cpu_seconds() * 100.0 / time.as_secs_f64().max(0.001);
        (percent * 10.0).round() / 10.0
    }
}

fn own_usage() -> PrimaryStatus {
    let used = process::usage(std::process::id());
    PrimaryStatus {
        cpu_s: used.cpu_seconds(),
        rss_bytes: used.rss_bytes,
        fds: process::own_descriptors(),
    }
}

/// What is said of the first app is said at the top, too.
fn speak_for_all(status: &mut Status) {
    if let Some(first) = status.apps.first() {
        status.sticky = first.sticky.clone();
        status.websocket_sticky = first.websocket_sticky;
        status.keys = first.keys;
        status.evenness = first.evenness;
    }
}

fn app_status(app: &App, snapshot: &Snapshot) -> AppStatus {
    let routing = &app.config.routing;
    let slots = snapshot.slots.iter().take(app.config.workers);
    let (evenness, evenness_of) = keys::evenness(&slots.copied().collect::<Vec<_>>());
    AppStatus {
        name: app.config.name.clone(),
        command: words::lossy(&app.config.command),
        balance: routing.balance,
        sticky: routing.key().as_ref().map(ToString::to_string),
        websocket_sticky: routing.websocket_sticky,
        keys: keys::keys(routing, snapshot.keys),
        evenness,
        evenness_of,
        sticky_down: routing.key().map(|_| routing.sticky_down),
        sticky_bound: routing
            .sticky_bound
            .map(|bound| f64::from(bound.percent()) / 100.0),
        proxy_protocol: routing.proxy_protocol,
        header_complete: routing.header_complete,
        steal_after_ms: app.config.steal_after.as_millis() as u64,
        max_held: app.config.max_held as u64,
        proxy: proxy::status(app),
        generation: app.release.generation,
        workers: app.config.workers,
        ledger: ledger(snapshot),
    }
}

fn ledger(snapshot: &Snapshot) -> Ledger {
    let sum = |count: fn(&SlotCounts) -> u64| snapshot.slots.iter().map(count).sum();
    Ledger {
        accepted: snapshot.accepted_in_all(),
        dealt: sum(|slot| slot.dealt),
        read_back: sum(|slot| slot.read_back),
        held: snapshot.held,
        closed_by_policy: snapshot.closed_by_policy,
        client_gone: snapshot.client_gone,
    }
}

fn slot_state(app: &App, slot: SlotId, worker: Option<&Worker>) -> SlotState {
    let Some(worker) = worker else {
        return match app.fleet.condition(slot) {
            _ if !app.phase.is_serving() => SlotState::Stopped,
            Some(Condition::Failed) => SlotState::Failed,
            Some(Condition::Finished) => SlotState::Stopped,
            _ => SlotState::Waiting,
        };
    };
    match worker.state {
        State::Starting { .. } => SlotState::Starting,
        State::Ready if worker.is_paused() => SlotState::Paused,
        State::Ready if app.held.contains(&slot) => SlotState::Drained,
        State::Ready => SlotState::Ready,
        State::Draining { .. } | State::Leaving { .. } => SlotState::Draining,
        State::Killing { .. } => SlotState::Killing,
        State::Gone(_) => SlotState::Stopped,
    }
}

/// Connections that the slot's workers have taken. What the kernel deals is known of the worker of now only.
fn taken(app: &App, worker: Option<&Worker>, counts: SlotCounts) -> u64 {
    match app.config.routing.balance {
        Balance::Kernel => worker.map_or(0, |worker| worker.board.taken_in_all()),
        _ => counts.taken(),
    }
}

/// Quantiles from the histogram of a scoreboard: each one the floor of its bucket.
fn waits(board: &Scoreboard) -> QueueWait {
    let buckets: [u64; BUCKETS] = std::array::from_fn(|index| board.waits[index].load(Relaxed));
    let total = buckets
        .iter()
        .fold(0u64, |sum, count| sum.saturating_add(*count));
    let quantile = |permille: u64| {
        let rank = (u128::from(total) * u128::from(permille))
            .div_ceil(1000)
            .max(1);
        let mut seen = 0u128;
        let reached = buckets.iter().position(|count| {
            seen += u128::from(*count);
            seen >= rank
        });
        reached.map_or(0, bucket_floor)
    };
    if total == 0 {
        return QueueWait::default();
    }
    QueueWait {
        p50: quantile(500),
        p99: quantile(990),
        max: board.longest_wait.load(Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::board::Board;

    #[test]
    fn quantiles_of_waits() {
        let board = Board::create(0, 1).unwrap();
        assert_eq!(waits(&board), QueueWait::default());
        for _ in 0..98 {
            board.note_taken(0, 100, 1);
        }
        board.note_taken(0, 5_000, 2);
        board.note_taken(0, 70_000, 3);
        let QueueWait { p50, p99, max } = waits(&board);
        assert!((80..=100).contains(&p50), "{p50}");
        assert!((4_000..=5_000).contains(&p99), "{p99}");
        assert_eq!(max, 70_000);
        board.waits[3].store(u64::MAX, Relaxed);
        waits(&board);
    }
}
