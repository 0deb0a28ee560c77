//! Closed-loop load in the background, and its report: every request accounted for, resets explained by the
//! journals of the workers that were killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clients::address_of;
use super::{Client, Outcome, Tally};

/// How many clients of each kind a load has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    /// Connect, ask, read to the end, again and again.
    pub short: usize,
    /// Ask up to [`Mix::KEPT`] times on one connection, with a moment of rest between.
    pub kept: usize,
    /// As the short ones, but the answer takes 2 s.
    pub slow: usize,
}

impl Mix {
    /// Some of each, few enough to leave a small machine time for the servers.
    pub const CI: Self = Self {
        short: 4,
        kept: 4,
        slow: 4,
    };
    /// Requests on one connection.
    const KEPT: usize = 200;
    /// The rest between two of them.
    const REST: Duration = Duration::from_millis(2);
}

/// Clients at work.
pub struct Load {
    common: Arc<Common>,
    threads: Vec<JoinHandle<()>>,
}

/// What the clients of a load share.
struct Common {
    to: SocketAddr,
    limit: Duration,
    stop: AtomicBool,
    ids: AtomicU64,
    report: Mutex<Report>,
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
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All outcomes of short and kept clients.
    pub tally: Tally,
    /// All outcomes of slow clients.
    pub slow: Tally,
    /// Those that got no right answer, of all clients.
    pub failures: Vec<Failure>,
    /// The longest that a connect took.
    pub slowest_connect: Duration,
    /// Requests repeated on a fresh connection, since the server had closed the kept one before it answered
    /// anything: its right at any time, and the client's duty (RFC 9112, section 9.3.1).
    pub repeated: u64,
}

impl Load {
    /// Starts `threads` short clients; ids from `first`. An answer may take `limit`.
    pub fn start(to: SocketAddr, threads: usize, first: u64, limit: Duration) -> Self {
        let mix = Mix {
            short: threads,
            ..Mix::default()
        };
        Self::mixed(to, mix, first, limit)
    }

    /// Starts the clients of `mix`; ids from `first`. An answer may take `limit`.
    pub fn mixed(to: SocketAddr, mix: Mix, first: u64, limit: Duration) -> Self {
        let common = Arc::new(Common {
            to,
            limit,
            stop: AtomicBool::new(false),
            ids: AtomicU64::new(first),
            report: Mutex::default(),
        });
        let mut load = Self {
            common,
            threads: Vec::new(),
        };
        load.add(mix.short, Common::short);
        load.add(mix.kept, Common::kept);
        load.add(mix.slow, Common::slow);
        load
    }

    fn add(&mut self, count: usize, client: fn(&Common)) {
        for _ in 0..count {
            let common = self.common.clone();
            self.threads.push(std::thread::spawn(move || {
                while !common.stop.load(Ordering::Relaxed) {
                    client(&common);
                }
            }));
        }
    }

    /// Requests started so far.
    pub fn started(&self) -> u64 {
        self.common.ids.load(Ordering::Relaxed)
    }

    /// Waits until `count` more requests of short or kept clients were answered.
    #[track_caller]
    pub fn proceed(&self, count: u64) {
        let answered = || self.common.report.lock().expect("report").tally.answered();
        let from = answered();
        super::eventually("load goes on", || {
            (answered() >= from + count).then_some(())
        });
    }

    /// Ends the load after the answers that are under way.
    pub fn stop(self) -> Report {
        self.common.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("client");
        }
        let report = self.common.report.lock().expect("report");
        report.clone()
    }
}

impl Common {
    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn connect(&self, id: u64) -> Result<Client, Outcome> {
        let client = Client::connect(self.to, id, self.limit)?;
        let slowest = &mut self.report.lock().expect("report").slowest_connect;
        *slowest = client.connecting.max(*slowest);
        Ok(client)
    }

    /// One connection with one request for `path`, which may be no more than the id.
    fn once(&self, id: u64, path: &str) -> Outcome {
        let answer = self.connect(id).and_then(|mut client| {
            client.send_path(path, true)?;
            Ok(client.outcome_for(path))
        });
        answer.unwrap_or_else(|outcome| outcome)
    }

    fn count(&self, slow: bool, id: u64, outcome: Outcome, took: Duration) {
        let mut report = self.report.lock().expect("report");
        if !matches!(outcome, Outcome::Ok(_)) {
            report.failures.push(Failure {
                id,
                at: Instant::now(),
                outcome: outcome.clone(),
            });
        }
        let tally = if slow {
            &mut report.slow
        } else {
            &mut report.tally
        };
        tally.count(outcome, took);
    }

    fn short(&self) {
        let (id, start) = (self.id(), Instant::now());
        let outcome = self.once(id, &id.to_string());
        self.count(false, id, outcome, start.elapsed());
    }

    fn slow(&self) {
        let (id, start) = (self.id(), Instant::now());
        let outcome = self.once(id, &format!("slow/{id}"));
        self.count(true, id, outcome, start.elapsed());
    }

    fn kept(&self) {
        let mut kept: Option<Client> = None;
        for _ in 0..Mix::KEPT {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let (id, start) = (self.id(), Instant::now());
            let again = kept.take().map(|mut client| (client.exchange(id), client));
            let (outcome, client) = match again {
                Some((Outcome::ResetBefore, _)) => {
                    self.report.lock().expect("report").repeated += 1;
                    self.fresh(id)
                }
                Some((outcome, client)) => (outcome, Some(client)),
                None => self.fresh(id),
            };
            let of = client.as_ref().map_or(id, |client| client.id);
            kept = client.filter(|client| matches!(outcome, Outcome::Ok(_)) && !client.last);
            self.count(false, of, outcome, start.elapsed());
            std::thread::sleep(Mix::REST);
        }
    }

    /// A request on a connection of its own, which can be kept.
    fn fresh(&self, id: u64) -> (Outcome, Option<Client>) {
        match self.connect(id) {
            Ok(mut client) => (client.exchange(id), Some(client)),
            Err(outcome) => (outcome, None),
        }
    }
}

impl Report {
    /// Nothing failed.
    #[track_caller]
    pub fn clean(&self) -> &Self {
        assert!(self.failures.is_empty(), "{self:#?}");
        assert!(self.tally.answered() > 0, "no load at all");
        self
    }

    /// Nothing failed, and no connect had to be tried again by the kernel (after 1 s).
    #[track_caller]
    pub fn smooth(&self) -> &Self {
        let slowest = self.slowest_connect;
        assert!(slowest < Duration::from_secs(1), "connect took {slowest:?}");
        self.clean()
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
                .any(|(_, at)| failure.at > *at && failure.at - *at < Duration::from_millis(500));
            match open.get(&address_of(failure.id)) {
                Some(pid) if killed.contains(pid) => by_journal += 1,
                None if at_a_kill => by_time += 1,
                other => panic!("not explained by a kill: {failure:?}, journal: {other:?}"),
            }
        }
        (by_journal, by_time)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} short and keep-alive requests answered (slowest {:?}), {} of 2 s (slowest {:?}), {} failed; \
             slowest connect {:?}; {} repeated because the server had closed an idle connection",
            self.tally.answered(),
            self.tally.slowest(),
            self.slow.answered(),
            self.slow.slowest(),
            self.failures.len(),
            self.slowest_connect,
            self.repeated
        )
    }
}

/// Connections that the journal shows with something accepted or asked and not answered, by client address,
/// with the process.
pub fn unanswered(journal: &Path) -> BTreeMap<IpAddr, u32> {
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
            "accepted" | "asked" => _ = open.insert(peer, pid),
            _ => _ = open.remove(&peer),
        }
    }
    open
}
