//! The backends of one app over an upgrade, and what stands on the board.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::backend_board::UNIT;
use crate::protocol::BackendChange;
use crate::status::BackendState;

fn proxy(to: &[&str]) -> Proxy {
    Proxy {
        to: to.iter().map(|words| words.parse().unwrap()).collect(),
        ..Proxy::default()
    }
}

fn started(to: &[&str]) -> Backends {
    let mut table = Table::default();
    table.settle(&proxy(to), keeper::now());
    table.begin();
    let parts = (
        board::Backends::fresh().unwrap(),
        Bell::new().unwrap(),
        Bell::new().unwrap(),
    );
    let keeper = Keeper::new("proxy", parts, State::new(table, Plan::default()));
    let mut backends = Backends::new("proxy".into(), keeper);
    backends.go_on(Own::default()).unwrap();
    backends
}

/// As another image finds them.
fn thawed(backends: &mut Backends) -> Backends {
    backends.stand_still();
    let mut luggage = Luggage::default();
    let state = backends.keeper.state();
    let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    let frozen = FrozenBackends {
        board: luggage.pack(Kind::Memfd, copy(backends.keeper.board.as_fd())),
        bell: luggage.pack(Kind::Bell, copy(backends.keeper.bell.as_fd())),
        alarm: luggage.pack(Kind::Bell, copy(backends.keeper.alarm.as_fd())),
        app: backends.app.clone(),
        table: state.table.clone(),
        plan: state.plan.clone(),
    };
    drop(state);
    let text = serde_json::to_string(&frozen).unwrap();
    let mut backends = Backends::thaw(serde_json::from_str(&text).unwrap(), &mut luggage).unwrap();
    backends.go_on(Own::default()).unwrap();
    backends
}

fn weights(backends: &Backends) -> Vec<u32> {
    let (_, plan) = backends.keeper.board.plan().unwrap();
    let plan: Plan = serde_json::from_slice(&plan).unwrap();
    let entries = &backends.keeper.board.entries;
    let weight = |at: usize| entries[at].weight.load(Relaxed);
    plan.backends.iter().map(|one| weight(one.at)).collect()
}

#[test]
fn the_next_image_goes_on_with_the_same_board() {
    let mut one = started(&["10.0.0.1:1", "10.0.0.2:1@3"]);
    assert_eq!(weights(&one), [UNIT, 3 * UNIT]);
    one.keeper.board.entries[1].connects.store(7, Relaxed);
    let drained = one.change(&BackendChange::Drain {
        backend: "10.0.0.1:1".into(),
    });
    assert!(matches!(drained, Ok(Begun::Waits(Waiting::Drained(_)))));
    let other = thawed(&mut one);
    assert_eq!(weights(&other), [0, 3 * UNIT]);
    let status = other.status("proxy");
    assert_eq!(status[0].state, BackendState::Drained);
    assert_eq!(status[1].connects, 7);
    // Nothing is decided here any more while the other one goes on.
    let refused = one.change(&BackendChange::Resume {
        backend: "10.0.0.1:1".into(),
    });
    assert!(refused.is_err());
}

#[test]
fn an_image_with_a_board_of_another_version_begins_a_new_one() {
    let mut one = started(&["10.0.0.1:1", "10.0.0.2:1"]);
    let _ = one.change(&BackendChange::Drain {
        backend: "10.0.0.2:1".into(),
    });
    one.keeper.board.version.fetch_add(1, Relaxed);
    let other = thawed(&mut one);
    assert_eq!(weights(&other), [UNIT, 0]);
    other.keeper.board.entries[0].connects.store(1, Relaxed);
    assert_eq!(one.keeper.board.entries[0].connects.load(Relaxed), 0);
}

#[test]
fn a_plan_that_did_not_fit_is_told_when_it_does() {
    let mut one = started(&["10.0.0.1:1", "10.0.0.2:1"]);
    // What workers do not look at makes it too long.
    let filler = format!("unix:/{}", "x".repeat(100))
        .parse::<Backend>()
        .unwrap();
    one.keeper.state().plan.proxy.to = vec![filler; 20_000];
    let removed = one.change(&BackendChange::Remove {
        backend: "10.0.0.1:1".into(),
    });
    assert!(matches!(removed, Ok(Begun::Done(_))));
    assert_eq!(weights(&one).len(), 2, "it is still the one of before");
    let untold = one.keeper.state().untold.clone();
    assert!(untold.is_some_and(|why| why.contains("too long")));
    one.keeper.state().plan.proxy.to.clear();
    one.keeper.turn(|_, _| ());
    assert_eq!(weights(&one), [UNIT]);
    assert_eq!(one.keeper.state().untold, None);
}

#[test]
fn a_name_whose_addresses_are_all_there_already_is_listed_all_the_same() {
    let one = started(&["127.0.0.1:1", "[::1]:1", "localhost:1"]);
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let status = loop {
        let status = one.status("proxy");
        let why = status.last().and_then(|last| last.why.clone());
        if why.is_some_and(|why| !why.contains("being resolved")) {
            break status;
        }
        assert!(std::time::Instant::now() < limit, "{status:?}");
        std::thread::yield_now();
    };
    assert_eq!(status.len(), 3);
    assert_eq!(status[2].state, BackendState::Unresolved);
    let why = status[2].why.clone().unwrap();
    assert!(why.contains("has no address of its own"), "{why}");
}

#[test]
fn nothing_is_begun_while_the_next_image_goes_on() {
    let mut one = started(&["10.0.0.1:1"]);
    one.stand_still();
    let added = one.change(&BackendChange::Add {
        backend: "localhost:1".into(),
    });
    assert!(added.is_err_and(|why| why.contains("upgraded")));
    one.stay_out_of(Own::of_config(&["4711".parse().unwrap()]));
    assert!(one.resolver.is_none());
}

#[test]
fn what_workers_count_and_ring_is_heard() {
    let one = started(&["10.0.0.1:1", "10.0.0.2:1"]);
    let entry = &one.keeper.board.entries[0];
    assert_eq!(entry.report_at.load(Relaxed), 3);
    entry.failing.store(3, Relaxed);
    entry.last_error.store(libc::ECONNREFUSED as u32, Relaxed);
    one.keeper.alarm.ring();
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while entry.weight.load(Relaxed) != 0 {
        assert!(std::time::Instant::now() < limit);
        std::thread::yield_now();
    }
    assert_eq!(one.status("proxy")[0].state, BackendState::Ejected);
    assert_eq!(entry.report_at.load(Relaxed), 0);
    assert_eq!(entry.failing.load(Relaxed), 0);
}
