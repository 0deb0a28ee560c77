//! What happens at the backends of proxies per second, and how many clients a proxy turned away. Pure.

use std::collections::HashMap;

use super::History;
use crate::status::{BackendStatus, Status};

/// Looks for which it is worth telling that clients were turned away.
const RECENT: usize = 30;

/// Which backend: its app, its name, its address.
pub type BackendKey = (String, String, String);

/// The backend's.
pub fn backend_key(one: &BackendStatus) -> BackendKey {
    (one.app.clone(), one.backend.clone(), one.address.clone())
}

/// What was counted at one look.
#[derive(Debug)]
pub struct Counted {
    backends: HashMap<BackendKey, Counts>,
    /// By app.
    turned_away: HashMap<String, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    connects: u64,
    failures: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Counted {
    /// Of all proxies.
    pub fn of(status: &Status) -> Self {
        let counts = |one: &BackendStatus| Counts {
            connects: one.connects,
            failures: one.failures,
            bytes_in: one.bytes_in,
            bytes_out: one.bytes_out,
        };
        let backends = status.backends.iter();
        let proxies = status.apps.iter().filter_map(|app| {
            let gone = app.proxy.as_ref()?.turned_away.all();
            Some((app.name.clone(), gone))
        });
        Self {
            backends: backends
                .map(|one| (backend_key(one), counts(one)))
                .collect(),
            turned_away: proxies.collect(),
        }
    }
}

/// What happens at a backend.
#[derive(Debug, Default)]
pub struct BackendRates {
    /// Sessions that it got.
    pub sessions: History,
    /// Connects to it that failed, now.
    pub failures: f64,
    /// Bytes from clients to it, now.
    pub bytes_in: f64,
    /// Bytes from it to clients, now.
    pub bytes_out: f64,
}

/// All rates, per second.
#[derive(Debug, Default)]
pub struct Backends {
    rates: HashMap<BackendKey, BackendRates>,
    turned_away: HashMap<String, History>,
}

impl Backends {
    /// Takes in what was counted at two looks, so many seconds apart.
    pub fn note(&mut self, before: &Counted, now: &Counted, time: f64) {
        for (key, now) in &now.backends {
            // One that has come since has begun at nothing.
            let before = before.backends.get(key);
            let per_second = |of: fn(&Counts) -> u64| {
                let before = before.map_or(0, of);
                of(now).saturating_sub(before) as f64 / time
            };
            let rates = self.rates.entry(key.clone()).or_default();
            rates.sessions.push(per_second(|one| one.connects));
            rates.failures = per_second(|one| one.failures);
            rates.bytes_in = per_second(|one| one.bytes_in);
            rates.bytes_out = per_second(|one| one.bytes_out);
        }
        self.rates.retain(|key, _| now.backends.contains_key(key));
        for (app, now) in &now.turned_away {
            let before = before.turned_away.get(app).copied().unwrap_or(0);
            let rate = now.saturating_sub(before) as f64 / time;
            let history = self.turned_away.entry(app.clone()).or_default();
            history.push(rate);
        }
        let all = &now.turned_away;
        self.turned_away.retain(|app, _| all.contains_key(app));
    }

    /// A backend's.
    pub fn of(&self, one: &BackendStatus) -> Option<&BackendRates> {
        self.rates.get(&backend_key(one))
    }

    /// The largest of any backend's newest `length` values: their charts have one scale.
    pub fn peak(&self, length: usize) -> f64 {
        let peaks = self.rates.values().map(|one| one.sessions.peak_of(length));
        peaks.fold(0.0, f64::max)
    }

    /// Clients that a proxy turns away, if it did lately.
    pub fn turned_away(&self, app: &str) -> Option<f64> {
        let history = self.turned_away.get(app)?;
        let lately = history.peak_of(RECENT) > 0.0;
        history.latest().filter(|_| lately)
    }
}
