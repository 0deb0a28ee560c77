//! Sending a connection to the seat that `choice` has found; holding it while nobody takes it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::choice::{Choice, Patience, RETRY};
use super::seat::Standing;
use super::state::State;
use crate::primary::messages::Report;
use crate::sys::clock;
use crate::sys::fdpass::Sent;
use crate::sys::socket::peer_is_gone;
use crate::wire::Record;

/// A connection held longer than this is looked at before it is dealt, ns: its client may have gone.
pub(super) const STALE: u64 = 1_000_000_000;

/// A connection in hand.
#[derive(Debug)]
pub(super) struct Hand {
    pub record: Record,
    pub fd: OwnedFd,
    /// Key of its lane.
    pub lane: usize,
}

/// Why a connection is still in hand.
pub(super) enum NotNow {
    /// No slot takes any.
    Nobody(Hand),
    /// The slot it belongs to does not take it yet; others may go on. To be looked at again at this time.
    NotItsSlot(Hand, u64),
}

impl State {
    /// Deals a connection, or holds it. New ones queue behind those that wait for anybody.
    pub(super) fn place_or_hold(&mut self, hand: Hand) {
        if self.lanes[hand.lane].held != 0 && self.affinity.is_none() {
            self.hold(hand);
            return;
        }
        let placed = if self.burst.is_open {
            self.place_in_burst(hand)
        } else {
            self.place(hand, Patience::AsConfigured)
        };
        match placed {
            Ok(()) => {}
            Err(NotNow::Nobody(hand)) => self.hold(hand),
            Err(NotNow::NotItsSlot(hand, look_at)) => self.wait(hand, look_at),
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

    /// Tries everything that nobody took once more, each listener's in order. One whose workers take nothing holds
    /// up no other: its connections only go round.
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
            match self.place(hand, Patience::AsConfigured) {
                Ok(()) => {}
                Err(NotNow::Nobody(hand)) => {
                    self.lanes[lane].nobody_takes = true;
                    self.keep(hand);
                }
                Err(NotNow::NotItsSlot(hand, look_at)) => self.wait(hand, look_at),
            }
        }
        self.schedule_retry();
    }

    /// With seats that may come free, by the clock; without, the next command brings us back.
    fn schedule_retry(&mut self) {
        let mut held = { self.lanes.iter() }.filter(|(_, lane)| lane.held > lane.waiting);
        let waits = held.any(|(index, _)| self.somebody_takes(index));
        self.retry_at = waits.then(|| clock::now_ns() + RETRY);
    }

    /// The key of the seat that is chosen for a connection. It is about to get one more.
    pub(super) fn find_seat(
        &mut self,
        hand: Hand,
        now: u64,
        patience: Patience,
    ) -> Result<(usize, Hand), NotNow> {
        let key = match self.choose(&hand, now, patience) {
            Choice::Seat(key) => key,
            Choice::Wait { look_at } => return Err(NotNow::NotItsSlot(hand, look_at)),
            Choice::Nobody => return Err(NotNow::Nobody(hand)),
        };
        let seat = &mut self.seats[key];
        if seat.queued() == 0 {
            seat.progress.observe(now, seat.taken(), 0);
        }
        Ok((key, hand))
    }

    /// Sends a connection to the seat that is chosen for it.
    pub(super) fn place(&mut self, mut hand: Hand, patience: Patience) -> Result<(), NotNow> {
        loop {
            let now = clock::now_ns();
            let key;
            (key, hand) = self.find_seat(hand, now, patience)?;
            let seat = &mut self.seats[key];
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
}
