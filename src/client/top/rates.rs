//! What happens per second: the difference of two looks, by the primary's own clock, and what it was before.
//!
//! Pure. A primary that has been started anew, with its counters at nothing, begins a new history.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::config::Balance;
use crate::status::{ListenerStatus, SlotStatus, Status};

mod backends;

pub use backends::{BackendKey, Backends, backend_key};

/// Values that are remembered: a wide screen full of them.
const REMEMBERED: usize = 400;

/// Two looks closer than this say nothing, seconds.
const TOO_CLOSE: f64 = 0.01;

/// Which slot: its app and its number.
pub type SlotKey = (String, u16);

/// The slot's.
pub fn slot_key(slot: &SlotStatus) -> SlotKey {
    (slot.app.clone(), slot.slot)
}

/// The last values of a rate, the newest last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History(VecDeque<f64>);

impl History {
    fn push(&mut self, value: f64) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The newest, if two looks have been taken.
    pub fn latest(&self) -> Option<f64> {
        self.0.back().copied()
    }

    /// The newest `length`, in the order of time.
    pub fn last(&self, length: usize) -> impl Iterator<Item = f64> {
        let from = self.0.len().saturating_sub(length);
        self.0.iter().skip(from).copied()
    }

    /// The largest, if two looks have been taken.
    pub fn peak(&self) -> Option<f64> {
        self.0.iter().copied().reduce(f64::max)
    }

    /// The largest of the newest `length`.
    pub fn peak_of(&self, length: usize) -> f64 {
        self.last(length).fold(0.0, f64::max)
    }
}

/// What was counted at one look.
#[derive(Debug)]
struct Look {
    pid: u32,
    uptime_s: f64,
    /// By app.
    accepted: HashMap<String, u64>,
    /// Of the primary.
    cpu_s: f64,
    slots: HashMap<SlotKey, SlotLook>,
    listeners: HashMap<(String, String), u64>,
    backends: backends::Counted,
}

/// What was counted of a slot.
#[derive(Clone, Copy, Debug)]
struct SlotLook {
    pid: Option<u32>,
    accepted: u64,
    cpu_s: f64,
}

/// What happens in a slot.
#[derive(Debug, Default)]
struct SlotRates {
    taken: History,
    /// Percent of a core.
    cpu: Option<f64>,
}

/// All rates, per second.
#[derive(Debug, Default)]
pub struct Rates {
    before: Option<Look>,
    total: History,
    apps: HashMap<String, History>,
    /// Processor time of the primary, percent of a core.
    pub cpu_of_primary: Option<f64>,
    slots: HashMap<SlotKey, SlotRates>,
    listeners: HashMap<(String, String), f64>,
    /// Those of the backends of proxies.
    pub backends: Backends,
}

impl Rates {
    /// Takes in what `status` counts.
    pub fn note(&mut self, status: &Status) {
        let look = Look::of(status);
        let anew = |before: &Look| before.pid != look.pid || before.uptime_s > look.uptime_s;
        if self.before.as_ref().is_some_and(anew) {
            *self = Self::default();
        }
        let Some(before) = self.before.as_ref() else {
            self.before = Some(look);
            return;
        };
        let time = look.uptime_s - before.uptime_s;
        if time < TOO_CLOSE {
            return;
        }
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / time;
        let mut total = 0.0;
        for (app, accepted) in &look.accepted {
            let before = before.accepted.get(app).copied().unwrap_or(0);
            let rate = per_second(*accepted, before);
            self.apps.entry(app.clone()).or_default().push(rate);
            total += rate;
        }
        self.total.push(total);
        self.apps.retain(|app, _| look.accepted.contains_key(app));
        for slot in &status.slots {
            let key = slot_key(slot);
            let before = before.slots.get(&key);
            let taken = before.map_or(0, |before| before.accepted);
            // What the kernel deals is known of the worker of now only: another one has begun at nothing.
            let by_kernel = is_dealt_by_kernel(status, &slot.app);
            let taken = if by_kernel && slot.accepted < taken {
                0
            } else {
                taken
            };
            let rates = self.slots.entry(key).or_default();
            rates.taken.push(per_second(slot.accepted, taken));
            let same = before.filter(|before| before.pid == slot.pid);
            rates.cpu = same.and_then(|before| percent(slot.cpu_s, before.cpu_s, time));
        }
        self.cpu_of_primary = percent(look.cpu_s, before.cpu_s, time);
        let there: HashSet<&SlotKey> = look.slots.keys().collect();
        self.slots.retain(|key, _| there.contains(key));
        self.listeners = (look.listeners.iter())
            .map(|(key, now)| {
                let before = before.listeners.get(key).copied().unwrap_or(0);
                (key.clone(), per_second(*now, before))
            })
            .collect();
        self.backends.note(&before.backends, &look.backends, time);
        self.before = Some(look);
    }

    /// Connections accepted by an app, or by all.
    pub fn accepted(&self, app: Option<&String>) -> &History {
        let of_app = app.and_then(|app| self.apps.get(app));
        of_app.unwrap_or(&self.total)
    }

    /// A slot's.
    pub fn slot(&self, slot: &SlotStatus) -> Option<&History> {
        let rates = self.slots.get(&slot_key(slot))?;
        Some(&rates.taken)
    }

    /// The processor time of a slot's worker, percent of a core: since the last look, or since it was started.
    pub fn cpu(&self, slot: &SlotStatus) -> f64 {
        let rates = self.slots.get(&slot_key(slot));
        rates.and_then(|one| one.cpu).unwrap_or(slot.cpu_percent)
    }

    /// A listener's, now.
    pub fn listener(&self, listener: &ListenerStatus) -> Option<f64> {
        self.listeners.get(&listener_key(listener)).copied()
    }

    /// The largest of any slot's newest `length` values: their charts have one scale.
    pub fn peak_of_slots(&self, length: usize) -> f64 {
        let peaks = self.slots.values().map(|one| one.taken.peak_of(length));
        peaks.fold(0.0, f64::max)
    }
}

impl Look {
    fn of(status: &Status) -> Self {
        let slots = status.slots.iter();
        let listeners = status.listeners.iter();
        Self {
            pid: status.pid,
            uptime_s: status.uptime_s,
            accepted: accepted_by_app(status),
            cpu_s: status.primary.cpu_s,
            slots: slots
                .map(|one| (slot_key(one), SlotLook::of(one)))
                .collect(),
            listeners: listeners
                .map(|one| (listener_key(one), one.accepted))
                .collect(),
            backends: backends::Counted::of(status),
        }
    }
}

impl SlotLook {
    fn of(slot: &SlotStatus) -> Self {
        Self {
            pid: slot.pid,
            accepted: slot.accepted,
            cpu_s: slot.cpu_s,
        }
    }
}

/// Of a core, within `time` seconds; a primary of an earlier version does not tell it.
fn percent(now: f64, before: f64, time: f64) -> Option<f64> {
    (now > 0.0).then(|| (now - before).max(0.0) * 100.0 / time)
}

fn listener_key(listener: &ListenerStatus) -> (String, String) {
    (listener.app.clone(), listener.address.clone())
}

/// Connections accepted for an app: by the primary, or by its workers where the kernel deals.
pub fn accepted_by(status: &Status, app: &str) -> u64 {
    if is_dealt_by_kernel(status, app) {
        let slots = status.slots.iter().filter(|slot| slot.app == app);
        return sum(slots.map(|slot| slot.accepted));
    }
    let listeners = status.listeners.iter().filter(|one| one.app == app);
    sum(listeners.map(|one| one.accepted))
}

/// All of them; what workers have counted may be anything.
pub fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn accepted_by_app(status: &Status) -> HashMap<String, u64> {
    let apps = status.slots.iter().map(|slot| &slot.app);
    let apps: HashSet<&String> = apps.collect();
    let counted = |app: &String| (app.clone(), accepted_by(status, app));
    apps.into_iter().map(counted).collect()
}

/// The workers of `app` share its listening sockets, and the primary sees no connection.
pub fn is_dealt_by_kernel(status: &Status, app: &str) -> bool {
    let mut apps = status.apps.iter();
    let balance = apps.find(|one| one.name == app).map(|app| app.balance);
    balance.unwrap_or(status.balance) == Balance::Kernel
}
