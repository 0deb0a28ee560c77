//! What a primary and its proxy workers go through, with long sessions open and short ones all the time: reload,
//! upgrade, kill -9 of a worker, more and fewer workers, a stop. Nothing is refused, sessions of old workers live
//! until they end or the drain deadline, and nothing is left behind.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::*;
use forkfront::status::Status;
use nix::sys::signal::Signal;

/// Long sessions in each scenario.
const LONG: usize = 40;

#[track_caller]
fn all_alive(sessions: &mut [Session]) {
    let dead = sessions
        .iter_mut()
        .filter_map(|one| (!one.is_alive()).then_some(()));
    assert_eq!(dead.count(), 0, "sessions that have ended");
}

/// Sessions that are open by the board of backends.
fn open(status: &Status) -> u64 {
    status.backends.iter().map(|one| one.open).sum()
}

/// With no client there: the board and the backends agree that there is none, and the workers keep no socket and no
/// more pipes than the pool's.
#[track_caller]
fn nobody_there(balancer: &Balancer, echoes: &Echoes) {
    balancer.until("no session by the board", |status| open(status) == 0);
    eventually("no session at the backends", || {
        (echoes.open() == 0).then_some(())
    });
    for worker in balancer.workers() {
        let mut kinds = BTreeMap::<String, usize>::new();
        eventually("no socket of a session in a worker", || {
            kinds.clear();
            for (_, link) in descriptors(worker) {
                let kind = link.split(":[").next().unwrap_or_default().to_owned();
                *kinds.entry(kind).or_default() += 1;
            }
            // Its way to the primary, the channel of its listener, its stdin and outputs.
            (kinds.get("socket").copied().unwrap_or(0) <= 4).then_some(())
        });
        let pipes = kinds.get("pipe").copied().unwrap_or(0);
        assert!(pipes <= 40, "{kinds:?}");
    }
}

#[track_caller]
fn nothing_failed(ended: &Ended) {
    assert!(ended.failed.is_empty() && ended.well > 0, "{ended:?}");
}

#[test]
fn a_rolling_reload_lets_sessions_live_until_they_end() {
    let site = Site::new();
    let echoes = Echoes::start(&site, 2);
    let balancer = echoes.behind(&site, 2, &[]);
    let former = balancer.workers();
    let mut long = Session::open_many(site.to(), LONG);
    let rush = Rush::start(site.to(), 4);
    rush.proceed(50);
    balancer.reload().done();
    let status = balancer.replaced(&former);
    assert_eq!(status.leaving.len(), 2, "{:?}", status.leaving);
    assert!(open(&status) >= LONG as u64, "{:?}", status.backends);
    rush.proceed(50);
    all_alive(&mut long);
    drop(long);
    balancer.left();
    nothing_failed(&rush.stop());
    nobody_there(&balancer, &echoes);
    balancer.finish();
}

#[test]
fn sessions_go_on_over_upgrades_and_the_counts_with_them() {
    let site = Site::new();
    let echoes = Echoes::start(&site, 2);
    let balancer = echoes.behind(&site, 2, &[]);
    let mut long = Session::open_many(site.to(), LONG);
    let rush = Rush::start(site.to(), 4);
    let workers = balancer.workers();
    for _ in 0..2 {
        rush.proceed(50);
        let before = balancer.status();
        balancer.command(&["upgrade"]).done();
        let after = balancer.status();
        assert_eq!(balancer.workers(), workers);
        for (before, after) in before.backends.iter().zip(&after.backends) {
            assert_eq!(
                (&before.backend, before.state),
                (&after.backend, after.state)
            );
            assert!(after.connects >= before.connects, "{after:?}");
            assert!(after.bytes_out >= before.bytes_out, "{after:?}");
        }
        assert!(open(&after) >= LONG as u64, "{:?}", after.backends);
        all_alive(&mut long);
    }
    rush.proceed(50);
    balancer.reload().done();
    all_alive(&mut long);
    drop(long);
    nothing_failed(&rush.stop());
    balancer.left();
    nobody_there(&balancer, &echoes);
    balancer.finish();
}

#[test]
fn streams_arrive_whole_over_upgrades_reloads_and_scales() {
    // F7: sessions that move bytes meanwhile, summed at both ends.
    let site = Site::new();
    let sums = Sums::start(&site, 2);
    let (listen, to) = (site.bind(), sums.to());
    let balancer = Balancer::start(&site, &["proxy", "-l", &listen, "--to", &to, "-n", "2"]);
    let failed = std::thread::scope(|scope| {
        let run = scope.spawn(|| sums.run(site.to(), 400, 24));
        let mut deeds = [
            &["upgrade"][..],
            &["reload"],
            &["scale", "3"],
            &["upgrade"],
            &["scale", "2"],
        ]
        .into_iter()
        .cycle();
        let mut done = 0;
        while !run.is_finished() || done < 5 {
            balancer.command(deeds.next().expect("endless")).done();
            done += 1;
        }
        run.join().expect("a report")
    });
    assert!(failed.is_empty(), "{failed:?}");
    balancer.left();
    balancer.finish_as_it_is();
}

#[test]
fn a_killed_worker_takes_only_its_own_sessions_along() {
    let site = Site::new();
    let echoes = Echoes::start(&site, 2);
    let balancer = echoes.behind(&site, 2, &[]);
    let mut long = Session::open_many(site.to(), LONG);
    let rush = Rush::start(site.to(), 4);
    rush.proceed(50);
    let workers = balancer.workers();
    send(workers[0], Signal::SIGKILL);
    balancer.replaced(&workers[..1]);
    rush.proceed(50);
    long.retain_mut(Session::is_alive);
    // In turn, with the rush between them: about a half.
    assert!(
        (LONG / 4..=3 * LONG / 4).contains(&long.len()),
        "{}",
        long.len()
    );
    let ended = rush.stop();
    // What the killed worker had in hand: one of each client of the rush at most, reset and not refused.
    assert!(ended.failed.values().sum::<u64>() <= 4, "{ended:?}");
    assert!(
        ended.failed.keys().all(|why| !why.starts_with("connect")),
        "{ended:?}"
    );
    let kept = long.len() as u64;
    let status = balancer.until("the dead worker's count no more", |status| {
        open(status) == kept
    });
    assert_eq!(status.slots[0].crashes, 1);
    eventually("nor do the backends have them", || {
        (echoes.open() == kept).then_some(())
    });
    // Over and over: nothing is counted twice, and no row of the board is lost.
    for _ in 0..4 {
        let workers = balancer.workers();
        let mut more = Session::open_many(site.to(), 8);
        send(workers[0], Signal::SIGKILL);
        balancer.replaced(&workers[..1]);
        more.retain_mut(Session::is_alive);
        let all = kept + more.len() as u64;
        balancer.until("only those that live", |status| open(status) == all);
    }
    drop(long);
    nobody_there(&balancer, &echoes);
    balancer.finish();
}

#[test]
fn more_and_fewer_workers() {
    let site = Site::new();
    let echoes = Echoes::start(&site, 2);
    let balancer = echoes.behind(&site, 2, &[]);
    let mut long = Session::open_many(site.to(), LONG);
    let rush = Rush::start(site.to(), 4);
    rush.proceed(20);
    balancer.scale(4);
    long.extend(Session::open_many(site.to(), LONG));
    rush.proceed(20);
    balancer.command(&["scale", "1"]).done();
    all_alive(&mut long);
    let status = balancer.status();
    assert_eq!(status.leaving.len(), 3, "{:?}", status.leaving);
    assert!(open(&status) >= 2 * LONG as u64, "{:?}", status.backends);
    rush.proceed(20);
    drop(long);
    balancer.left();
    nothing_failed(&rush.stop());
    nobody_there(&balancer, &echoes);
    balancer.finish_as_it_is();
}

#[test]
fn a_stop_waits_for_sessions_until_the_deadline() {
    let site = Site::new();
    let echoes = Echoes::start(&site, 2);
    let mut balancer = echoes.behind(&site, 2, &["--drain-timeout", "2s"]);
    let mut long = Session::open_many(site.to(), LONG);
    let workers = balancer.workers();
    // Of a reload first: those that do not end are ended.
    balancer.reload().done();
    all_alive(&mut long);
    let begun = Instant::now();
    eventually("cut at the deadline", || {
        long.iter_mut().all(Session::has_ended).then_some(())
    });
    balancer.gone(&workers);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    balancer.until("nothing open", |status| open(status) == 0);
    let mut long = Session::open_many(site.to(), 4);
    balancer.signal(Signal::SIGTERM);
    eventually("nothing new is taken", || {
        std::net::TcpStream::connect(site.to())
            .is_err()
            .then_some(())
    });
    all_alive(&mut long);
    drop(long);
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
    eventually("nor at the backends", || (echoes.open() == 0).then_some(()));
}
