//! The hand-off: exact turns, and nothing undelivered lost, whatever happens to the worker that should have
//! received it (scenarios A1 to A17 of the design's failure list).

mod common;

use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

#[test]
fn three_nodes_get_exactly_the_same() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &[]);
    let load = Load::start(site.to(), 8, 1, DEADLINE);
    load.proceed(3000);
    let report = load.stop();
    balancer.dealt_in_turn(&report.clean().tally, 3);
    // What the status says is what the clients saw.
    let seen = report.tally.by_pid();
    for slot in balancer.status().slots {
        assert_eq!(slot.pid.and_then(|pid| seen.get(&pid)), Some(&slot.dealt));
    }
    balancer.finish();
}

#[test]
fn each_connection_ends_with_its_fin_at_once() {
    // A7, A8: a copy kept in the primary would hold the FIN back (KF21) and show in the census.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let late = (0..500)
        .filter(|&id| {
            let start = Instant::now();
            assert!(matches!(ask(site.to(), id), Outcome::Ok(_)));
            start.elapsed() > Duration::from_secs(2)
        })
        .count();
    assert_eq!(late, 0, "answers whose end came late");
    balancer.finish();
}

#[test]
fn what_was_queued_survives_the_kill_of_all() {
    // A1, B2: both stopped, so that nothing is taken; then both killed.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    for round in 0..5 {
        let workers = balancer.workers();
        send_all(&workers, Signal::SIGSTOP);
        let from = round * 1000;
        let crowd = Crowd::gather(site.to(), from..from + 100);
        send_all(&workers, Signal::SIGKILL);
        crowd.answers().all_answered(100);
        balancer.replaced(&workers);
    }
    balancer.finish();
}

#[test]
fn a_sibling_answers_while_the_replacement_is_slow() {
    // A3: the restart takes 10 s; nobody waits for it.
    let site = Site::new();
    let slow = site.file("slow");
    let shell = format!(
        "test -e {} && sleep 10; exec node {}",
        slow.display(),
        server("http.js")
    );
    let balancer = Balancer::start(&site, &["run", "-n", "2", "--", "sh", "-c", &shell]);
    std::fs::write(&slow, "").expect("written");
    let first = balancer.workers()[0];
    send(first, Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..100);
    send(first, Signal::SIGKILL);
    let start = Instant::now();
    let tally = crowd.answers();
    tally.all_answered(100).even(1, 0);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "took {:?}",
        start.elapsed()
    );
    std::fs::remove_file(&slow).expect("removed");
    balancer.finish();
}

#[test]
fn a_stopped_worker_holds_nobody_up() {
    // A4, C1: one of four is stopped; what was dealt to it is read back.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &[]);
    let stopped = balancer.workers()[2];
    send(stopped, Signal::SIGSTOP);
    let load = Load::start(site.to(), 8, 1, DEADLINE);
    load.proceed(1500);
    let report = load.stop();
    let read_back = balancer.status().slots[2].read_back;
    send(stopped, Signal::SIGCONT);
    report.clean();
    let others = report
        .tally
        .slowest_of
        .iter()
        .filter(|(pid, _)| **pid != stopped);
    let slowest = others.map(|(_, slowest)| *slowest).max().expect("answers");
    assert!(slowest < Duration::from_secs(3), "slowest: {slowest:?}");
    assert!(
        read_back > 0,
        "what was dealt to the stopped worker was read back"
    );
    // It is tried with a connection now and then, and has its turn back once it takes one.
    let again = Load::start(site.to(), 4, 100_000, DEADLINE);
    balancer.until("the resumed worker takes its turns", |status| {
        status.slots[2].accepted >= 100
    });
    again.stop().clean();
    balancer.finish();
}

#[test]
fn all_stopped_then_resumed_loses_nothing() {
    // A4: more than the queues and the held list take; the rest waits in the kernel's backlog.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--max-held", "50"]);
    let workers = balancer.workers();
    send_all(&workers, Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..400);
    send_all(&workers, Signal::SIGCONT);
    crowd.answers().all_answered(400);
    balancer.finish();
}

#[test]
fn a_user_with_few_descriptors_is_held_back_not_cut_off() {
    // A5: ETOOMANYREFS is back-pressure. Only root can become nobody.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    let binary = site.file("forkfront");
    std::fs::copy(env!("CARGO_BIN_EXE_forkfront"), &binary).expect("copied");
    let fixture = site.file("http.js");
    std::fs::copy(server("http.js"), &fixture).expect("copied");
    let owner = Some(nix::unistd::Uid::from_raw(65_534));
    nix::unistd::chown(&site.directory.join("run"), owner, None).expect("chown");
    let fixture = fixture.display().to_string();
    let words = ["run", "-n", "2", "--max-held", "8", "--", "node", &fixture];
    let home = site.directory.join("run").display().to_string();
    let front = format!(
        "prlimit --nofile=200:200 setpriv --reuid=65534 --regid=65534 --clear-groups env XDG_RUNTIME_DIR={home}"
    );
    let front: Vec<&str> = front.split(' ').collect();
    let mut balancer = Balancer::spawn_behind(&site, &front, &binary, &words);
    balancer.all_ready();
    let workers = balancer.workers();
    send_all(&workers, Signal::SIGSTOP);
    let crowd = Crowd::gather(site.to(), 0..200);
    send_all(&workers, Signal::SIGCONT);
    crowd.answers().all_answered(200);
    balancer.finish();
}

#[test]
fn a_worker_without_free_descriptors_loses_nothing() {
    // A10, KF8.
    let site = Site::new();
    let shell = format!("ulimit -n 32; exec python3 {}", server("full.py"));
    let balancer = Balancer::start(&site, &["run", "-n", "1", "--", "sh", "-c", &shell]);
    let crowd = Crowd::gather(site.to(), 0..80);
    // It has none left.
    balancer.says("accept: 24");
    send(balancer.workers()[0], Signal::SIGUSR1);
    crowd.answers().all_answered(80);
    balancer.finish();
}

#[test]
fn a_worker_that_closes_its_listener_and_lives_on_gets_nothing_more() {
    // A14.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    load.proceed(200);
    let client = Client::asking(site.to(), 0, "unlisten");
    let body = client.body().expect("answered");
    let pid: u32 = body
        .split(' ')
        .nth(1)
        .and_then(|pid| pid.parse().ok())
        .expect("a pid");
    load.proceed(500);
    load.stop().clean();
    let after = Crowd::gather(site.to(), 1_000_000..1_000_040).answers();
    after.all_answered(40).even(1, 0);
    assert!(
        !after.by_pid().contains_key(&pid),
        "the closed one answered"
    );
    send(pid, Signal::SIGKILL);
    balancer.finish();
}

#[test]
fn a_helper_that_outlives_its_parent_eats_nothing() {
    // A15: its child would accept and never answer.
    let site = Site::new();
    let balancer = Balancer::start(
        &site,
        &["run", "-n", "1", "--", "python3", &server("orphan.py")],
    );
    for round in 0..3 {
        let parent = balancer.workers()[0];
        send(parent, Signal::SIGKILL);
        balancer.replaced(&[parent]);
        let from = round * 1000;
        Crowd::gather(site.to(), from..from + 30)
            .answers()
            .all_answered(30);
    }
    balancer.finish();
}

#[test]
fn reading_back_beside_a_worker_that_wakes_up_never_doubles() {
    // A16: both may receive, each message goes to one.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--steal-after", "20ms"]);
    let mut random = Random::seeded();
    let load = Load::start(site.to(), 16, 1, DEADLINE);
    let workers = balancer.workers();
    for _ in 0..60 {
        let worker = workers[random.below(2) as usize];
        send(worker, Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(15 + random.below(20)));
        send(worker, Signal::SIGCONT);
    }
    load.proceed(50);
    let report = load.stop();
    report.clean();
    balancer.finish();
}

#[test]
fn clients_that_reset_while_queued_hurt_no_server() {
    // A17: getpeername fails for them, accept must not.
    for command in [
        vec!["node".to_string(), server("http.js")],
        vec!["python3".to_string(), server("blocking.py")],
        vec!["python3".to_string(), server("loop.py")],
        vec!["ruby".to_string(), server("tcp.rb")],
    ] {
        let site = Site::new();
        let mut words = vec!["run".to_string(), "-n".into(), "1".into(), "--".into()];
        words.extend(command);
        let balancer = Balancer::start(&site, &words);
        let worker = balancer.workers()[0];
        send(worker, Signal::SIGSTOP);
        Crowd::gather(site.to(), 0..100).leave();
        send(worker, Signal::SIGCONT);
        Crowd::gather(site.to(), 200..220)
            .answers()
            .all_answered(20);
        assert_eq!(balancer.workers(), [worker], "{words:?} did not survive");
        balancer.finish();
    }
}
