//! Starts, back-off and crash loops, under a fake clock; and random walks over whole fleets.

use std::collections::HashMap;
use std::time::Duration;

use forkfront::policy::backoff;
use forkfront::policy::deadlines::Moment;
use forkfront::policy::fleet::{CRASH_LOOP, Fleet, PROVEN, Verdict};
use forkfront::policy::ids::{SlotId, WorkerId};
use forkfront::policy::lifecycle::{End, Why};

const fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

/// A fleet whose slot 0 has a ready worker, number 0, since the start.
fn proven(slots: usize, cpus: usize) -> Fleet {
    let mut fleet = Fleet::new(slots, cpus);
    fleet.started(SlotId(0), WorkerId(0));
    fleet.ready(SlotId(0), WorkerId(0), at(0));
    fleet
}

#[test]
fn the_canary_starts_alone() {
    let mut fleet = Fleet::new(4, 8);
    assert_eq!(fleet.startable(at(0)), Some(SlotId(0)));
    fleet.started(SlotId(0), WorkerId(7));
    assert_eq!(fleet.startable(at(0)), None);
    assert_eq!(fleet.next_start(), None);
    fleet.ready(SlotId(0), WorkerId(7), at(50));
    for slot in 1..4 {
        assert_eq!(fleet.startable(at(50)), Some(SlotId(slot)));
        fleet.started(SlotId(slot), WorkerId(u64::from(slot)));
    }
    assert_eq!(fleet.startable(at(50)), None);
}

#[test]
fn a_canary_that_fails_is_the_end() {
    for end in [End::Early, End::Killed(Why::Late)] {
        let mut fleet = Fleet::new(4, 8);
        fleet.started(SlotId(0), WorkerId(0));
        let verdict = fleet.ended(SlotId(0), WorkerId(0), end, at(10), 0);
        assert_eq!(verdict, Verdict::Hopeless);
    }
    let verdict = Fleet::new(1, 1).start_failed(SlotId(0), at(0), 0);
    assert_eq!(verdict, Verdict::Hopeless);
}

#[test]
fn as_many_unready_starts_as_cores() {
    let mut fleet = proven(10, 3);
    let mut next = 1;
    while let Some(slot) = fleet.startable(at(1)) {
        fleet.started(slot, WorkerId(next));
        next += 1;
    }
    assert_eq!(next, 4, "three starts");
    fleet.ready(SlotId(2), WorkerId(2), at(2));
    assert_eq!(fleet.startable(at(2)), Some(SlotId(4)));
}

#[test]
fn a_crash_loop_is_reported_once_and_waits_longer_each_time() {
    let mut fleet = proven(2, 1);
    let mut now = at(0);
    let mut last = Duration::ZERO;
    let mut reports = 0;
    for round in 1..=20 {
        assert_eq!(fleet.startable(now), Some(SlotId(1)));
        fleet.started(SlotId(1), WorkerId(round));
        let Verdict::Retry {
            wait,
            failures,
            crash_loop,
        } = fleet.ended(SlotId(1), WorkerId(round), End::Early, now, 0)
        else {
            panic!("a slot that fails is retried");
        };
        assert!(wait > last || wait == backoff::CAP, "round {round}");
        assert_eq!(u64::from(failures), round);
        assert_eq!(crash_loop, failures == CRASH_LOOP);
        reports += u32::from(crash_loop);
        assert_eq!(fleet.startable(now), None, "not before the wait is over");
        assert_eq!(fleet.next_start(), Some(now + wait));
        now = now + wait;
        last = wait;
    }
    assert_eq!(reports, 1);

    fleet.started(SlotId(1), WorkerId(99));
    fleet.ready(SlotId(1), WorkerId(99), now);
    assert_eq!(fleet.recovered(now), None);
    assert_eq!(fleet.next_recovery(), Some(now + PROVEN));
    assert_eq!(fleet.recovered(now + PROVEN), Some(SlotId(1)));
    assert_eq!(fleet.recovered(now + PROVEN), None, "said once");
    assert_eq!(fleet.next_recovery(), None);
}

#[test]
fn a_worker_that_leaves_in_peace_is_replaced_at_once() {
    let mut fleet = proven(1, 1);
    let later = at(0) + PROVEN;
    let verdict = fleet.ended(SlotId(0), WorkerId(0), End::Finished, later, u64::MAX);
    let expected = Verdict::Retry {
        wait: Duration::ZERO,
        failures: 0,
        crash_loop: false,
    };
    assert_eq!(verdict, expected);
    assert_eq!(fleet.startable(later), Some(SlotId(0)));
}

#[test]
fn a_long_life_forgives() {
    let mut fleet = proven(1, 1);
    let mut now = at(0);
    for round in 0..50 {
        now = now + PROVEN;
        let verdict = fleet.ended(SlotId(0), WorkerId(round), End::Crashed, now, 0);
        let expected = Verdict::Retry {
            wait: backoff::FIRST,
            failures: 1,
            crash_loop: false,
        };
        assert_eq!(verdict, expected);
        now = now + backoff::FIRST;
        fleet.started(SlotId(0), WorkerId(round + 1));
        fleet.ready(SlotId(0), WorkerId(round + 1), now);
    }
    assert_eq!(fleet.restarts(SlotId(0)), 50);
}

#[test]
fn a_storm_of_kills_is_no_program_that_cannot_start() {
    let mut fleet = proven(1, 1);
    let mut now = at(0);
    for round in 0..100 {
        let worker = WorkerId(round * 2);
        let Verdict::Retry { wait, .. } = fleet.ended(SlotId(0), worker, End::Crashed, now, 0)
        else {
            panic!("retried");
        };
        assert!(wait <= backoff::CAP_AFTER_READY, "round {round}");
        now = now + wait;
        let worker = WorkerId(round * 2 + 1);
        fleet.started(SlotId(0), worker);
        let Verdict::Retry { wait, .. } = fleet.ended(SlotId(0), worker, End::Early, now, 0) else {
            panic!("retried");
        };
        assert_eq!(wait, backoff::FIRST, "round {round}");
        now = now + wait;
        let worker = WorkerId(round * 2 + 2);
        fleet.started(SlotId(0), worker);
        fleet.ready(SlotId(0), worker, now);
    }
}

#[test]
fn a_former_worker_cannot_speak_for_its_slot() {
    let mut fleet = proven(1, 1);
    let stale = fleet.ended(SlotId(0), WorkerId(5), End::Crashed, at(1), 0);
    assert_eq!(stale, Verdict::Nothing);
    assert_eq!(fleet.startable(at(1)), None, "the slot is still taken");
}

#[test]
fn nothing_starts_after_a_stop() {
    let mut fleet = proven(3, 4);
    fleet.stop();
    assert_eq!(fleet.startable(at(1)), None);
    let end = End::Drained(Why::Stop);
    let verdict = fleet.ended(SlotId(0), WorkerId(0), end, at(2), 0);
    assert_eq!(verdict, Verdict::Nothing);
    assert_eq!(fleet.next_start(), None);
}

/// xorshift64: the walks must be the same on every machine.
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.number() % sides
    }
}

#[test]
fn random_fleets_never_start_too_many_or_too_early_and_always_come_back() {
    for seed in 1..=300u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (slots, cpus) = (1 + dice.roll(8), 1 + dice.roll(4));
        let mut fleet = proven(slots as usize, cpus as usize);
        let mut now = at(0);
        let mut workers = HashMap::from([(SlotId(0), (WorkerId(0), true))]);
        let mut next = 1;
        for _ in 0..400 {
            now = now + Duration::from_millis(dice.roll(700));
            while let Some(slot) = fleet.startable(now) {
                assert!(
                    !workers.contains_key(&slot),
                    "one worker a slot, seed {seed}"
                );
                workers.insert(slot, (WorkerId(next), false));
                fleet.started(slot, WorkerId(next));
                next += 1;
            }
            let unready = workers.values().filter(|(_, ready)| !ready).count();
            assert!(unready <= cpus as usize, "seed {seed}");
            let slot = SlotId(dice.roll(slots) as u16);
            let Some((worker, ready)) = workers.get_mut(&slot) else {
                continue;
            };
            if !*ready && dice.roll(3) > 0 {
                *ready = true;
                fleet.ready(slot, *worker, now);
                continue;
            }
            let end = if *ready { End::Crashed } else { End::Early };
            let verdict = fleet.ended(slot, *worker, end, now, dice.number());
            workers.remove(&slot);
            let Verdict::Retry { wait, .. } = verdict else {
                panic!("{verdict:?}, seed {seed}");
            };
            assert!(wait > Duration::ZERO && wait <= backoff::CAP.mul_f64(1.2));
        }
        now = now + backoff::CAP.mul_f64(1.2);
        while workers.len() < slots as usize {
            workers.retain(|slot, (worker, ready)| {
                fleet.ready(*slot, *worker, now);
                *ready = true;
                true
            });
            let slot = fleet
                .startable(now)
                .expect("an empty slot starts in the end");
            workers.insert(slot, (WorkerId(next), false));
            fleet.started(slot, WorkerId(next));
            next += 1;
        }
    }
}
