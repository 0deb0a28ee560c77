//! How long each thing may take, and what becomes of sessions when a worker leaves.

use std::time::{Duration, Instant};

use super::*;

/// How long it takes until a client from `n` that says nothing is ended.
#[track_caller]
fn ends_after(site: &Site, mut client: Raw) -> Duration {
    let start = Instant::now();
    client.rest();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{}: {took:?}", site.to());
    took
}

#[test]
fn silence_and_age_end_a_session() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let flags = ["--idle-timeout", "1500ms"];
    let balancer = behind(&site, &backends.to(""), &flags);
    let mut client = come(&site, 1);
    client.greeted_by();
    // Who says something now and then stays.
    for _ in 0..7 {
        std::thread::sleep(Duration::from_millis(250));
        client.send(b"x");
        assert_eq!(client.exactly(1), b"x");
    }
    assert!(ends_after(&site, client) >= Duration::from_millis(1400));
    balancer.finish();

    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let flags = ["--lifetime", "500ms"];
    let balancer = behind(&site, &backends.to(""), &flags);
    let mut client = come(&site, 1);
    client.greeted_by();
    assert!(ends_after(&site, client) >= Duration::from_millis(400));
    balancer.finish();
}

/// Sockets of this client and of its way to the backend at `to`, each with whether the kernel will ask the other end
/// whether it is still there (proc_net_tcp.txt: a timer of kind 2).
fn kept_alive(client: SocketAddr, to: SocketAddr) -> Vec<bool> {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("a table");
    let hex = |at: SocketAddr| match at.ip() {
        IpAddr::V4(ip) => format!("{:08X}:{:04X}", u32::from(ip).swap_bytes(), at.port()),
        IpAddr::V6(_) => unreachable!("an address of IPv4"),
    };
    let ends = [hex(client), hex(to)];
    let lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Local and remote address, state (1: established), queues, timer.
    let ours = lines
        .filter(|line| line.len() > 5 && line[3] == "01" && ends.contains(&line[2].to_owned()));
    ours.map(|line| line[5].starts_with("02:")).collect()
}

#[test]
fn after_a_while_the_kernel_asks_whether_both_ends_are_there() {
    let (site, quiet_site) = (Site::new(), Site::new());
    let (one, other) = (Backends::tcp(&site, 1), Backends::tcp(&quiet_site, 1));
    let balancer = behind(&site, &one.to(""), &["--keepalive", "5m"]);
    let quiet = behind(&quiet_site, &other.to(""), &["--keepalive", "off"]);
    let open = |site: &Site, to: &Backends| {
        let mut client = come(site, 1);
        client.greeted_by();
        let to = to.0[0].parse().expect("an address");
        (client.source(), to, client)
    };
    let (quiet_from, quiet_to, quiet_client) = open(&quiet_site, &other);
    let (from, to, client) = open(&site, &one);
    eventually("both sockets are asked for", || {
        (kept_alive(from, to) == [true, true]).then_some(())
    });
    assert_eq!(kept_alive(quiet_from, quiet_to), [false, false]);
    drop((client, quiet_client));
    balancer.finish();
    quiet.finish();
}

#[test]
fn a_half_closed_session_has_a_time_of_its_own() {
    let site = Site::new();
    // It accepts and says nothing, whatever it gets.
    let silent = std::net::TcpListener::bind((site.host.as_str(), 0)).expect("a port");
    let to = silent.local_addr().expect("bound").to_string();
    let flags = ["--half-closed-timeout", "400ms"];
    let balancer = behind(&site, &to, &flags);
    let client = come(&site, 1);
    client.finish_sending();
    let (_kept, _) = silent.accept().expect("connected");
    assert!(ends_after(&site, client) >= Duration::from_millis(350));
    balancer.finish();
}

#[test]
fn a_backend_that_does_not_answer_is_left_for_the_next() {
    let site = Site::new();
    let alive = Backends::tcp(&site, 1);
    let (full, _taken) = unanswering(&site);
    let to = format!("{full},{}", alive.to(""));
    let flags = ["--connect-timeout", "300ms"];
    let balancer = behind(&site, &to, &flags);
    let start = Instant::now();
    let clients: Vec<_> = (0..2)
        .map(|n| Raw::sending(client(n), site.to(), b"hi"))
        .collect();
    for mut client in clients {
        assert_eq!(client.greeted_by(), 0);
        assert_eq!(client.exactly(2), b"hi");
    }
    assert!(start.elapsed() >= Duration::from_millis(250));
    let status = balancer.status();
    assert!(status.backends[0].failures >= 1, "{:?}", status.backends);
    balancer.finish();
}

#[test]
fn sessions_outlive_a_reload_until_the_drain_is_over() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 2);
    let balancer = behind(&site, &backends.to(""), &["--drain-timeout", "3s"]);
    let former = balancer.workers();
    let mut stayed = stay(&site, 6);
    balancer.signal(nix::sys::signal::Signal::SIGUSR2);
    balancer.replaced(&former);
    for (client, _) in &mut stayed {
        client.send(b"still");
        assert_eq!(client.exactly(5), b"still");
    }
    let mut fresh = stay(&site, 2);
    // The grace is 10 s; a proxy worker needs none of it.
    let start = Instant::now();
    stayed
        .iter_mut()
        .for_each(|(client, _)| drop(client.rest()));
    assert!(start.elapsed() < Duration::from_secs(9));
    balancer.until("they have left", |status| status.leaving.is_empty());
    assert!(start.elapsed() < Duration::from_secs(9));
    fresh[0].0.send(b"new");
    assert_eq!(fresh[0].0.exactly(3), b"new");
    drop((stayed, fresh));
    balancer.finish();
}
