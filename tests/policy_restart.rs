//! What the end of a worker means for its slot by `--restart`, `--stop-exit-codes` and `--max-restarts`. Under a
//! fake clock.

use std::collections::BTreeSet;
use std::time::Duration;

use forkfront::config::{Restart, RestartWhen};
use forkfront::policy::deadlines::Moment;
use forkfront::policy::fleet::{Cause, Condition, Fleet, PROVEN, SETTLING, Settings, Verdict};
use forkfront::policy::ids::{SlotId, WorkerId};
use forkfront::policy::lifecycle::{End, Why};

const SLOT: SlotId = SlotId(0);
const FIRST: WorkerId = WorkerId(0);
const SECOND: WorkerId = WorkerId(100);

const fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

/// All slots ready since the start, with workers 0, 1, ...
fn with(slots: usize, restart: Restart) -> Fleet {
    let mut fleet = Fleet::new(Settings { slots, restart });
    for slot in 0..slots as u16 {
        fleet.started(SlotId(slot), WorkerId(slot.into()), at(0));
        fleet.ready(SlotId(slot), WorkerId(slot.into()), at(0));
    }
    fleet
}

fn crashed() -> (End, Option<i32>) {
    (End::Crashed, None)
}

fn exited(code: i32) -> (End, Option<i32>) {
    let end = if code == 0 {
        End::Finished
    } else {
        End::Crashed
    };
    (end, Some(code))
}

fn retried(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Retry { .. })
}

#[test]
fn restart_policies_look_at_how_a_worker_ended() {
    let ends = [exited(0), exited(1), exited(78), crashed()];
    let cases = [
        (RestartWhen::Always, [true, true, false, true]),
        (RestartWhen::OnFailure, [false, true, false, true]),
        (RestartWhen::Never, [false; 4]),
    ];
    for (when, expected) in cases {
        for (end, again) in ends.into_iter().zip(expected) {
            let restart = Restart {
                when,
                stop_exit_codes: BTreeSet::from([78]),
                most: None,
            };
            let mut fleet = with(2, restart);
            let verdict = fleet.ended(SLOT, FIRST, end, at(5000), 0);
            let finished = verdict == Verdict::Finished;
            assert_eq!(
                (retried(verdict), finished),
                (again, !again),
                "{when:?} {end:?}"
            );
            assert_eq!(fleet.condition(SLOT) == Some(Condition::Finished), finished);
            assert_eq!(fleet.next_start().is_none(), finished);
            assert!(!fleet.is_over(), "slot 1 serves");
        }
    }
}

#[test]
fn whom_we_ended_ourselves_is_no_success() {
    let restart = Restart {
        when: RestartWhen::OnFailure,
        stop_exit_codes: BTreeSet::from([0]),
        most: None,
    };
    for why in [Why::Broken, Why::Hung] {
        let mut fleet = with(1, restart.clone());
        let end = (End::Drained(why), Some(0));
        assert!(retried(fleet.ended(SLOT, FIRST, end, at(5000), 0)));
    }
}

#[test]
fn a_fleet_is_over_when_nobody_is_left_and_can_be_revived() {
    let restart = Restart {
        when: RestartWhen::Never,
        ..Restart::default()
    };
    let mut fleet = with(2, restart);
    for slot in 0..2u16 {
        assert!(!fleet.is_over());
        fleet.ended(SlotId(slot), WorkerId(slot.into()), exited(0), at(10), 0);
    }
    assert!(fleet.is_over());
    assert!(fleet.replace(SLOT, Cause::People, at(20)));
    assert!(!fleet.is_over());
    assert_eq!(fleet.startable(at(20), 1), Some(SLOT));
    assert!(fleet.replace(SlotId(1), Cause::People, at(30)));
    assert_eq!(
        fleet.startable(at(30), 1),
        Some(SLOT),
        "in the order of asking"
    );
}

fn at_most(restarts: u32, within: Duration) -> Fleet {
    let restart = Restart {
        most: Some((restarts, within)),
        ..Restart::default()
    };
    with(1, restart)
}

/// Ends the slot's worker; if that is no failure for good, starts the next one, which is ready at once.
fn turn(fleet: &mut Fleet, end: (End, Option<i32>), now: Moment) -> Verdict {
    let worker = fleet.worker(SLOT).expect("a worker");
    let verdict = fleet.ended(SLOT, worker, end, now, 0);
    if let Verdict::Retry { wait, .. } = verdict {
        fleet.started(SLOT, WorkerId(worker.0 + 1), now + wait);
        fleet.ready(SLOT, WorkerId(worker.0 + 1), now + wait);
    }
    verdict
}

#[test]
fn too_many_restarts_within_the_window_are_the_end_of_a_slot() {
    let minute = Duration::from_secs(60);
    let mut fleet = at_most(3, minute);
    for round in 1..=3 {
        assert!(retried(turn(&mut fleet, crashed(), at(round * 10_000))));
    }
    let expected = Verdict::Failed {
        restarts: 3,
        within: minute,
    };
    assert_eq!(turn(&mut fleet, crashed(), at(40_000)), expected);
    assert_eq!(fleet.condition(SLOT), Some(Condition::Failed));
    assert!(fleet.is_over());
    assert_eq!(fleet.next_start(), None);

    assert!(fleet.replace(SLOT, Cause::People, at(50_000)));
    fleet.started(SLOT, SECOND, at(50_000));
    fleet.ready(SLOT, SECOND, at(50_000));
    assert!(retried(turn(&mut fleet, crashed(), at(51_000))), "forgiven");
}

#[test]
fn the_window_slides() {
    let mut fleet = at_most(3, Duration::from_secs(60));
    for round in 1..=100 {
        assert!(
            retried(turn(&mut fleet, crashed(), at(round * 20_000))),
            "round {round}"
        );
    }
}

#[test]
fn peaceful_ends_and_replacements_are_no_restarts() {
    let mut fleet = at_most(1, Duration::from_secs(3600));
    let mut now = at(0);
    for round in 1..=50 {
        now = now + PROVEN;
        assert!(retried(turn(&mut fleet, exited(0), now)), "round {round}");
        assert!(fleet.replace(SLOT, Cause::People, now));
        let former = fleet.worker(SLOT);
        let next = WorkerId(1000 + round);
        fleet.started(SLOT, next, now);
        assert_eq!(fleet.ready(SLOT, next, now), None);
        let settled = fleet.settled(now + SETTLING);
        assert_eq!(settled, Some((SLOT, former)));
    }
    assert!(retried(turn(&mut fleet, crashed(), now)));
    assert!(!retried(turn(&mut fleet, crashed(), now)));
}

#[test]
fn a_canary_that_fails_is_the_end_whatever_the_policy() {
    for when in [RestartWhen::Never, RestartWhen::OnFailure] {
        let restart = Restart {
            when,
            stop_exit_codes: BTreeSet::from([0, 1]),
            most: Some((0, PROVEN)),
        };
        let mut fleet = Fleet::new(Settings { slots: 2, restart });
        fleet.started(SLOT, FIRST, at(0));
        let verdict = fleet.ended(SLOT, FIRST, (End::Early, Some(0)), at(1), 0);
        assert_eq!(verdict, Verdict::Hopeless);
    }
}

#[test]
fn a_successor_that_was_asked_for_comes_whatever_the_policy() {
    let restart = Restart {
        when: RestartWhen::Never,
        ..Restart::default()
    };
    let mut fleet = with(1, restart);
    assert!(fleet.replace(SLOT, Cause::People, at(1)));
    assert_eq!(
        fleet.ended(SLOT, FIRST, exited(0), at(2), 0),
        Verdict::Inherited
    );
    assert_eq!(fleet.startable(at(2), 1), Some(SLOT));
    fleet.started(SLOT, SECOND, at(2));
    let verdict = fleet.ended(SLOT, SECOND, (End::Early, Some(1)), at(3), 0);
    assert_eq!(verdict, Verdict::Finished);
}
