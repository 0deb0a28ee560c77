//! The figure of `forkfront proxy`, full size: ignored by `cargo test`, run and printed by `scripts/figures`.
//!
//! Load on four backends that are killed, stopped, slowed and revived at random, one at least of them well at any time.
//! Each request that failed is explained by what was done to the backend that had it: its journal names the clients
//! (by the PROXY header), so an explanation is a finding and no guess, but for a connection that the backend had not
//! taken yet when it was killed: of that the moment tells.
//!
//! `FORKFRONT_FIGURE_SECONDS` makes it shorter than the five minutes, `FORKFRONT_TEST_SEED` repeats what was done.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

const BACKENDS: usize = 4;
const SECONDS: u64 = 300;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long after a kill its resets may come.
const AFTERMATH: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(10);
/// One that is slowed runs for the first part of the period and is stopped for the rest of it.
const PERIOD: Duration = Duration::from_millis(100);
const RUNS_FOR: Duration = Duration::from_millis(20);

/// How a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Well,
    Down,
    Stopped,
    Slowed,
}

/// A backend that was started here.
struct Backend<'a> {
    site: &'a Site,
    address: SocketAddr,
    journal: &'a Path,
    process: Child,
    condition: Condition,
    /// When the condition began, and when it is to end.
    since: Instant,
    until: Instant,
}

impl<'a> Backend<'a> {
    fn start(site: &'a Site, address: SocketAddr, journal: &'a Path) -> Self {
        let now = Instant::now();
        Self {
            process: spawn(site, address, journal),
            site,
            address,
            journal,
            condition: Condition::Well,
            since: now,
            until: now,
        }
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Backend<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(site: &Site, address: SocketAddr, journal: &Path) -> Child {
    Command::new("python3")
        .arg(server("backend.py"))
        .envs(site.environment())
        .env("HOST", address.ip().to_string())
        .env("PORT", address.port().to_string())
        .env("JOURNAL", journal)
        .stdin(Stdio::null())
        .spawn()
        .expect("python3")
}

/// What was done.
#[derive(Default)]
struct Deeds {
    kills: Vec<(u32, Instant)>,
    /// Stopped or slowed.
    pauses: Vec<(Condition, Instant, Instant)>,
}

/// Whoever does it.
struct Trouble<'a> {
    backends: Vec<Backend<'a>>,
    random: Random,
    deeds: Deeds,
}

impl Trouble<'_> {
    /// Goes on until then, and leaves everybody well.
    fn go_on(&mut self, end: Instant) {
        let mut next = Instant::now();
        while Instant::now() < end {
            let now = Instant::now();
            if now >= next {
                next = now + Duration::from_millis(200 + self.random.below(1300));
                self.do_something(now);
            }
            for backend in &mut self.backends {
                pulse(backend, now);
                if backend.condition != Condition::Well && now >= backend.until {
                    revive(backend, now, &mut self.deeds);
                }
            }
            std::thread::sleep(TICK);
        }
        for backend in &mut self.backends {
            if backend.condition != Condition::Well {
                revive(backend, Instant::now(), &mut self.deeds);
            }
        }
    }

    /// To one of those that are well, unless it is the last.
    fn do_something(&mut self, now: Instant) {
        let well = |backend: &&mut Backend<'_>| backend.condition == Condition::Well;
        let mut well: Vec<_> = self.backends.iter_mut().filter(well).collect();
        if well.len() < 2 {
            return;
        }
        let backend = well.swap_remove(self.random.below(well.len() as u64) as usize);
        backend.since = now;
        backend.until = now + Duration::from_millis(200 + self.random.below(5800));
        backend.condition = match self.random.below(10) {
            0..4 => {
                self.deeds.kills.push((backend.pid(), now));
                backend.process.kill().expect("killed");
                backend.process.wait().expect("waited for");
                Condition::Down
            }
            4..7 => {
                send(backend.pid(), Signal::SIGSTOP);
                Condition::Stopped
            }
            _ => Condition::Slowed,
        };
    }
}

/// One that is slowed gets a part of the time.
fn pulse(backend: &Backend<'_>, now: Instant) {
    if backend.condition == Condition::Slowed {
        let into = (now - backend.since).as_millis() % PERIOD.as_millis();
        let runs = into < RUNS_FOR.as_millis();
        let signal = if runs {
            Signal::SIGCONT
        } else {
            Signal::SIGSTOP
        };
        send(backend.pid(), signal);
    }
}

fn revive(backend: &mut Backend<'_>, now: Instant, deeds: &mut Deeds) {
    match backend.condition {
        Condition::Well => {}
        Condition::Down => backend.process = spawn(backend.site, backend.address, backend.journal),
        paused => {
            send(backend.pid(), Signal::SIGCONT);
            deeds.pauses.push((paused, backend.since, now));
        }
    }
    backend.condition = Condition::Well;
}

/// Why a request failed; `None`: nothing that was done explains it.
fn cause(failure: &Failure, open: &BTreeMap<IpAddr, u32>, deeds: &Deeds) -> Option<&'static str> {
    let killed: BTreeSet<u32> = deeds.kills.iter().map(|(pid, _)| *pid).collect();
    match failure.outcome {
        Outcome::ResetBefore | Outcome::ResetAfter => {
            let just_killed =
                |(_, at): &(u32, Instant)| failure.at > *at && failure.at - *at < AFTERMATH;
            match open.get(&address_of(failure.id)) {
                Some(pid) if killed.contains(pid) => {
                    Some("reset: open on a backend that was killed")
                }
                None if deeds.kills.iter().any(just_killed) => {
                    Some("reset: queued at a backend that was killed, not taken by it")
                }
                _ => None,
            }
        }
        Outcome::TimedOut => {
            let began = failure.at - PATIENCE;
            let pause =
                |(_, from, to): &&(Condition, Instant, Instant)| *from < failure.at && *to > began;
            match deeds.pauses.iter().find(pause)?.0 {
                Condition::Slowed => Some("no answer in 3 s: at a backend that was slowed"),
                _ => Some("no answer in 3 s: at a backend that was stopped"),
            }
        }
        _ => None,
    }
}

#[test]
#[ignore = "figure"]
fn backends_killed_stopped_slowed_and_revived() {
    let site = Site::new();
    let journal = site.file("journal");
    let seconds = std::env::var("FORKFRONT_FIGURE_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("seconds"));
    let addresses: Vec<SocketAddr> = { site.ports(BACKENDS).into_iter() }
        .map(|port| SocketAddr::new(site.to().ip(), port))
        .collect();
    let mut trouble = Trouble {
        backends: addresses
            .iter()
            .map(|&at| Backend::start(&site, at, &journal))
            .collect(),
        random: Random::seeded(),
        deeds: Deeds::default(),
    };
    for &address in &addresses {
        eventually("it listens", || std::net::TcpStream::connect(address).ok());
    }
    let to: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let (listen, to) = (site.bind(), to.join(","));
    let words = [
        "proxy",
        "-n2",
        "-l",
        &listen,
        "--to",
        &to,
        "--send-proxy",
        "v1",
    ];
    let checks = [
        "--check",
        "http:/health",
        "--check-interval",
        "500ms",
        "--check-timeout",
        "500ms",
    ];
    let balancer = Balancer::start(
        &site,
        &[&words[..], &checks[..], &["--connect-timeout", "1s"]].concat(),
    );
    let mix = Mix {
        short: 8,
        kept: 8,
        slow: 0,
    };
    let load = Load::mixed(site.to(), mix, 1, PATIENCE);
    trouble.go_on(Instant::now() + Duration::from_secs(seconds));
    let deeds = std::mem::take(&mut trouble.deeds);
    load.proceed(1000);
    let report = load.stop();
    told(&report, &deeds, &journal);
    for one in &balancer.status().backends {
        println!(
            "{}: {:?}, {} connects, {} failed, {} went on to another",
            one.address, one.state, one.connects, one.failures, one.retried
        );
    }
    drop(trouble);
    balancer.finish_as_it_is();
}

/// Prints what became of the load; nothing may be left unexplained.
fn told(report: &Report, deeds: &Deeds, journal: &Path) {
    let open = unanswered(journal);
    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for failure in &report.failures {
        match cause(failure, &open, deeds) {
            Some(cause) => *causes.entry(cause).or_default() += 1,
            None => unexplained.push(failure),
        }
    }
    let of = |kind| {
        deeds
            .pauses
            .iter()
            .filter(|(condition, ..)| *condition == kind)
            .count()
    };
    println!(
        "{} kills, {} stops, {} slowed, each for 0.2 to 6 s",
        deeds.kills.len(),
        of(Condition::Stopped),
        of(Condition::Slowed)
    );
    println!("{report}");
    for (cause, count) in &causes {
        println!("  {count} {cause}");
    }
    println!("  {} not explained", unexplained.len());
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}
