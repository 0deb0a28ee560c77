//! The choice by each policy, over a fleet that is a table.

mod loops;

use super::*;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Takes nothing now.
    down: bool,
    /// Has nobody who could.
    gone: bool,
    queued: u64,
    open: u64,
    asleep: bool,
    lags: bool,
}

impl Fleet for Vec<Slot> {
    fn slots(&self) -> usize {
        self.len()
    }
    fn takes(&self, slot: usize) -> bool {
        !self[slot].down
    }
    fn queued(&self, slot: usize) -> u64 {
        self[slot].queued
    }
    fn open(&self, slot: usize) -> u64 {
        self[slot].open
    }
    fn asleep(&self, slot: usize) -> bool {
        self[slot].asleep
    }
    fn lags(&self, slot: usize) -> bool {
        self[slot].lags
    }
    fn serves(&self, slot: usize) -> bool {
        !self[slot].gone
    }
}

/// Deals `count` connections to workers that take them at once.
fn deal(rotation: &mut Rotation, balance: Balance, fleet: &mut Vec<Slot>, count: usize) {
    for _ in 0..count {
        let weights = Weights::equal(fleet.len());
        let slot = rotation.choose(balance, &weights, fleet).unwrap();
        fleet[slot].open += 1;
    }
}

#[test]
fn round_robin_is_exact_at_every_moment() {
    for slots in [1, 2, 3, 7, 64] {
        let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); slots]);
        for _ in 0..500 {
            deal(&mut rotation, Balance::RoundRobin, &mut fleet, 1);
            let counts = fleet.iter().map(|slot| slot.open);
            assert!(counts.clone().max().unwrap() - counts.min().unwrap() <= 1);
        }
    }
}

#[test]
fn a_slot_far_behind_loses_its_turns_until_it_catches_up_and_has_them_then() {
    let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
    let opened = |fleet: &[Slot]| fleet.iter().map(|slot| slot.open).collect::<Vec<_>>();
    fleet[1].queued = SLACK + 1;
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 100);
    assert_eq!(opened(&fleet), [50, 0, 50]);
    // No longer far behind: its own turns, and no more.
    fleet[1].queued = SLACK;
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 3);
    assert_eq!(opened(&fleet), [51, 1, 51]);
    fleet[1].queued = FEW;
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 3);
    assert_eq!(
        opened(&fleet),
        [52, 2, 52],
        "the others have nothing queued"
    );
    fleet[1].queued = 0;
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 50);
    assert_eq!(opened(&fleet), [52, 52, 52]);
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 30);
    assert_eq!(opened(&fleet), [62, 62, 62]);
}

#[test]
fn no_slot_is_owed_more_than_can_be_made_good_soon() {
    let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 2]);
    fleet[0].queued = SLACK + 1;
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 5_000);
    assert_eq!([fleet[0].open, fleet[1].open], [0, 5_000]);
    fleet[0].queued = 0;
    let most = usize::from(MOST_OWED);
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, most + 100);
    assert_eq!([fleet[0].open, fleet[1].open], [most as u64 + 50, 5_050]);
    // What all are owed is owed to nobody.
    let mut owed = Vec::new();
    for slot in [0, 1, 1, 0, 1] {
        owe(&mut owed, slot, 2);
    }
    assert_eq!(owed, [0, 1]);
}

#[test]
fn all_equally_far_behind_are_dealt_to_in_turn() {
    let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
    fleet
        .iter_mut()
        .for_each(|slot| (slot.queued, slot.lags) = (500, true));
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 9);
    assert!(fleet.iter().all(|slot| slot.open == 3));
}

#[test]
fn a_lagging_slot_loses_its_turn_to_any_that_is_less_behind() {
    let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 2]);
    (fleet[0].queued, fleet[0].lags) = (1, true);
    deal(&mut rotation, Balance::RoundRobin, &mut fleet, 4);
    assert_eq!([fleet[0].open, fleet[1].open], [0, 4]);
}

#[test]
fn least_connections_evens_out_and_breaks_ties_in_turn() {
    let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
    fleet[0].open = 4;
    fleet[2].queued = 1;
    deal(&mut rotation, Balance::LeastConnections, &mut fleet, 7);
    assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [4, 4, 3]);
}

#[test]
fn idle_prefers_a_sleeper_then_the_shortest_queue() {
    let (mut rotation, mut fleet) = (Rotation::default(), vec![Slot::default(); 3]);
    let equal = Weights::equal(3);
    fleet[2].asleep = true;
    assert_eq!(rotation.choose(Balance::Idle, &equal, &fleet), Some(2));
    fleet[2].queued = 1;
    fleet[0].queued = 2;
    assert_eq!(rotation.choose(Balance::Idle, &equal, &fleet), Some(1));
}

#[test]
fn nobody_takes_nothing_is_chosen_and_a_shrunk_fleet_is_no_trouble() {
    let equal = Weights::equal(3);
    let mut rotation = Rotation {
        turn: 9,
        ..Rotation::default()
    };
    let mut fleet = vec![
        Slot {
            down: true,
            ..Slot::default()
        };
        3
    ];
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Idle,
    ] {
        assert_eq!(rotation.choose(balance, &equal, &fleet), None);
    }
    fleet[0].down = false;
    assert_eq!(
        rotation.choose(Balance::RoundRobin, &equal, &fleet),
        Some(0)
    );
}

/// Deals `count` connections by weight to workers that take them at once; how many each got.
fn shares(balance: Balance, weights: &[u16], count: usize) -> Vec<u64> {
    let mut rotation = Rotation::default();
    let mut fleet = vec![Slot::default(); weights.len()];
    let weights = Weights::from(weights.to_vec());
    for _ in 0..count {
        let slot = rotation.choose(balance, &weights, &fleet).unwrap();
        fleet[slot].open += 1;
    }
    fleet.iter().map(|slot| slot.open).collect()
}

/// SplitMix64: numbers that repeat from a seed.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |bound| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ (x >> 27)) % bound
    }
}

#[test]
fn weighted_turns_are_exact_in_every_round_and_smooth_within() {
    let mut number = numbers(1);
    for _ in 0..100 {
        let weights: Vec<u16> = (0..1 + number(9)).map(|_| number(20) as u16).collect();
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        if total == 0 {
            continue;
        }
        for count in [1, 2, 5, total / 2, total, total * 3] {
            let got = shares(Balance::RoundRobin, &weights, count as usize);
            for (slot, &weight) in weights.iter().enumerate() {
                let ideal = count as f64 * f64::from(weight) / total as f64;
                // Smooth weighted round-robin is never as far off as the number of slots.
                let off = (got[slot] as f64 - ideal).abs();
                assert!(off < weights.len() as f64, "{weights:?} {got:?}");
                assert!(count % total != 0 || off < 1e-9, "{weights:?} {got:?}");
            }
        }
    }
    assert_eq!(shares(Balance::RoundRobin, &[5, 1, 1], 7), [5, 1, 1]);
    // Not five in a row.
    assert_eq!(shares(Balance::RoundRobin, &[5, 1, 1], 5), [3, 1, 1]);
}

#[test]
fn least_connections_and_idle_are_in_proportion_to_the_weights() {
    assert_eq!(
        shares(Balance::LeastConnections, &[10, 1, 5], 160),
        [100, 10, 50]
    );
    let weights = Weights::from(vec![4, 1]);
    let mut rotation = Rotation::default();
    let mut fleet = vec![Slot::default(); 2];
    for _ in 0..50 {
        let slot = rotation.choose(Balance::Idle, &weights, &fleet).unwrap();
        fleet[slot].queued += 1;
    }
    assert_eq!([fleet[0].queued, fleet[1].queued], [40, 10]);
    // Who sleeps comes before any weight.
    (fleet[1].queued, fleet[1].asleep) = (0, true);
    assert_eq!(rotation.choose(Balance::Idle, &weights, &fleet), Some(1));
}

#[test]
fn a_load_beyond_all_reason_is_only_a_great_load() {
    let (mut rotation, weights) = (Rotation::default(), Weights::from(vec![1, u16::MAX]));
    let mut fleet = vec![Slot::default(); 2];
    (fleet[1].open, fleet[1].queued) = (u64::MAX, u64::MAX);
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Idle,
    ] {
        assert_eq!(rotation.choose(balance, &weights, &fleet), Some(0));
    }
}

#[test]
fn weight_nought_is_dealt_to_only_when_it_is_all_there_is() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Idle,
    ] {
        assert_eq!(shares(balance, &[0, 3, 0], 20), [0, 20, 0]);
        assert_eq!(shares(balance, &[0, 0], 20), [10, 10]);
        let (mut rotation, weights) = (Rotation::default(), Weights::from(vec![0, 3, 0]));
        let mut fleet = vec![Slot::default(); 3];
        fleet[1].down = true;
        assert_eq!(rotation.choose(balance, &weights, &fleet), None, "busy");
        fleet[1].gone = true;
        for _ in 0..10 {
            let slot = rotation.choose(balance, &weights, &fleet).unwrap();
            fleet[slot].open += 1;
            fleet[slot].queued += 1;
        }
        assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [5, 0, 5]);
    }
}

#[test]
fn a_weighted_slot_far_behind_loses_its_turns_and_owes_nothing_for_them() {
    let (mut rotation, weights) = (Rotation::default(), Weights::from(vec![2, 1, 1]));
    let mut fleet = vec![Slot::default(); 3];
    (fleet[0].queued, fleet[0].lags) = (1, true);
    let mut deal = |fleet: &mut Vec<Slot>, count| {
        for _ in 0..count {
            let slot = rotation
                .choose(Balance::RoundRobin, &weights, fleet)
                .unwrap();
            fleet[slot].open += 1;
        }
    };
    deal(&mut fleet, 100);
    assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [0, 50, 50]);
    fleet[0] = Slot::default();
    deal(&mut fleet, 40);
    assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [20, 60, 60]);
}

#[test]
fn a_weighted_slot_with_too_long_a_queue_is_given_its_turns_later() {
    let (mut rotation, weights) = (Rotation::default(), Weights::from(vec![2, 1, 1]));
    let mut fleet = vec![Slot::default(); 3];
    let mut deal = |fleet: &mut Vec<Slot>, count| {
        for _ in 0..count {
            let slot = rotation.choose(Balance::RoundRobin, &weights, fleet);
            fleet[slot.unwrap()].open += 1;
        }
    };
    fleet[0].queued = 3 * SLACK;
    deal(&mut fleet, 100);
    assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [0, 50, 50]);
    fleet[0].queued = 0;
    deal(&mut fleet, 100);
    assert_eq!([fleet[0].open, fleet[1].open, fleet[2].open], [100, 50, 50]);
    // But not all that it has lost in years.
    fleet[0].queued = 3 * SLACK;
    deal(&mut fleet, 100_000);
    fleet[0].queued = 0;
    deal(&mut fleet, 10_000);
    let more = fleet[0].open - 100 - 5_000;
    assert!((100..=2 * u64::from(MOST_OWED)).contains(&more), "{more}");
}

#[test]
fn a_burst_by_weight_is_not_taken_for_a_lag() {
    let (mut rotation, weights) = (Rotation::default(), Weights::from(vec![9, 1]));
    let mut fleet = vec![Slot::default(); 2];
    for _ in 0..1000 {
        let slot = rotation
            .choose(Balance::RoundRobin, &weights, &fleet)
            .unwrap();
        fleet[slot].queued += 1;
    }
    assert_eq!([fleet[0].queued, fleet[1].queued], [900, 100]);
}
