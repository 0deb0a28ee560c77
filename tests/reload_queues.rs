//! Rolling reloads and what waits meanwhile: queues of old workers, clients held for want of a worker, other
//! policies and other listeners.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::*;
use forkfront::status::SlotState;
use nix::sys::signal::Signal;

#[test]
fn what_old_workers_had_queued_is_served_by_the_new() {
    let site = Site::new();
    let flags = ["--drain-timeout", "500ms", "--grace", "500ms"];
    let balancer = Balancer::nodes(&site, 2, &flags);
    let old = balancer.workers();
    // Stopped, they take nothing; the signal to end comes to them by SIGKILL only.
    send_all(&old, Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..200);
    balancer.reload().done();
    let tally = crowd.answers();
    tally.all_answered(200);
    assert!(old.iter().all(|pid| !tally.by_pid().contains_key(pid)));
    balancer.gone(&old);
    balancer.finish();
}

#[test]
fn what_a_sticky_slot_had_queued_is_served_by_its_next_worker() {
    let site = Site::new();
    let flags = ["--sticky", "ip", "--steal-after", "30s"];
    let balancer = Balancer::nodes(&site, 2, &flags);
    let slot_of = |id| match ask(site.to(), id) {
        Outcome::Ok(answer) => answer.slot.expect("node knows its slot"),
        other => panic!("{id}: {other:?}"),
    };
    let before: Vec<u16> = (0..100).map(slot_of).collect();
    let old = balancer.workers();
    send_all(&old, Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..100);
    balancer.reload().done();
    let tally = crowd.answers();
    tally.all_answered(100);
    let slots = tally.outcomes.keys().filter_map(|outcome| match outcome {
        Outcome::Ok(answer) => answer.slot,
        _ => None,
    });
    assert_eq!(
        slots.collect::<Vec<u16>>().len(),
        2,
        "one process each: {tally:#?}"
    );
    let after: Vec<u16> = (0..100).map(slot_of).collect();
    assert_eq!(before, after);
    send_all(&old, Signal::SIGCONT);
    balancer.gone(&old);
    balancer.finish();
}

#[test]
fn clients_that_wait_for_any_worker_are_served_by_the_reload() {
    let site = Site::new();
    let broken = site.file("broken");
    let line = format!(
        "[ -e {} ] && exit 3; exec node {}",
        broken.display(),
        server("http.js")
    );
    let balancer = Balancer::start(&site, &["run", "-n", "2", "--", "sh", "-c", &line]);
    std::fs::write(&broken, "").expect("written");
    send_all(&balancer.workers(), Signal::SIGKILL);
    balancer.until("all wait for longer and longer", |status| {
        let mut slots = status.slots.iter();
        slots.all(|slot| slot.state == SlotState::Waiting && slot.restarts >= 4)
    });
    let crowd = Crowd::gather(site.to(), 0..100);
    std::fs::remove_file(&broken).expect("mended");
    let done = balancer.reload().done();
    assert!(done.took < Duration::from_secs(5), "{done}");
    crowd.answers().all_answered(100);
    balancer.finish();
}

#[test]
fn other_policies() {
    for policy in ["least-connections", "idle"] {
        let site = Site::new().env("ON_TERM", "close");
        let flags = ["--balance", policy, "--drain-timeout", "1s"];
        let balancer = Balancer::nodes(&site, 2, &flags);
        let former = balancer.workers();
        let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
        load.proceed(100);
        balancer.reload().done();
        load.proceed(100);
        balancer.gone(&former);
        load.stop().smooth();
        balancer.finish();
    }
}

#[test]
fn workers_that_share_the_socket_itself() {
    // Nobody can keep the kernel from waking an old worker until it closes: it has to finish what it accepted.
    let site = Site::new().env("ON_TERM", "close");
    let balancer = Balancer::nodes(&site, 2, &["--balance", "kernel"]);
    renewed(&balancer, site.to());
    balancer.finish();
}

#[test]
fn a_unix_listener() {
    let site = Site::new();
    let path = site.file("listener").display().to_string();
    let listen = format!("unix:{path}={}", site.port);
    let balancer = Balancer::nodes(&site, 2, &["-l", &listen]);
    let ask = |id: u64| {
        let mut stream = UnixStream::connect(&path).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        write!(
            stream,
            "GET /{id} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.ends_with(&format!(" {id}\n")), "{answer}");
    };
    let reload = balancer.begin(&["reload"]);
    let mut id = 0;
    balancer.until("renewed", |status| {
        (0..20).for_each(|_| {
            id += 1;
            ask(id);
        });
        status.slots.iter().all(|slot| slot.generation == 2)
    });
    reload.end().done();
    (id..id + 20).for_each(ask);
    balancer.left();
    balancer.finish();
}
