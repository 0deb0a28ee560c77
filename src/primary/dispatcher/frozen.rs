//! All that the dispatcher has, as plain values and packed descriptors, so that the next image of the primary (or
//! this one, if there is to be none) goes on with it. Nothing here looks into a connection or a channel.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use mio::Poll;
use serde::{Deserialize, Serialize};

use super::closing::Stage;
use super::deal::Hand;
use super::lane::{Door, Lane};
use super::peek::FrozenPeek;
use super::places::Vacancy;
use super::seat::FrozenSeat;
use super::state::{Finishing, State};
use super::{Reports, Settings, Source};
use crate::policy::ids::{ListenerId, WorkerId};
use crate::policy::rotation::Rotation;
use crate::policy::weights::Weights;
use crate::primary::messages::{Command, Report, SlotCounts};
use crate::sys::board::Board;
use crate::sys::clock;
use crate::sys::handover::{Kind, Luggage, Ticket};
use crate::wire::{Address, Record};

/// A dispatcher that stands still. Lanes, seats and connections refer to each other by their places in here.
#[derive(Debug, Serialize, Deserialize)]
pub struct Frozen {
    settings: Settings,
    lanes: Vec<FrozenLane>,
    seats: Vec<FrozenSeat>,
    recalled: Vec<usize>,
    #[serde(default)]
    evicted: Vec<WorkerId>,
    held: Vec<FrozenHand>,
    #[serde(default)]
    peek: FrozenPeek,
    slots: Vec<SlotCounts>,
    weights: Vec<u16>,
    on_hold: Vec<bool>,
    last_connection: u64,
    accepted_formerly: u64,
    closed_by_policy: u64,
    client_gone: u64,
    #[serde(default)]
    finishing: Finishing,
    #[serde(default)]
    reports: Vec<Report>,
}

/// A listener.
#[derive(Debug, Serialize, Deserialize)]
struct FrozenLane {
    id: ListenerId,
    stage: Stage,
    doors: Vec<FrozenDoor>,
    #[serde(default)]
    rotation: Rotation,
    #[serde(default)]
    vacant: Vec<Vacancy>,
    accepted: u64,
    ipv4_only: bool,
    ipv6_refused: bool,
}

/// A listening socket; without one if it is closed.
#[derive(Debug, Serialize, Deserialize)]
struct FrozenDoor {
    socket: Option<Ticket>,
    local: [u8; Address::LEN],
    #[serde(default)]
    leaving_until: Option<u64>,
}

/// A connection that was in hand.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FrozenHand {
    record: Vec<u8>,
    fd: Ticket,
    lane: usize,
}

impl FrozenHand {
    fn of(hand: Hand, lane_keys: &[usize], luggage: &mut Luggage<'_>) -> Self {
        Self {
            record: hand.record.encode().to_vec(),
            fd: luggage.pack(Kind::Connection, hand.fd),
            lane: place(lane_keys, hand.lane),
        }
    }

    fn thaw(self, lanes: &[usize], luggage: &mut Luggage<'_>) -> io::Result<Hand> {
        Ok(Hand {
            record: Record::decode(&self.record).ok_or_else(|| unfit("record"))?,
            fd: luggage.take(self.fd, Kind::Connection)?,
            lane: lanes[self.lane],
        })
    }
}

/// Every key in use is in the list that was made of all of them.
fn place(keys: &[usize], key: usize) -> usize {
    keys.partition_point(|&other| other < key)
}

impl Frozen {
    pub(super) fn of(state: State, reports: Vec<Report>, luggage: &mut Luggage<'_>) -> Self {
        let lane_keys: Vec<usize> = state.lanes.iter().map(|(key, _)| key).collect();
        let seat_keys: Vec<usize> = state.seats.iter().map(|(key, _)| key).collect();
        let seats = state.seats.into_iter();
        let held = state.waiting.into_iter().chain(state.held);
        Self {
            recalled: { state.recalled.iter() }
                .map(|&key| place(&seat_keys, key))
                .collect(),
            seats: seats
                .map(|(_, seat)| {
                    let lane = place(&lane_keys, seat.lane);
                    seat.freeze(lane, luggage)
                })
                .collect(),
            held: held
                .map(|hand| FrozenHand::of(hand, &lane_keys, luggage))
                .collect(),
            peek: { state.peek }.freeze(|hand| FrozenHand::of(hand, &lane_keys, luggage)),
            lanes: { state.lanes.into_iter() }
                .map(|(_, lane)| FrozenLane::of(lane, luggage))
                .collect(),
            settings: state.settings,
            evicted: state.evicted,
            slots: state.slots,
            weights: state.weights.as_slice().to_vec(),
            on_hold: state.on_hold,
            last_connection: state.last_connection,
            accepted_formerly: state.accepted_formerly,
            closed_by_policy: state.closed_by_policy,
            client_gone: state.client_gone,
            finishing: state.finishing,
            reports,
        }
    }

    pub(super) fn thaw(
        self,
        luggage: &mut Luggage<'_>,
        board: impl Fn(WorkerId) -> Option<Arc<Board>>,
        poll: Poll,
        inbox: Receiver<Command>,
        reports: Reports,
    ) -> io::Result<State> {
        self.check()?;
        let now = clock::now_ns();
        let mut state = State::new(self.settings, poll, inbox, reports);
        let mut lanes = Vec::with_capacity(self.lanes.len());
        for lane in self.lanes {
            let lane = lane.thaw(state.settings.slots, luggage, &state.poll)?;
            lanes.push(state.lanes.insert(lane));
        }
        let mut seats = Vec::with_capacity(self.seats.len());
        for frozen in self.seats {
            let lane = lanes[frozen.lane];
            let seat = frozen.thaw(lane, luggage, &board, now)?;
            let slot = seat.slot();
            seats.push(state.seats.insert(seat));
            state.settle(lane, slot);
        }
        for hand in self.held {
            let hand = hand.thaw(&lanes, luggage)?;
            state.lanes[hand.lane].held += 1;
            state.held.push_back(hand);
        }
        let recalled = self.recalled.iter().map(|&place| seats[place]);
        state.recalled = recalled.collect::<VecDeque<_>>();
        state.evicted = self.evicted;
        state.slots = self.slots;
        state.weights = Weights::from(self.weights);
        state.on_hold = self.on_hold;
        state.last_connection = self.last_connection;
        state.accepted_formerly = self.accepted_formerly;
        state.closed_by_policy = self.closed_by_policy;
        state.client_gone = self.client_gone;
        state.finishing = self.finishing;
        state.thaw_peek(self.peek, |hand| hand.thaw(&lanes, luggage))?;
        // Something may be queued, and something may be held.
        state.watch(now);
        state.retry_at = Some(now);
        for report in self.reports {
            state.reports.send(report);
        }
        Ok(state)
    }

    /// All places referred to are there.
    fn check(&self) -> io::Result<()> {
        let slots = self.settings.slots;
        if self.slots.len() < slots || self.weights.len() != slots || self.on_hold.len() != slots {
            return Err(unfit("number of slots"));
        }
        let lane_of_seat = self.seats.iter().map(|seat| seat.lane);
        let hands = self.held.iter().chain(self.peek.hands());
        let mut lanes = lane_of_seat.chain(hands.map(|hand| hand.lane));
        if lanes.any(|lane| lane >= self.lanes.len()) {
            return Err(unfit("listener"));
        }
        let strange = |seat: &FrozenSeat| seat.slot.index() >= self.slots.len();
        if self.seats.iter().any(strange)
            || self.recalled.iter().any(|&place| place >= self.seats.len())
        {
            return Err(unfit("seat"));
        }
        Ok(())
    }
}

impl FrozenLane {
    fn of(lane: Lane, luggage: &mut Luggage<'_>) -> Self {
        let mut door = |door: Door| {
            let mut local = [0; Address::LEN];
            door.local.encode(&mut local);
            let socket = door.socket.map(|fd| luggage.pack(Kind::Listener, fd));
            FrozenDoor {
                socket,
                local,
                leaving_until: door.leaving_until,
            }
        };
        Self {
            id: lane.id,
            stage: lane.stage,
            doors: lane.doors.into_iter().map(&mut door).collect(),
            rotation: lane.rotation,
            vacant: lane.vacant,
            accepted: lane.accepted,
            ipv4_only: lane.ipv4_only,
            ipv6_refused: lane.ipv6_refused,
        }
    }

    fn thaw(self, slots: usize, luggage: &mut Luggage<'_>, poll: &Poll) -> io::Result<Lane> {
        let mut lane = Lane::new(self.id, slots);
        for (number, frozen) in self.doors.into_iter().enumerate() {
            let socket = frozen.socket.map(|fd| luggage.take(fd, Kind::Listener));
            let mut door = Door::new(socket.transpose()?, Address::decode(&frozen.local));
            door.leaving_until = frozen.leaving_until;
            door.watch(poll.registry(), Source::Listener(self.id, number as u16));
            lane.doors.push(door);
        }
        if self.vacant.len() == slots {
            lane.vacant = self.vacant;
        }
        Ok(Lane {
            stage: self.stage,
            rotation: self.rotation,
            accepted: self.accepted,
            ipv4_only: self.ipv4_only,
            ipv6_refused: self.ipv6_refused,
            ..lane
        })
    }
}

/// What was frozen does not hold together.
pub(super) fn unfit(what: &str) -> io::Error {
    let why = format!("the dispatcher's state has a {what} that does not fit the rest of it");
    io::Error::new(io::ErrorKind::InvalidData, why)
}
