//! Stickiness: a keyed rendezvous hash over slots. No table, no memory per client: the same key finds the
//! same slot for as long as the slot exists, whatever process sits in it.
//!
//! Rendezvous ("highest random weight", Thaler and Ravishankar 1998) moves the least there is to move: of
//! n slots, one that goes takes only its own clients elsewhere, one that comes draws 1/(n+1) from all.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::weights::Weights;
use crate::config::{Prefixes, Sticky};
use crate::wire::{Address, Family};

pub mod bounded;

/// The hash of what makes connections belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub u64);

/// Turns clients into keys and keys into slots.
#[derive(Clone, Debug)]
pub struct Affinity {
    /// How much of an address counts.
    prefixes: Prefixes,
    secret: (u64, u64),
}

impl Affinity {
    /// `secret` keeps clients from choosing their slot (M7); it stays the same as long as clients are to.
    pub fn new(sticky: &Sticky, secret: (u64, u64)) -> Self {
        let prefixes = match sticky {
            Sticky::Ip(prefixes) | Sticky::Proxy(prefixes) => *prefixes,
            _ => Prefixes::default(),
        };
        Self { prefixes, secret }
    }

    /// Where whole addresses count.
    pub fn plain(secret: (u64, u64)) -> Self {
        let prefixes = Prefixes::default();
        Self { prefixes, secret }
    }

    /// The key of whatever a connection said that it belongs to.
    pub fn key_of(&self, bytes: &[u8]) -> Key {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(bytes);
        Key(hasher.finish())
    }

    /// The key of a client; `None` if it has no address (a Unix socket): it is not sticky.
    pub fn key(&self, peer: &Address) -> Option<Key> {
        let Prefixes { v4, v6 } = self.prefixes;
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
    /// The slot this key prefers among those that `allowed` lets through; of weight 0 only if all are.
    pub fn choose(self, weights: &Weights, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        // Nearly always the first choice is free to be taken, and nobody has to ask about all the others.
        self.first(weights, |_| true)
            .filter(|&slot| allowed(slot))
            .or_else(|| self.first(weights, allowed))
    }

    /// The slot of weight 0 it prefers, for when there is nobody else at all.
    pub fn last_resort(self, weights: &Weights, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        (0..weights.slots())
            .filter(|&slot| weights.of(slot) == 0 && allowed(slot))
            .max_by_key(|&slot| self.liking(slot))
    }

    fn first(self, weights: &Weights, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        if weights.are_equal() {
            let allowed = (0..weights.slots()).filter(|&slot| allowed(slot));
            return { allowed }.max_by_key(|&slot| self.liking(slot));
        }
        self.first_by_weight(weights, allowed)
    }

    /// Weighted rendezvous (Schindelhauer and Schomaker 2005): each slot draws an exponential time of rate
    /// `weight`, and the first one wins. No slot's draw depends on another's weight, so a change moves clients
    /// only to or from the slot that changed; with equal weights it is the order of [`Key::liking`].
    fn first_by_weight(self, weights: &Weights, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut first, mut soonest) = (None, f64::INFINITY);
        for (slot, &weight) in weights.as_slice().iter().enumerate() {
            let draw = fraction(self.liking(slot));
            let weight = f64::from(weight);
            // -ln(x) is more than 1 - x, so most slots are out without a logarithm.
            if 1.0 - draw >= soonest * weight || weight == 0.0 || !allowed(slot) {
                continue;
            }
            let time = -draw.ln() / weight;
            if time < soonest {
                (first, soonest) = (Some(slot), time);
            }
        }
        first
    }

    /// The time that this key draws for a candidate known by the hash `identity`: of several candidates the one with
    /// the shortest wins, each as often as its `weight` says. No candidate's time depends on another's.
    pub fn draw(self, identity: u64, weight: u16) -> f64 {
        -fraction(self.fold(identity)).ln() / f64::from(weight)
    }

    /// How much this key wants `slot`, all weights equal: the key and the slot's own constant, multiplied and folded
    /// (as in wyhash). A key is a hash already; all that is asked for here is that no slot's order has anything to do
    /// with another's, and that is tested.
    fn liking(self, slot: usize) -> u64 {
        self.fold((slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn fold(self, constant: u64) -> u64 {
        let product = u128::from(self.0 ^ constant) * 0xa076_1d64_78bd_642f;
        (product >> 64) as u64 ^ product as u64
    }
}

/// In (0, 1): 52 bits and a half are exact, and the logarithm is never 0.
fn fraction(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) / (1u64 << 52) as f64
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
mod tests;
