//! What is said at the start, at a reload, at an upgrade and at the end.

use nix::sys::signal::Signal;

use crate::common::{Balancer, Begun, Site, send, server};
use crate::manager::Manager;

/// `n` nodes; each but the first waits for the file `gate`, and fails if it says so.
fn gated<'a>(site: &'a Site, n: u16) -> Balancer<'a> {
    let script = format!(
        "if [ $FORKFRONT_SLOT != 0 ]; then until [ -e {0} ]; do sleep 0.02; done; . {0}; fi; exec node {1}",
        site.file("gate").display(),
        server("http.js")
    );
    let n = n.to_string();
    Balancer::spawn(site, &["run", "-n", &n, "--", "sh", "-c", &script])
}

fn open_gate(site: &Site, text: &str) {
    std::fs::write(site.file("gate.new"), text).expect("written");
    std::fs::rename(site.file("gate.new"), site.file("gate")).expect("renamed");
}

fn says(said: &[String], part: &str) -> bool {
    said.iter().any(|words| words.contains(part))
}

#[test]
fn ready_when_all_workers_of_the_start_are() {
    let mut site = Site::new();
    let manager = Manager::of(&mut site);
    let mut balancer = gated(&site, 2);
    let said = manager.until("STATUS=starting: 1 of 2 workers ready");
    assert!(says(&said, "EXTEND_TIMEOUT_USEC="), "{said:#?}");
    assert!(!says(&said, "READY=1"), "{said:#?}");
    open_gate(&site, "");
    let said = manager.until("STATUS=serving");
    assert!(says(&said, "READY=1"), "{said:#?}");
    assert!(says(&said, &site.bind()), "{said:#?}");
    assert!(
        says(&said[said.len() - 1..], "2 of 2 workers ready"),
        "{said:#?}"
    );
    balancer.all_ready();
    send(balancer.pid(), Signal::SIGTERM);
    let said = manager.until("STATUS=stopped");
    assert!(says(&said, "STOPPING=1"), "{said:#?}");
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn ready_though_one_worker_fails_and_that_is_said() {
    let mut site = Site::new();
    let manager = Manager::of(&mut site);
    let mut balancer = gated(&site, 2);
    manager.until("STATUS=starting: 1 of 2 workers ready");
    open_gate(&site, "exit 3");
    let said = manager.until("exit code 3");
    assert!(says(&said, "READY=1"), "{said:#?}");
    let line = said.last().expect("said");
    assert!(line.contains("1 of 2 workers ready; slot 1: "), "{line}");
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn a_reload_and_why_it_failed() {
    let mut site = Site::new();
    let manager = Manager::of(&mut site);
    open_gate(&site, "");
    let mut balancer = gated(&site, 2);
    balancer.all_ready();
    manager.until("READY=1");
    let before = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("clock");
    send(balancer.pid(), Signal::SIGHUP);
    let said = manager.until("RELOADING=1");
    let time = said
        .last()
        .and_then(|words| words.split("MONOTONIC_USEC=").nth(1));
    let time: i64 = time
        .and_then(|time| time.trim().parse().ok())
        .expect("microseconds");
    assert!(time >= before.tv_sec() * 1_000_000 + before.tv_nsec() / 1000);
    manager.until("READY=1");

    open_gate(&site, "exit 3");
    send(balancer.pid(), Signal::SIGUSR2);
    manager.until("RELOADING=1");
    manager.until("READY=1");
    let said = manager.until("the last reload failed");
    assert!(says(&said, "exit code 3"), "{said:#?}");

    open_gate(&site, "");
    send(balancer.pid(), Signal::SIGHUP);
    manager.until("READY=1");
    let said = manager.until("STATUS=serving");
    assert!(!says(&said[said.len() - 1..], "failed"), "{said:#?}");
    balancer.finish();
}

#[test]
fn an_upgrade_is_the_same_process_to_the_manager() {
    let mut site = Site::new();
    let manager = Manager::of(&mut site);
    let mut balancer = Balancer::nodes(&site, 1, &[]);
    manager.until("READY=1");
    manager.until("STATUS=serving");
    balancer.all_ready();
    let control = site.control().display().to_string();
    let words = ["upgrade", "--control", &control].map(str::to_owned);
    let upgraded = Begun::start(&site, words.to_vec()).end();
    assert_eq!(upgraded.code, Some(0), "{upgraded}");
    let said = manager.until("READY=1");
    assert!(
        !says(&said, "STOPPING=1") && !says(&said, "RELOADING"),
        "{said:#?}"
    );
    send(balancer.pid(), Signal::SIGHUP);
    manager.until("RELOADING=1");
    manager.until("READY=1");
    balancer.finish();
}

#[test]
fn a_manager_that_does_not_read_holds_up_nobody() {
    let mut site = Site::new();
    let manager = Manager::full(&mut site);
    let balancer = Balancer::nodes(&site, 1, &[]);
    manager.until("READY=1");
    manager.until("STATUS=serving");
    balancer.finish();
}
