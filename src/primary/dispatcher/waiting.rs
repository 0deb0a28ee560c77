//! Connections that wait for their own slot, which does not take them yet. Others go on meanwhile, and when the room
//! is needed for them, those that have waited longest go on to their next choice: one slot that is down never keeps
//! the clients of all others waiting.
//!
//! A slot that is down can be down for long (`--sticky-down hold`), so nothing here is done at each turn of the
//! loop: each connection says when it is to be looked at again, and any command may be what it waits for.

use std::os::fd::AsFd;

use super::choice::{Patience, RETRY};
use super::deal::{Hand, NotNow, STALE};
use super::state::State;
use crate::sys::clock;
use crate::sys::socket::peer_is_gone;

impl State {
    /// Keeps a connection until its slot takes it, or until `look_at` at first.
    pub(super) fn wait(&mut self, hand: Hand, look_at: u64) {
        let index = hand.lane;
        self.keep_waiting(hand, look_at);
        if !self.has_room(index) && self.burst.is_open {
            // Those that are about to be sent take no room for long.
            self.send_burst();
            self.burst.is_open = true;
        }
        if !self.has_room(index) {
            self.make_way(index);
        }
    }

    fn keep_waiting(&mut self, hand: Hand, look_at: u64) {
        self.note_waiting(hand.lane);
        self.waiting.push_back(hand);
        self.look_at_waiting(look_at.min(self.look_for_gone));
    }

    fn note_waiting(&mut self, index: usize) {
        if self.waiting.is_empty() {
            self.look_for_gone = clock::now_ns() + STALE;
        }
        let lane = &mut self.lanes[index];
        lane.held += 1;
        lane.waiting += 1;
    }

    fn note_not_waiting(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        lane.held -= 1;
        lane.waiting -= 1;
    }

    /// All that wait are looked at then, or before.
    pub(super) fn look_at_waiting(&mut self, at: u64) {
        self.waiting_until = Some(self.waiting_until.map_or(at, |until| until.min(at)));
    }

    /// Tries all that wait once more, if it is time.
    pub(super) fn retry_waiting(&mut self) {
        let now = clock::now_ns();
        if self.waiting_until.is_none_or(|until| now < until) {
            return;
        }
        self.waiting_until = None;
        let looks_for_gone = now >= self.look_for_gone;
        if looks_for_gone {
            self.look_for_gone = now + STALE;
        }
        for _ in 0..self.waiting.len() {
            let Some(hand) = self.waiting.pop_front() else {
                break;
            };
            self.note_not_waiting(hand.lane);
            if looks_for_gone && peer_is_gone(hand.fd.as_fd()) {
                self.client_gone += 1;
                continue;
            }
            match self.place(hand, Patience::AsConfigured) {
                Ok(()) => {}
                Err(NotNow::Nobody(hand)) => self.hold(hand),
                Err(NotNow::NotItsSlot(hand, look_at)) => self.keep_waiting(hand, look_at),
            }
        }
        let mut from = 0;
        while let Some(index) = self.next_lane(from) {
            from = index + 1;
            self.make_way(index);
        }
    }

    /// While there is no room for one more, those that have waited longest go wherever they are taken.
    fn make_way(&mut self, index: usize) {
        while !self.has_room(index) {
            let mut waiting = self.waiting.iter();
            let longest = waiting.position(|hand| hand.lane == index);
            let Some(hand) = longest.and_then(|longest| self.waiting.remove(longest)) else {
                return;
            };
            self.note_not_waiting(index);
            let now = clock::now_ns();
            match self.place(hand, Patience::Over) {
                Ok(()) => {}
                Err(NotNow::Nobody(hand) | NotNow::NotItsSlot(hand, _)) => {
                    self.note_waiting(index);
                    self.waiting.push_front(hand);
                    if self.somebody_takes(index) {
                        self.look_at_waiting(now + RETRY);
                    }
                    return;
                }
            }
        }
    }

    /// Closes what waits or is held on this lane: no worker is left there. Returns how many there were.
    pub(super) fn drop_held(&mut self, index: usize) -> u64 {
        let before = self.in_hand();
        self.held.retain(|hand| hand.lane != index);
        self.waiting.retain(|hand| hand.lane != index);
        let lane = &mut self.lanes[index];
        (lane.held, lane.waiting) = (0, 0);
        before - self.in_hand()
    }

    /// Connections accepted and not dealt.
    pub(super) fn in_hand(&self) -> u64 {
        (self.held.len() + self.waiting.len()) as u64
    }
}
