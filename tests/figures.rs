//! The figures of the closing note, full size: ignored by `cargo test`, run and printed by `scripts/figures`.
//! Each has a small version among the scenarios.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use forkfront::status::Status;
use nix::sys::signal::Signal;

fn dealt(status: &Status) -> Vec<u64> {
    status.slots.iter().map(|slot| slot.dealt).collect()
}

/// Load of `clients` until `count` connections were answered; prints what became of them.
fn connections(site: &Site, clients: usize, count: u64) -> Report {
    let start = Instant::now();
    let load = Load::start(site.to(), clients, 1, Duration::from_secs(10));
    while load.started() < count {
        load.proceed(500);
    }
    let report = load.stop();
    let all = report.tally.answered() + report.tally.failed();
    println!(
        "{all} connections in {:.1} s: {} answered, {} failed, slowest answer {:?}",
        start.elapsed().as_secs_f64(),
        report.tally.answered(),
        report.tally.failed(),
        report.tally.slowest()
    );
    report
}

#[test]
#[ignore = "figure"]
fn counts_of_100_000_connections_over_3_nodes() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &[]);
    let report = connections(&site, 16, 100_000);
    let dealt = dealt(&balancer.status());
    println!(
        "dealt per slot {dealt:?}, answered per process {:?}",
        report.tally.by_pid()
    );
    balancer.dealt_in_turn(&report.clean().tally, 3);
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn queued_when_killed_100_rounds() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    for round in 0..100 {
        let workers = balancer.workers();
        send_all(&workers, Signal::SIGSTOP);
        let crowd = Crowd::gather(site.to(), round * 100..round * 100 + 100);
        let killed = Instant::now();
        send_all(&workers, Signal::SIGKILL);
        let tally = crowd.answers();
        slowest = slowest.max(killed.elapsed());
        answered += tally.answered();
        tally.all_answered(100);
        balancer.replaced(&workers);
    }
    println!(
        "{answered} of 10000 answered; slowest round from the kill to its last answer {slowest:?}"
    );
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn two_hundred_kills_in_60_s_of_load() {
    let site = Site::new();
    let journal = site.file("journal");
    let site = site.env("JOURNAL", journal.display());
    let mut random = Random::seeded();
    let balancer = Balancer::nodes(&site, 4, &[]);
    let load = Load::start(site.to(), 32, 1, Duration::from_secs(10));
    let start = Instant::now();
    let mut kills = Vec::new();
    for kill in 1..=200 {
        let due = Duration::from_millis(kill * 300).saturating_sub(start.elapsed());
        std::thread::sleep(due);
        let status = balancer.status();
        let live: Vec<u32> = status.slots.iter().filter_map(|slot| slot.pid).collect();
        if live.is_empty() {
            continue;
        }
        // One time in ten all of them at once.
        let victims = if random.below(10) == 0 {
            live
        } else {
            vec![live[random.below(live.len() as u64) as usize]]
        };
        for victim in victims {
            kills.push((victim, Instant::now()));
            send(victim, Signal::SIGKILL);
        }
    }
    let report = load.stop();
    println!(
        "{} kills in {:.1} s; outcomes that are no answer:",
        kills.len(),
        start.elapsed().as_secs_f64()
    );
    for (outcome, count) in &report.tally.outcomes {
        if !matches!(outcome, Outcome::Ok(_)) {
            println!("  {outcome:?}: {count}");
        }
    }
    let (by_journal, by_time) = report.explained(&journal, &kills);
    println!(
        "{} answered, slowest {:?}; resets explained by the killed worker's journal: {by_journal}, by the moment of a kill \
         (accepted, not yet written to the journal): {by_time}, not explained: 0",
        report.tally.answered(),
        report.tally.slowest()
    );
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn one_of_four_stopped_for_10_s() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &[]);
    let stopped = balancer.workers()[1];
    let load = Load::start(site.to(), 16, 1, Duration::from_secs(20));
    load.proceed(500);
    send(stopped, Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(10));
    let meanwhile = load.started();
    send(stopped, Signal::SIGCONT);
    let report = load.stop();
    let others = report
        .tally
        .slowest_of
        .iter()
        .filter(|(pid, _)| **pid != stopped);
    println!(
        "{meanwhile} connections while one of four was stopped for 10 s: slowest answer {:?} by the others; {:?} by the \
         stopped one itself (taken by it before the stop); failed {}, read back {}",
        others
            .map(|(_, slowest)| *slowest)
            .max()
            .unwrap_or_default(),
        report.tally.slowest_of.get(&stopped),
        report.tally.failed(),
        balancer.status().slots[1].read_back
    );
    report.clean();
    balancer.finish();
}

#[test]
#[ignore = "figure"]
fn descriptors_and_memory_over_1_000_000_connections() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let pid = balancer.pid();
    let look = |when: &str| {
        println!(
            "{when}: {} descriptors, {} KiB resident",
            descriptors(pid).len(),
            rss_kib(pid)
        );
    };
    look("before");
    let ticks = cpu_ticks(pid);
    let report = connections(&site, 32, 1_000_000);
    balancer.until("all taken", |status| {
        status.slots.iter().all(|slot| slot.queued == 0)
    });
    look("after");
    let micros = (cpu_ticks(pid) - ticks) * 10_000;
    println!(
        "CPU of the primary: {:.1} µs per connection",
        micros as f64 / report.tally.answered() as f64
    );
    println!("dealt per slot {:?}", dealt(&balancer.status()));
    report.clean();
    balancer.finish();
}

/// A server started without forkfront; it ends with the value.
struct Plain(Child);

impl Plain {
    fn start(site: &Site, file: &str) -> Self {
        let child = Command::new("node")
            .arg(server(file))
            .envs(site.environment())
            .stdout(Stdio::null())
            .spawn()
            .expect("node");
        eventually("it answers", || {
            matches!(ask(site.to(), 1), Outcome::Ok(_)).then_some(())
        });
        Self(child)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        send(self.0.id(), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Requests per second that wrk gets from the site in `seconds`, and how many requests failed.
fn wrk(site: &Site, seconds: u32, closing: bool) -> (f64, u64) {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", &format!("-d{seconds}s")]);
    if closing {
        command.args(["-H", "Connection: close"]);
    }
    let done = command
        .arg(format!("http://{}/1", site.bind()))
        .output()
        .expect("wrk");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    let errors = text
        .lines()
        .find(|line| line.contains("Socket errors"))
        .map_or(0, |line| {
            // A server that closes after its answer shows as "read"; connect, write and timeout are failures.
            line.split(',')
                .filter(|part| !part.contains("read"))
                .filter_map(|part| part.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        });
    (rate.unwrap_or_else(|| panic!("no rate in {text}")), errors)
}

#[test]
#[ignore = "figure"]
fn throughput_beside_node_cluster_and_plain_node() {
    const ROUNDS: usize = 5;
    const SECONDS: u32 = 4;
    let (ours, cluster, plain) = (Site::new(), Site::new().env("WORKERS", 2), Site::new());
    let balancer = Balancer::nodes(&ours, 2, &[]);
    let _cluster = Plain::start(&cluster, "cluster.js");
    let _plain = Plain::start(&plain, "http.js");
    let systems = [
        ("forkfront, 2 node workers", &ours),
        ("node cluster, 2 workers", &cluster),
        ("one plain node", &plain),
    ];
    let (mut ticks, mut accepted) = (0, 0);
    for closing in [true, false] {
        let mut rates = vec![Vec::new(); systems.len()];
        let (mut errors, mut cpu, mut requests) = ([0; 3], [0; 3], [0.0; 3]);
        for _ in 0..ROUNDS {
            for (at, (_, site)) in systems.iter().enumerate() {
                let before = (cpu_ticks(balancer.pid()), balancer.status().accepted);
                let all_before = cpu_ticks_of_all(&site.mark);
                let (rate, failed) = wrk(site, SECONDS, closing);
                rates[at].push(rate);
                errors[at] += failed;
                cpu[at] += cpu_ticks_of_all(&site.mark) - all_before;
                requests[at] += rate * f64::from(SECONDS);
                if at == 0 && closing {
                    ticks += cpu_ticks(balancer.pid()) - before.0;
                    accepted += balancer.status().accepted - before.1;
                }
            }
        }
        let what = if closing {
            "connections/s, one request each"
        } else {
            "requests/s, keep-alive"
        };
        for (at, (name, _)) in systems.iter().enumerate() {
            rates[at].sort_by(f64::total_cmp);
            let all: Vec<u64> = rates[at].iter().map(|rate| *rate as u64).collect();
            println!(
                "{name:26} median {:>6} {what}; {:.1} µs CPU each in all its processes; rounds {all:?}; errors {}",
                all[ROUNDS / 2],
                cpu[at] as f64 * 10_000.0 / requests[at],
                errors[at]
            );
        }
    }
    println!(
        "primary: {} KiB resident, {:.1} µs CPU per connection",
        rss_kib(balancer.pid()),
        ticks as f64 * 10_000.0 / accepted as f64
    );
    balancer.finish();
}
