//! A slot gets a successor for its worker; slots come and go. Under a fake clock.

use std::time::Duration;

use forkfront::config::Restart;
use forkfront::policy::backoff;
use forkfront::policy::deadlines::Moment;
use forkfront::policy::fleet::{Cause, Condition, Fleet, SETTLING, Settings, Verdict};
use forkfront::policy::ids::{SlotId, WorkerId};
use forkfront::policy::lifecycle::{End, Why};

const SLOT: SlotId = SlotId(0);
const FIRST: WorkerId = WorkerId(0);
const SECOND: WorkerId = WorkerId(100);

const fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

/// All slots ready since the start, with workers 0, 1, ...
fn ready(slots: usize) -> Fleet {
    let restart = Restart::default();
    let mut fleet = Fleet::new(Settings { slots, restart });
    for slot in 0..slots as u16 {
        fleet.started(SlotId(slot), WorkerId(slot.into()), at(0));
        fleet.ready(SlotId(slot), WorkerId(slot.into()), at(0));
    }
    fleet
}

/// A fleet of one slot whose successor, [`SECOND`], has been starting since 10 ms.
fn with_successor() -> Fleet {
    let mut fleet = ready(1);
    assert!(fleet.replace(SLOT, Cause::People, at(10)));
    assert_eq!(fleet.startable(at(10), 1), Some(SLOT));
    fleet.started(SLOT, SECOND, at(10));
    assert_eq!(fleet.startable(at(10), 1), None);
    fleet
}

fn crashed() -> (End, Option<i32>) {
    (End::Crashed, None)
}

fn retried(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Retry { .. })
}

#[test]
fn a_successor_takes_the_slot_over_when_it_is_ready() {
    let mut fleet = with_successor();
    assert_eq!(fleet.worker(SLOT), Some(FIRST));
    assert_eq!(fleet.successor(SLOT), Some(SECOND));
    assert_eq!(fleet.condition(SLOT), Some(Condition::Ready));
    assert_eq!(fleet.ready(SLOT, SECOND, at(50)), None);
    assert_eq!(
        (fleet.worker(SLOT), fleet.successor(SLOT)),
        (Some(SECOND), None)
    );
    let settled = at(50) + SETTLING;
    assert_eq!(fleet.next_settling(), Some(settled));
    assert_eq!(fleet.former(SLOT), Some(FIRST));
    assert_eq!(fleet.settled(at(50)), None);
    assert_eq!(fleet.settled(settled), Some((SLOT, Some(FIRST))));
    assert_eq!(fleet.settled(settled), None, "said once");
    assert_eq!((fleet.former(SLOT), fleet.next_settling()), (None, None));
    let end = (End::Drained(Why::Replaced), Some(0));
    assert_eq!(fleet.ended(SLOT, FIRST, end, at(60), 0), Verdict::Nothing);
    assert_eq!(fleet.condition(SLOT), Some(Condition::Ready));
    assert_eq!(fleet.next_start(), None);
}

#[test]
fn a_successor_that_dies_before_it_has_settled_gives_the_slot_back() {
    let mut fleet = with_successor();
    assert_eq!(fleet.ready(SLOT, SECOND, at(50)), None);
    assert!(
        !fleet.replace(SLOT, Cause::Limit, at(51)),
        "no limit has a say meanwhile"
    );
    let verdict = fleet.ended(SLOT, SECOND, (End::Crashed, Some(1)), at(60), 0);
    assert!(
        matches!(verdict, Verdict::SuccessorFailed { failures: 1, .. }),
        "{verdict:?}"
    );
    assert_eq!(fleet.worker(SLOT), Some(FIRST));
    assert_eq!(fleet.condition(SLOT), Some(Condition::Ready));
    assert_eq!((fleet.next_settling(), fleet.next_start()), (None, None));
}

#[test]
fn a_successor_that_is_told_to_go_before_it_has_settled_gives_the_slot_back_at_once() {
    let mut fleet = with_successor();
    fleet.ready(SLOT, SECOND, at(50));
    let verdict = fleet.leaves(SLOT, SECOND, at(55), 0);
    assert!(
        matches!(verdict, Some(Verdict::SuccessorFailed { .. })),
        "{verdict:?}"
    );
    assert_eq!(fleet.worker(SLOT), Some(FIRST));
    assert_eq!(fleet.settled(at(50) + SETTLING), None);
    let end = (End::Drained(Why::Broken), Some(0));
    assert_eq!(fleet.ended(SLOT, SECOND, end, at(60), 0), Verdict::Nothing);
}

#[test]
fn a_former_worker_that_goes_by_itself_leaves_nothing_to_go_back_to() {
    for dies in [true, false] {
        let mut fleet = with_successor();
        fleet.ready(SLOT, SECOND, at(50));
        if dies {
            let verdict = fleet.ended(SLOT, FIRST, (End::Crashed, Some(1)), at(55), 0);
            assert_eq!(verdict, Verdict::Nothing);
        } else {
            assert_eq!(fleet.leaves(SLOT, FIRST, at(55), 0), None);
        }
        assert!(fleet.is_settling(SLOT));
        let verdict = fleet.ended(SLOT, SECOND, (End::Crashed, Some(1)), at(60), 0);
        assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
        assert_eq!(fleet.worker(SLOT), None);
        assert_eq!(fleet.settled(at(50) + SETTLING), None);
    }
}

#[test]
fn a_successor_that_fails_leaves_the_worker_alone() {
    for end in [End::Early, End::Killed(Why::Late), End::Killed(Why::Broken)] {
        let mut fleet = with_successor();
        let verdict = fleet.ended(SLOT, SECOND, (end, Some(1)), at(20), 0);
        let expected = Verdict::SuccessorFailed {
            wait: backoff::FIRST,
            failures: 1,
        };
        assert_eq!(verdict, expected);
        assert_eq!(fleet.worker(SLOT), Some(FIRST));
        assert_eq!(fleet.next_start(), None, "nobody asked for another one");
    }
    let mut fleet = ready(1);
    assert!(fleet.replace(SLOT, Cause::People, at(10)));
    let verdict = fleet.start_failed(SLOT, at(10), 0);
    assert!(
        matches!(verdict, Verdict::SuccessorFailed { .. }),
        "{verdict:?}"
    );
}

#[test]
fn who_is_asked_for_by_people_is_tried_at_once_and_by_a_limit_ever_less_often() {
    let mut fleet = ready(1);
    let mut now = at(0);
    for round in 1..=10 {
        assert!(fleet.replace(SLOT, Cause::People, now), "round {round}");
        let Verdict::SuccessorFailed { wait, failures } = fleet.start_failed(SLOT, now, 0) else {
            panic!("the successor failed");
        };
        assert_eq!(
            (failures, wait),
            (round, backoff::delay(round, backoff::CAP, 0))
        );
        assert!(!fleet.replace(SLOT, Cause::Limit, now));
        now = now + wait;
    }
    assert!(fleet.replace(SLOT, Cause::Limit, now), "its wait is over");
    fleet.started(SLOT, SECOND, now);
    fleet.ready(SLOT, SECOND, now);
    fleet.settled(now + SETTLING);
    assert!(fleet.replace(SLOT, Cause::Limit, now), "a success forgives");
}

#[test]
fn a_successor_whose_worker_dies_inherits_the_slot() {
    let mut fleet = with_successor();
    assert_eq!(
        fleet.ended(SLOT, FIRST, crashed(), at(20), 0),
        Verdict::Inherited
    );
    assert_eq!(
        (fleet.worker(SLOT), fleet.successor(SLOT)),
        (Some(SECOND), None)
    );
    assert_eq!(fleet.condition(SLOT), Some(Condition::Starting));
    assert_eq!(
        fleet.ready(SLOT, SECOND, at(50)),
        None,
        "nobody is left to be drained"
    );

    let mut fleet = with_successor();
    fleet.ended(SLOT, FIRST, crashed(), at(20), 0);
    let verdict = fleet.ended(SLOT, SECOND, (End::Early, Some(1)), at(30), 0);
    assert!(retried(verdict), "the slot has nobody else: {verdict:?}");
}

#[test]
fn a_wish_outlives_the_worker_that_it_was_about() {
    let mut fleet = ready(1);
    assert!(fleet.replace(SLOT, Cause::People, at(10)));
    assert_eq!(
        fleet.ended(SLOT, FIRST, crashed(), at(20), 0),
        Verdict::Inherited
    );
    assert_eq!(fleet.startable(at(20), 1), Some(SLOT), "with no wait");
}

#[test]
fn a_wish_about_a_slot_without_a_worker_skips_its_wait() {
    let mut fleet = ready(2);
    let mut now = at(0);
    fleet.ended(SLOT, FIRST, crashed(), now, 0);
    for _ in 0..20 {
        now = now + backoff::CAP;
        assert!(retried(fleet.start_failed(SLOT, now, 0)));
    }
    assert_eq!(fleet.startable(now, 1), None);
    assert!(!fleet.replace(SLOT, Cause::Limit, now));
    assert!(fleet.replace(SLOT, Cause::People, now));
    assert_eq!(fleet.startable(now, 1), Some(SLOT));
}

#[test]
fn a_worker_that_has_just_started_can_be_overtaken() {
    let mut fleet = ready(1);
    fleet.ended(SLOT, FIRST, crashed(), at(0), 0);
    fleet.started(SLOT, WorkerId(1), at(100));
    assert!(fleet.replace(SLOT, Cause::People, at(110)));
    fleet.started(SLOT, SECOND, at(120));
    assert_eq!(fleet.unready(at(120)), 2);
    assert_eq!(fleet.ready(SLOT, SECOND, at(130)), Some(WorkerId(1)));
    assert_eq!(
        fleet.ready(SLOT, WorkerId(1), at(140)),
        None,
        "it came too late"
    );
    assert_eq!(fleet.worker(SLOT), Some(SECOND));
}

#[test]
fn an_empty_slot_comes_before_a_wish() {
    let mut fleet = ready(3);
    assert!(fleet.replace(SLOT, Cause::People, at(1)));
    fleet.ended(SlotId(2), WorkerId(2), crashed(), at(10), 0);
    assert_eq!(fleet.startable(at(10), 1), Some(SLOT), "slot 2 still waits");
    let later = at(10) + backoff::FIRST;
    assert_eq!(fleet.startable(later, 1), Some(SlotId(2)));
    assert_eq!(fleet.startable(later, 0), None);
}

#[test]
fn one_successor_at_a_time() {
    let mut fleet = with_successor();
    assert!(
        !fleet.replace(SLOT, Cause::People, at(20)),
        "one is starting"
    );
    assert_eq!(fleet.cancel(SLOT, at(20)), Some(SECOND));
    assert_eq!(
        (fleet.worker(SLOT), fleet.successor(SLOT)),
        (Some(FIRST), None)
    );
    let end = (End::Killed(Why::Replaced), None);
    assert_eq!(fleet.ended(SLOT, SECOND, end, at(21), 0), Verdict::Nothing);
    assert_eq!(fleet.ready(SLOT, SECOND, at(22)), None);
    assert_eq!(fleet.worker(SLOT), Some(FIRST));
    assert!(fleet.replace(SLOT, Cause::People, at(30)));
    assert_eq!(fleet.cancel(SLOT, at(30)), None, "not even started");
    assert_eq!(fleet.next_start(), None);
}

#[test]
fn what_was_asked_for_and_inherited_can_be_given_up_and_the_slot_goes_on() {
    let mut fleet = with_successor();
    fleet.ended(SLOT, FIRST, crashed(), at(20), 0);
    assert_eq!(fleet.cancel(SLOT, at(30)), Some(SECOND));
    assert_eq!(fleet.startable(at(30), 1), Some(SLOT));
    fleet.started(SLOT, WorkerId(3), at(30));
    assert_eq!(
        fleet.cancel(SLOT, at(31)),
        None,
        "nobody asked for this one"
    );
    assert_eq!(fleet.worker(SLOT), Some(WorkerId(3)));
}

#[test]
fn a_fleet_grows_with_empty_slots_and_shrinks_from_the_top() {
    let mut fleet = ready(2);
    assert_eq!(fleet.resize(4), []);
    assert_eq!(fleet.startable(at(1), 2), Some(SlotId(2)));
    fleet.started(SlotId(2), WorkerId(2), at(1));
    assert_eq!(fleet.startable(at(1), 1), Some(SlotId(3)));
    assert!(fleet.replace(SlotId(1), Cause::People, at(2)));
    fleet.resize(3);
    assert_eq!(fleet.startable(at(2), 1), Some(SlotId(1)));
    fleet.started(SlotId(1), SECOND, at(2));
    assert_eq!(fleet.resize(1), [WorkerId(1), SECOND, WorkerId(2)]);
    for worker in [WorkerId(1), SECOND, WorkerId(2)] {
        let end = (End::Drained(Why::Scaled), Some(0));
        assert_eq!(
            fleet.ended(SlotId(1), worker, end, at(3), 0),
            Verdict::Nothing
        );
    }
    assert_eq!(fleet.ready(SlotId(2), WorkerId(2), at(4)), None);
    assert_eq!(fleet.slots(), 1);
    assert_eq!(fleet.next_start(), None);
}

#[test]
fn nothing_is_asked_of_a_fleet_that_stops() {
    let mut fleet = with_successor();
    fleet.stop();
    assert!(!fleet.replace(SLOT, Cause::People, at(20)));
    let end = (End::Drained(Why::Stop), Some(0));
    assert_eq!(fleet.ended(SLOT, SECOND, end, at(20), 0), Verdict::Nothing);
    assert_eq!(fleet.ended(SLOT, FIRST, end, at(20), 0), Verdict::Nothing);
    assert_eq!(fleet.next_start(), None);
}

#[test]
fn a_fleet_survives_being_written_down() {
    let mut fleet = with_successor();
    fleet.resize(3);
    fleet.start_failed(SlotId(1), at(12), 7);
    let text = serde_json::to_string(&fleet).expect("JSON");
    let mut again: Fleet = serde_json::from_str(&text).expect("a fleet");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), text);
    assert_eq!(again.ready(SLOT, SECOND, at(50)), None);
    assert_eq!(again.former(SLOT), Some(FIRST));
    assert_eq!(again.next_start(), fleet.next_start());
}
