//! Which seat a connection goes to, or for what it has to wait. The rules themselves are in [`crate::policy`]; here
//! they are asked about the seats of a lane as they are at this moment.

use slab::Slab;

use super::Settings;
use super::deal::Hand;
use super::places::Vacancy;
use super::seat::SeatState;
use super::state::{Finishing, State};
use crate::config::StickyDown;
use crate::policy::affinity::bounded::Ceiling;
use crate::policy::affinity::{Affinity, Key};
use crate::policy::rotation::Fleet;
use crate::policy::weights::Weights;
use crate::wire::{Belongs, Record};

/// How soon what is held is tried again while workers are ready but full, ns. Not by writability: a
/// channel that was full polls writable only when three quarters are drained (KF2).
pub(super) const RETRY: u64 = 2_000_000;
/// The same for what waits for a worker that was found stuck, ns: that is tried again far less often.
const RETRY_STUCK: u64 = 20_000_000;

/// Where a connection goes.
pub(super) enum Choice {
    /// To this seat.
    Seat(usize),
    /// To a slot that does not take it yet; at this time, if not before, that may be otherwise.
    Wait { look_at: u64 },
    /// Nowhere: no slot takes any.
    Nobody,
}

/// The same by slots, as far as stickiness decides it.
enum Place {
    Slot(usize),
    Wait {
        look_at: u64,
    },
    /// It belongs to nothing: by `--balance`.
    Anybody,
    Nobody,
}

/// How a connection takes it that its slot does not take it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It waits as long as `--sticky-down` says.
    AsConfigured,
    /// Its place among those that wait is needed for another.
    Over,
}

/// The seats of one lane, as the rotation sees them.
struct Bench<'a> {
    seats: &'a Slab<SeatState>,
    of_slot: &'a [Option<usize>],
    vacant: &'a [Vacancy],
    on_hold: &'a [bool],
    settings: &'a Settings,
    /// There is no later for which a slot could be kept.
    at_the_end: bool,
    now: u64,
    /// A connection that was read back before is not what a stuck worker is tried with.
    attempt: u16,
}

impl Bench<'_> {
    /// The seat by which this slot is dealt to.
    fn seat(&self, slot: usize) -> Option<&SeatState> {
        self.of_slot[slot]
            .filter(|_| !self.on_hold[slot])
            .map(|key| &self.seats[key])
    }

    /// The slot is there, and may be somebody's own: one on hold is nobody's.
    fn may_be_home(&self, slot: usize) -> bool {
        self.on_hold.get(slot).is_some_and(|on_hold| !on_hold)
    }

    /// Clients of a slot that is down wait for it, as long as there is room.
    fn holds(&self) -> bool {
        self.settings.routing.sticky_down == StickyDown::Hold && !self.at_the_end
    }

    /// The slot takes a connection of its own client. Where that has nowhere else to go, a stuck worker is tried
    /// with any.
    fn takes_its_own(&self, slot: usize) -> bool {
        let (now, cap) = (self.now, self.settings.queue_cap);
        self.takes(slot) || self.holds() && self.seat(slot).is_some_and(|seat| seat.takes(now, cap))
    }

    /// Its own slot; when that does not take it, is not to be waited for, or has more than its share, the key's
    /// next choice.
    fn sticky_place(
        &self,
        record: &Record,
        affinity: &Affinity,
        weights: &Weights,
        patience: Patience,
    ) -> Place {
        let by_address = || affinity.key(&record.peer);
        let (its_word, key) = match record.belongs {
            Belongs::Nothing => (None, None),
            Belongs::Key(hash) => (None, Some(Key(hash))),
            Belongs::Address => (None, by_address()),
            Belongs::Slot(slot) => (Some(usize::from(slot)), by_address()),
        };
        let its_word = its_word.filter(|&slot| self.may_be_home(slot));
        let bound = self.settings.routing.sticky_bound;
        let ceiling = { bound.filter(|_| its_word.is_none() && key.is_some()) }
            .map(|bound| Ceiling::new(bound, weights, self));
        let fits = |slot| ceiling.is_none_or(|ceiling| ceiling.fits(slot, weights, self));
        let liked = || key.and_then(|key| key.choose(weights, |slot| self.may_be_home(slot)));
        if let Some(home) = its_word.or_else(liked)
            // How much it has counts only while it takes any.
            && (!self.serves(home) || fits(home))
        {
            if self.takes_its_own(home) {
                return Place::Slot(home);
            }
            if patience == Patience::AsConfigured
                && let Some(look_at) = self.waits_for(home, record)
            {
                return Place::Wait { look_at };
            }
        }
        let Some(key) = key else {
            return Place::Anybody;
        };
        let takes = |slot| self.takes(slot);
        let last_resort = || {
            let serves = |slot| weights.of(slot) != 0 && self.serves(slot);
            let nobody = !(0..self.slots()).any(serves);
            nobody.then(|| key.last_resort(weights, takes)).flatten()
        };
        key.choose(weights, |slot| takes(slot) && fits(slot))
            .or_else(|| key.choose(weights, takes))
            .or_else(last_resort)
            .map_or(Place::Nobody, Place::Slot)
    }

    /// Whether a connection still waits for its slot, which does not take it, and if so when to look again.
    fn waits_for(&self, slot: usize, record: &Record) -> Option<u64> {
        let after = |since: u64| {
            let steal_after = self.settings.steal_after.as_nanos() as u64;
            since.saturating_add(steal_after)
        };
        let holds = self.holds();
        let until = match self.seat(slot) {
            Some(_) if holds => u64::MAX,
            // Has left its queue alone for as long already, or it would not have been found stuck.
            Some(seat) if seat.progress.is_stuck() => 0,
            Some(_) => after(record.accepted_at),
            None if self.at_the_end => 0,
            None if holds && self.vacant[slot].is_expected() => u64::MAX,
            None => after(self.vacant[slot].since),
        };
        let look_at = match self.seat(slot) {
            Some(seat) if seat.progress.is_stuck() => until.min(self.now + RETRY_STUCK),
            Some(_) => until.min(self.now + RETRY),
            None => until,
        };
        (until > self.now).then_some(look_at)
    }
}

impl Fleet for Bench<'_> {
    fn slots(&self) -> usize {
        self.of_slot.len()
    }

    fn takes(&self, slot: usize) -> bool {
        self.seat(slot).is_some_and(|seat| {
            seat.takes(self.now, self.settings.queue_cap)
                && (self.attempt == 0 || !seat.progress.is_stuck())
        })
    }

    fn queued(&self, slot: usize) -> u64 {
        self.seat(slot).map_or(0, SeatState::queued)
    }

    fn open(&self, slot: usize) -> u64 {
        self.seat(slot).map_or(0, SeatState::open)
    }

    fn asleep(&self, slot: usize) -> bool {
        self.seat(slot).is_some_and(SeatState::asleep)
    }

    fn lags(&self, slot: usize) -> bool {
        self.seat(slot)
            .is_some_and(|seat| seat.queued() != 0 && seat.progress.lags(self.now))
    }

    fn delay(&self, slot: usize) -> u64 {
        self.seat(slot).map_or(0, |seat| seat.delay(self.now))
    }

    fn serves(&self, slot: usize) -> bool {
        self.seat(slot)
            .is_some_and(|seat| !seat.progress.is_stuck())
    }
}

impl State {
    pub(super) fn choose(&mut self, hand: &Hand, now: u64, patience: Patience) -> Choice {
        let Self {
            lanes,
            seats,
            settings,
            affinity,
            weights,
            on_hold,
            finishing,
            ..
        } = self;
        let lane = &mut lanes[hand.lane];
        let attempt = hand.record.attempt;
        let mut bench = Bench {
            seats,
            of_slot: &lane.seats,
            vacant: &lane.vacant,
            on_hold,
            settings,
            at_the_end: *finishing != Finishing::No || lane.stage.is_final(),
            now,
            attempt,
        };
        if attempt != 0 && !(0..bench.slots()).any(|slot| bench.takes(slot)) {
            // All were found stuck, and whether one of them moves again is only seen if it is tried.
            bench.attempt = 0;
        }
        let place = affinity.as_ref().map_or(Place::Anybody, |affinity| {
            bench.sticky_place(&hand.record, affinity, weights, patience)
        });
        let slot = match place {
            Place::Slot(slot) => Some(slot),
            Place::Wait { look_at } => return Choice::Wait { look_at },
            Place::Anybody => lane
                .rotation
                .choose(settings.routing.balance, weights, &bench),
            Place::Nobody => None,
        };
        match slot.and_then(|slot| lane.seats[slot]) {
            Some(key) => {
                seats[key].note_dealt();
                Choice::Seat(key)
            }
            None => Choice::Nobody,
        }
    }
}
