//! Closed-loop load in the background, and its report: every connection accounted for, resets explained by the
//! journals of the workers that were killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clients::{address_of, ask_within};
use super::{Outcome, Tally};

/// Clients that connect, ask and close, again and again.
pub struct Load {
    stop: Arc<AtomicBool>,
    ids: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<Failure>>>,
    tally: Arc<std::sync::Mutex<Tally>>,
}

/// A connection that got no right answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its id.
    pub id: u64,
    /// When it ended.
    pub at: Instant,
    /// How.
    pub outcome: Outcome,
}

/// What became of a load.
pub struct Report {
    /// All outcomes.
    pub tally: Tally,
    /// Those that got no right answer.
    pub failures: Vec<Failure>,
}

impl Load {
    /// Starts `threads` clients; ids from `first`. An answer may take `limit`.
    pub fn start(to: SocketAddr, threads: usize, first: u64, limit: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ids = Arc::new(AtomicU64::new(first));
        let tally = Arc::new(std::sync::Mutex::new(Tally::default()));
        let one = || {
            let (stop, ids, tally) = (stop.clone(), ids.clone(), tally.clone());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let id = ids.fetch_add(1, Ordering::Relaxed);
                    let start = Instant::now();
                    let outcome = ask_within(to, id, limit);
                    if !matches!(outcome, Outcome::Ok(_)) {
                        let (at, outcome) = (Instant::now(), outcome.clone());
                        failures.push(Failure { id, at, outcome });
                    }
                    tally.lock().expect("tally").count(outcome, start.elapsed());
                }
                failures
            })
        };
        let threads = (0..threads).map(|_| one()).collect();
        Self {
            stop,
            ids,
            threads,
            tally,
        }
    }

    /// Connections started so far.
    pub fn started(&self) -> u64 {
        self.ids.load(Ordering::Relaxed)
    }

    /// Waits until `count` more connections were answered.
    #[track_caller]
    pub fn proceed(&self, count: u64) {
        let from = self.tally.lock().expect("tally").answered();
        super::eventually("load goes on", || {
            (self.tally.lock().expect("tally").answered() >= from + count).then_some(())
        });
    }

    /// Ends the load after the answers that are under way.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self
            .threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("client"))
            .collect();
        let tally = self.tally.lock().expect("tally").clone();
        Report { tally, failures }
    }
}

impl Report {
    /// Nothing failed.
    #[track_caller]
    pub fn clean(&self) -> &Self {
        assert!(
            self.failures.is_empty(),
            "{:#?}\n{:?}",
            self.tally,
            self.failures.first()
        );
        assert!(self.tally.answered() > 0, "no load at all");
        self
    }

    /// Only resets failed, and each belongs to a connection that a killed worker had accepted: its journal says so,
    /// or (the journal is written a moment after the accept) the reset came with a kill. Returns how many of each.
    #[track_caller]
    pub fn explained(&self, journal: &Path, kills: &[(u32, Instant)]) -> (usize, usize) {
        let killed: BTreeSet<u32> = kills.iter().map(|(pid, _)| *pid).collect();
        let open = unanswered(journal);
        let mut by_journal = 0;
        let mut by_time = 0;
        for failure in &self.failures {
            let reset = matches!(failure.outcome, Outcome::ResetBefore | Outcome::ResetAfter);
            assert!(reset, "{failure:?}\n{:#?}", self.tally);
            let at_a_kill = kills
                .iter()
                .any(|(_, at)| failure.at > *at && failure.at - *at < Duration::from_millis(200));
            match open.get(&address_of(failure.id)) {
                Some(pid) if killed.contains(pid) => by_journal += 1,
                None if at_a_kill => by_time += 1,
                other => panic!("not explained by a kill: {failure:?}, journal: {other:?}"),
            }
        }
        (by_journal, by_time)
    }
}

/// Connections that the journal shows accepted and not answered, by client address, with the process.
fn unanswered(journal: &Path) -> BTreeMap<IpAddr, u32> {
    let mut open = BTreeMap::new();
    for line in fs::read_to_string(journal).unwrap_or_default().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, pid, peer] = words[..] else {
            continue;
        };
        let (Ok(pid), Ok(peer)) = (pid.parse(), peer.trim_start_matches("::ffff:").parse()) else {
            continue;
        };
        match what {
            "accepted" => _ = open.insert(peer, pid),
            _ => _ = open.remove(&peer),
        }
    }
    open
}
