//! Everything that can happen to a primary while heads are half sent, and to a worker with connections in its
//! queue whose keys were read: nobody is lost, and the key still holds.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use super::*;

const FLAGS: [&str; 4] = ["--sticky", "header:x-user", "--peek-timeout", "1h"];

/// Clients with half a head sent, for one of `USERS` users each.
struct Halves(Vec<(String, Raw)>);

const USERS: usize = 8;

impl Halves {
    #[track_caller]
    fn sent(balancer: &Balancer<'_>, count: usize) -> Self {
        let site = balancer.site;
        let half = |n: usize| {
            let sent = format!("GET /{n} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX-User: u");
            let one = Raw::sending(client(n as u32), site.to(), sent.as_bytes());
            (format!("{}\r\n\r\n", n % USERS), one)
        };
        let halves = Self((0..count).map(half).collect());
        balancer.reads(count as u64);
        halves
    }

    /// The slots of the users, by whom all are answered.
    #[track_caller]
    fn answered(self) -> Vec<u16> {
        let mut slots = vec![BTreeSet::new(); USERS];
        let mut all = self.0;
        for (rest, one) in &mut all {
            one.send(rest.as_bytes());
        }
        for (n, (_, mut one)) in all.into_iter().enumerate() {
            slots[n % USERS].insert(one.slot());
        }
        assert!(slots.iter().all(|one| one.len() == 1), "{slots:?}");
        slots.into_iter().flatten().collect()
    }
}

/// Where the users are when nothing happens.
#[track_caller]
fn users(site: &Site) -> Vec<u16> {
    (0..USERS as u32)
        .map(|n| slot(site, 900 + n, &user(format!("u{n}"))))
        .collect()
}

#[test]
fn a_reload_in_the_middle_of_heads() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &FLAGS);
    let usual = users(&site);
    let halves = Halves::sent(&balancer, 40);
    let former = balancer.workers();
    balancer.reload().done();
    balancer.gone(&former);
    assert_eq!(balancer.keys().reading(), 40);
    assert_eq!(halves.answered(), usual);
    balancer.finish();
}

#[test]
fn an_upgrade_in_the_middle_of_heads() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &FLAGS);
    let usual = users(&site);
    many_connections();
    let halves = Halves::sent(&balancer, 1000);
    let found = balancer.keys().found("header");
    balancer.command(&["upgrade"]).done();
    balancer.command(&["upgrade"]).done();
    let keys = balancer.keys();
    assert_eq!(
        (keys.reading(), keys.found("header")),
        (1000, found),
        "{keys:?}"
    );
    assert_eq!(halves.answered(), usual);
    balancer.finish();
}

#[test]
fn a_change_of_size_in_the_middle_of_heads() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 3, &FLAGS);
    let first = users(&site);
    let halves = Halves::sent(&balancer, 40);
    balancer.scale(5);
    assert_eq!(halves.answered(), users(&site));
    let halves = Halves::sent(&balancer, 40);
    balancer.scale(3);
    assert_eq!(halves.answered(), first);
    balancer.left();
    balancer.finish_as_it_is();
}

#[test]
fn the_death_of_all_workers_in_the_middle_of_heads() {
    let site = Site::new();
    let flags = [&FLAGS[..], &["--steal-after", "60s"]].concat();
    let balancer = Balancer::nodes(&site, 3, &flags);
    let usual = users(&site);
    let halves = Halves::sent(&balancer, 40);
    let workers = balancer.workers();
    send_all(&workers, Signal::SIGKILL);
    // Their keys are known while nobody is there to take them: each waits for its own slot.
    assert_eq!(halves.answered(), usual);
    balancer.replaced(&workers);
    balancer.finish();
}

#[test]
fn a_stop_in_the_middle_of_heads() {
    let site = Site::new().env("ON_TERM", "close");
    let mut balancer = Balancer::nodes(&site, 3, &FLAGS);
    let halves = Halves::sent(&balancer, 40);
    let stop = balancer.begin(&["stop"]);
    balancer.until("it is stopping", |status| status.stopping);
    let mut all = halves.0;
    all.iter_mut()
        .for_each(|(rest, one)| one.send(rest.as_bytes()));
    all.iter_mut().for_each(|(_, one)| _ = one.slot());
    stop.end().done();
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn a_stop_does_not_wait_for_those_who_say_nothing() {
    let site = Site::new();
    let flags = [&FLAGS[..], &["--grace", "2s", "--drain-timeout", "1s"]].concat();
    let mut balancer = Balancer::nodes(&site, 3, &flags);
    let silent: Vec<Raw> = (0..20)
        .map(|n| Raw::connect(client(n), site.to()))
        .collect();
    balancer.reads(20);
    balancer.command(&["stop"]).done();
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
    for mut one in silent {
        assert_eq!(one.rest(), b"");
    }
}

#[test]
fn what_a_killed_worker_had_not_taken_goes_to_its_key() {
    let site = Site::new();
    let flags = [&FLAGS[..], &["--steal-after", "60s"]].concat();
    let balancer = Balancer::nodes(&site, 3, &flags);
    let usual = users(&site);
    let workers = balancer.workers();
    send_all(&workers, Signal::SIGSTOP);
    let mut queued: Vec<Raw> = (0..60)
        .map(|n| {
            Raw::sending(
                client(n),
                site.to(),
                &user(format!("u{}", n as usize % USERS)),
            )
        })
        .collect();
    balancer.until("all queued", |status| {
        status.slots.iter().map(|slot| slot.queued).sum::<u64>() == 60
    });
    let found = balancer.keys().found("header");
    send_all(&workers, Signal::SIGKILL);
    for (n, one) in queued.iter_mut().enumerate() {
        assert_eq!(one.slot(), usual[n % USERS], "client {n}");
    }
    let status = balancer.replaced(&workers);
    assert_eq!(
        status.slots.iter().map(|slot| slot.read_back).sum::<u64>(),
        60
    );
    assert_eq!(balancer.keys().found("header"), found, "counted once");
    balancer.finish();
}

#[test]
fn what_a_stuck_worker_has_not_taken_moves_by_its_key() {
    // All clients of one user move together: to the same next choice, whatever their addresses.
    let site = Site::new();
    let flags = [&FLAGS[..], &["--steal-after", "1s"]].concat();
    let balancer = Balancer::nodes(&site, 4, &flags);
    let usual = users(&site);
    let stuck = usual[0];
    let worker = balancer.workers()[usize::from(stuck)];
    send(worker, Signal::SIGSTOP);
    let theirs: Vec<usize> = (0..USERS).filter(|n| usual[*n] == stuck).collect();
    for n in theirs {
        let mut clients: Vec<Raw> = (0..12)
            .map(|at| Raw::sending(client(at), site.to(), &user(format!("u{n}"))))
            .collect();
        let slots: BTreeSet<u16> = clients.iter_mut().map(Raw::slot).collect();
        assert_eq!(slots.len(), 1, "{slots:?}");
        assert!(!slots.contains(&stuck), "{slots:?}");
    }
    send(worker, Signal::SIGCONT);
    eventually("the users are back", || {
        (users(&site) == usual).then_some(())
    });
    balancer.finish();
}

#[test]
fn another_key_holds_from_the_next_connection_on() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &FLAGS);
    let both = |n: u32, name: u32, sid: u32| {
        slot(
            &site,
            n,
            &get("1", &format!("X-User: u{name}\r\nCookie: sid=s{sid}\r\n")),
        )
    };
    let by_user: Vec<u16> = (0..20).map(|n| both(n, n, 0)).collect();
    assert_eq!(
        (0..20).map(|n| both(n + 50, n, n)).collect::<Vec<_>>(),
        by_user
    );
    let halves = Halves::sent(&balancer, 20);
    balancer.command(&["set", "sticky", "cookie:sid"]).done();
    let by_cookie: BTreeSet<u16> = (0..20).map(|n| both(n, n, 0)).collect();
    assert_eq!(by_cookie.len(), 1, "one cookie: {by_cookie:?}");
    assert_eq!(balancer.printed()["sticky"], "cookie:sid");
    // Begun under the former key, ended under the new: answered, by whichever.
    for (rest, mut one) in halves.0 {
        one.send(rest.as_bytes());
        one.slot();
    }
    let halves = Halves::sent(&balancer, 20);
    balancer.command(&["set", "sticky", "off"]).done();
    // Nothing is to be read any more: they wait for nothing.
    for (rest, mut one) in halves.0 {
        one.send(rest.as_bytes());
        one.slot();
    }
    let mut silent: Vec<Raw> = (0..8).map(|_| Raw::connect(client(1), site.to())).collect();
    balancer.until("dealt unread", |status| status.held == 0);
    silent.iter_mut().for_each(|one| one.send(&get("1", "")));
    let turns: BTreeSet<u16> = silent.iter_mut().map(Raw::slot).collect();
    assert!(turns.len() > 1, "in turn: {turns:?}");
    balancer.command(&["set", "sticky", "header:x-user"]).done();
    assert_eq!((0..20).map(|n| both(n, n, n)).collect::<Vec<_>>(), by_user);
    balancer.finish();
}
