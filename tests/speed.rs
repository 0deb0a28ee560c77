//! `--pin` and `--defer-accept`, and how both change while everything runs.

mod common;

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::*;

/// The CPUs that a process may run on, as the kernel writes them.
fn cpus(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that lives");
    let line = status.lines().find_map(|line| {
        line.strip_prefix("Cpus_allowed_list:")
            .map(|list| list.trim().to_owned())
    });
    line.expect("the kernel says so")
}

/// The number of each CPU that we may use.
fn own() -> Vec<String> {
    forkfront::sys::limits::own_cpus()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The CPU of each slot's worker.
fn pinned(balancer: &Balancer<'_>) -> Vec<String> {
    balancer.workers().into_iter().map(cpus).collect()
}

fn in_order(cpus: &[String], slots: usize) -> Vec<String> {
    cpus.iter().cycle().take(slots).cloned().collect()
}

/// Writes a file of two workers in which `more` is said.
fn write(site: &Site, more: &str) -> String {
    let (bind, port, server) = (site.bind(), site.port, server("http.js"));
    let text = format!(
        "[[app]]\ncommand = [\"node\", \"{server}\"]\nlisten = \"{bind}\"\nworkers = 2\nenv.PORT = {port}\n{more}\n"
    );
    let path = site.file("site.toml");
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn each_slot_has_its_cpu_whoever_sits_there() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &["--pin"]);
    assert_eq!(pinned(&balancer), in_order(&own(), 3));
    balancer.scale(5);
    assert_eq!(pinned(&balancer), in_order(&own(), 5));
    let former = balancer.workers();
    balancer.reload().done();
    assert_eq!(pinned(&balancer), in_order(&own(), 5));
    balancer.gone(&former);
    // The next worker of a slot whose own has died.
    let second = balancer.workers()[1];
    send(second, nix::sys::signal::Signal::SIGKILL);
    balancer.replaced(&[second]);
    assert_eq!(pinned(&balancer), in_order(&own(), 5));
    balancer.finish_as_it_is();
}

#[test]
fn only_cpus_that_we_may_use_are_given_out() {
    let site = Site::new();
    let last = own().pop().expect("a CPU");
    let (server, binary) = (server("http.js"), env!("CARGO_BIN_EXE_forkfront"));
    let words = ["run", "-n", "2", "--pin", "--", "node", &server];
    let front = ["taskset", "-c", &last];
    let mut balancer = Balancer::spawn_behind(&site, &front, binary.as_ref(), &words);
    balancer.all_ready();
    assert_eq!(pinned(&balancer), [last.clone(), last]);
    balancer.finish();
}

#[test]
fn pinning_comes_and_goes_with_new_workers() {
    let site = Site::new();
    let balancer = Balancer::start(&site, &["run", "--config", &write(&site, "")]);
    let anywhere = cpus(balancer.pid());
    assert_eq!(pinned(&balancer), [anywhere.clone(), anywhere.clone()]);
    write(&site, "pin = true");
    balancer.reload().done();
    assert_eq!(pinned(&balancer), in_order(&own(), 2));
    write(&site, "");
    balancer.reload().done();
    assert_eq!(pinned(&balancer), [anywhere.clone(), anywhere]);
    balancer.finish();
}

#[test]
fn who_says_nothing_is_the_kernels_for_a_second() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--defer-accept"]);
    let begun = Instant::now();
    let silent = TcpStream::connect(site.to()).expect("connected");
    // Who speaks passes it by.
    in_turn(&slots(&balancer, site.to()));
    if begun.elapsed() < Duration::from_millis(800) {
        assert_eq!(balancer.status().accepted, TURNS);
    }
    balancer.until("the silent one has come", |status| {
        status.accepted == TURNS + 1
    });
    assert!(begun.elapsed() >= Duration::from_millis(900));
    drop(silent);
    balancer.finish();
}

#[test]
fn deferring_begins_and_ends_while_everything_runs() {
    let site = Site::new();
    let file = write(&site, "defer-accept = \"60s\"");
    let balancer = Balancer::start(&site, &["run", "--config", &file]);
    let workers = balancer.workers();
    let silent = TcpStream::connect(site.to()).expect("connected");
    in_turn(&slots(&balancer, site.to()));
    assert_eq!(balancer.status().accepted, TURNS);
    write(&site, "gather-max = 0");
    let said = balancer.command(&["reload", "--changes-only"]).done();
    assert!(
        said.stdout.contains("gather-max, defer-accept"),
        "{}",
        said.stdout
    );
    let begun = Instant::now();
    let another = TcpStream::connect(site.to()).expect("connected");
    balancer.until("who comes now is there at once", |status| {
        status.accepted > TURNS
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(balancer.workers(), workers);
    drop((silent, another));
    balancer.finish();
}
