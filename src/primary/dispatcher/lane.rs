//! One listener: accepting from it, in bounded rounds, whatever accept(2) says.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use socket2::SockRef;

use super::State;
use super::deal::Hand;
use crate::policy::ids::ListenerId;
use crate::policy::rotation::Rotation;
use crate::primary::messages::Report;
use crate::sys::clock;
use crate::sys::socket::{Accepted, accept, refuse_newcomers};
use crate::wire::{Address, Family, Kind, Record};

/// Connections accepted from one listener before the others, and the commands, get their turn (C8).
const ACCEPT_BATCH: usize = 64;
/// How long a listener rests when there is no descriptor for a connection, ns (D1).
const REST: u64 = 10_000_000;
/// How long a listener that is about to be closed is accepted from, ns: enough for the longest backlog.
const LAST_ROUND: u64 = 500_000_000;

/// A listener, the sockets through which its connections come, and who is dealt them.
#[derive(Debug)]
pub(super) struct Lane {
    pub id: ListenerId,
    pub doors: Vec<Door>,
    pub rotation: Rotation,
    /// The seat of each slot that is admitted, as a key into the state's seats.
    pub seats: Vec<Option<usize>>,
    pub accepted: u64,
    /// How many of the connections held are its own.
    pub held: usize,
    /// In the retry that is under way, nobody took one of them.
    pub nobody_takes: bool,
    pub ipv4_only: bool,
    ipv6_refused: bool,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Door {
    /// `None` once it is closed.
    pub socket: Option<OwnedFd>,
    local: Address,
    /// Something may be in the backlog. Edge-triggered: stays true until accept(2) has said otherwise.
    pub readable: bool,
    pub paused_until: Option<u64>,
}

impl Lane {
    pub fn new(id: ListenerId, slots: usize) -> Self {
        Self {
            id,
            doors: Vec::new(),
            rotation: Rotation::default(),
            seats: vec![None; slots],
            accepted: 0,
            held: 0,
            nobody_takes: false,
            ipv4_only: false,
            ipv6_refused: false,
        }
    }

    pub fn wants_accept(&self, now: u64) -> bool {
        self.doors.iter().any(|door| door.wants_accept(now))
    }
}

impl Door {
    pub fn new(socket: OwnedFd, local: Address) -> Self {
        Self {
            socket: Some(socket),
            local,
            // What came before the registration is reported by no edge on some kernels: look once.
            readable: true,
            paused_until: None,
        }
    }

    fn wants_accept(&self, now: u64) -> bool {
        self.readable && self.socket.is_some() && self.paused_until.is_none_or(|until| now >= until)
    }
}

/// What one call of accept(2) came to.
enum Step {
    /// Go on.
    More,
    /// This listener is done for now.
    Enough,
}

impl State {
    /// One more connection of this lane can be kept here if nobody takes it. Each lane has its share, so that
    /// one whose servers have all closed it does not keep the others from accepting.
    pub(super) fn has_room(&self, index: usize) -> bool {
        let share = self.settings.max_held / self.lanes.len().max(1);
        self.lanes[index].held < share.max(1)
    }

    /// One bounded batch from each socket that has something.
    pub(super) fn accept_round(&mut self) {
        for index in 0..self.lanes.len() {
            for door in 0..self.lanes[index].doors.len() {
                if self.lanes[index].doors[door].wants_accept(clock::now_ns()) {
                    self.accept_batch(index, door);
                }
            }
        }
    }

    fn accept_batch(&mut self, index: usize, door: usize) {
        self.lanes[index].doors[door].paused_until = None;
        let nonblocking = self.servers_want_nonblocking(index);
        for _ in 0..ACCEPT_BATCH {
            if !self.has_room(index)
                || matches!(self.accept_one(index, door, nonblocking), Step::Enough)
            {
                break;
            }
        }
    }

    /// Accepts all that has come, room or not: the listener is about to be closed (G16). Where they come faster
    /// than they can be accepted, that is never all.
    pub(super) fn drain_backlog(&mut self, index: usize) {
        let nonblocking = self.servers_want_nonblocking(index);
        for door in 0..self.lanes[index].doors.len() {
            if let Some(socket) = &self.lanes[index].doors[door].socket {
                // Without it, who comes between the last accept and the close is reset.
                let _ = refuse_newcomers(socket.as_fd());
            }
            let until = clock::now_ns() + LAST_ROUND;
            while clock::now_ns() < until
                && matches!(self.accept_one(index, door, nonblocking), Step::More)
            {}
        }
    }

    /// Accepted as the servers want them, connections need no fcntl(2) in the worker.
    fn servers_want_nonblocking(&self, index: usize) -> bool {
        let seats = self.lanes[index].seats.iter().flatten();
        seats
            .filter_map(|&key| self.seats[key].wants_nonblocking())
            .next()
            .unwrap_or(false)
    }

    fn accept_one(&mut self, index: usize, door: usize, nonblocking: bool) -> Step {
        let lane = &mut self.lanes[index];
        let entry = &mut lane.doors[door];
        let Some(listener) = &entry.socket else {
            return Step::Enough;
        };
        match accept(listener.as_fd(), nonblocking) {
            Accepted::Connection(fd, peer) => {
                lane.accepted += 1;
                let scarce = fd.as_raw_fd() >= self.settings.fd_ceiling;
                let local = entry.local;
                self.welcome(index, fd, (peer, local), nonblocking);
                if scarce {
                    self.rest(index, door)
                } else {
                    Step::More
                }
            }
            Accepted::Empty => {
                entry.readable = false;
                Step::Enough
            }
            Accepted::ClientGone => Step::More,
            Accepted::Exhausted(_) => self.rest(index, door),
            Accepted::Failed(error) => {
                entry.socket = None;
                let report = Report::ListenerFailed {
                    listener: lane.id,
                    error,
                };
                self.reports.send(report);
                Step::Enough
            }
        }
    }

    /// No descriptor to be had: clients wait in the backlog, and we look again soon. No event would come
    /// when descriptors are free again (KF17).
    fn rest(&mut self, index: usize, door: usize) -> Step {
        self.lanes[index].doors[door].paused_until = Some(clock::now_ns() + REST);
        Step::Enough
    }

    fn welcome(
        &mut self,
        index: usize,
        fd: OwnedFd,
        (peer, local): (Address, Address),
        nonblocking: bool,
    ) {
        let lane = &self.lanes[index];
        if lane.ipv4_only && peer.family == Family::V6 && peer.mapped_v4().is_none() {
            self.refuse_ipv6(index, &fd);
            return;
        }
        self.last_connection += 1;
        let record = Record {
            nonblocking,
            connection: self.last_connection,
            accepted_at: clock::now_ns(),
            peer,
            local,
            ..Record::control(Kind::Connection, lane.id.0)
        };
        self.place_or_hold(Hand {
            record,
            fd,
            lane: index,
        });
    }

    fn refuse_ipv6(&mut self, index: usize, fd: &OwnedFd) {
        // A reset is what the client would have met at the server's own socket. It is only a courtesy.
        let _ = SockRef::from(fd).set_linger(Some(Duration::ZERO));
        self.closed_by_policy += 1;
        let lane = &mut self.lanes[index];
        if !lane.ipv6_refused {
            lane.ipv6_refused = true;
            let report = Report::Ipv6Refused(lane.id);
            self.reports.send(report);
        }
    }
}
