//! The deadline heap against a plain map, over seeded random walks.

use std::collections::BTreeMap;
use std::time::Duration;

use forkfront::policy::deadlines::{Deadlines, Moment};

const fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

#[test]
fn the_earliest_is_the_time_out() {
    let mut deadlines = Deadlines::default();
    assert_eq!(deadlines.earliest(), None);
    deadlines.set('b', at(20));
    deadlines.set('a', at(10));
    assert_eq!(deadlines.earliest(), Some(at(10)));
    assert_eq!(deadlines.due(at(9)), None);
    assert_eq!(deadlines.due(at(25)), Some('a'));
    assert_eq!(deadlines.due(at(25)), Some('b'));
    assert_eq!(deadlines.due(at(25)), None);
}

#[test]
fn what_was_moved_or_cleared_does_not_wake_anybody() {
    let mut deadlines = Deadlines::default();
    deadlines.set('a', at(10));
    deadlines.set('a', at(30));
    deadlines.set('b', at(15));
    deadlines.clear('b');
    assert_eq!(deadlines.earliest(), Some(at(30)));
    assert_eq!(deadlines.due(at(29)), None);
    deadlines.set('a', at(5));
    assert_eq!(deadlines.due(at(29)), Some('a'));
    assert_eq!(deadlines.due(at(99)), None, "the entry for 30 is stale");
}

#[test]
fn set_cleared_and_set_again_at_the_same_time_is_due_once() {
    let mut deadlines = Deadlines::default();
    for _ in 0..3 {
        deadlines.set('a', at(10));
        deadlines.clear('a');
    }
    deadlines.set('a', at(10));
    assert_eq!(deadlines.due(at(10)), Some('a'));
    assert_eq!(deadlines.due(at(10)), None);
}

#[test]
fn behaves_like_a_map_over_random_walks() {
    for seed in 1..=200 {
        let mut dice = oorandom::Rand64::new(seed);
        let mut roll = |sides: u64| dice.rand_range(0..sides);
        let mut deadlines = Deadlines::default();
        let mut model: BTreeMap<u64, Moment> = BTreeMap::new();
        let mut now = 0;
        for _ in 0..500 {
            let key = roll(12);
            match roll(4) {
                0 | 1 => {
                    let when = at(now + roll(50));
                    deadlines.set(key, when);
                    model.insert(key, when);
                }
                2 => {
                    deadlines.clear(key);
                    model.remove(&key);
                }
                _ => {
                    now += roll(20);
                    let mut due = Vec::new();
                    while let Some(key) = deadlines.due(at(now)) {
                        due.push((model[&key], key));
                    }
                    assert!(due.is_sorted(), "earliest first, seed {seed}");
                    due.iter().for_each(|(_, key)| _ = model.remove(key));
                    assert!(model.values().all(|when| *when > at(now)), "seed {seed}");
                }
            }
            assert_eq!(
                deadlines.earliest(),
                model.values().min().copied(),
                "seed {seed}"
            );
        }
    }
}
