//! Exhaustion and floods: the accept path waits, tells, and goes on; it neither spins nor refuses.

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

/// Sets the soft limit of open files of a running process.
fn limit_files(pid: u32, soft: &str) {
    let done = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")])
        .status();
    assert!(done.expect("prlimit").success());
}

#[test]
fn no_descriptor_left_in_the_primary_keeps_clients_waiting_without_spinning() {
    // D1: the limit is lowered to what the primary has open; later restored.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let open = descriptors(balancer.pid())
        .keys()
        .max()
        .copied()
        .unwrap_or(0)
        + 1;
    let holes = open - descriptors(balancer.pid()).len() as u32;
    limit_files(balancer.pid(), &(open - holes.min(open)).to_string());
    let before = cpu_ticks(balancer.pid());
    let crowd = Crowd::gather(site.to(), 0..200);
    std::thread::sleep(Duration::from_millis(1500));
    let ticks = cpu_ticks(balancer.pid()) - before;
    limit_files(balancer.pid(), "1024");
    let start = Instant::now();
    crowd.answers().all_answered(200);
    assert!(
        ticks < 45,
        "the primary spent {ticks}0 ms of CPU at its limit"
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "took {:?} after the release",
        start.elapsed()
    );
    balancer.finish();
}

#[test]
fn errors_of_single_connections_are_weather() {
    // D3: injected by strace at the first accepts of a batch, where there is a strace.
    if Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        return;
    }
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    for error in [
        "ECONNABORTED",
        "EPROTO",
        "ENETDOWN",
        "EHOSTUNREACH",
        "EPERM",
        "ENOBUFS",
        "ENFILE",
    ] {
        let mut strace = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-e", "trace=accept4", "-e"])
            .arg(format!("inject=accept4:error={error}:when=1..3"))
            .args(["-p", &balancer.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace");
        eventually("traced", || {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", balancer.pid())).ok()?;
            status
                .contains(&format!("TracerPid:\t{}", strace.id()))
                .then_some(())
        });
        let tally = Crowd::gather(site.to(), 0..40).answers();
        send(strace.id(), Signal::SIGINT);
        strace.wait().expect("waited");
        assert!(tally.failed() == 0, "{error}: {tally:#?}");
    }
    balancer.finish();
}

#[test]
fn more_than_may_be_held_waits_in_the_backlog() {
    let site = Site::new();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_forkfront"));
    let words = [
        "run",
        "-n",
        "2",
        "--max-held",
        "10",
        "--",
        "node",
        &server("http.js"),
    ];
    let mut balancer =
        Balancer::spawn_behind(&site, &["prlimit", "--nofile=256:256"], binary, &words);
    balancer.all_ready();
    let workers = balancer.workers();
    send_all(&workers, Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..400);
    let status = balancer.until("the backlog fills", |status| {
        status.listeners[0].backlog > 0
    });
    assert!(status.held <= 10, "{status:#?}");
    send_all(&workers, Signal::SIGCONT);
    crowd.answers().all_answered(400);
    balancer.finish();
}

#[test]
fn a_flood_of_connections_does_not_starve_the_control_socket() {
    // C8.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let load = Load::start(site.to(), 32, 1, DEADLINE);
    load.proceed(100);
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        let start = Instant::now();
        balancer.status();
        slowest = slowest.max(start.elapsed());
    }
    load.stop().clean();
    assert!(
        slowest < Duration::from_secs(4),
        "a status took {slowest:?}"
    );
    balancer.finish();
}

#[test]
fn garbage_and_idlers_on_the_control_socket_are_survived() {
    // K1, K2.
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let idle: Vec<UnixStream> = (0..100)
        .filter_map(|_| UnixStream::connect(site.control()).ok())
        .collect();
    drop(idle);
    let mut random = Random::seeded();
    for _ in 0..50 {
        let Ok(mut client) = UnixStream::connect(site.control()) else {
            continue;
        };
        client.set_read_timeout(Some(DEADLINE)).expect("time-out");
        let bytes: Vec<u8> = (0..random.below(10_000))
            .map(|_| random.next() as u8)
            .collect();
        let _ = client.write_all(&bytes);
        let _ = client.write_all(b"\n");
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
    }
    let mode = std::fs::metadata(site.control()).expect("there");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    Crowd::gather(site.to(), 0..40)
        .answers()
        .all_answered(40)
        .even(2, 10);
    balancer.finish();
}
