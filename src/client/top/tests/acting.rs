//! What keys do, and how the answers are shown.

use super::*;

/// The change that a deed asks for, as it goes to the primary.
fn asked(deed: Option<Deed>) -> (u64, String) {
    match deed {
        Some(Deed::Change(number, request)) => (number, serde_json::to_string(&request).unwrap()),
        other => panic!("no change: {other:?}"),
    }
}

#[test]
fn what_takes_a_worker_away_is_asked_once_more() {
    let table = [
        ("r", "Restart slot 1?", r#"{"verb":"restart","slot":"1"}"#),
        ("d", "Drain slot 1?", r#"{"verb":"drain","slot":"1"}"#),
        (
            "-",
            "One worker less?",
            r#"{"verb":"scale","app":null,"to":"-1"}"#,
        ),
        (
            "R",
            "Reload all slots?",
            r#"{"verb":"reload","app":null,"changes_only":false}"#,
        ),
    ];
    for (key, question, line) in table {
        for no in [
            KeyCode::Char('n'),
            KeyCode::Esc,
            KeyCode::Char('q'),
            KeyCode::Down,
        ] {
            let mut user = User::before(status(&["main"], 3), 80, 24);
            assert_eq!(user.types("j"), None);
            assert_eq!(user.types(key), None);
            user.sees_all(&[question, "y/n"]);
            assert_eq!(user.presses(no), None);
            user.sees_none(&[question]);
        }
        for yes in [KeyCode::Char('y'), KeyCode::Enter] {
            let mut user = User::before(status(&["main"], 3), 80, 24);
            user.types("j");
            user.types(key);
            assert_eq!(asked(user.presses(yes)), (1, line.to_owned()));
        }
    }
}

#[test]
fn what_hurts_nobody_is_done_at_once() {
    let mut user = User::before(status(&["main"], 3), 80, 24);
    let (_, line) = asked(user.types("u"));
    assert_eq!(line, r#"{"verb":"resume","slot":"0"}"#);
    let (number, line) = asked(user.types("+"));
    assert_eq!(
        (number, line.as_str()),
        (2, r#"{"verb":"scale","app":null,"to":"+1"}"#)
    );
}

#[test]
fn of_several_apps_the_selected_slots_is_meant() {
    let mut user = User::before(status(&["api", "web"], 2), 80, 30);
    user.types("jj");
    user.types("r");
    user.sees_all(&["Restart slot web:0?"]);
    assert_eq!(
        asked(user.types("y")).1,
        r#"{"verb":"restart","slot":"web:0"}"#
    );
    assert_eq!(
        asked(user.types("+")).1,
        r#"{"verb":"scale","app":"web","to":"+1"}"#
    );
    user.types("aa");
    user.types("R");
    user.sees_all(&["Reload web?"]);
    let (_, line) = asked(user.types("y"));
    assert_eq!(
        line,
        r#"{"verb":"reload","app":"web","changes_only":false}"#
    );
}

#[test]
fn the_answers_are_streamed_and_the_keys_go_on() {
    let mut user = User::before(status(&["main"], 3), 80, 24);
    user.types("r");
    let (first, _) = asked(user.types("y"));
    let (second, _) = asked(user.types("+"));
    user.sees_all(&["restart 0 ...", "scale +1 ..."]);
    user.model
        .said(first, "a new worker starts".into(), Stage::Going);
    user.sees_all(&["restart 0 ...: a new worker starts"]);
    user.types("j");
    user.model.said(
        first,
        "it does not start\n  its last line".into(),
        Stage::Failed,
    );
    user.model
        .said(second, "4 workers are ready".into(), Stage::Done);
    user.sees_all(&["scale +1 done: 4 workers are ready"]);
    user.types("m");
    user.sees_all(&[
        "Messages",
        "restart 0 FAILED: it does not start",
        "  its last line",
        "scale +1 done: 4 workers are ready",
    ]);
    (0..1000).for_each(|_| assert_eq!(user.presses(KeyCode::Up), None));
    (0..3).for_each(|_| assert_eq!(user.presses(KeyCode::Down), None));
    assert_eq!(user.model.mode, Mode::Said(0));
    user.presses(KeyCode::Esc);
    user.waits(Duration::from_secs(30));
    user.sees_none(&["4 workers are ready"]);
}

#[test]
fn a_failure_stays_until_it_is_put_away() {
    let mut user = User::before(status(&["main"], 3), 80, 24);
    let (change, _) = asked(user.types("u"));
    user.model
        .said(change, "slot 0 is not drained".into(), Stage::Failed);
    user.waits(Duration::from_secs(3600));
    user.sees_all(&["resume 0 FAILED: slot 0 is not drained"]);
    user.presses(KeyCode::Esc);
    user.sees_none(&["FAILED"]);
}

#[test]
fn a_selected_slot_that_goes_leaves_its_place_to_another() {
    let mut user = User::before(status(&["main"], 3), 80, 24);
    user.presses(KeyCode::End);
    assert_eq!(user.model.selected().unwrap().slot, 2);
    let mut fewer = user.model.status.clone();
    fewer.slots.truncate(2);
    user.model.look(fewer.clone());
    assert_eq!(user.model.selected().unwrap().slot, 1);
    fewer.slots.clear();
    user.model.look(fewer);
    assert_eq!(user.types("r"), None);
    assert_eq!(user.model.mode, Mode::Watch);
    user.sees();
}

#[test]
fn a_primary_that_goes_is_said_to_and_found_again() {
    let mut user = User::before(status(&["main"], 2), 80, 24);
    user.watches(500);
    user.model
        .miss(ErrorKind::NoPrimary, "no primary named '8080' runs".into());
    user.sees_all(&["GONE: no primary 8080 runs", "the primary has gone"]);
    let mut other = status(&["main"], 2);
    other.pid = 901;
    other.uptime_s = 1.0;
    user.model.look(other);
    user.sees_all(&["another primary answers now, pid 901", "conn/s        -"]);
    user.sees_none(&["GONE"]);
    user.watches(7);
    user.sees_all(&["conn/s       14", "peak         14"]);
}

#[test]
fn an_upgrade_is_said_and_changes_no_figure() {
    let mut user = User::before(status(&["main"], 2), 80, 24);
    user.watches(10);
    let mut upgraded = later(&user.model.status, 20);
    upgraded.version = "9.9.9".into();
    user.model.look(upgraded);
    user.sees_all(&[
        "the primary has become version 9.9.9",
        "conn/s       40",
        "9.9.9",
    ]);
}

#[test]
fn a_primary_that_does_not_answer_is_said_to() {
    let mut user = User::before(status(&["main"], 2), 80, 24);
    user.waits(Duration::from_secs(2));
    user.sees_none(&["NO ANSWER"]);
    user.waits(Duration::from_secs(2));
    user.sees_all(&["NO ANSWER for 4s"]);
    user.model.miss(
        ErrorKind::Failed,
        "primary 8080 is there but does not answer".into(),
    );
    user.sees_all(&["NO ANSWER: primary 8080 is there but does not answer"]);
    user.watches(1);
    user.sees_all(&["the primary answers again"]);
    user.sees_none(&["NO ANSWER"]);
}

#[test]
fn the_way_out() {
    let mut user = User::before(status(&["main"], 2), 80, 24);
    assert_eq!(user.types("q"), Some(Deed::Quit));
    for (key, deed) in [('c', Deed::Quit), ('z', Deed::Suspend), ('l', Deed::Redraw)] {
        for open in ["", "?", "m", "r"] {
            user.types(open);
            let key = KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
            assert_eq!(user.model.key(key), Some(deed.clone()), "after {open:?}");
            user.model.mode = Mode::Watch;
        }
    }
    assert_eq!(user.types("?"), None);
    user.sees_all(&[
        "restart the slot",
        "Ctrl-Z",
        "quit; a change that was begun goes on",
    ]);
    assert_eq!(user.types("q"), None);
    user.sees_none(&["restart the slot"]);
}

#[test]
fn every_question_fits_eighty_columns_and_can_be_answered_in_forty() {
    let mut user = User::before(status(&["main"], 1000), 80, 24);
    let mut narrow = User::before(status(&["main"], 1000), 40, 20);
    user.presses(KeyCode::End);
    for key in ["r", "d", "-", "R"] {
        narrow.types(key);
        narrow.sees_all(&[" y/n\n"]);
        narrow.types("n");
        user.types(key);
        user.sees_all(&["y/n"]);
        let Mode::Confirm(request, _) = &user.model.mode else {
            panic!("{key} is not asked");
        };
        assert_ne!(*request, Request::Stop);
        user.types("n");
    }
}
