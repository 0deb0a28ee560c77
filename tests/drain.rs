//! A worker that drains goes when its last connection has closed: not before, and not at the deadline.

mod common;

use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

/// Far beyond what any of these may take.
const PATIENCE: &str = "100s";
/// On a busy machine.
const PROMPT: Duration = Duration::from_secs(15);

/// One worker that holds connections as it is asked to.
fn keeper<'a>(site: &'a Site, flags: &[&str]) -> Balancer<'a> {
    let server = server("keeper.py");
    let mut words = vec!["run", "-n", "1", "--drain-timeout", PATIENCE];
    words.extend(flags);
    words.extend(["--", "python3", &server]);
    Balancer::start(site, &words)
}

#[track_caller]
fn until_open(balancer: &Balancer, accepted: u64, open: u64) {
    balancer.until("the connections are where they are to be", |status| {
        let slot = &status.slots[0];
        (slot.accepted, slot.open) == (accepted, open)
    });
}

/// The primary ends, and long before anybody's patience does.
#[track_caller]
fn ends_promptly(mut balancer: Balancer) {
    let start = Instant::now();
    assert_eq!(balancer.wait(), Some(0));
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    balancer.nothing_left();
}

#[test]
fn a_stop_ends_when_the_last_connection_closes() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--drain-timeout", PATIENCE]);
    let workers = balancer.workers();
    let mut endless = Endless::open(site.to());
    balancer.signal(Signal::SIGTERM);
    balancer.until("only who holds a connection is left", |status| {
        status.stopping && balancer.others(&[]) == [endless.pid]
    });
    assert!(endless.is_alive() && workers.contains(&endless.pid));
    drop(endless);
    ends_promptly(balancer);
}

#[test]
fn a_connection_that_was_passed_on_unseen_is_waited_for() {
    // The worker's own count is 0, the kernel knows better.
    let site = Site::new().env("FORKFRONT_LOG", "debug");
    let balancer = keeper(&site, &[]);
    let mut client = Client::connect(site.to(), 1, DEADLINE).expect("connected");
    client.send_path("pass", false).expect("sent");
    until_open(&balancer, 1, 0);
    balancer.signal(Signal::SIGTERM);
    balancer.says("counts 0 open, the kernel at least one");
    client.send_path("again", false).expect("sent");
    assert_eq!(client.body().expect("answered"), "passed\n");
    ends_promptly(balancer);
}

#[test]
fn a_connection_that_is_counted_and_gone_is_not_waited_for() {
    // The client has reset; the server holds a dead descriptor that it never looks at.
    let site = Site::new();
    let balancer = keeper(&site, &[]);
    let mut client = Client::connect(site.to(), 1, DEADLINE).expect("connected");
    client.send_path("keep", false).expect("sent");
    until_open(&balancer, 1, 1);
    client.reset();
    balancer.signal(Signal::SIGTERM);
    ends_promptly(balancer);
}

#[test]
fn a_connection_over_a_unix_listener_is_waited_for_and_no_longer() {
    let site = Site::new().env("FORKFRONT_LOG", "debug");
    let path = site.file("app.sock").display().to_string();
    let listen = format!("unix:{path}");
    let port = site.bind();
    let balancer = keeper(&site, &["-l", &listen, "-l", &port]);
    let mut client = std::os::unix::net::UnixStream::connect(&path).expect("connected");
    std::io::Write::write_all(&mut client, b"GET /pass HTTP/1.1\r\n\r\n").expect("sent");
    until_open(&balancer, 1, 0);
    balancer.signal(Signal::SIGTERM);
    balancer.says("counts 0 open, the kernel at least one");
    assert!(balancer.status().stopping);
    drop(client);
    ends_promptly(balancer);
}
