//! A proxy and its backends, as `status --json` has them.

use serde::{Deserialize, Serialize};

use super::QueueWait;
use crate::config::proxy::ProxyBalance;

/// How a proxy leads connections on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Which backend gets the next session.
    pub balance: ProxyBalance,
    /// The key that is hashed over the backends in front of it, if any.
    pub sticky: Option<String>,
    /// Sessions that wait for room at a backend.
    pub waiting: u64,
    /// Clients that no backend served.
    #[serde(default)]
    pub turned_away: TurnedAwayStatus,
    /// Connects to backends that found no port to connect from; they go elsewhere, or are tried again soon.
    #[serde(default)]
    pub without_port: u64,
}

/// How many clients were served by no backend, and reset, for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnedAwayStatus {
    /// No backend got sessions.
    pub no_backend: u64,
    /// Those that were tried could not be connected to.
    pub unreachable: u64,
    /// All were full, and too many waited already.
    pub queue_full: u64,
    /// All were full for too long.
    pub queue_timeout: u64,
    /// The worker had no descriptor or memory left.
    pub exhausted: u64,
    /// No port was left to connect to a backend from.
    pub no_port: u64,
}

impl TurnedAwayStatus {
    /// For whatever reason.
    pub fn all(&self) -> u64 {
        let Self {
            no_backend,
            unreachable,
            queue_full,
            queue_timeout,
            exhausted,
            no_port,
        } = self;
        // Workers of a proxy have written them into memory that they share with us.
        let reasons = [
            no_backend,
            unreachable,
            queue_full,
            queue_timeout,
            exhausted,
            no_port,
        ];
        reasons.into_iter().copied().fold(0, u64::saturating_add)
    }
}

/// One backend of a proxy, with one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// The app whose it is.
    pub app: String,
    /// What it is called: as it was written, without its weight.
    pub backend: String,
    /// Where it is: `10.0.0.1:5432`, `unix:/path`; empty while its name has no address.
    pub address: String,
    /// In one word.
    pub state: BackendState,
    /// Why it is not up, in a sentence, if it is not.
    pub why: Option<String>,
    /// Seconds since that state began.
    pub for_s: f64,
    /// Its weight.
    pub weight: u16,
    /// What it gets now of what its weight gives it, percent: less in its slow start, 0 for one that gets nothing.
    pub share_percent: u8,
    /// It gets something only when no other can.
    pub backup: bool,
    /// Most sessions at a time.
    pub max: Option<u32>,
    /// Sessions that are open or connecting.
    pub open: u64,
    /// Connects that came about.
    pub connects: u64,
    /// Connects that failed.
    pub failures: u64,
    /// Sessions that tried again, at another if there was one, since this one could not be connected to.
    pub retried: u64,
    /// Times that it was taken out since sessions could not connect.
    pub ejections: u64,
    /// Checks that were good.
    pub checks_good: u64,
    /// Checks that were not.
    pub checks_bad: u64,
    /// Bytes from clients to it.
    pub bytes_in: u64,
    /// Bytes from it to clients.
    pub bytes_out: u64,
    /// How long connects took.
    pub connect_us: QueueWait,
}

/// State of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// It gets sessions (a backup: it would).
    Up,
    /// Checks say that it is not well.
    Down,
    /// Sessions could not connect: out for a while.
    Ejected,
    /// Gets nothing new, has sessions still.
    Draining,
    /// Gets nothing new by `backend drain`, and has no session.
    Drained,
    /// Was taken out of the list, and has sessions still.
    Leaving,
    /// Its name has no address.
    Unresolved,
}

impl std::fmt::Display for BackendState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl BackendStatus {
    /// One that nobody has come to yet.
    pub fn new(app: &str, backend: &str, address: &str, state: BackendState) -> Self {
        let up = state == BackendState::Up;
        Self {
            app: app.to_owned(),
            backend: backend.to_owned(),
            address: address.to_owned(),
            state,
            why: None,
            for_s: 0.0,
            weight: 1,
            share_percent: if up { 100 } else { 0 },
            backup: false,
            max: None,
            open: 0,
            connects: 0,
            failures: 0,
            retried: 0,
            ejections: 0,
            checks_good: 0,
            checks_bad: 0,
            bytes_in: 0,
            bytes_out: 0,
            connect_us: QueueWait::default(),
        }
    }

    /// One of the app `proxy`, and that for a minute.
    #[cfg(test)]
    pub fn unused(backend: &str, address: &str, state: BackendState) -> Self {
        Self {
            for_s: 61.0,
            ..Self::new("proxy", backend, address, state)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_worker_has_written_can_be_added() {
        let away = TurnedAwayStatus {
            no_backend: 1,
            exhausted: u64::MAX,
            ..TurnedAwayStatus::default()
        };
        assert_eq!(away.all(), u64::MAX);
        assert_eq!(
            TurnedAwayStatus {
                exhausted: 2,
                ..away
            }
            .all(),
            3
        );
    }
}
