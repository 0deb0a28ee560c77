//! Starts, back-off and crash loops, under a fake clock.

use std::time::Duration;

use forkfront::config::Restart;
use forkfront::policy::backoff;
use forkfront::policy::deadlines::Moment;
use forkfront::policy::fleet::{CRASH_LOOP, Fleet, PERMIT, PROVEN, Settings, Verdict};
use forkfront::policy::ids::{SlotId, WorkerId};
use forkfront::policy::lifecycle::{End, Why};

const fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

fn fleet_of(slots: usize) -> Fleet {
    let restart = Restart::default();
    Fleet::new(Settings { slots, restart })
}

/// A fleet whose slot 0 has a ready worker, number 0, since the start.
fn proven(slots: usize) -> Fleet {
    let mut fleet = fleet_of(slots);
    fleet.started(SlotId(0), WorkerId(0), at(0));
    fleet.ready(SlotId(0), WorkerId(0), at(0));
    fleet
}

const EARLY: (End, Option<i32>) = (End::Early, Some(1));
const CRASHED: (End, Option<i32>) = (End::Crashed, None);

#[test]
fn the_canary_starts_alone() {
    let mut fleet = fleet_of(4);
    assert_eq!(fleet.startable(at(0), 8), Some(SlotId(0)));
    fleet.started(SlotId(0), WorkerId(7), at(0));
    assert_eq!(fleet.startable(at(0), 8), None);
    assert_eq!(fleet.next_start(), None);
    fleet.ready(SlotId(0), WorkerId(7), at(50));
    for slot in 1..4 {
        assert_eq!(fleet.startable(at(50), 8), Some(SlotId(slot)));
        fleet.started(SlotId(slot), WorkerId(u64::from(slot)), at(50));
    }
    assert_eq!(fleet.startable(at(50), 8), None);
}

#[test]
fn a_canary_that_fails_is_the_end() {
    for end in [End::Early, End::Killed(Why::Late)] {
        let mut fleet = fleet_of(4);
        fleet.started(SlotId(0), WorkerId(0), at(0));
        let verdict = fleet.ended(SlotId(0), WorkerId(0), (end, None), at(10), 0);
        assert_eq!(verdict, Verdict::Hopeless);
    }
    let verdict = fleet_of(1).start_failed(SlotId(0), at(0), 0);
    assert_eq!(verdict, Verdict::Hopeless);
}

#[test]
fn as_many_starts_as_there_are_permits() {
    let mut fleet = proven(10);
    let free = |fleet: &Fleet, now| 3usize.saturating_sub(fleet.unready(now));
    let mut next = 1;
    while let Some(slot) = fleet.startable(at(1), free(&fleet, at(1))) {
        fleet.started(slot, WorkerId(next), at(1));
        next += 1;
    }
    assert_eq!(next, 4, "three starts");
    fleet.ready(SlotId(2), WorkerId(2), at(2));
    assert_eq!(fleet.startable(at(2), free(&fleet, at(2))), Some(SlotId(4)));
}

#[test]
fn a_start_that_takes_long_holds_up_nobody_for_ever() {
    let mut fleet = proven(4);
    fleet.started(SlotId(1), WorkerId(1), at(10));
    fleet.started(SlotId(2), WorkerId(2), at(30));
    assert_eq!(fleet.unready(at(30)), 2);
    assert_eq!(fleet.next_permit(at(30)), Some(at(10) + PERMIT));
    assert_eq!(fleet.unready(at(10) + PERMIT), 1);
    assert_eq!(fleet.next_permit(at(10) + PERMIT), Some(at(30) + PERMIT));
    assert_eq!(fleet.unready(at(30) + PERMIT), 0);
    assert_eq!(fleet.next_permit(at(30) + PERMIT), None);
}

#[test]
fn a_slow_canary_stays_alone() {
    let mut fleet = fleet_of(2);
    fleet.started(SlotId(0), WorkerId(0), at(0));
    let late = at(0) + PERMIT + PERMIT;
    assert_eq!(fleet.startable(late, 8), None);
    assert_eq!(fleet.next_start(), None);
}

#[test]
fn a_crash_loop_is_reported_once_and_waits_longer_each_time() {
    let mut fleet = proven(2);
    let mut now = at(0);
    let mut last = Duration::ZERO;
    let mut reports = 0;
    for round in 1..=20 {
        assert_eq!(fleet.startable(now, 8), Some(SlotId(1)));
        fleet.started(SlotId(1), WorkerId(round), now);
        let Verdict::Retry {
            wait,
            failures,
            crash_loop,
        } = fleet.ended(SlotId(1), WorkerId(round), EARLY, now, 0)
        else {
            panic!("a slot that fails is retried");
        };
        assert!(wait > last || wait == backoff::CAP, "round {round}");
        assert_eq!(u64::from(failures), round);
        assert_eq!(crash_loop, failures == CRASH_LOOP);
        reports += u32::from(crash_loop);
        assert_eq!(fleet.startable(now, 8), None, "not before the wait is over");
        assert_eq!(fleet.next_start(), Some(now + wait));
        now = now + wait;
        last = wait;
    }
    assert_eq!(reports, 1);

    fleet.started(SlotId(1), WorkerId(99), now);
    fleet.ready(SlotId(1), WorkerId(99), now);
    assert_eq!(fleet.recovered(now), None);
    assert_eq!(fleet.next_recovery(), Some(now + PROVEN));
    assert_eq!(fleet.recovered(now + PROVEN), Some(SlotId(1)));
    assert_eq!(fleet.recovered(now + PROVEN), None, "said once");
    assert_eq!(fleet.next_recovery(), None);
}

#[test]
fn a_worker_that_leaves_in_peace_is_replaced_at_once() {
    let mut fleet = proven(1);
    let later = at(0) + PROVEN;
    let verdict = fleet.ended(
        SlotId(0),
        WorkerId(0),
        (End::Finished, Some(0)),
        later,
        u64::MAX,
    );
    let expected = Verdict::Retry {
        wait: Duration::ZERO,
        failures: 0,
        crash_loop: false,
    };
    assert_eq!(verdict, expected);
    assert_eq!(fleet.startable(later, 8), Some(SlotId(0)));
}

#[test]
fn a_long_life_forgives() {
    let mut fleet = proven(1);
    let mut now = at(0);
    for round in 0..50 {
        now = now + PROVEN;
        let verdict = fleet.ended(SlotId(0), WorkerId(round), CRASHED, now, 0);
        let expected = Verdict::Retry {
            wait: backoff::FIRST,
            failures: 1,
            crash_loop: false,
        };
        assert_eq!(verdict, expected);
        now = now + backoff::FIRST;
        fleet.started(SlotId(0), WorkerId(round + 1), now);
        fleet.ready(SlotId(0), WorkerId(round + 1), now);
    }
    assert_eq!(fleet.restarts(SlotId(0)), 50);
}

#[test]
fn a_storm_of_kills_is_no_program_that_cannot_start() {
    let mut fleet = proven(1);
    let mut now = at(0);
    for round in 0..100 {
        let worker = WorkerId(round * 2);
        let Verdict::Retry { wait, .. } = fleet.ended(SlotId(0), worker, CRASHED, now, 0) else {
            panic!("retried");
        };
        assert!(wait <= backoff::CAP_AFTER_READY, "round {round}");
        now = now + wait;
        let worker = WorkerId(round * 2 + 1);
        fleet.started(SlotId(0), worker, now);
        let Verdict::Retry { wait, .. } = fleet.ended(SlotId(0), worker, EARLY, now, 0) else {
            panic!("retried");
        };
        assert_eq!(wait, backoff::FIRST, "round {round}");
        now = now + wait;
        let worker = WorkerId(round * 2 + 2);
        fleet.started(SlotId(0), worker, now);
        fleet.ready(SlotId(0), worker, now);
    }
}

#[test]
fn a_former_worker_cannot_speak_for_its_slot() {
    let mut fleet = proven(1);
    let stale = fleet.ended(SlotId(0), WorkerId(5), CRASHED, at(1), 0);
    assert_eq!(stale, Verdict::Nothing);
    assert_eq!(fleet.startable(at(1), 8), None, "the slot is still taken");
}

#[test]
fn nothing_starts_after_a_stop() {
    let mut fleet = proven(3);
    fleet.stop();
    assert_eq!(fleet.startable(at(1), 8), None);
    let end = End::Drained(Why::Stop);
    let verdict = fleet.ended(SlotId(0), WorkerId(0), (end, Some(0)), at(2), 0);
    assert_eq!(verdict, Verdict::Nothing);
    assert_eq!(fleet.next_start(), None);
}
