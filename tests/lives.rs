//! Lives of single workers that take an unusual turn: daemons, late ones, wrappers, channels that are cut.

mod common;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::*;
use forkfront::status::SlotState;
use nix::sys::signal::Signal;

/// `n` workers of a Python program in which `ADDRESS` is the site's, as a tuple.
fn pythons<'a>(site: &'a Site, n: &str, program: &str) -> Balancer<'a> {
    let to = site.to();
    let address = format!("('{}', {})", to.ip(), to.port());
    let file = site.file("server.py");
    std::fs::write(&file, program.replace("ADDRESS", &address)).expect("written");
    let (python, file) = (python(), file.display().to_string());
    Balancer::start(site, &["run", "-n", n, "--", &python, &file])
}

#[test]
fn a_server_that_goes_into_the_background_is_named_and_collected() {
    // B7.
    let site = Site::new();
    let line = format!("setsid node {} & exit 0", server("http.js"));
    let finished = run_to_end(&site, &["run", "-n", "2", "--", "sh", "-c", &line]);
    finished.refused(&site, 1, "foreground");
}

#[test]
fn a_slot_that_comes_too_late_is_told_once_and_tried_again() {
    let site = Site::new();
    let mended = site.file("mended");
    let line = slot_1_until(&mended, "exec sleep 1000");
    let mut balancer = Balancer::shells(&site, 2, &["--ready-timeout", "1s"], &line);
    balancer.until("slot 1 was late twice", |status| {
        status.slots[1].restarts >= 2 && status.slots[0].state == SlotState::Ready
    });
    Crowd::gather(site.to(), 0..20).answers().all_answered(20);
    balancer.says("was not ready within 1 s");
    std::fs::write(&mended, "").expect("written");
    balancer.all_ready();
    balancer.finish();
}

#[test]
fn a_wrapper_that_dies_of_the_signal_takes_no_request_along() {
    // The shell does not pass the signal on; what it started finishes all the same.
    let site = Site::new().env("ON_TERM", "close");
    let flags = ["--drain-timeout", "100ms"];
    let mut balancer = Balancer::shells(&site, 1, &flags, "node HTTP; true");
    balancer.all_ready();
    let client = Client::asking(site.to(), 1, "slow");
    balancer.until("the slow request is being served", |status| {
        status.slots[0].open == 1
    });
    balancer.signal(Signal::SIGTERM);
    let body = client.body().expect("a request under way is answered");
    assert!(body.ends_with("slow\n"), "{body}");
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn what_ignores_sigterm_is_killed_after_its_grace() {
    let site = Site::new();
    let flags = ["--grace", "500ms"];
    let line = "trap '' TERM; while :; do node HTTP; done";
    let mut balancer = Balancer::shells(&site, 2, &flags, line);
    balancer.all_ready();
    let start = Instant::now();
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait(), Some(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    balancer.nothing_left();
}

#[test]
fn a_stop_that_meets_what_a_dead_worker_has_left_comes_to_its_end() {
    let site = Site::new();
    let line = "(trap '' TERM; sleep 60) & exec node HTTP";
    let mut balancer = Balancer::shells(&site, 2, &["--grace", "2s"], line);
    balancer.all_ready();
    let former = balancer.status().slots[0].pid.expect("a worker");
    balancer.command(&["restart", "0"]).done();
    balancer.until("its first process has ended", |status| {
        !status.leaving.iter().any(|one| one.pid == former)
    });
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn a_worker_that_cuts_its_channel_is_replaced_and_nothing_is_lost() {
    // A13, past the shim: a symbol that is looked up in the C library itself is not interposed.
    let site = Site::new();
    let program = r#"
import ctypes, os, socket, time
listener = socket.create_server(ADDRESS)
libc = ctypes.CDLL('libc.so.6')
while True:
    client, _ = listener.accept()
    asked = client.recv(4096).split()[1].decode()[1:]
    body = f"{os.environ['FORKFRONT_SLOT']} {os.getpid()} {asked}\n"
    client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    client.close()
    if asked == 'cut':
        assert libc.shutdown(listener.fileno(), socket.SHUT_RDWR) == 0
        time.sleep(1000)
"#;
    let mut balancer = pythons(&site, "2", program);
    let before = balancer.workers();
    let cut = Client::asking(site.to(), 1, "cut").answered_by().pid;
    Crowd::gather(site.to(), 10..60).answers().all_answered(50);
    balancer.until("the worker is replaced", |status| {
        status
            .slots
            .iter()
            .all(|slot| slot.state == SlotState::Ready && slot.pid != Some(cut))
    });
    assert!(before.contains(&cut));
    balancer.says("shut down its channel");
    balancer.at_rest();
    balancer.finish();
}

#[test]
fn an_address_that_was_only_tried_is_free_again() {
    let site = Site::new();
    let tried = Site::new();
    let (ip, port) = (tried.to().ip(), tried.to().port());
    let program = format!(
        r#"
import socket
probe = socket.socket()
probe.bind(('{ip}', {port}))
probe.close()
listener = socket.create_server(ADDRESS)
while True:
    client, _ = listener.accept()
    client.close()
"#
    );
    let balancer = pythons(&site, "2", &program);
    let status = balancer.status();
    assert_eq!(status.listeners.len(), 1, "{status:#?}");
    TcpListener::bind(tried.to()).expect("free again");
    balancer.finish();
}

#[test]
fn a_server_that_dies_behind_a_wrapper_that_lives_gets_nothing_more() {
    let site = Site::new();
    let mut balancer = Balancer::shells(&site, 2, &[], "node HTTP & wait; sleep 1000");
    balancer.all_ready();
    let server = Client::asking(site.to(), 1, "1").answered_by().pid;
    send(server, Signal::SIGKILL);
    Crowd::gather(site.to(), 10..60).answers().all_answered(50);
    let paused = |status: &forkfront::status::Status| {
        let mut states = status.slots.iter().map(|slot| slot.state);
        states.any(|state| state == SlotState::Paused)
    };
    balancer.until("the slot is paused", paused);
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}
