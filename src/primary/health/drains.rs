//! When a worker that drains holds no connection any more: what it says of itself, checked against the kernel.
//!
//! The worker's own count costs nothing and is read often. When it comes to nothing, the kernel is asked once
//! before the worker is told to go, since a connection may have been passed on unseen. While it does not, the
//! kernel is asked now and then, since a close that nobody saw would hold the worker until its deadline. Where
//! the two disagree the kernel is right; where it does not tell, the worker is believed. Called by the
//! supervisor, for all workers that drain at once.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use log::debug;

use crate::policy::deadlines::Moment;
use crate::policy::ids::WorkerId;
use crate::primary::listeners::Listeners;
use crate::primary::workers::{Worker, census};
use crate::sys::process;
use crate::sys::process::connections::{Connections, Local};

/// How often the kernel is asked about a worker whose count is above zero.
const DOUBT: Duration = Duration::from_secs(1);
/// How soon it is asked again about one that it has contradicted: a close may just have been under way.
const SOON: Duration = Duration::from_millis(50);
/// Asking takes at most one part in so many of the main thread's time, per worker.
const SHARE: u32 = 20;

/// What is known of the workers that drain.
#[derive(Debug, Default)]
pub struct Drains {
    asked: HashMap<WorkerId, Asked>,
    /// The local ends of all connections that there can be, those of former listeners included.
    pub(super) locals: BTreeSet<Local>,
    /// A listener's connections cannot be told from others.
    pub(super) blind: bool,
    disagreements: u64,
}

/// When the kernel is to be asked about a worker.
#[derive(Debug)]
struct Asked {
    /// While its own count is above zero.
    doubted_at: Moment,
    /// Its count was zero and the kernel has contradicted it: when to ask again, and the wait until then.
    contradicted: Option<(Moment, Duration)>,
}

impl Drains {
    /// Connections that came over these listeners count from now on, even when the listeners are no more.
    pub fn note(&mut self, listeners: &Listeners) {
        for local in listeners.locals() {
            match local {
                Some(local) => _ = self.locals.insert(local),
                None => self.blind = true,
            }
        }
    }

    /// Which of these workers, which drain, hold nothing any more.
    pub fn empty<'a>(
        &mut self,
        now: Moment,
        draining: impl Iterator<Item = &'a Worker>,
    ) -> Vec<WorkerId> {
        let mut list = None;
        // What is still in its queue may yet come back, or be taken.
        let drained = draining.filter(|worker| worker.received.is_some());
        drained
            .filter(|worker| self.is_empty(now, worker, &mut list))
            .map(|worker| worker.id)
            .collect()
    }

    /// A worker does not drain any more.
    pub fn forget(&mut self, worker: WorkerId) {
        self.asked.remove(&worker);
    }

    fn is_empty(&mut self, now: Moment, worker: &Worker, list: &mut Option<Listed>) -> bool {
        let idle = worker.is_idle();
        let asked = self.asked.entry(worker.id).or_insert(Asked {
            doubted_at: now + DOUBT,
            contradicted: None,
        });
        let not_before = match asked.contradicted {
            Some((at, _)) if idle => at,
            None if idle => now,
            _ => asked.doubted_at,
        };
        if now < not_before {
            return false;
        }
        let began = Instant::now();
        let held = self.kernels_word(worker, idle, list);
        self.plan(now, worker.id, (idle, held), began.elapsed() * SHARE);
        match held {
            Some(held) if held == idle => self.disagree(worker, held),
            _ => {}
        }
        !held.unwrap_or(!idle)
    }

    /// When to ask again.
    fn plan(
        &mut self,
        now: Moment,
        worker: WorkerId,
        found: (bool, Option<bool>),
        least: Duration,
    ) {
        let Some(asked) = self.asked.get_mut(&worker) else {
            return;
        };
        match found {
            (true, Some(true)) => {
                let wait = asked.contradicted.map_or(SOON, |(_, wait)| wait * 2);
                let wait = wait.min(DOUBT).max(least);
                asked.contradicted = Some((now + wait, wait));
            }
            (true, _) => {}
            (false, _) => {
                asked.contradicted = None;
                asked.doubted_at = now + DOUBT.max(least);
            }
        }
    }

    /// Whether a worker holds a connection; `None` if that cannot be found out. The list is had once.
    fn kernels_word(&self, worker: &Worker, idle: bool, list: &mut Option<Listed>) -> Option<bool> {
        if self.blind {
            return None;
        }
        let list = list.get_or_insert_with(|| {
            let list = Connections::of(&self.locals);
            list.inspect_err(|error| debug!("the kernel does not list connections: {error}"))
                .ok()
        });
        let list = list.as_ref()?;
        let members = process::session_members(worker.pid);
        let held = list.held_by(&members, 1)? != 0;
        if held || idle {
            return Some(held);
        }
        // Against its own word, all that it may have started anywhere is looked into.
        let others = process::living().map(|one| one.pid);
        let others: Vec<u32> = others.filter(|pid| census::is_of(*pid, worker)).collect();
        Some(list.held_by(&others, 1)? != 0)
    }

    fn disagree(&mut self, worker: &Worker, held: bool) {
        self.disagreements += 1;
        debug!(
            "worker {} counts {} open, the kernel {} (disagreement {})",
            worker.pid,
            worker.open(),
            if held { "at least one" } else { "none" },
            self.disagreements
        );
    }
}

/// The connections that there are, unless the kernel does not list them.
type Listed = Option<Connections>;
