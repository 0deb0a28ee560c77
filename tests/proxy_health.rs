//! Backends of a proxy that die, stand still, fall ill and come back, and what people do to them while all runs:
//! nobody who asks notices, and status says why each gets what it gets.

mod common;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use common::*;
use forkfront::status::BackendState::*;

/// Checks that take a test no time.
const QUICK: &[&str] = &["--check-interval", "100ms", "--rise", "2", "--fall", "2"];

/// A proxy with two workers that leads to all of these.
#[track_caller]
fn proxy<'a>(site: &'a Site, to: &str, flags: &[&str]) -> Balancer<'a> {
    let listen = site.to().to_string();
    let mut words = vec!["proxy", "-n", "2", "-l", &listen, "--to", to];
    words.extend(flags);
    Balancer::start(site, &words)
}

/// As [`proxy`], to these servers.
#[track_caller]
fn before<'a>(site: &'a Site, all: &[Upstream], flags: &[&str]) -> Balancer<'a> {
    proxy(site, &Upstream::list(all), flags)
}

/// Which process answers `count` requests, one after the other.
#[track_caller]
fn answered_by(site: &Site, count: u64) -> Vec<u32> {
    let ask = |id| match ask(site.to(), id) {
        Outcome::Ok(answer) => answer.pid,
        other => panic!("{other:?}"),
    };
    (1..=count).map(ask).collect()
}

#[test]
fn one_that_dies_is_down_until_it_is_back_and_nobody_notices() {
    let site = Site::new();
    let mut all = Upstream::start(&site, 2);
    let nobody = site.ports(3)[2];
    let to = format!("{},{}:{nobody}", Upstream::list(&all), site.host);
    let flags = [QUICK, &["--check", "tcp"]].concat();
    let balancer = proxy(&site, &to, &flags);
    // Its first check counts alone.
    let status = balancer.until("the third is down", |status| {
        status.backends[2].state == Down
    });
    let why = status.backends[2].why.clone().expect("a reason");
    assert!(why.contains("Connection refused"), "{why}");
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    load.proceed(100);
    for one in &mut all {
        one.kill();
        let why = one.becomes(&balancer, Down);
        assert!(why.contains("Connection refused"), "{why}");
        load.proceed(100);
        one.revive();
        one.becomes(&balancer, Up);
        load.proceed(100);
    }
    let status = balancer.status();
    assert_eq!(status.backends[2].state, Down);
    let report = load.stop();
    assert_eq!(report.tally.by_pid().len(), 4, "all four have served");
    cut_short(&report, 2);
    assert!(status.backends.iter().all(|one| one.app == "proxy"));
    for part in [
        "is down: 2 checks in a row found that",
        "is down: its check found",
        "is up again after",
    ] {
        balancer.says(part);
    }
    balancer.finish();
}

#[test]
fn an_http_check_sees_what_a_connect_does_not() {
    let site = Site::new();
    let all = Upstream::start(&site, 2);
    let flags = [QUICK, &["--check", "http:/health", "--check-timeout", "1s"]].concat();
    let balancer = before(&site, &all, &flags);
    balancer.until("checked", |status| {
        all.iter().all(|one| one.seen(status).checks_good > 0)
    });
    all[0].be("sick");
    let why = all[0].becomes(&balancer, Down);
    assert!(why.contains("it answered GET /health with 503"), "{why}");
    let bad = all[0].seen(&balancer.status()).checks_bad;
    assert!(bad >= 2, "it takes two");
    assert!(answered_by(&site, 6).iter().all(|pid| *pid == all[1].pid()));
    // One that stands still takes connections, and answers nothing.
    all[0].be("well");
    all[0].becomes(&balancer, Up);
    all[1].stop();
    let why = all[1].becomes(&balancer, Down);
    assert!(
        why.contains("has not answered GET /health within 1 s"),
        "{why}"
    );
    assert!(answered_by(&site, 6).iter().all(|pid| *pid == all[0].pid()));
    all[1].go_on();
    all[1].becomes(&balancer, Up);
    balancer.finish();
}

#[test]
fn unix_sockets_and_ipv6_are_checked_too() {
    let site = Site::new();
    let path = site.file("backend.sock");
    let unix = UnixListener::bind(&path).expect("a socket");
    let v6 = TcpListener::bind("[::1]:0").expect("a port");
    let at = v6.local_addr().expect("bound");
    let to = format!("unix:{},{at}", path.display());
    let balancer = proxy(&site, &to, &[QUICK, &["--check", "tcp"]].concat());
    balancer.until("both checked", |status| {
        status
            .backends
            .iter()
            .all(|one| one.checks_good > 2 && one.state == Up)
    });
    drop((unix, v6));
    let status = balancer.until("both down", |status| {
        status.backends.iter().all(|one| one.state == Down)
    });
    for one in &status.backends {
        let why = one.why.as_deref().unwrap_or_default();
        assert!(
            why.contains("Connection refused") && why.contains("all the same"),
            "{why}"
        );
        assert_eq!(
            one.share_percent, 100,
            "all get sessions when none can serve"
        );
    }
    balancer.finish();
}

#[test]
fn without_checks_the_sessions_find_out_and_it_comes_back_by_time() {
    let site = Site::new();
    let mut all = Upstream::start(&site, 2);
    let balancer = before(&site, &all, &["--eject-time", "400ms"]);
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    load.proceed(50);
    all[0].kill();
    let why = all[0].becomes(&balancer, Ejected);
    assert!(why.contains("connects in a row failed"), "{why}");
    balancer.until("ejected again, for longer", |status| {
        all[0].seen(status).ejections >= 2
    });
    load.proceed(50);
    all[0].revive();
    let status = balancer.until("it serves again", |status| {
        let seen = all[0].seen(status);
        seen.state == Up && seen.share_percent == 100
    });
    let seen = all[0].seen(&status);
    assert!(seen.failures >= 4 && seen.retried >= 4, "{seen:?}");
    load.proceed(50);
    cut_short(&load.stop(), 1);
    for part in [
        "gets nothing for 400 ms",
        "gets nothing for 800 ms",
        "is tried again",
        "is back",
    ] {
        balancer.says(part);
    }
    balancer.finish();
}

#[test]
fn backups_serve_when_no_other_can_and_all_when_none_can() {
    let site = Site::new();
    let all = Upstream::start(&site, 2);
    let to = format!("{},{}+backup", all[0].name(), all[1].name());
    let balancer = proxy(&site, &to, &[QUICK, &["--check", "http:/health"]].concat());
    assert!(answered_by(&site, 4).iter().all(|pid| *pid == all[0].pid()));
    all[0].be("sick");
    all[0].becomes(&balancer, Down);
    assert!(answered_by(&site, 4).iter().all(|pid| *pid == all[1].pid()));
    all[1].be("sick");
    let why = all[1].becomes(&balancer, Down);
    assert!(why.contains("it gets sessions all the same"), "{why}");
    let mut pids = answered_by(&site, 4);
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 2, "both are tried");
    all[0].be("well");
    all[0].becomes(&balancer, Up);
    assert!(answered_by(&site, 4).iter().all(|pid| *pid == all[0].pid()));
    for part in [
        "only backups can serve",
        "no backend can serve",
        "some backend can serve again",
    ] {
        balancer.says(part);
        let count = balancer.output().matches(part).count();
        assert_eq!(count, 1, "{part:?} is said once");
    }
    balancer.finish();
}

#[test]
fn one_that_comes_back_gets_its_share_little_by_little() {
    let site = Site::new();
    let all = Upstream::start(&site, 2);
    let flags = [QUICK, &["--check", "http:/health", "--slow-start", "3s"]].concat();
    let balancer = before(&site, &all, &flags);
    assert_eq!(
        all[0].seen(&balancer.status()).share_percent,
        100,
        "not at the start"
    );
    all[0].be("sick");
    all[0].becomes(&balancer, Down);
    all[0].be("well");
    all[0].becomes(&balancer, Up);
    let mut shares = Vec::new();
    balancer.until("its whole share", |status| {
        let seen = all[0].seen(status);
        shares.push(seen.share_percent);
        let why = seen.why.clone().unwrap_or_default();
        assert!(
            why.contains("its whole share in") || seen.share_percent >= 99,
            "{why}"
        );
        seen.share_percent == 100
    });
    assert!(shares.is_sorted() && shares[0] < 50, "{shares:?}");
    assert!(
        shares
            .iter()
            .filter(|share| (1..100).contains(*share))
            .count()
            > 3,
        "{shares:?}"
    );
    balancer.finish();
}

#[test]
fn sessions_of_one_that_is_down_are_kept_or_ended_as_asked() {
    for (how, ends) in [("keep", false), ("kill", true)] {
        let site = Site::new();
        let all = Upstream::start(&site, 2);
        let flags = [QUICK, &["--check", "http:/health", "--on-down", how]].concat();
        let balancer = before(&site, &all, &flags);
        let mut sessions: Vec<Endless> = (0..4).map(|_| Endless::open(site.to())).collect();
        all[0].be("sick");
        all[0].becomes(&balancer, Down);
        for session in &mut sessions {
            if ends && session.pid == all[0].pid() {
                assert!(session.ends_within(Duration::from_secs(5)), "it is ended");
            } else {
                assert!(session.is_alive(), "{how}");
            }
        }
        drop(sessions);
        balancer.finish();
    }
}

#[test]
fn the_list_is_changed_under_load_and_no_request_fails() {
    let site = Site::new();
    let all = Upstream::start(&site, 3);
    let balancer = before(&site, &all[..2], &[]);
    let load = Load::mixed(site.to(), Mix::CI, 1, DEADLINE);
    load.proceed(100);
    let backend = |words: &[&str]| balancer.command(&[&["backend"], words].concat());
    let (one, three) = (all[0].name(), all[2].name());
    let said = backend(&["add", &format!("{three}@2")]).done();
    assert!(said.stdout.contains("gets sessions"), "{said}");
    balancer.until("it serves", |status| all[2].seen(status).connects > 20);
    backend(&["add", &three]).failed(1, &["is there already"]);
    backend(&["weight", &one, "5"]).done();
    assert_eq!(all[0].seen(&balancer.status()).weight, 5);
    // A drain waits for the last session, and says how many there are.
    let session = Endless::open(site.to());
    let its = all
        .iter()
        .find(|one| one.pid() == session.pid)
        .expect("a backend");
    let drain = balancer.begin(&["backend", "drain", &its.name()]);
    its.becomes(&balancer, Draining);
    load.proceed(100);
    drop(session);
    let said = drain.end().done();
    assert!(
        said.stdout.contains("waiting for") && said.stdout.contains("is drained"),
        "{said}"
    );
    assert_eq!(
        its.becomes(&balancer, Drained),
        "drained; forkfront backend resume gives it sessions again"
    );
    let connects = its.seen(&balancer.status()).connects;
    load.proceed(100);
    assert_eq!(
        its.seen(&balancer.status()).connects,
        connects,
        "nothing new"
    );
    backend(&["resume", &its.name()]).done();
    balancer.until("it serves again", |status| {
        its.seen(status).connects > connects + 5
    });
    backend(&["remove", &three]).done();
    balancer.until("it is gone", |status| status.backends.len() == 2);
    load.proceed(100);
    let close = format!("{}1", all[1].name());
    backend(&["drain", &close]).failed(1, &["there is no backend", "did you mean"]);
    backend(&["remove", &one]).done();
    backend(&["remove", &all[1].name()]).failed(1, &["is the only backend"]);
    load.proceed(100);
    load.stop().smooth();
    balancer.finish();
}

#[test]
fn an_upgrade_forgets_nothing_of_them() {
    let site = Site::new();
    let mut all = Upstream::start(&site, 3);
    let balancer = before(&site, &all[..2], &["--eject-time", "60s"]);
    balancer
        .command(&["backend", "add", &format!("{}@7", all[2].name())])
        .done();
    balancer
        .command(&["backend", "drain", &all[1].name()])
        .done();
    all[0].kill();
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    all[0].becomes(&balancer, Ejected);
    let session = Endless::open(site.to());
    let before = balancer.status();
    balancer.command(&["upgrade"]).done();
    let after = balancer.status();
    let known = |status: &forkfront::status::Status| -> Vec<_> {
        let all = status.backends.iter();
        all.map(|one| {
            (
                one.address.clone(),
                one.state,
                one.weight,
                one.ejections,
                one.failures > 0,
            )
        })
        .collect()
    };
    assert_eq!(known(&after), known(&before));
    let connects = all[2].seen(&after).connects;
    assert!(connects >= all[2].seen(&before).connects, "counts go on");
    load.proceed(50);
    load.stop().clean();
    drop(session);
    balancer.until("all is counted as closed", |status| {
        all[2].seen(status).open == 0
    });
    balancer
        .command(&["backend", "resume", &all[1].name()])
        .done();
    balancer.until("the next image decides, too", |status| {
        all[1].seen(status).share_percent == 100
    });
    assert!(answered_by(&site, 16).contains(&all[1].pid()));
    balancer.finish();
}

#[test]
fn a_worker_that_is_killed_takes_its_counts_along() {
    let site = Site::new();
    let all = Upstream::start(&site, 1);
    let balancer = before(&site, &all, &[]);
    let sessions: Vec<Endless> = (0..6).map(|_| Endless::open(site.to())).collect();
    balancer.until("all are counted", |status| all[0].seen(status).open == 6);
    let workers = balancer.workers();
    send_all(&workers, nix::sys::signal::Signal::SIGKILL);
    balancer.replaced(&workers);
    balancer.until("none is left", |status| all[0].seen(status).open == 0);
    drop(sessions);
    balancer.finish();
}
