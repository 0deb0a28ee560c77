//! Which client goes where, and who moves when something changes.

use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const WHOLE: &Sticky = &ip(32, 128);

const fn ip(v4: u8, v6: u8) -> Sticky {
    Sticky::Ip(Prefixes { v4, v6 })
}

fn v4(ip: u32) -> Address {
    let mut address = Address {
        family: Family::V4,
        ..Address::default()
    };
    address.ip[..4].copy_from_slice(&ip.to_be_bytes());
    address
}

fn v6(ip: Ipv6Addr) -> Address {
    Address {
        family: Family::V6,
        ip: ip.octets(),
        ..Address::default()
    }
}

fn slot(affinity: &Affinity, peer: &Address, slots: usize) -> usize {
    let key = affinity.key(peer).unwrap();
    key.choose(&Weights::equal(slots), |_| true).unwrap()
}

#[test]
fn a_mapped_client_is_the_same_client() {
    let affinity = Affinity::new(WHOLE, (1, 2));
    let ip = Ipv4Addr::new(192, 0, 2, 7);
    assert_eq!(
        affinity.key(&v4(ip.into())),
        affinity.key(&v6(ip.to_ipv6_mapped()))
    );
    assert_ne!(
        affinity.key(&v4(ip.into())),
        affinity.key(&v4(u32::from(ip) + 1))
    );
    assert_eq!(affinity.key(&Address::default()), None);
}

#[test]
fn prefixes_join_neighbours_and_nobody_else() {
    let affinity = Affinity::new(&ip(24, 56), (1, 2));
    assert_eq!(
        affinity.key(&v4(0x0a00_0001)),
        affinity.key(&v4(0x0a00_00ff))
    );
    assert_ne!(
        affinity.key(&v4(0x0a00_0001)),
        affinity.key(&v4(0x0a00_0101))
    );
    let base = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0x100, 0, 0, 0, 1));
    let key = |ip: u128| affinity.key(&v6(ip.into()));
    assert_eq!(key(base), key(base + (0xff << 64)));
    assert_ne!(key(base), key(base + (1 << 72)));
    let all = Affinity::new(&ip(0, 0), (1, 2));
    assert_eq!(all.key(&v4(1)), all.key(&v4(u32::MAX)));
}

#[test]
fn spread_is_even_and_changes_move_only_what_they_must() {
    const CLIENTS: u32 = 100_000;
    let affinity = Affinity::new(WHOLE, (3, 4));
    for slots in [2usize, 3, 16, 64] {
        let (now, more) = (Weights::equal(slots), Weights::equal(slots + 1));
        let mut counts = vec![0u32; slots + 1];
        let (mut moved, mut spilled_from) = (0, vec![0u32; slots]);
        for client in 0..CLIENTS {
            let key = affinity.key(&v4(client)).unwrap();
            let home = key.choose(&now, |_| true).unwrap();
            counts[home] += 1;
            let grown = key.choose(&more, |_| true).unwrap();
            assert!(
                grown == home || grown == slots,
                "only the new slot may draw clients"
            );
            moved += u32::from(grown != home);
            // Slot 0 goes down: its clients move, all others stay.
            let spilled = key.choose(&now, |slot| slot != 0);
            assert!(home == 0 || spilled == Some(home));
            if home == 0 {
                spilled_from[spilled.unwrap()] += 1;
            }
        }
        let mean = f64::from(CLIENTS) / slots as f64;
        let most = f64::from(*counts.iter().max().unwrap());
        assert!(
            most / mean < 1.10,
            "{slots} slots: {most} at most, {mean} on average"
        );
        let ideal = f64::from(CLIENTS) / (slots + 1) as f64;
        assert!(
            (f64::from(moved) / ideal - 1.0).abs() < 0.10,
            "{moved} moved, {ideal} ideal"
        );
        assert_eq!(spilled_from[0], 0);
    }
}

#[test]
fn no_slots_place_in_the_order_has_anything_to_do_with_anothers() {
    const CLIENTS: u32 = 120_000;
    let affinity = Affinity::new(WHOLE, (9, 10));
    for slots in [2usize, 3, 8, 24] {
        let weights = Weights::equal(slots);
        let mut counts = vec![0u32; slots * slots];
        for client in 0..CLIENTS {
            let key = affinity.key(&v4(client)).unwrap();
            let first = key.choose(&weights, |_| true).unwrap();
            let second = key.choose(&weights, |slot| slot != first).unwrap();
            counts[first * slots + second] += 1;
        }
        let pairs = (slots * (slots - 1)) as f64;
        let ideal = f64::from(CLIENTS) / pairs;
        let off = |count: u32| (f64::from(count) - ideal).powi(2) / ideal;
        let pair = |index: &usize| index / slots != index % slots;
        let chi: f64 = { (0..slots * slots).filter(pair) }
            .map(|index| off(counts[index]))
            .sum();
        // Chi-square of so many degrees: five standard deviations are one chance in a million.
        let freedom = pairs - 1.0;
        let deviations = (chi - freedom) / (2.0 * freedom).sqrt();
        assert!(deviations < 5.0, "{slots} slots: {deviations}");
    }
}

#[test]
fn another_secret_is_another_placement() {
    let (one, two) = (Affinity::new(WHOLE, (1, 1)), Affinity::new(WHOLE, (2, 2)));
    let same = (0..1000).filter(|&ip| slot(&one, &v4(ip), 10) == slot(&two, &v4(ip), 10));
    assert!(same.count() < 200);
}

#[test]
fn weighted_clients_are_in_proportion_and_a_change_moves_only_what_it_must() {
    const CLIENTS: u32 = 50_000;
    let affinity = Affinity::new(WHOLE, (5, 6));
    let table: [(&[u16], usize, u16); 6] = [
        (&[1, 1, 1], 1, 2),
        (&[1, 2, 3, 4], 0, 7),
        (&[100, 100], 0, 10),
        (&[5, 5, 5], 2, 0),
        (&[0, 1, 65_535], 0, 300),
        (&[9, 1], 1, 9),
    ];
    for (before, changed, to) in table {
        let before = Weights::from(before.to_vec());
        let mut after = before.clone();
        after.set(changed, to);
        let mut counts = vec![0u32; after.slots()];
        for client in 0..CLIENTS {
            let key = affinity.key(&v4(client)).unwrap();
            let was = key.choose(&before, |_| true).unwrap();
            let is = key.choose(&after, |_| true).unwrap();
            let drawn = if to > before.of(changed) { is } else { was };
            assert!(was == is || drawn == changed, "{before:?} to {after:?}");
            counts[is] += 1;
        }
        let total: u32 = after
            .as_slice()
            .iter()
            .map(|&weight| u32::from(weight))
            .sum();
        for (slot, &count) in counts.iter().enumerate() {
            let ideal = f64::from(CLIENTS) * f64::from(after.of(slot)) / f64::from(total);
            let off = (f64::from(count) - ideal).abs();
            assert!(off <= 4.0 * ideal.sqrt(), "{after:?}: {counts:?}");
        }
    }
}

#[test]
fn weight_nought_is_chosen_only_when_all_are_or_as_a_last_resort() {
    let affinity = Affinity::new(WHOLE, (7, 8));
    let weights = Weights::from(vec![0, 4, 0]);
    for client in 0..100 {
        let key = affinity.key(&v4(client)).unwrap();
        assert_eq!(key.choose(&weights, |_| true), Some(1));
        assert_eq!(key.choose(&weights, |slot| slot != 1), None);
        assert_ne!(key.last_resort(&weights, |_| true), Some(1));
        assert!(key.last_resort(&weights, |_| true).is_some());
        let all_nought = key.choose(&Weights::from(vec![0; 3]), |_| true);
        assert_eq!(all_nought, key.choose(&Weights::equal(3), |_| true));
    }
}
