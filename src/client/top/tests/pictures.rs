//! What is seen.

use super::*;
use crate::status::{BackendState, BackendStatus};

#[test]
fn a_whole_screen() {
    let mut user = User::before(status(&["main"], 2), 80, 24);
    user.watches(100);
    user.model.status.slots[0].queued = 5;
    user.watches(3);
    let seen = user.sees();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(
        lines[..15],
        [
            "8080  node server.js                                    pid 900  up 1m42s  1.2.3",
            "2 of 2 workers ready, round-robin, sticky ip, generation 3",
            "",
            "conn/s      6.0  open          0  CPU          4%                             █",
            "peak        200  queued        5  memory     88 M                             █",
            "accepted    206  held          0  restarts      0                             █▂",
            "",
            "LISTENER                                 CONN/S ACCEPTED       BACKLOG OVERFLOWS",
            "[::]:8080 (server: 3000)                    6.0      206      0 of 511         0",
            "",
            "SLOT     PID STATE        UP CONN/S         OPEN QUEUE  CPU MEMORY  RST WAIT p99",
            "   0    4000 ready     1m03s    3.0     █▂     0     5   2%   44 M    0   112 us",
            "   1    4001 ready     1m03s    3.0     █▂     0     0   2%   44 M    0   112 us",
            "",
            "",
        ],
        "{seen}"
    );
    assert_eq!(
        lines[23],
        "q quit  ? help  r restart  d drain  u resume  +- scale  R reload  s sort"
    );
}

#[test]
fn forty_columns_have_what_matters_most() {
    let mut user = User::before(status(&["main"], 2), 40, 20);
    user.watches(100);
    let seen = user.sees_all(&["2 of 2 workers ready", "[::]:8080", "SLOT STATE", "q quit"]);
    assert!(
        seen.lines().all(|line| line.chars().count() <= 40),
        "{seen}"
    );
    assert!(
        seen.contains("   1 ready       100     0     0   2%"),
        "{seen}"
    );
}

#[test]
fn a_wide_screen_has_long_charts_and_whole_words() {
    let mut user = User::before(status(&["main"], 2), 160, 40);
    (0..60).for_each(|second| user.watches(second));
    let seen = user.sees_all(&["RESTARTS"]);
    let slot = seen.lines().find(|line| line.contains(" 4001 ")).unwrap();
    assert!(
        slot.matches(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'])
            .count()
            > 40,
        "{seen}"
    );
}

#[test]
fn why_a_slot_is_not_ready_and_who_leaves() {
    let mut status = status(&["main"], 3);
    status.slots[1].state = SlotState::Waiting;
    status.slots[1].pid = None;
    status.slots[1].why = Some("exit code 1; 3 failures in a row, and this is told in more words than have room in one line, next start in 2 s".into());
    status.operation = Some("a reload: 1 of 3 slots renewed".into());
    status.leaving = (0..9u32)
        .map(|number| {
            serde_json::from_value(
                json!({"app": "main", "slot": 0, "pid": 3000 + number, "generation": 2,
                "state": "draining", "why": "reload", "open": 2, "left_s": 29.5}),
            )
            .unwrap()
        })
        .collect();
    let mut user = User::before(status, 80, 24);
    let seen = user.sees_all(&[
        "2 of 3 workers ready",
        "under way: a reload: 1 of 3 slots renewed",
        "waiting",
        "     exit code 1; 3 failures in a row",
        "next start in 2 s",
        " OLD     PID",
        "   0    3000 draining     2          2     30s  reload",
        "     and 5 more with 10 open",
    ]);
    let of = |what: &str| seen.lines().position(|line| line.contains(what));
    assert!(
        of("exit code 1") < of(" 4002 ") && of(" 4002 ") < of(" OLD "),
        "{seen}"
    );
}

#[test]
fn many_slots_scroll_with_the_selection() {
    let mut user = User::before(status(&["main"], 256), 80, 24);
    assert_eq!(user.slots_seen()[..4], [0, 1, 2, 3]);
    let page = user.slots_seen().len();
    assert!(page >= 8, "{page} slots in view");
    (0..page).for_each(|_| assert_eq!(user.presses(KeyCode::Down), None));
    assert_eq!(*user.slots_seen().last().unwrap(), page as u16);
    user.presses(KeyCode::End);
    assert_eq!(*user.slots_seen().last().unwrap(), 255);
    user.presses(KeyCode::Up);
    assert_eq!(*user.slots_seen().last().unwrap(), 255);
    user.presses(KeyCode::PageUp);
    user.presses(KeyCode::PageUp);
    assert!(*user.slots_seen().last().unwrap() < 255);
    user.presses(KeyCode::Home);
    assert_eq!(user.slots_seen()[0], 0);
}

#[test]
fn the_largest_come_first_if_that_is_wished() {
    let mut status = status(&["main"], 3);
    status.slots[1].open = 7;
    status.slots[2].open = 70;
    status.slots[0].queue_wait_us.p99 = 2_000_000;
    let mut user = User::before(status, 80, 24);
    assert_eq!(user.slots_seen(), [0, 1, 2]);
    user.types("ss");
    user.sees_all(&["sorted by open connections"]);
    assert_eq!(user.slots_seen(), [2, 1, 0]);
    user.types("sssss");
    user.sees_all(&["sorted by queue wait"]);
    assert_eq!(user.slots_seen(), [0, 1, 2]);
    user.types("s");
    assert_eq!(user.slots_seen(), [0, 1, 2]);
}

#[test]
fn of_several_apps_all_or_one() {
    let mut user = User::before(status(&["api", "web"], 2), 80, 30);
    user.watches(10);
    user.sees_all(&[
        "2 apps",
        "api  2 of 2 workers ready, round-robin",
        "web  2 of 2",
        "a app",
    ]);
    user.types("a");
    user.sees_all(&[
        "app api of 2",
        "2 of 2 workers ready, round-robin, sticky ip, generation 3",
    ]);
    user.sees_none(&["web  2 of 2"]);
    user.sees_all(&["conn/s       20"]);
    user.types("aa");
    user.sees_all(&["2 apps", "4 of 4 workers ready", "conn/s       40"]);
}

#[test]
fn where_the_kernel_deals_only_what_workers_took_is_known() {
    let mut status = status(&["main"], 2);
    status.balance = crate::config::Balance::Kernel;
    status.apps[0].balance = crate::config::Balance::Kernel;
    let mut user = User::before(status, 80, 24);
    let mut next = user.model.status.clone();
    next.uptime_s += 1.0;
    next.slots.iter_mut().for_each(|slot| slot.accepted += 50);
    user.model.look(next.clone());
    user.sees_all(&["conn/s      100", "accepted    100"]);
    // Another worker begins at nothing.
    next.uptime_s += 1.0;
    next.slots[0].accepted = 20;
    user.model.look(next.clone());
    let seen = user.sees_all(&["accepted     70"]);
    let slot = seen.lines().find(|line| line.contains(" 4000 ")).unwrap();
    assert!(slot.contains(" 20 ") && slot.ends_with(" -"), "{seen}");
    // What a worker says that it took may be anything.
    next.uptime_s += 1.0;
    next.slots[0].accepted = u64::MAX;
    user.model.look(next);
    user.sees();
}

#[test]
fn no_size_is_too_small_and_no_line_too_long() {
    let mut full = status(&["api", "web"], 5);
    full.slots[1].why = Some("x".repeat(300));
    full.name = "n".repeat(64);
    full.operation = Some("a reload".into());
    full.backends = ["10.0.0.1:1", "10.0.0.2:1", "unix:/a/rather/long/path"]
        .map(|at| BackendStatus::unused(at, at, BackendState::Down))
        .into();
    full.leaving = (0..5)
        .map(|_| {
            serde_json::from_value(json!({"app": "web", "slot": 0, "pid": 1, "generation": 2,
                "state": "killing", "why": "reload", "open": 2, "left_s": 1.0}))
            .unwrap()
        })
        .collect();
    for keys in ["", "?", "m", "r", "a", "sss"] {
        for width in [0, 1, 2, 7, 19, 20, 39, 63, 64, 79, 101, 230] {
            for height in [0, 1, 2, 3, 5, 8, 11, 16, 30, 70] {
                let mut user = User::before(full.clone(), width, height);
                user.watches(9);
                user.types(keys);
                user.presses(KeyCode::End);
                user.sees();
            }
        }
    }
}

#[test]
fn nothing_that_a_terminal_would_obey_is_drawn_or_printed() {
    let mut status = status(&["main"], 2);
    status.command = vec!["node".into(), "\x1b[31mred\n\x07".into()];
    status.slots[0].why = Some("said \x1b]0;title\x07 and \u{9b}31m".into());
    let mut user = User::before(status, 80, 24);
    let seen = user.sees();
    let printed = text(&mut user.model, Theme::plain(true), 80);
    for text in [seen, printed] {
        assert!(text.contains("said"), "{text}");
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
    }
}

#[test]
fn as_text_it_has_all_slots_and_no_keys() {
    let mut user = User::before(status(&["main"], 100), 80, 24);
    user.watches(5);
    let text = text(&mut user.model, Theme::plain(true), 80);
    assert_eq!(text.matches(" ready ").count(), 100, "{text}");
    assert!(
        text.contains("conn/s      500") && !text.contains("q quit"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn without_colours_there_are_none() {
    let colours = |user: &mut User| {
        user.sees();
        let buffer = user.terminal.backend().buffer();
        let plain = ratatui::style::Color::Reset;
        let coloured = buffer
            .content
            .iter()
            .filter(|cell| cell.fg != plain || cell.bg != plain);
        coloured.count()
    };
    let mut user = User::before(status(&["main"], 3), 80, 24);
    assert_eq!(colours(&mut user), 0);
    user.theme = Theme::of_environment(|name| (name == "TERM").then(|| "xterm".into()));
    assert!(colours(&mut user) > 10);
}
