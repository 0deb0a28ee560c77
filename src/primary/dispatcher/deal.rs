//! Choosing a seat for a connection and sending it there; holding it while nobody takes it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use slab::Slab;

use super::Settings;
use super::seat::{SeatState, Standing};
use super::state::State;
use crate::policy::affinity::Key;
use crate::policy::rotation::Fleet;
use crate::policy::weights::Weights;
use crate::primary::messages::Report;
use crate::sys::clock;
use crate::sys::fdpass::Sent;
use crate::sys::socket::peer_is_gone;
use crate::wire::{Belongs, Record};

/// How soon what is held is tried again while workers are ready but full, ns. Not by writability: a
/// channel that was full polls writable only when three quarters are drained (KF2).
const RETRY: u64 = 2_000_000;
/// A connection held longer than this is looked at before it is dealt, ns: its client may have gone.
const STALE: u64 = 1_000_000_000;

/// A connection in hand.
#[derive(Debug)]
pub(super) struct Hand {
    pub record: Record,
    pub fd: OwnedFd,
    /// Key of its lane.
    pub lane: usize,
}

/// Why a connection is still in hand.
enum NotNow {
    /// No slot takes any.
    Nobody(Hand),
    /// The slot it belongs to does not take it yet; others may go on.
    NotItsSlot(Hand),
}

/// The seats of one lane, as the rotation sees them.
struct Bench<'a> {
    seats: &'a Slab<SeatState>,
    of_slot: &'a [Option<usize>],
    on_hold: &'a [bool],
    settings: &'a Settings,
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

    fn serves(&self, slot: usize) -> bool {
        self.seat(slot)
            .is_some_and(|seat| !seat.progress.is_stuck())
    }
}

impl State {
    /// Deals a connection, or holds it. New ones queue behind those that wait for anybody.
    pub(super) fn place_or_hold(&mut self, hand: Hand) {
        if self.lanes[hand.lane].held != 0 && self.affinity.is_none() {
            self.hold(hand);
            return;
        }
        if let Err(NotNow::Nobody(hand) | NotNow::NotItsSlot(hand)) = self.place(hand) {
            self.hold(hand);
        }
    }

    pub(super) fn hold(&mut self, hand: Hand) {
        self.keep(hand);
        self.schedule_retry();
    }

    fn keep(&mut self, hand: Hand) {
        self.lanes[hand.lane].held += 1;
        self.held.push_back(hand);
    }

    /// Tries everything held once more, each listener's in order. One whose workers take nothing holds up no
    /// other: its connections only go round.
    pub(super) fn retry_held(&mut self) {
        if self.held.is_empty() {
            self.retry_at = None;
            return;
        }
        let now = clock::now_ns();
        for (_, lane) in &mut self.lanes {
            lane.nobody_takes = false;
        }
        for _ in 0..self.held.len() {
            let Some(hand) = self.held.pop_front() else {
                break;
            };
            let lane = hand.lane;
            self.lanes[lane].held -= 1;
            if self.lanes[lane].nobody_takes {
                self.keep(hand);
                continue;
            }
            if now.saturating_sub(hand.record.accepted_at) > STALE && peer_is_gone(hand.fd.as_fd())
            {
                self.client_gone += 1;
                continue;
            }
            match self.place(hand) {
                Ok(()) => {}
                Err(NotNow::Nobody(hand)) => {
                    self.lanes[lane].nobody_takes = true;
                    self.keep(hand);
                }
                Err(NotNow::NotItsSlot(hand)) => self.keep(hand),
            }
        }
        self.schedule_retry();
    }

    /// With seats that may come free, by the clock; without, the next command brings us back.
    fn schedule_retry(&mut self) {
        let mut waiting = self.lanes.iter().filter(|(_, lane)| lane.held != 0);
        let waits = waiting.any(|(index, _)| self.somebody_takes(index));
        self.retry_at = waits.then(|| clock::now_ns() + RETRY);
    }

    /// Sends a connection to the seat that is chosen for it.
    fn place(&mut self, hand: Hand) -> Result<(), NotNow> {
        loop {
            let now = clock::now_ns();
            let key = match self.choose(&hand, now) {
                Choice::Seat(key) => key,
                Choice::Wait => return Err(NotNow::NotItsSlot(hand)),
                Choice::Nobody => return Err(NotNow::Nobody(hand)),
            };
            let seat = &mut self.seats[key];
            if seat.queued() == 0 {
                seat.progress.observe(now, seat.taken(), 0);
            }
            match seat.send(&hand.record, hand.fd.as_fd()) {
                Sent::Done => {
                    let slot = seat.slot();
                    self.slots[slot].dealt += 1;
                    self.watch(now);
                    // Our copy goes here: kept any longer, it would swallow the worker's FIN (KF21).
                    return Ok(());
                }
                Sent::Full => {
                    seat.note_full();
                    // Short of memory, the kernel says so of an empty channel too. Nothing would be taken from
                    // that one and nothing sent to it, if nobody looked.
                    self.watch(now);
                }
                // The limit is the user's, over all channels: no other seat would do better.
                Sent::InFlightLimit => return Err(NotNow::Nobody(hand)),
                Sent::Broken(error) => self.is_broken(key, error),
            }
        }
    }

    /// Nothing can be sent by this seat any more; what is queued there is got back.
    pub(super) fn is_broken(&mut self, key: usize, error: io::Error) {
        self.vacate(key, Standing::Evicted);
        let seat = &self.seats[key];
        self.reports.send(Report::Broken {
            worker: seat.worker(),
            listener: seat.listener(),
            error,
        });
    }

    fn choose(&mut self, hand: &Hand, now: u64) -> Choice {
        let Self {
            lanes,
            seats,
            settings,
            affinity,
            weights,
            on_hold,
            ..
        } = self;
        let lane = &mut lanes[hand.lane];
        let attempt = hand.record.attempt;
        let mut bench = Bench {
            seats,
            of_slot: &lane.seats,
            on_hold,
            settings,
            now,
            attempt,
        };
        if attempt != 0 && !(0..bench.slots()).any(|slot| bench.takes(slot)) {
            // All were found stuck, and whether one of them moves again is only seen if it is tried.
            bench.attempt = 0;
        }
        let key = affinity
            .as_ref()
            .and_then(|affinity| match hand.record.belongs {
                Belongs::Nothing => None,
                Belongs::Key(hash) => Some(Key(hash)),
                Belongs::Address | Belongs::Slot(_) => affinity.key(&hand.record.peer),
            });
        let slot = match key {
            Some(key) => match sticky_slot(key, weights, &bench, hand) {
                Ok(slot) => slot,
                Err(choice) => return choice,
            },
            None => lane
                .rotation
                .choose(settings.routing.balance, weights, &bench),
        };
        slot.and_then(|slot| lane.seats[slot])
            .map_or(Choice::Nobody, Choice::Seat)
    }
}

/// Where a connection goes.
enum Choice {
    /// To this seat.
    Seat(usize),
    /// To a slot that does not take it yet.
    Wait,
    /// Nowhere: no slot takes any.
    Nobody,
}

/// Its own slot; when that has not taken it for `--steal-after`, the key's next choice. A slot on hold is
/// nobody's own.
fn sticky_slot(
    key: Key,
    weights: &Weights,
    bench: &Bench<'_>,
    hand: &Hand,
) -> Result<Option<usize>, Choice> {
    let takes = |slot| bench.takes(slot);
    if let Some(home) = key.choose(weights, |slot| !bench.on_hold[slot]) {
        if takes(home) {
            return Ok(Some(home));
        }
        let waited = bench.now.saturating_sub(hand.record.accepted_at);
        if waited < bench.settings.steal_after.as_nanos() as u64 {
            return Err(Choice::Wait);
        }
    }
    let serves = |slot| weights.of(slot) != 0 && bench.serves(slot);
    let last_resort = || {
        let nobody = !(0..bench.slots()).any(serves);
        nobody.then(|| key.last_resort(weights, takes)).flatten()
    };
    match key.choose(weights, takes).or_else(last_resort) {
        Some(slot) => Ok(Some(slot)),
        None => Err(Choice::Wait),
    }
}
