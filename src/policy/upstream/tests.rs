//! Seeded walks over the choices.

use std::collections::BTreeSet;

use super::*;
use crate::policy::affinity::Key;

/// Backends with these sessions, of which some take nothing.
struct Row {
    open: Vec<u32>,
    deaf: BTreeSet<usize>,
}

impl Backends for Row {
    fn takes(&self, place: usize) -> bool {
        !self.deaf.contains(&place)
    }

    fn open(&self, place: usize) -> u32 {
        self.open[place]
    }
}

fn row(count: usize) -> Row {
    Row {
        open: vec![0; count],
        deaf: BTreeSet::new(),
    }
}

fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |bound| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (seed >> 33) % bound
    }
}

fn upstream(weights: &[u32]) -> Upstream {
    let standing = |(place, weight): (usize, &u32)| Standing {
        weight: (*weight).max(1) as u16,
        identity: (place as u64 + 11).wrapping_mul(0xd6e8_feb8_6659_fd93),
    };
    let mut upstream = Upstream::new(weights.iter().enumerate().map(standing).collect());
    upstream.weigh(|place| weights[place] * 256);
    upstream
}

#[test]
fn turns_are_exact_in_each_round_and_never_far_from_it_within() {
    let mut number = numbers(1);
    for _ in 0..200 {
        let count = 1 + number(8) as usize;
        let weights: Vec<u32> = (0..count).map(|_| number(7) as u32).collect();
        let all: u32 = weights.iter().sum();
        let upstream = upstream(&weights);
        assert_eq!(upstream.is_shut(), all == 0, "{weights:?}");
        let mut taken = vec![0u32; count];
        for turn in 0..u64::from(3 * all) {
            let balance = ProxyBalance::RoundRobin;
            let place = upstream.choose(balance, turn, 0, &row(count)).unwrap();
            taken[place] += 1;
            for (taken, weight) in taken.iter().zip(&weights) {
                let share = (turn + 1) as f64 * f64::from(*weight) / f64::from(all);
                assert!(
                    (f64::from(*taken) - share).abs() < 2.0,
                    "{weights:?} {turn}"
                );
            }
        }
        let whole: Vec<u32> = weights
            .iter()
            .map(|weight| weight * if all == 0 { 0 } else { 3 })
            .collect();
        assert_eq!(taken, whole);
    }
}

#[test]
fn equal_weights_differ_by_one_at_most_whatever_the_weight() {
    for weight in [1, 3, 1000] {
        let upstream = upstream(&[weight; 7]);
        let mut taken = [0i32; 7];
        for turn in 5..5000 {
            let place = upstream.choose(ProxyBalance::RoundRobin, turn, 0, &row(7));
            taken[place.unwrap()] += 1;
            let most = taken.iter().max().unwrap() - taken.iter().min().unwrap();
            assert!(most <= 1, "{taken:?}");
        }
    }
}

#[test]
fn weights_that_have_no_small_measure_are_rounded_and_nobody_is_forgotten() {
    let weights: Vec<u32> = (0..512).map(|place| 489 + place).collect();
    let upstream = upstream(&weights);
    let mut seen = BTreeSet::new();
    for turn in 0..8192 {
        seen.insert(upstream.choose(ProxyBalance::RoundRobin, turn, 0, &row(512)));
    }
    assert_eq!(seen.len(), 512);
}

#[test]
fn whoever_takes_nothing_gets_nothing_by_any_policy() {
    let mut number = numbers(7);
    let balances = [
        ProxyBalance::RoundRobin,
        ProxyBalance::LeastConnections,
        ProxyBalance::RandomTwo,
        ProxyBalance::First,
    ];
    for step in 0..5000 {
        let count = 1 + number(6) as usize;
        let weights: Vec<u32> = (0..count).map(|_| number(4) as u32).collect();
        let upstream = upstream(&weights);
        let mut row = row(count);
        row.deaf = (0..count).filter(|_| number(3) == 0).collect();
        row.open = (0..count).map(|_| number(20) as u32).collect();
        let able = |place: usize| weights[place] != 0 && row.takes(place);
        let some = (0..count).any(able);
        for balance in balances {
            let random = number(1 << 31) << 31 | number(1 << 31);
            let chosen = upstream.choose(balance, step, random, &row);
            assert_eq!(chosen.is_some(), some, "{balance:?} {weights:?}");
            assert!(chosen.is_none_or(able), "{balance:?} {weights:?}");
        }
        let preferred = upstream.preferred(Key(number(u64::MAX)), |place| row.takes(place));
        assert_eq!(preferred.is_some(), some);
        assert!(preferred.is_none_or(able));
    }
}

#[test]
fn the_least_loaded_for_its_weight_gets_it_and_ties_go_in_turn() {
    let one_of = |weights: &[u32], open: &[u32], turn| {
        let row = Row {
            open: open.to_vec(),
            deaf: BTreeSet::new(),
        };
        let balance = ProxyBalance::LeastConnections;
        upstream(weights).choose(balance, turn, 0, &row).unwrap()
    };
    assert_eq!(one_of(&[1, 1, 1], &[4, 3, 4], 0), 1);
    // With this session 6/3 against 3/1.
    assert_eq!(one_of(&[3, 1], &[5, 2], 0), 0);
    let turns: Vec<usize> = (0..4).map(|turn| one_of(&[1, 1], &[2, 2], turn)).collect();
    assert_eq!(turns, [0, 1, 0, 1]);
}

#[test]
fn of_two_at_random_the_one_with_fewer_sessions_gets_it() {
    let mut number = numbers(3);
    let upstream = upstream(&[1; 8]);
    let mut row = row(8);
    for turn in 0..80_000 {
        let random = number(1 << 31) << 32 | number(1 << 31);
        let place = upstream.choose(ProxyBalance::RandomTwo, turn, random, &row);
        row.open[place.unwrap()] += 1;
    }
    // One at random would be up to some hundred apart.
    let apart = row.open.iter().max().unwrap() - row.open.iter().min().unwrap();
    assert!(apart < 20, "{:?}", row.open);
}

#[test]
fn the_first_with_room_gets_it() {
    let upstream = upstream(&[1, 5, 1]);
    let mut row = row(3);
    let first = |row: &Row| upstream.choose(ProxyBalance::First, 9, 9, row);
    assert_eq!(first(&row), Some(0));
    row.deaf.insert(0);
    assert_eq!(first(&row), Some(1));
}

#[test]
fn a_backend_that_leaves_moves_only_its_own_clients_and_weights_are_shares() {
    let weights = [1, 2, 3, 1, 1];
    let mut upstream = upstream(&weights);
    let mut number = numbers(5);
    let keys: Vec<Key> = (0..20_000)
        .map(|_| Key(number(u64::MAX) << 31 | number(1 << 31)))
        .collect();
    let before: Vec<usize> = { keys.iter() }
        .map(|key| upstream.preferred(*key, |_| true).unwrap())
        .collect();
    for (place, weight) in weights.iter().enumerate() {
        let share = before.iter().filter(|at| **at == place).count() as f64 / 20_000.0;
        assert!(
            (share - f64::from(*weight) / 8.0).abs() < 0.015,
            "{place}: {share}"
        );
    }
    // A slow start and another's drain.
    upstream.weigh(|place| if place == 2 { 0 } else { 256 });
    for (key, before) in keys.iter().zip(&before) {
        let now = upstream.preferred(*key, |_| true).unwrap();
        assert!(now == *before || *before == 2);
        assert_ne!(now, 2);
    }
}
