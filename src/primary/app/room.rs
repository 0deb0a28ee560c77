//! How many descriptors there are for what: queues, held connections, and the rest of the primary.

use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

use crate::config::AppConfig;
use crate::error::{Error, Result};
use crate::primary::backends;

/// Descriptors of the primary that have nothing to do with workers or connections: its pollers, sockets and
/// directories (22 when nothing happens), and some for a start, a client of the control socket, `/proc`.
const OWN: u64 = 32;
/// What each further app costs of those: the dispatcher's poller, its wakers.
const PER_APP: u64 = 6;
/// What a proxy costs: the board of its backends, two bells, what checks and resolves them.
const PER_PROXY: u64 = (3 + backends::DESCRIPTORS + backends::resolve::DESCRIPTORS) as u64;
/// Descriptors that each worker costs: pidfd, scoreboard, stdout, stderr.
const PER_WORKER: u64 = 4;
/// Descriptors that each worker costs for each listener: both ends of the channel and the copy to read back.
const PER_CHANNEL: u64 = 3;
/// Descriptors that connections never take where there are plenty: for whoever asks at the control socket
/// and at the rendezvous, and for the workers that a reload starts beside the old ones.
const SPARE: u64 = 1024;
/// The longest queue of one worker on one listener.
const QUEUE_CAP: u64 = 1024;
/// The shortest queue that is worth a worker.
const LEAST_QUEUE: u64 = 4;

/// What there is beside the apps that takes descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Listening sockets that were inherited: they belong to the first app.
    pub inherited: usize,
    /// Descriptors of the metrics.
    pub metrics: usize,
}

/// What the limit of open files allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Connections queued for one worker on one listener.
    pub queue_cap: usize,
    /// The descriptor number at which accepting stops.
    pub fd_ceiling: RawFd,
    /// Connections of one app whose first bytes are waited for, whatever `--max-peeked` allows: those of all apps
    /// together leave as much below the ceiling again, so that silent clients never stop the accepting.
    pub peeked: usize,
}

impl Room {
    /// Room for these apps under `limit` open files, which counts what is open here, and once more what is in
    /// flight (KF9).
    ///
    /// # Errors
    /// One sentence if that is too little.
    pub fn of(apps: &[&AppConfig], beside: Beside, limit: u64) -> Result<Self> {
        let mut own = OWN + beside.metrics as u64;
        let (mut channels, mut slots, mut held) = (0, 0, 0);
        for (index, app) in apps.iter().enumerate() {
            let inherited = if index == 0 { beside.inherited } else { 0 };
            let listeners = app.listen.len().max(inherited).max(1) as u64;
            let workers = app.workers as u64;
            own += workers * (PER_WORKER + PER_CHANNEL * listeners) + 2 * listeners;
            own += app.proxy.as_ref().map_or(0, |_| PER_PROXY);
            own += app.max_held as u64 + if index == 0 { 0 } else { PER_APP };
            channels += workers * listeners;
            slots += workers;
            held += app.max_held;
        }
        let least = own.max(channels * LEAST_QUEUE);
        if least > limit {
            return Err(Error::failed(format!(
                "{slots} worker{} and {held} held connections (--max-held) need {least} open files, and the limit is \
                 {limit}: raise it (ulimit -Hn), or give fewer of them",
                if slots == 1 { "" } else { "s" },
            )));
        }
        let ceiling = limit - ((limit - own) / 2).min(SPARE);
        let peeked = (ceiling - own) / 2 / (apps.len() as u64).max(1);
        Ok(Self {
            peeked: peeked as usize,
            queue_cap: (limit / channels.max(1)).min(QUEUE_CAP) as usize,
            fd_ceiling: RawFd::try_from(ceiling).unwrap_or(RawFd::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_cannot_fit_is_refused_in_one_sentence() {
        let app = |workers| AppConfig {
            workers,
            ..AppConfig::new(vec!["server".into()])
        };
        let room = |workers, limit| Room::of(&[&app(workers)], Beside::default(), limit);
        let plenty = Room {
            queue_cap: 1024,
            fd_ceiling: 1_048_576 - 1024,
            peeked: (1_048_576 - 1024 - 1086) / 2,
        };
        assert_eq!(room(4, 1_048_576).unwrap(), plenty);
        let scarce = room(4, 1200).unwrap();
        assert_eq!((scarce.queue_cap, scarce.peeked), (300, 28));
        let shared = Room::of(&[&app(2), &app(2)], Beside::default(), 4096).unwrap();
        assert_eq!(shared.peeked, (3107 - 2118) / 2 / 2);
        let error = room(1000, 1024).unwrap_err();
        assert!(error.to_string().contains("1000 workers"), "{error}");
        assert_eq!(error.exit_code(), 1);
        let both = Room::of(&[&app(500), &app(500)], Beside::default(), 6000).unwrap_err();
        assert!(both.to_string().contains("1000 workers"), "{both}");
    }
}
