//! Limits and signs of life, under a fake clock; and random walks over whole apps.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::Random;
use forkfront::config::Limits;
use forkfront::policy::deadlines::Moment;
use forkfront::policy::hang::{Process, Signs, Symptom};
use forkfront::policy::ids::WorkerId;
use forkfront::policy::limits::{Judge, Reason, Sample, Verdict, period};

const MIB: u64 = 1 << 20;

const fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A worker that is well: its loop sleeps.
fn well(worker: u64) -> Sample {
    let asleep = Process {
        pid: 100 + worker as u32,
        asleep: true,
        turns: 7,
        busy: false,
    };
    Sample {
        worker: WorkerId(worker),
        memory: 10 * MIB,
        connections: 0,
        renewed: false,
        signs: Signs {
            taken: 1,
            offered: false,
            processes: vec![asleep],
        },
    }
}

/// Looks each second from `from` on, `looks` times, at the same picture; the verdicts with their seconds.
fn watch(judge: &mut Judge, from: u64, looks: u64, samples: &[Sample]) -> Vec<(u64, u64, Verdict)> {
    (from..from + looks)
        .flat_map(|second| {
            let verdicts = judge.look(at(second * 1000), samples);
            verdicts
                .into_iter()
                .map(move |(worker, verdict)| (second, worker.0, verdict))
        })
        .collect()
}

fn hanging(limit: u64) -> Judge {
    let hang_timeout = Some(seconds(limit));
    Judge::new(
        Limits {
            hang_timeout,
            ..Limits::default()
        },
        1,
    )
}

#[test]
fn without_limits_nobody_looks() {
    assert_eq!(period(&Limits::default()), None);
    let hang = |limit| Limits {
        hang_timeout: Some(limit),
        ..Limits::default()
    };
    assert_eq!(period(&hang(seconds(30))), Some(seconds(1)));
    assert_eq!(period(&hang(seconds(2))), Some(seconds(1) / 2));
    let age = Limits {
        max_age: Some(seconds(9)),
        ..Limits::default()
    };
    assert_eq!(period(&age), Some(seconds(1)));
}

#[test]
fn memory_over_the_limit_for_three_looks_is_replaced_and_far_over_is_killed() {
    let limits = Limits {
        max_memory: Some(100 * MIB),
        ..Limits::default()
    };
    let mut judge = Judge::new(limits, 1);
    let with = |mib: u64| Sample {
        memory: mib * MIB,
        ..well(1)
    };
    assert_eq!(watch(&mut judge, 0, 2, &[with(101)]), []);
    assert_eq!(
        watch(&mut judge, 2, 1, &[with(100)]),
        [],
        "a peak is no leak"
    );
    let verdicts = watch(&mut judge, 3, 4, &[with(120)]);
    let reason = Reason::Memory(120 * MIB, 100 * MIB);
    let replaced = Verdict::Replace(reason);
    let expected = [(5, 1, replaced.clone()), (6, 1, replaced)];
    assert_eq!(verdicts, expected, "and again until it is done");
    let sentence = reason.to_string();
    assert!(sentence.contains("120.0 MiB") && sentence.contains("--max-memory 100.0 MiB"));
    let half_over = watch(&mut judge, 7, 1, &[with(150)]);
    assert!(matches!(half_over[..], [(7, 1, Verdict::Replace(_))]));
    let killed = Verdict::Kill(Reason::Memory(151 * MIB, 100 * MIB));
    assert_eq!(watch(&mut judge, 8, 1, &[with(151)]), [(8, 1, killed)]);
}

#[test]
fn far_over_its_memory_a_worker_is_killed_whatever_else_goes_on() {
    let limits = Limits {
        max_memory: Some(MIB),
        ..Limits::default()
    };
    let mut judge = Judge::new(limits, 1);
    let samples = [1, 2].map(|worker| Sample {
        memory: 2 * MIB,
        renewed: worker == 2,
        ..well(worker)
    });
    let verdicts = judge.look(at(0), &samples);
    let killed = |(_, verdict): &(WorkerId, Verdict)| matches!(verdict, Verdict::Kill(_));
    assert!(verdicts.len() == 2 && verdicts.iter().all(killed));
}

#[test]
fn workers_of_one_age_go_one_at_a_time_and_not_at_the_same_moment() {
    let limits = Limits {
        max_age: Some(seconds(1000)),
        ..Limits::default()
    };
    let mut judge = Judge::new(limits, 42);
    let mut workers: Vec<Sample> = (1..=8).map(well).collect();
    let mut gone = BTreeMap::new();
    for second in 0..1200 {
        // The first is carried out; while that goes on there are no others.
        if let Some((worker, verdict)) = judge.look(at(second * 1000), &workers).into_iter().next()
        {
            assert!(matches!(verdict, Verdict::Replace(Reason::Age(_))));
            gone.insert(second, worker);
            workers.retain(|sample| sample.worker != worker);
        }
    }
    assert_eq!(gone.len(), 8, "all, in different seconds: {gone:?}");
    let (first, last) = (gone.first_key_value(), gone.last_key_value());
    assert!(
        *first.unwrap().0 >= 900 && *last.unwrap().0 <= 1101,
        "{gone:?}"
    );
    assert!(last.unwrap().0 - first.unwrap().0 > 50, "spread: {gone:?}");
}

#[test]
fn one_slot_at_a_time_is_renewed_and_none_while_others_are() {
    let limits = Limits {
        max_connections: Some(100),
        ..Limits::default()
    };
    let mut judge = Judge::new(limits, 1);
    let mut samples: Vec<Sample> = (1..=3)
        .map(|worker| Sample {
            connections: 500,
            ..well(worker)
        })
        .collect();
    let first = judge.look(at(0), &samples);
    let renewal =
        |(_, verdict): &(WorkerId, Verdict)| *verdict == Verdict::Replace(Reason::Connections(500));
    assert!(
        first.len() == 3 && first.iter().all(renewal),
        "to be tried in turn"
    );
    samples[1].renewed = true;
    assert_eq!(judge.look(at(1000), &samples), [], "one is being renewed");
    samples.remove(1);
    assert_eq!(judge.look(at(2000), &samples).len(), 2, "the others");
}

#[test]
fn who_is_idle_or_waits_in_accept_is_well() {
    let mut judge = hanging(4);
    let blocked = Sample {
        // In a read from a client that says nothing: neither in its wait nor computing.
        signs: Signs {
            taken: 3,
            offered: false,
            processes: vec![Process {
                pid: 9,
                asleep: false,
                turns: 3,
                busy: false,
            }],
        },
        ..well(2)
    };
    let unseen = Sample {
        // Computes, but its wait cannot be seen.
        signs: Signs {
            processes: vec![Process {
                pid: 10,
                asleep: false,
                turns: 0,
                busy: true,
            }],
            ..Signs::default()
        },
        ..well(3)
    };
    let nobody = Sample {
        signs: Signs::default(),
        ..well(4)
    };
    let samples = [well(1), blocked, unseen, nobody];
    assert_eq!(watch(&mut judge, 0, 100, &samples), []);
}

/// In one callback since the first look.
fn spinning(worker: u64) -> Sample {
    let mut sample = well(worker);
    sample.signs.processes[0].asleep = false;
    sample.signs.processes[0].busy = true;
    sample
}

#[test]
fn busy_in_one_callback_is_warned_of_at_half_and_aborted() {
    let mut judge = hanging(10);
    watch(&mut judge, 0, 1, &[well(1)]);
    let verdicts = watch(&mut judge, 1, 10, &[spinning(1)]);
    let hangs = |lasted| Reason::Hangs(Symptom::Busy(seconds(lasted)));
    let expected = [
        (5, 1, Verdict::Warn(hangs(5))),
        (10, 1, Verdict::Abort(hangs(10))),
    ];
    assert_eq!(verdicts, expected);
}

#[test]
fn a_loop_that_turns_or_a_sibling_that_does_is_life() {
    let mut judge = hanging(4);
    for second in 0..100 {
        let mut turning = spinning(1);
        turning.signs.processes[0].turns += second / 2;
        let mut one_of_two = spinning(2);
        one_of_two.signs.processes.push(Process {
            pid: 7,
            asleep: true,
            turns: 1,
            busy: false,
        });
        let mut has_a_fresh_sibling = spinning(4);
        has_a_fresh_sibling.signs.processes.push(Process {
            pid: 8,
            asleep: false,
            turns: 0,
            busy: false,
        });
        let mut taking = spinning(3);
        taking.signs.taken += second / 3;
        taking.signs.offered = true;
        let samples = [turning, one_of_two, has_a_fresh_sibling, taking];
        assert_eq!(judge.look(at(second * 1000), &samples), [], "{second}");
    }
}

/// Stopped in its wait, while connections are offered.
fn deaf(worker: u64) -> Sample {
    let mut sample = well(worker);
    sample.signs.offered = true;
    sample
}

#[test]
fn a_queue_left_alone_is_a_hang_and_one_that_moves_is_not() {
    let mut judge = hanging(6);
    watch(&mut judge, 0, 1, &[well(1)]);
    let verdicts = watch(&mut judge, 1, 6, &[deaf(1)]);
    let hangs = |lasted| Reason::Hangs(Symptom::Deaf(seconds(lasted)));
    let expected = [
        (3, 1, Verdict::Warn(hangs(3))),
        (6, 1, Verdict::Abort(hangs(6))),
    ];
    assert_eq!(verdicts, expected);

    let mut judge = hanging(6);
    for second in 0..60 {
        let mut slow = deaf(1);
        slow.signs.taken += second / 4;
        let verdicts = judge.look(at(second * 1000), &[slow]);
        assert!(
            !matches!(verdicts[..], [(_, Verdict::Abort(_)), ..]),
            "{second}"
        );
    }
}

#[test]
fn what_is_offered_now_and_then_adds_up_unless_the_loop_turned_in_between() {
    let offers = |second: u64| second.is_multiple_of(3);
    let look = |turns: bool, visible: bool| {
        let mut judge = hanging(6);
        (0..30u64)
            .flat_map(|second| {
                let mut sample = if offers(second) { deaf(1) } else { well(1) };
                let process = &mut sample.signs.processes[0];
                process.turns = u64::from(visible) * (1 + if turns { second } else { 0 });
                judge.look(at(second * 1000), &[sample])
            })
            .any(|(_, verdict)| matches!(verdict, Verdict::Abort(_)))
    };
    assert!(look(false, true), "stopped, with few clients");
    assert!(!look(true, true), "alive");
    assert!(!look(false, false), "nothing is known of its loop");
}

#[test]
fn a_loop_that_turns_and_takes_nothing_is_replaced_gently() {
    let mut judge = hanging(6);
    let verdicts: Vec<Verdict> = (0..7)
        .flat_map(|second| {
            let mut sample = deaf(1);
            sample.signs.processes[0].turns += second;
            judge.look(at(second * 1000), &[sample])
        })
        .map(|(_, verdict)| verdict)
        .collect();
    let hangs = |lasted| Reason::Hangs(Symptom::Refusing(seconds(lasted)));
    let expected = [Verdict::Warn(hangs(3)), Verdict::Replace(hangs(6))];
    assert_eq!(verdicts, expected);
}

/// One worker of the random walk: what it is, and what its counts show.
struct Simulated {
    hangs_from: Option<u64>,
    sample: Sample,
}

#[test]
fn in_a_random_walk_who_hangs_is_found_in_time_and_nobody_else() {
    let mut random = Random::seeded();
    for _ in 0..200 {
        let limit = 4 + random.below(20);
        let mut judge = hanging(limit);
        let mut workers: Vec<Simulated> = (0..1 + random.below(6))
            .map(|worker| Simulated {
                hangs_from: (random.below(3) == 0).then(|| 1 + random.below(30)),
                sample: well(worker),
            })
            .collect();
        for second in 0..80 {
            for worker in &mut workers {
                live(worker, second, &mut random);
            }
            let samples: Vec<Sample> = workers.iter().map(|one| one.sample.clone()).collect();
            for (worker, verdict) in judge.look(at(second * 1000), &samples) {
                if matches!(verdict, Verdict::Warn(_)) {
                    continue;
                }
                let found = workers.iter().position(|one| one.sample.worker == worker);
                let hung = workers.remove(found.expect("judged once")).hangs_from;
                let from = hung.unwrap_or_else(|| panic!("a healthy one, {verdict:?}"));
                let took = second - from;
                // It may have computed for a second just before.
                assert!((limit - 2..=limit + 2).contains(&took), "{took} of {limit}");
            }
        }
        let left = workers.iter().filter(|one| one.hangs_from.is_some());
        assert_eq!(left.count(), 0, "some were not found");
    }
}

/// One second of a worker's life: a healthy one takes what it is offered, or sleeps, or computes for a while.
fn live(worker: &mut Simulated, second: u64, random: &mut Random) {
    let signs = &mut worker.sample.signs;
    let process = &mut signs.processes[0];
    if worker.hangs_from.is_some_and(|from| second >= from) {
        // Either kind of hang, for good.
        let stopped = worker.sample.worker.0.is_multiple_of(2);
        (process.asleep, process.busy) = (stopped, !stopped);
        signs.offered = stopped;
        return;
    }
    signs.offered = random.below(2) == 0;
    let computes = random.below(4) == 0 && second % 2 == 1;
    (process.asleep, process.busy) = (!computes, computes);
    if !computes {
        process.turns += 1;
        signs.taken += u64::from(signs.offered) + random.below(3);
    }
}
