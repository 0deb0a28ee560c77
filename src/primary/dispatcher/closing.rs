//! The end of a listener: one that is removed while everything else goes on, and all of them when the primary
//! stops. Nobody who has come is reset (G16): newcomers are kept out, who has come is accepted, whatever room
//! there is, and only then is the socket closed.

use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

use super::lane::{Lane, Step};
use super::state::{Finishing, State};
use crate::policy::ids::ListenerId;
use crate::primary::messages::Report;
use crate::sys::clock;
use crate::sys::socket::refuse_newcomers;

/// How long a listener is accepted from after the last newcomer was let in, ns: enough for the answer to a
/// SYN-ACK from far away, and for the longest backlog.
const LAST_ROUND: u64 = 500_000_000;

/// How far a listener is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Accepted from.
    Open,
    /// Nobody new gets in, and those whose handshake had begun are waited for until then.
    Leaving { until: u64 },
    /// Its sockets are closed, and what came by them is still being dealt.
    Emptying,
    /// That has been reported; the lane is there for the seats on it.
    Closed,
}

impl Stage {
    pub fn deadline(self) -> Option<u64> {
        match self {
            Stage::Leaving { until } => Some(until),
            Stage::Open | Stage::Emptying | Stage::Closed => None,
        }
    }

    /// Nobody comes by it any more.
    pub fn is_final(self) -> bool {
        matches!(self, Stage::Emptying | Stage::Closed)
    }
}

impl State {
    pub(super) fn remove_listener(&mut self, id: ListenerId) {
        let until = clock::now_ns() + LAST_ROUND;
        match self.lane_mut(id) {
            Some(lane) if lane.stage == Stage::Open => {
                keep_out(lane);
                lane.stage = Stage::Leaving { until };
            }
            Some(lane) if lane.stage != Stage::Closed => {}
            Some(_) | None => self.reports.send(Report::ListenerClosed(id)),
        }
    }

    pub(super) fn remove_socket(&mut self, id: ListenerId, inode: u64) {
        let until = clock::now_ns() + LAST_ROUND;
        let doors = self
            .lane_mut(id)
            .into_iter()
            .flat_map(|lane| &mut lane.doors);
        for door in doors {
            if let Some(socket) = &door.socket
                && fstat(socket).is_ok_and(|found| found.st_ino == inode)
            {
                let _ = refuse_newcomers(socket.as_fd());
                door.leaving_until = Some(until);
            }
        }
    }

    /// Takes lanes that are on their way out a step further.
    pub(super) fn close_lanes(&mut self) {
        let mut from = 0;
        while let Some(index) = self.next_lane(from) {
            from = index + 1;
            self.close_leaving_doors(index);
            let lane = &self.lanes[index];
            if let Stage::Leaving { until } = lane.stage
                && (clock::now_ns() >= until || lane.doors.iter().all(|door| door.socket.is_none()))
            {
                self.accept_the_last(index);
                self.close_doors(index);
                // From here on nobody waits for his own slot.
                self.lanes[index].stage = Stage::Emptying;
                self.settle_peeked(Some(index));
                self.look_at_waiting(0);
            }
            if self.lanes[index].stage.is_final() {
                self.empty_lane(index);
            }
        }
    }

    /// What is held and can never be dealt is closed; a lane that nothing refers to any more goes.
    fn empty_lane(&mut self, index: usize) {
        if self.lanes[index].held != 0 && !self.somebody_takes(index) {
            self.closed_by_policy += self.drop_held(index);
        }
        let mut recalled = self.recalled.iter();
        let lane = &mut self.lanes[index];
        if lane.held != 0 || recalled.any(|&key| self.seats[key].lane == index) {
            return;
        }
        if lane.stage == Stage::Emptying {
            lane.stage = Stage::Closed;
            self.reports.send(Report::ListenerClosed(lane.id));
        }
        if self.seats.iter().all(|(_, seat)| seat.lane != index) {
            self.accepted_formerly += self.lanes.remove(index).accepted;
        }
    }

    /// Accepts what has come, deals it, and closes the listeners for good.
    pub(super) fn finish(&mut self) {
        let mut from = 0;
        while let Some(index) = self.next_lane(from) {
            from = index + 1;
            keep_out(&self.lanes[index]);
            self.accept_the_last(index);
            self.close_doors(index);
        }
        // Who has come is to be served, by whoever can: there is no later for which a slot could be kept.
        for slot in 0..self.on_hold.len() {
            self.hold_slot(slot, false);
        }
        self.finishing = Finishing::Asked;
        self.watching = true;
        self.settle_peeked(None);
        self.look_at_waiting(0);
    }

    /// Accepts all that has come, room or not. Where they come faster than they can be accepted, that is never
    /// all.
    fn accept_the_last(&mut self, index: usize) {
        for door in 0..self.lanes[index].doors.len() {
            self.accept_the_last_of(index, door);
        }
    }

    fn accept_the_last_of(&mut self, index: usize, door: usize) {
        let nonblocking = self.servers_want_nonblocking(index);
        let until = clock::now_ns() + LAST_ROUND;
        while clock::now_ns() < until
            && matches!(self.accept_one(index, door, nonblocking), Step::More)
        {}
    }

    fn close_leaving_doors(&mut self, index: usize) {
        for door in 0..self.lanes[index].doors.len() {
            let leaving = self.lanes[index].doors[door].leaving_until;
            if leaving.is_some_and(|until| clock::now_ns() >= until) {
                self.accept_the_last_of(index, door);
                self.close_door(index, door);
            }
        }
    }

    fn close_doors(&mut self, index: usize) {
        for door in 0..self.lanes[index].doors.len() {
            self.close_door(index, door);
        }
    }

    /// Out of the epoll first: another copy of the descriptor would keep the events coming (KF19).
    fn close_door(&mut self, index: usize, door: usize) {
        let door = &mut self.lanes[index].doors[door];
        door.readable = false;
        (door.paused_until, door.leaving_until) = (None, None);
        if let Some(socket) = door.socket.take() {
            let fd = socket.as_raw_fd();
            // Should the kernel refuse: the events of a listener that is not there any more are not heeded.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    pub(super) fn finish_if_dry(&mut self) {
        if self.finishing == Finishing::Asked
            && self.in_hand() == 0
            && self.recalled.is_empty()
            && self.seats.iter().all(|(_, seat)| seat.exact_queue() == 0)
        {
            self.finishing = Finishing::Reported;
            self.reports.send(Report::Dry);
        }
    }
}

/// Without it, who comes between the last accept and the close is reset.
fn keep_out(lane: &Lane) {
    for socket in lane.doors.iter().filter_map(|door| door.socket.as_ref()) {
        let _ = refuse_newcomers(socket.as_fd());
    }
}
