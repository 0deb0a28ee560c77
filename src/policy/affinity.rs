//! Stickiness: a keyed rendezvous hash over slots. No table, no memory per client: the same key finds the
//! same slot for as long as the slot exists, whatever process sits in it.
//!
//! Rendezvous ("highest random weight", Thaler and Ravishankar 1998) moves the least there is to move: of
//! n slots, one that goes takes only its own clients elsewhere, one that comes draws 1/(n+1) from all.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::config::Sticky;
use crate::wire::{Address, Family};

/// The hash of what makes connections belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

/// Turns clients into keys and keys into slots.
#[derive(Clone, Debug)]
pub struct Affinity {
    sticky: Sticky,
    secret: (u64, u64),
}

impl Affinity {
    /// `secret` keeps clients from choosing their slot (M7); it stays the same as long as clients are to.
    pub fn new(sticky: Sticky, secret: (u64, u64)) -> Self {
        Self { sticky, secret }
    }

    /// The key of a client; `None` if it has no address (a Unix socket): it is not sticky.
    pub fn key(&self, peer: &Address) -> Option<Key> {
        let Sticky::Ip { v4, v6 } = self.sticky;
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        match (peer.family, peer.mapped_v4()) {
            (Family::None, _) => return None,
            (_, Some(ip)) => hasher.write_u32(u32::from_be_bytes(ip) & prefix_mask_32(v4)),
            (Family::V4, None) => {
                let [a, b, c, d, ..] = peer.ip;
                hasher.write_u32(u32::from_be_bytes([a, b, c, d]) & prefix_mask_32(v4));
            }
            (Family::V6, None) => {
                hasher.write_u128(u128::from_be_bytes(peer.ip) & prefix_mask_128(v6));
                // The same link-local address on two interfaces is two clients.
                hasher.write_u32(peer.scope);
            }
        }
        Some(Key(hasher.finish()))
    }
}

impl Key {
    /// The slot this key prefers among those of `0..slots` that `allowed` lets through.
    pub fn choose(self, slots: usize, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        (0..slots)
            .filter(|&slot| allowed(slot))
            .max_by_key(|&slot| self.weight(slot))
    }

    /// How much this key wants `slot`: SplitMix64's finaliser over the key and the slot's own constant.
    fn weight(self, slot: usize) -> u64 {
        let mut x = self.0 ^ (slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

fn prefix_mask_32(bits: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(bits.min(32)))
        .unwrap_or(0)
}

fn prefix_mask_128(bits: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(bits.min(128)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const WHOLE: Sticky = Sticky::Ip { v4: 32, v6: 128 };

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
        affinity.key(peer).unwrap().choose(slots, |_| true).unwrap()
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
        let affinity = Affinity::new(Sticky::Ip { v4: 24, v6: 56 }, (1, 2));
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
        let all = Affinity::new(Sticky::Ip { v4: 0, v6: 0 }, (1, 2));
        assert_eq!(all.key(&v4(1)), all.key(&v4(u32::MAX)));
    }

    #[test]
    fn spread_is_even_and_changes_move_only_what_they_must() {
        const CLIENTS: u32 = 100_000;
        let affinity = Affinity::new(WHOLE, (3, 4));
        for slots in [2usize, 3, 16, 64] {
            let mut counts = vec![0u32; slots + 1];
            let (mut moved, mut spilled_from) = (0, vec![0u32; slots]);
            for client in 0..CLIENTS {
                let key = affinity.key(&v4(client)).unwrap();
                let home = key.choose(slots, |_| true).unwrap();
                counts[home] += 1;
                let grown = key.choose(slots + 1, |_| true).unwrap();
                assert!(
                    grown == home || grown == slots,
                    "only the new slot may draw clients"
                );
                moved += u32::from(grown != home);
                // Slot 0 goes down: its clients move, all others stay.
                let spilled = key.choose(slots, |slot| slot != 0);
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
    fn another_secret_is_another_placement() {
        let (one, two) = (Affinity::new(WHOLE, (1, 1)), Affinity::new(WHOLE, (2, 2)));
        let same = (0..1000).filter(|&ip| slot(&one, &v4(ip), 10) == slot(&two, &v4(ip), 10));
        assert!(same.count() < 200);
    }
}
