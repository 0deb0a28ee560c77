//! The backends of proxies: what is seen of them, and what keys do there.

use super::*;
use crate::status::{BackendState, BackendStatus};

/// Two workers of a proxy that leads to `backends` backends, all up.
fn proxy(backends: u16) -> Status {
    let mut status = status(&["proxy"], 2);
    let proxy = json!({"balance": "least-connections", "sticky": null, "waiting": 0});
    status.apps[0].sticky = None;
    status.apps[0].proxy = serde_json::from_value(proxy).unwrap();
    status.backends = (0..backends)
        .map(|number| {
            let at = format!("10.0.0.{number}:5432");
            BackendStatus::unused(&at, &at, BackendState::Up)
        })
        .collect();
    status
}

/// Each slot has taken so many sessions, which all went to the first backend, with 10 kB each from the client.
fn watches(user: &mut User, taken: u64) {
    user.waits(INTERVAL);
    let mut status = later(&user.model.status, taken);
    status.backends[0].connects += 2 * taken;
    status.backends[0].bytes_in += 2 * taken * 10_240;
    status.backends[0].connect_us.p99 = 250;
    user.model.look(status);
}

/// What stands before the first space of each row of a backend, from top to bottom.
fn backends_seen(user: &mut User) -> Vec<String> {
    let seen = user.sees();
    let rows = seen.lines().filter(|row| row.starts_with("10.0.0."));
    let first = |row: &str| row.split_whitespace().next().map(str::to_owned);
    rows.filter_map(first).collect()
}

fn put(user: &mut User, at: usize, state: BackendState, why: &str) {
    let one = &mut user.model.status.backends[at];
    (one.state, one.why) = (state, (!why.is_empty()).then(|| why.to_owned()));
}

#[test]
fn a_whole_screen_of_a_proxy() {
    let mut user = User::before(proxy(3), 80, 24);
    watches(&mut user, 10);
    watches(&mut user, 20);
    put(
        &mut user,
        1,
        BackendState::Down,
        "its check found that it is not well",
    );
    user.model.status.backends[2].open = 4;
    let seen = user.sees();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "8080  proxy to 3 backends                               pid 900  up 1m42s  1.2.3",
            "2 of 2 workers ready, 2 of 3 backends up, least-connections, generation 3",
        ],
        "{seen}"
    );
    let head = lines.iter().position(|line| line.starts_with("BACKEND "));
    let head = head.unwrap_or_else(|| panic!("{seen}"));
    assert_eq!(
        lines[head..head + 8],
        [
            "BACKEND          STATE      SESS/S            OPEN   IN/S  OUT/S FAILED CONN p99",
            "10.0.0.1:5432    down       its check found that it is not well",
            "10.0.0.0:5432    up             40        ▄█     0  400 K      0      0   250 us",
            "10.0.0.2:5432    up              0        ▁▁     4      0      0      0        -",
            "",
            "SLOT     PID STATE        UP CONN/S         OPEN QUEUE  CPU MEMORY  RST WAIT p99",
            "   0    4000 ready     1m03s     20     ▄█     0     0   2%   44 M    0   112 us",
            "   1    4001 ready     1m03s     20     ▄█     0     0   2%   44 M    0   112 us",
        ],
        "{seen}"
    );
    assert_eq!(
        lines[23],
        "q quit  ? help  d drain  u resume  +- scale  R reload  s sort  Tab slots"
    );
    assert!(!seen.contains("(server:"), "{seen}");
}

#[test]
fn forty_columns_have_backends_and_slots() {
    let mut user = User::before(proxy(3), 40, 20);
    let why = "its check found that it answered with 503 Service Unavailable";
    put(&mut user, 1, BackendState::Down, why);
    watches(&mut user, 10);
    let seen = user.sees_all(&[
        "10.0.0.1:5432    down            0",
        "     its check found that it answered",
        "     with 503 Service Unavailable",
        "10.0.0.0:5432    up             20     0",
        "   0 ready ",
        "   1 ready ",
    ]);
    assert!(
        seen.lines().all(|line| line.chars().count() <= 40),
        "{seen}"
    );
}

#[test]
fn a_hundred_backends_scroll_and_the_slots_stay() {
    let mut user = User::before(proxy(100), 80, 24);
    put(&mut user, 70, BackendState::Unresolved, "no such name");
    put(&mut user, 71, BackendState::Drained, "");
    user.sees_all(&[
        "98 of 100 backends up",
        "   0    4000 ready",
        "   1    4001 ready",
    ]);
    let first = backends_seen(&mut user);
    assert!(first.len() >= 6, "{first:?}");
    assert_eq!(first[..2], ["10.0.0.70:5432", "10.0.0.0:5432"]);
    assert_eq!(
        user.model.selected_backend().unwrap().address,
        "10.0.0.0:5432"
    );
    user.presses(KeyCode::PageDown);
    user.presses(KeyCode::PageDown);
    let later = backends_seen(&mut user);
    assert!(
        !later.contains(&first[0]) && later.len() == first.len(),
        "{later:?}"
    );
    user.presses(KeyCode::End);
    assert_eq!(user.model.selected().unwrap().slot, 1);
    user.presses(KeyCode::Up);
    user.presses(KeyCode::Up);
    assert_eq!(backends_seen(&mut user).last().unwrap(), "10.0.0.99:5432");
    user.presses(KeyCode::Tab);
    assert_eq!(user.model.selected().unwrap().slot, 0);
    user.presses(KeyCode::Tab);
    assert_eq!(backends_seen(&mut user), first);
}

#[test]
fn keys_drain_and_resume_a_backend_and_restart_a_slot_only() {
    let mut user = User::before(proxy(2), 80, 24);
    let request = |deed: Option<Deed>| match deed {
        Some(Deed::Change(_, request)) => serde_json::to_string(&request).unwrap(),
        other => panic!("no change: {other:?}"),
    };
    user.types("jd");
    user.sees_all(&["Drain backend 10.0.0.1:5432? It gets no new sessions. y/n"]);
    assert_eq!(
        request(user.types("y")),
        r#"{"verb":"backend","app":null,"change":"drain","backend":"10.0.0.1:5432"}"#
    );
    user.sees_all(&["backend drain 10.0.0.1:5432 ...: asked"]);
    assert_eq!(
        request(user.types("u")),
        r#"{"verb":"backend","app":null,"change":"resume","backend":"10.0.0.1:5432"}"#
    );
    put(&mut user, 0, BackendState::Down, "");
    user.types("d");
    user.sees_all(&["Drain backend 10.0.0.1:5432? No other one is up. y/n"]);
    user.types("n");
    assert_eq!(user.types("r"), None);
    user.sees_all(&["a backend is not ours to restart"]);
    user.presses(KeyCode::Tab);
    user.types("r");
    user.sees_all(&["Restart slot 0?"]);
}

#[test]
fn however_little_room_there_is_the_selected_one_is_seen() {
    for height in 4..=12 {
        let mut user = User::before(proxy(3), 80, height);
        user.sees_all(&["BACKEND ", "10.0.0.0:5432 "]);
        user.types("jj");
        user.sees_all(&["BACKEND ", "10.0.0.2:5432 "]);
        user.presses(KeyCode::End);
        user.sees_all(&["SLOT ", "   1    4001 ready"]);
    }
}

#[test]
fn a_backend_that_has_another_address_is_still_the_selected_one() {
    let mut status = proxy(3);
    status.backends[1] = BackendStatus::unused("db.example:5432", "", BackendState::Up);
    let mut user = User::before(status.clone(), 80, 24);
    user.types("j");
    for (address, state) in [
        ("10.0.0.7:5432", BackendState::Down),
        ("10.0.0.8:5432", BackendState::Up),
    ] {
        status.backends[1] = BackendStatus::unused("db.example:5432", address, state);
        user.model.look(status.clone());
        assert_eq!(user.model.selected_backend().unwrap().address, address);
    }
    status.backends.remove(1);
    user.model.look(status);
    let other = user.model.selected_backend().unwrap();
    assert_eq!(other.backend, "10.0.0.2:5432");
}

#[test]
fn a_sort_and_a_key_of_backends_leave_the_app_that_was_selected() {
    let mut status = status(&["api", "web"], 2);
    status.slots[3].open = 7;
    let mut user = User::before(status, 80, 30);
    user.presses(KeyCode::End);
    // There are no backends to go to.
    user.presses(KeyCode::Tab);
    let selected = |user: &User| {
        let slot = user.model.selected().unwrap();
        (slot.app.clone(), slot.slot)
    };
    assert_eq!(selected(&user), ("web".to_owned(), 1));
    user.types("ss");
    assert_eq!(selected(&user), ("web".to_owned(), 1));
    user.types("S");
    assert_eq!(selected(&user), ("web".to_owned(), 0));
}

#[test]
fn the_column_that_backends_are_sorted_by_is_of_their_own() {
    let mut user = User::before(proxy(3), 80, 24);
    user.model.status.backends[2].open = 7;
    user.types("ss");
    user.sees_all(&["backends sorted by open sessions"]);
    assert_eq!(backends_seen(&mut user)[0], "10.0.0.2:5432");
    assert_eq!(user.slots_seen(), [0, 1]);
    assert_eq!(
        user.model.selected_backend().unwrap().address,
        "10.0.0.2:5432"
    );
    user.types("S");
    assert_eq!(backends_seen(&mut user)[0], "10.0.0.0:5432");
}

#[test]
fn addresses_of_one_name_are_told_apart_where_there_is_no_room_for_both() {
    let mut status = proxy(2);
    for one in &mut status.backends {
        one.backend = "a-longer-name.example:5432".to_owned();
    }
    let mut narrow = User::before(status.clone(), 80, 24);
    narrow.sees_all(&["\n10.0.0.0:5432 ", "\n10.0.0.1:5432 "]);
    let mut wide = User::before(status, 130, 40);
    wide.sees_all(&["a-longer-name.example:5432 10.0.0.0"]);
}

#[test]
fn clients_that_were_turned_away_are_told_of_for_a_while() {
    let mut user = User::before(proxy(1), 80, 24);
    watches(&mut user, 1);
    let away = |user: &mut User, more: u64| {
        let mut status = later(&user.model.status, 0);
        let proxy = status.apps[0].proxy.as_mut().unwrap();
        proxy.turned_away.no_backend += more;
        user.model.look(status);
    };
    away(&mut user, 3);
    user.sees_all(&["clients turned away, 3.0/s: 3 since no backend took any"]);
    (0..40).for_each(|_| away(&mut user, 0));
    user.sees_none(&["turned away"]);
}

#[test]
fn as_text_it_has_all_backends() {
    let mut user = User::before(proxy(100), 80, 24);
    watches(&mut user, 5);
    let text = text(&mut user.model, Theme::plain(true), 80);
    assert_eq!(text.matches(" up    ").count(), 100, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}
