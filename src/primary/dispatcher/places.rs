//! Which seat a slot is dealt by, on each listener: the newest worker's that is admitted. Workers come and go
//! here, slots too; what they had queued is then got back by `recall`.

use serde::{Deserialize, Serialize};

use super::seat::{SeatState, Standing};
use super::state::State;
use crate::policy::ids::{ListenerId, WorkerId};
use crate::primary::messages::{Report, Seat, SlotCounts};
use crate::sys::clock;
use crate::wire::Kind;

/// What is known of a slot's place on a listener, if nobody sits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vacancy {
    /// Since when it has been empty, `CLOCK_MONOTONIC`, ns.
    pub since: u64,
    expected: Expected,
}

/// Whom the place of a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expected {
    /// The slot's first worker.
    First,
    /// The next one: there was one here.
    Next,
    /// Nobody: the slot is new or given up, or its workers listen elsewhere only.
    Nobody,
}

impl Vacancy {
    /// At the start.
    pub fn at_first(now: u64) -> Self {
        let (since, expected) = (now, Expected::First);
        Self { since, expected }
    }

    /// Somebody has gone.
    fn after_a_worker(now: u64) -> Self {
        let (since, expected) = (now, Expected::Next);
        Self { since, expected }
    }

    /// Nobody needs to wait at all: those who would come here have been served elsewhere so far, or have to be.
    fn for_long() -> Self {
        let (since, expected) = (0, Expected::Nobody);
        Self { since, expected }
    }

    /// The slot has its first worker, but not here; not yet, perhaps.
    pub fn listens_elsewhere(&mut self, now: u64) {
        if self.expected == Expected::First {
            (self.since, self.expected) = (now, Expected::Nobody);
        }
    }

    /// Somebody will come who can take what waits.
    pub fn is_expected(self) -> bool {
        self.expected != Expected::Nobody
    }
}

impl State {
    pub(super) fn admit(&mut self, seat: Seat) {
        let (lane, slot) = (self.lane_for(seat.listener), seat.slot.index());
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, SlotCounts::default());
        }
        let key = self
            .seats
            .insert(SeatState::new(seat, lane, clock::now_ns()));
        if slot >= self.settings.slots {
            self.seats[key].standing = Standing::Evicted;
        }
        self.settle(lane, slot);
        for (index, other) in &mut self.lanes {
            if let Some(vacancy) = other.vacant.get_mut(slot).filter(|_| index != lane) {
                vacancy.listens_elsewhere(clock::now_ns());
            }
        }
        self.watch(clock::now_ns());
    }

    pub(super) fn resume(&mut self, worker: WorkerId, listener: ListenerId) {
        let found = self.seats.iter().find(|(_, seat)| {
            seat.worker() == worker
                && seat.listener() == listener
                && seat.standing == Standing::Paused
        });
        let Some((key, _)) = found else {
            return;
        };
        let seat = &mut self.seats[key];
        seat.standing = Standing::Admitted;
        let (lane, slot) = (seat.lane, seat.slot());
        self.recalled.retain(|&recalled| recalled != key);
        self.settle(lane, slot);
        self.watch(clock::now_ns());
    }

    pub(super) fn evict(&mut self, worker: WorkerId, listener: Option<ListenerId>) {
        let standing = match listener {
            Some(_) => Standing::Paused,
            None => Standing::Evicted,
        };
        for key in self.seats_of(worker) {
            if listener.is_none_or(|listener| listener == self.seats[key].listener()) {
                if listener.is_none() {
                    self.seats[key].note_draining();
                }
                self.vacate(key, standing);
            }
        }
        if listener.is_none() && !self.evicted.contains(&worker) {
            self.evicted.push(worker);
        }
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        for key in self.seats_of(worker) {
            self.vacate(key, Standing::Forgotten);
        }
        self.evicted.retain(|&evicted| evicted != worker);
    }

    pub(super) fn wake(&mut self, worker: WorkerId, listener: ListenerId, count: u32) {
        for key in self.seats_of(worker) {
            if self.seats[key].listener() == listener {
                (0..count).for_each(|_| self.seats[key].tell(Kind::Wake));
            }
        }
    }

    pub(super) fn resize(&mut self, slots: usize) {
        self.settings.slots = slots;
        if self.slots.len() < slots {
            self.slots.resize(slots, SlotCounts::default());
        }
        self.weights.resize(slots);
        self.on_hold.resize(slots, false);
        for (_, lane) in &mut self.lanes {
            lane.seats.resize(slots, None);
            lane.vacant.resize(slots, Vacancy::for_long());
            lane.rotation.begin_anew();
        }
        let seats = self.seats.iter();
        let beyond = seats.filter(|(_, seat)| seat.slot() >= slots);
        for key in beyond.map(|(key, _)| key).collect::<Vec<_>>() {
            self.vacate(key, Standing::Evicted);
        }
    }

    pub(super) fn hold_slot(&mut self, slot: usize, held: bool) {
        let Some(on_hold) = self.on_hold.get_mut(slot) else {
            return;
        };
        *on_hold = held;
        // A former worker that has not been evicted yet has a seat in the slot too.
        let seats = self.seats.iter();
        let admitted =
            seats.filter(|(_, seat)| seat.slot() == slot && seat.standing == Standing::Admitted);
        for key in admitted.map(|(key, _)| key).collect::<Vec<_>>() {
            if held {
                self.recall(key);
            } else {
                self.recalled.retain(|&recalled| recalled != key);
            }
        }
    }

    /// The slots are not what they were: how even they are is counted from now on.
    pub(super) fn compare_anew(&mut self) {
        for counts in &mut self.slots {
            counts.before = counts.dealt;
        }
    }

    /// Nobody waits for this slot, until it has a worker again.
    pub(super) fn abandon(&mut self, slot: usize) {
        for (_, lane) in &mut self.lanes {
            if let Some(vacancy) = lane.vacant.get_mut(slot) {
                *vacancy = Vacancy::for_long();
            }
        }
    }

    /// Seats that are dealt to on this lane.
    pub(super) fn dealt_by(&self, lane: usize) -> impl Iterator<Item = usize> {
        let places = self.lanes[lane].seats.iter().zip(&self.on_hold);
        places.filter_map(|(key, on_hold)| key.filter(|_| !on_hold))
    }

    /// Somebody is there to deal to on this lane, though perhaps not at this moment.
    pub(super) fn somebody_takes(&self, lane: usize) -> bool {
        self.dealt_by(lane).next().is_some()
    }

    /// Reports workers that were evicted from everything, once what they had queued is got back.
    pub(super) fn settle_evicted(&mut self) {
        let Self {
            evicted,
            seats,
            recalled,
            reports,
            ..
        } = self;
        evicted.retain(|&worker| {
            let own = || seats.iter().filter(|(_, seat)| seat.worker() == worker);
            let waits = own().any(|(key, _)| recalled.contains(&key));
            if !waits {
                let received = own().map(|(_, seat)| seat.received());
                let received = received.sum();
                reports.send(Report::Evicted { worker, received });
            }
            waits
        });
    }

    /// Takes a seat out of its place, as which it gets nothing more, and has what is queued got back.
    pub(super) fn vacate(&mut self, key: usize, standing: Standing) {
        let seat = &mut self.seats[key];
        // One that goes for good does not come back by a lesser farewell.
        seat.standing = seat.standing.max(standing);
        let (lane, slot) = (seat.lane, seat.slot());
        self.settle(lane, slot);
        self.recall(key);
    }

    /// The newest admitted worker of the slot has the place, by the last of its channels.
    pub(super) fn settle(&mut self, lane: usize, slot: usize) {
        let seats = self.seats.iter().filter(|(_, seat)| {
            seat.lane == lane && seat.slot() == slot && seat.standing == Standing::Admitted
        });
        let newest = seats.max_by_key(|(_, seat)| (seat.worker(), seat.channel()));
        let newest = newest.map(|(key, _)| key);
        let lane = &mut self.lanes[lane];
        let Some(place) = lane.seats.get_mut(slot) else {
            return;
        };
        if place.is_some() && newest.is_none() {
            lane.vacant[slot] = Vacancy::after_a_worker(clock::now_ns());
        }
        let was_taken = place.is_some();
        *place = newest;
        if was_taken != newest.is_some() {
            self.compare_anew();
        }
    }

    pub(super) fn seats_of(&self, worker: WorkerId) -> Vec<usize> {
        let seats = self.seats.iter();
        let own = seats.filter(|(_, seat)| seat.worker() == worker);
        own.map(|(key, _)| key).collect()
    }
}
