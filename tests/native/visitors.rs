//! The load generator of `scripts/bench` where wrk does not fit: clients that come from many addresses, that come at
//! a given rate, that carry a session cookie, or that stay. Prints one line of JSON: how many were answered,
//! how the others failed, how long each took from connect(2) to the whole answer, and which process answered.
//!
//!     visitors 127.0.0.1:8080 --seconds 2 --rate 500
//!
//! One thread, one event loop, bounded in time whatever the server does.

mod visit;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Parser;
use mio::{Events, Poll, Token};
use slab::Slab;

use visit::{Failure, Step, Visit};

/// After so long a client gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked for those whose patience has ended.
const GLANCE: Duration = Duration::from_millis(250);

#[derive(Parser)]
struct Words {
    /// Where the server is
    to: SocketAddr,
    /// Visits under way at one time
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Start no visit after so long
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Start so many visits at most
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// Start so many visits per second at most
    #[arg(long)]
    rate: Option<f64>,
    /// Come from so many addresses of 127.0.0.0/8 in turn, instead of the one that the kernel takes
    #[arg(long, default_value_t = 0)]
    sources: u32,
    /// Send a cookie of this name, with a value of its own for each visit
    #[arg(long)]
    cookie: Option<String>,
    /// Keep the answered connections open until stdin ends; then say how many the server had closed
    #[arg(long)]
    hold: bool,
}

/// What became of the visits.
#[derive(Default)]
struct Tally {
    started: u64,
    failed: BTreeMap<&'static str, u64>,
    /// Nanoseconds.
    latencies: Vec<u64>,
    by_pid: BTreeMap<u32, u64>,
}

impl Tally {
    fn fail(&mut self, failure: Failure) {
        *self.failed.entry(failure.word()).or_default() += 1;
    }

    fn print(&mut self, seconds: f64) {
        self.latencies.sort_unstable();
        let micros = |share: f64| {
            let last = self.latencies.len().checked_sub(1)?;
            let at = (last as f64 * share).round() as usize;
            Some(self.latencies[at] as f64 / 1000.0)
        };
        let line = serde_json::json!({
            "answered": self.latencies.len(),
            "failed": self.failed,
            "seconds": seconds,
            "latency_us": {"p50": micros(0.5), "p90": micros(0.9), "p99": micros(0.99), "max": micros(1.0)},
            "by_pid": self.by_pid,
        });
        println!("{line}");
    }
}

fn main() -> io::Result<()> {
    let words = Words::parse();
    let mut crowd = Crowd {
        poll: Poll::new()?,
        under_way: Slab::new(),
        staying: Vec::new(),
        tally: Tally::default(),
        start: Instant::now(),
        words,
    };
    crowd.run()?;
    let seconds = crowd.start.elapsed().as_secs_f64();
    crowd.tally.print(seconds);
    if crowd.words.hold {
        io::stdin().read_to_end(&mut Vec::new())?;
        let lost = crowd.staying.iter_mut().filter_map(Visit::is_over).count();
        println!("{}", serde_json::json!({ "lost": lost }));
    }
    Ok(())
}

struct Crowd {
    words: Words,
    poll: Poll,
    under_way: Slab<Visit>,
    /// Answered, and kept open.
    staying: Vec<Visit>,
    tally: Tally,
    start: Instant,
}

impl Crowd {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut glance = Instant::now() + GLANCE;
        loop {
            let next = self.start_due();
            if next.is_none() && self.under_way.is_empty() {
                return Ok(());
            }
            let now = Instant::now();
            let until = next.unwrap_or(glance).min(glance);
            match self
                .poll
                .poll(&mut events, Some(until.saturating_duration_since(now)))
            {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                self.proceed(event.token().0);
            }
            if Instant::now() >= glance {
                glance = Instant::now() + GLANCE;
                self.give_up();
            }
        }
    }

    /// Starts what is due; says when to look again, `None` if no more visits are to be started.
    fn start_due(&mut self) -> Option<Instant> {
        let end = self.start + Duration::from_secs_f64(self.words.seconds);
        loop {
            let now = Instant::now();
            if now >= end || self.tally.started >= self.words.count {
                return None;
            }
            if self.under_way.len() >= self.words.clients {
                return Some(end);
            }
            if let Some(rate) = self.words.rate {
                let due =
                    self.start + Duration::from_secs_f64(self.tally.started as f64 / rate.max(0.1));
                if due > now {
                    return Some(due.min(end));
                }
            }
            self.start_one();
        }
    }

    fn start_one(&mut self) {
        let number = self.tally.started;
        self.tally.started += 1;
        let entry = self.under_way.vacant_entry();
        let token = Token(entry.key());
        let cookie = self.words.cookie.as_deref();
        match Visit::start(self.words.to, number, self.words.sources) {
            Err(_) => self.tally.fail(Failure::Connect),
            Ok(mut visit) => {
                visit.request(number, cookie, !self.words.hold);
                match visit.register(self.poll.registry(), token) {
                    Err(_) => self.tally.fail(Failure::Connect),
                    Ok(()) => {
                        entry.insert(visit);
                        self.proceed(token.0);
                    }
                }
            }
        }
    }

    fn proceed(&mut self, key: usize) {
        let Some(visit) = self.under_way.get_mut(key) else {
            return;
        };
        match visit.proceed() {
            Step::Waiting => {}
            Step::Failed(failure) => {
                self.tally.fail(failure);
                self.under_way.remove(key);
            }
            Step::Answered { pid } => {
                let visit = self.under_way.remove(key);
                let took = visit.since.elapsed().as_nanos();
                self.tally
                    .latencies
                    .push(u64::try_from(took).unwrap_or(u64::MAX));
                *self.tally.by_pid.entry(pid).or_default() += 1;
                if self.words.hold {
                    self.staying.push(visit);
                }
            }
        }
    }

    fn give_up(&mut self) {
        let tally = &mut self.tally;
        self.under_way.retain(|_, visit| {
            let stays = visit.since.elapsed() < PATIENCE;
            if !stays {
                tally.fail(Failure::TimedOut);
            }
            stays
        });
    }
}
