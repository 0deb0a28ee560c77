//! A primary that runs by a configuration file: one app and several, and the file read again while everything
//! runs. What is wrong changes nothing, what can change at once does, and no client notices.

mod common;

use std::fs;
use std::net::SocketAddr;

use common::*;
use forkfront::config::Balance;
use forkfront::status::{SlotState, Status};
use nix::sys::signal::Signal;

/// An app of the node fixture under its name, at a port of its own.
fn app(name: &str, port: u16, site: &Site, more: &str) -> String {
    let (host, server) = (&site.host, server("http.js"));
    format!(
        "[[app]]\nname = \"{name}\"\ncommand = [\"node\", \"{server}\"]\nlisten = \"{host}:{port}\"\n\
         drain-timeout = \"20s\"\nenv.PORT = {port}\n{more}\n"
    )
}

fn write(site: &Site, text: &str) -> String {
    let path = site.file("site.toml");
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

fn start<'a>(site: &'a Site, text: &str) -> Balancer<'a> {
    let file = write(site, text);
    Balancer::start(site, &["run", "--config", &file])
}

fn at(site: &Site, port: u16) -> SocketAddr {
    SocketAddr::new(site.to().ip(), port)
}

#[track_caller]
fn answers(to: SocketAddr) {
    let outcome = ask(to, 1);
    assert!(matches!(outcome, Outcome::Ok(_)), "{to}: {outcome:?}");
}

#[track_caller]
fn refuses(to: SocketAddr) {
    eventually("nobody listens there", || {
        (ask(to, 1) == Outcome::Refused).then_some(())
    });
}

fn pids(status: &Status, app: &str) -> Vec<u32> {
    let slots = status.slots.iter().filter(|slot| slot.app == app);
    slots.map(|slot| slot.pid.unwrap_or(0)).collect()
}

#[test]
fn one_app_runs_by_a_file() {
    let site = Site::new();
    fs::create_dir(site.file("web")).expect("a directory");
    let text = format!(
        "name = \"from-the-file\"\n{}",
        app(
            "web",
            site.port,
            &site,
            "workers = 2\ncwd = \"web\"\nbalance = \"least-connections\""
        )
    );
    let balancer = start(&site, &text);
    let status = balancer.status();
    assert_eq!(
        (status.slots.len(), status.balance),
        (2, Balance::LeastConnections)
    );
    answers(site.to());
    let pid = balancer.workers()[0];
    let cwd = fs::read_link(format!("/proc/{pid}/cwd")).expect("a process");
    assert_eq!(cwd, site.file("web"));
    balancer.finish();
}

#[test]
fn several_apps_are_independent() {
    let site = Site::new();
    let [other] = site.ports(1)[..] else { panic!() };
    let text =
        app("web", site.port, &site, "workers = 2") + &app("api", other, &site, "workers = 1");
    let balancer = start(&site, &text);
    let status = balancer.status();
    assert_eq!(
        (pids(&status, "web").len(), pids(&status, "api").len()),
        (2, 1)
    );
    answers(site.to());
    answers(at(&site, other));
    // One is renewed, the other does not notice.
    let before = pids(&status, "web");
    balancer.command(&["reload", "--app", "api"]).done();
    let after = balancer.status();
    assert_eq!(pids(&after, "web"), before);
    assert_ne!(pids(&after, "api"), pids(&status, "api"));
    balancer.command(&["restart", "web:1"]).done();
    let last = balancer.status();
    assert_eq!(pids(&last, "web")[0], before[0]);
    assert_ne!(pids(&last, "web")[1], before[1]);
    balancer.says("[web:0 ");
    balancer.finish();
}

#[test]
fn a_file_that_is_wrong_changes_nothing() {
    let site = Site::new();
    let good = app("web", site.port, &site, "workers = 2");
    let balancer = start(&site, &good);
    let workers = balancer.workers();
    let taken = std::net::TcpListener::bind((site.to().ip(), 0)).expect("a listener");
    let taken = taken.local_addr().expect("bound");
    let wrong = [
        (
            good.replace("workers = 2", "workers = 0"),
            ":7:11: 'workers' cannot be 0",
        ),
        (
            good.replace("workers", "wrokers"),
            "did you mean 'workers'?",
        ),
        (good.replace("[[app]]", "[[app]"), "this is no TOML"),
        (String::new(), "there is no [[app]]"),
        ("\0".repeat(100), "this is no TOML"),
        (
            good.replace("\"node\"", "\"no-such-program-x\""),
            "cannot start 'no-such-program-x'",
        ),
        (
            good.replace("env.PORT", "balance = \"kernel\"\nenv.PORT"),
            "to or from \"kernel\"",
        ),
        (format!("name = \"other\"\n{good}"), "'name' cannot change"),
        (
            // Something that could change at once, and something that cannot be: neither is done.
            good.replace("workers = 2", "workers = 5") + &app("api", taken.port(), &site, ""),
            "cannot listen on",
        ),
    ];
    for (text, part) in &wrong {
        write(&site, text);
        balancer.reload().failed(1, &[part]);
        balancer
            .command(&["reload", "--changes-only"])
            .failed(1, &[part]);
        assert_eq!(balancer.workers(), workers, "{part}");
    }
    fs::remove_file(site.file("site.toml")).expect("a file");
    balancer.signal(Signal::SIGHUP);
    balancer.says("no such file");
    assert_eq!(balancer.workers(), workers);
    assert_eq!(balancer.status().slots.len(), 2);
    answers(site.to());
    balancer.finish();
}

#[test]
fn what_can_change_at_once_does_and_costs_no_worker() {
    let site = Site::new();
    let text = app("web", site.port, &site, "workers = 2");
    let balancer = start(&site, &text);
    let workers = balancer.workers();
    let more = "workers = 3\nbalance = \"idle\"\nsticky = \"ip\"\nmax-held = 7\ngrace = 3\nmax-restarts = 9\n\
                max-memory = \"4G\"";
    write(
        &site,
        &("log-level = \"debug\"\n".to_owned() + &text.replace("workers = 2", more)),
    );
    let done = balancer.command(&["reload", "--changes-only"]).done();
    for word in [
        "workers",
        "balance",
        "sticky",
        "max-held",
        "grace",
        "restart",
        "limits",
        "log-level debug",
    ] {
        assert!(done.stdout.contains(word), "no {word} in {done}");
    }
    let status = balancer.status();
    assert_eq!((status.balance, status.slots.len()), (Balance::Idle, 3));
    assert_eq!(status.slots[2].state, SlotState::Ready);
    assert_eq!(balancer.workers()[..2], workers[..]);
    // Again: nothing to do.
    let done = balancer.command(&["reload", "--changes-only"]).done();
    assert!(done.stdout.contains("nothing has changed"), "{done}");
    // And back.
    write(&site, &text);
    balancer.signal(Signal::SIGHUP);
    let status = balancer.until("HUP has scaled down and renewed", |status| {
        let mut slots = status.slots.iter();
        status.slots.len() == 2
            && slots.all(|slot| slot.pid.is_some_and(|pid| !workers.contains(&pid)))
    });
    assert_eq!(status.balance, Balance::RoundRobin);
    balancer.until("the old ones are gone", |status| status.leaving.is_empty());
    balancer.finish();
}

#[test]
fn new_workers_are_started_where_they_are_needed() {
    let site = Site::new();
    let [other] = site.ports(1)[..] else { panic!() };
    let web = app("web", site.port, &site, "workers = 2\nenv.RELEASE = \"1\"");
    let api = app("api", other, &site, "workers = 1");
    let balancer = start(&site, &(web.clone() + &api));
    let before = balancer.status();
    let load = Load::start(site.to(), 2, 100, DEADLINE);
    write(&site, &(web.replace("\"1\"", "\"2\"") + &api));
    balancer.command(&["reload", "--changes-only"]).done();
    let after = balancer.status();
    assert_eq!(pids(&after, "api"), pids(&before, "api"));
    for pid in pids(&after, "web") {
        assert!(!pids(&before, "web").contains(&pid));
        let environment = fs::read_to_string(format!("/proc/{pid}/environ")).expect("a process");
        assert!(environment.contains("RELEASE=2\0"), "{environment}");
    }
    // What fails is tried again by the next, though the file is the same: the workers have not seen it.
    write(
        &site,
        &(web
            .replace("\"1\"", "\"3\"")
            .replace("[\"node\"", "[\"false\"")
            + &api),
    );
    balancer
        .command(&["reload", "--changes-only"])
        .failed(1, &["slot web:"]);
    balancer
        .command(&["reload", "--changes-only"])
        .failed(1, &["slot web:"]);
    assert_eq!(pids(&balancer.status(), "web"), pids(&after, "web"));
    load.stop().clean();
    balancer.until("the old ones are gone", |status| status.leaving.is_empty());
    balancer.finish();
}

#[test]
fn listeners_come_and_go_and_nobody_is_lost() {
    let site = Site::new();
    let [other] = site.ports(1)[..] else { panic!() };
    let text = app("web", site.port, &site, "workers = 2");
    let balancer = start(&site, &text);
    let workers = balancer.workers();
    let load = Load::start(site.to(), 2, 100, DEADLINE);
    let (bind, host, port) = (site.bind(), &site.host, site.port);
    let two = format!("[\"{bind}\", \"{host}:{other}={port}\", \"unix:a.sock={port}\"]");
    write(&site, &text.replace(&format!("\"{bind}\""), &two));
    balancer.command(&["reload", "--changes-only"]).done();
    answers(at(&site, other));
    assert!(site.file("a.sock").exists());
    assert_eq!(balancer.workers(), workers);
    // One by one they go again, though all lead to one port of the server.
    write(&site, &text);
    balancer.command(&["reload", "--changes-only"]).done();
    refuses(at(&site, other));
    assert!(!site.file("a.sock").exists());
    answers(site.to());
    assert_eq!(balancer.workers(), workers);
    load.stop().clean();
    balancer.finish();
}

#[test]
fn apps_come_and_go() {
    let site = Site::new();
    let [other, third] = site.ports(2)[..] else {
        panic!()
    };
    let web = app("web", site.port, &site, "workers = 2");
    let api = app("api", other, &site, "workers = 2");
    let balancer = start(&site, &web);
    let workers = balancer.workers();
    let load = Load::start(site.to(), 2, 100, DEADLINE);
    write(&site, &(web.clone() + &api));
    balancer.command(&["reload", "--changes-only"]).done();
    answers(at(&site, other));
    let status = balancer.status();
    assert_eq!(
        (pids(&status, "web"), pids(&status, "api").len()),
        (workers.clone(), 2)
    );
    // Another name is no other app; another app's address is.
    let renamed = api.replace("\"api\"", "\"job\"");
    write(&site, &(web.clone() + &renamed));
    balancer.command(&["reload", "--changes-only"]).done();
    assert_eq!(pids(&balancer.status(), "job"), pids(&status, "api"));
    let moved = app("new", other, &site, "") + &app("job", third, &site, "workers = 2");
    write(&site, &(web.clone() + &moved));
    balancer
        .command(&["reload"])
        .failed(1, &["with one reload, and give it with the next"]);
    write(&site, &web);
    balancer.command(&["reload", "--changes-only"]).done();
    refuses(at(&site, other));
    let status = balancer.until("the app is gone", |status| status.slots.len() == 2);
    assert_eq!(pids(&status, "web"), workers);
    load.stop().clean();
    balancer.finish();
}

#[test]
fn the_file_is_still_known_after_an_upgrade() {
    let site = Site::new();
    let text = app("web", site.port, &site, "workers = 1");
    let balancer = start(&site, &text);
    let workers = balancer.workers();
    balancer.command(&["upgrade"]).done();
    write(&site, &text.replace("workers = 1", "workers = 0"));
    balancer
        .reload()
        .failed(1, &["site.toml:7:11: 'workers' cannot be 0"]);
    write(&site, &text.replace("workers = 1", "workers = 2"));
    balancer.command(&["reload", "--changes-only"]).done();
    assert_eq!(balancer.workers()[..1], workers[..]);
    assert_eq!(balancer.status().slots.len(), 2);
    answers(site.to());
    write(&site, &text);
    balancer.command(&["reload", "--changes-only"]).done();
    balancer.until("it is gone", |status| {
        status.leaving.is_empty() && status.slots.len() == 1
    });
    balancer.finish();
}

#[test]
fn an_app_that_cannot_start_is_told_and_the_others_go_on() {
    let site = Site::new();
    let [other] = site.ports(1)[..] else { panic!() };
    let web = app("web", site.port, &site, "workers = 2");
    let balancer = start(&site, &web);
    let workers = balancer.workers();
    let bad = app("bad", other, &site, "workers = 1").replace("\"node\"", "\"false\"");
    write(&site, &(web.clone() + &bad));
    balancer.reload().failed(1, &["slot bad:0"]);
    answers(site.to());
    write(&site, &web);
    balancer.command(&["reload", "--changes-only"]).done();
    balancer.until("the app is gone", |status| status.slots.len() == 2);
    assert_eq!(balancer.workers(), workers);
    balancer.finish();
}

#[test]
fn without_a_file_there_is_nothing_to_read_again() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    balancer
        .command(&["reload", "--changes-only"])
        .failed(1, &["without --config"]);
    let before = balancer.workers();
    balancer.reload().done();
    balancer.gone(&before);
    balancer.finish();
}

#[test]
fn random_damage_changes_nothing() {
    let site = Site::new();
    let good = app("web", site.port, &site, "workers = 1");
    let balancer = start(&site, &good);
    let workers = balancer.workers();
    let mut random = Random::seeded();
    let mut refused = 0;
    for _ in 0..40 {
        let mut text = good.clone().into_bytes();
        let at = random.below(text.len() as u64) as usize;
        match random.below(3) {
            0 => text.truncate(at),
            1 => text[at] = random.below(256) as u8,
            _ => _ = text.remove(at),
        }
        let path = site.file("site.toml");
        fs::write(&path, &text).expect("a file");
        let judged = run_to_end(&site, &["check", &path.display().to_string()]);
        if judged.code == Some(0) {
            continue;
        }
        let said = judged.stderr.lines().next().unwrap_or_default().to_owned();
        balancer.reload().failed(1, &[&said]);
        refused += 1;
    }
    assert!(refused > 10, "{refused}");
    assert_eq!(balancer.workers(), workers);
    answers(site.to());
    balancer.finish();
}
