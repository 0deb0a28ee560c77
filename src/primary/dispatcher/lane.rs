//! One listener: accepting from it, in bounded rounds, whatever accept(2) says.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use socket2::SockRef;

use super::Source;
use super::closing::Stage;
use super::deal::Hand;
use super::places::Vacancy;
use super::state::State;
use crate::policy::ids::ListenerId;
use crate::policy::rotation::Rotation;
use crate::primary::messages::Report;
use crate::sys::clock;
use crate::sys::socket::{Accepted, accept};
use crate::wire::{Address, Family, Kind, Record};

/// Connections accepted from one listener before the others, and the commands, get their turn (C8).
const ACCEPT_BATCH: usize = 64;
/// How long a listener rests when there is no descriptor for a connection, ns (D1).
const REST: u64 = 10_000_000;

/// A listener, the sockets through which its connections come, and who is dealt them.
#[derive(Debug)]
pub(super) struct Lane {
    pub id: ListenerId,
    pub doors: Vec<Door>,
    pub stage: Stage,
    pub rotation: Rotation,
    /// The seat by which each slot is dealt to, as a key into the state's seats.
    pub seats: Vec<Option<usize>>,
    /// What there is to say of each slot's place if it is empty.
    pub vacant: Vec<Vacancy>,
    pub accepted: u64,
    /// How many connections of its own are in hand.
    pub held: usize,
    /// How many of those wait for their own slot.
    pub waiting: usize,
    /// In the retry that is under way, nobody took one of them.
    pub nobody_takes: bool,
    pub ipv4_only: bool,
    pub ipv6_refused: bool,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Door {
    /// `None` once it is closed.
    pub socket: Option<OwnedFd>,
    pub local: Address,
    /// The kernel says when somebody comes. If it has no memory for that, we look now and then.
    watched: bool,
    /// Something may be in the backlog. Edge-triggered: stays true until accept(2) has said otherwise.
    pub readable: bool,
    pub paused_until: Option<u64>,
    /// It alone is on its way out: nobody new gets in, and it is closed then.
    pub leaving_until: Option<u64>,
}

impl Lane {
    /// Without a socket, which opens it.
    pub fn new(id: ListenerId, slots: usize) -> Self {
        Self {
            id,
            doors: Vec::new(),
            stage: Stage::Closed,
            rotation: Rotation::default(),
            seats: vec![None; slots],
            vacant: vec![Vacancy::at_first(clock::now_ns()); slots],
            accepted: 0,
            held: 0,
            waiting: 0,
            nobody_takes: false,
            ipv4_only: false,
            ipv6_refused: false,
        }
    }

    pub fn wants_accept(&self, now: u64) -> bool {
        self.doors.iter().any(|door| door.wants_accept(now))
    }

    /// When something here is to be done though nothing happens.
    pub fn next_deadline(&self) -> Option<u64> {
        let doors = self.doors.iter();
        let doors = doors.flat_map(|door| [door.paused_until, door.leaving_until]);
        doors.flatten().chain(self.stage.deadline()).min()
    }
}

impl Door {
    pub fn new(socket: Option<OwnedFd>, local: Address) -> Self {
        Self {
            socket,
            local,
            watched: false,
            // What came before the registration is reported by no edge on some kernels: look once.
            readable: true,
            paused_until: None,
            leaving_until: None,
        }
    }

    /// Asks the kernel to say when somebody comes. It may be short of memory: then the door is looked at again
    /// and again, which serves as well, if a little later.
    pub fn watch(&mut self, registry: &Registry, source: Source) {
        if let Some(socket) = self.socket.as_ref().filter(|_| !self.watched) {
            let fd = socket.as_raw_fd();
            let watched = registry.register(&mut SourceFd(&fd), source.token(), Interest::READABLE);
            self.watched = watched.is_ok();
        }
    }

    fn wants_accept(&self, now: u64) -> bool {
        self.readable && self.socket.is_some() && self.paused_until.is_none_or(|until| now >= until)
    }
}

/// What one call of accept(2) came to.
pub(super) enum Step {
    /// Go on.
    More,
    /// This listener is done for now.
    Enough,
}

impl State {
    /// The first socket of a listener makes its lane, further ones lead into it.
    pub(super) fn add_listener(&mut self, id: ListenerId, socket: OwnedFd, local: Address) {
        let index = self.lane_for(id);
        let lane = &mut self.lanes[index];
        lane.stage = Stage::Open;
        let source = Source::Listener(id, lane.doors.len() as u16);
        let mut door = Door::new(Some(socket), local);
        door.watch(self.poll.registry(), source);
        lane.doors.push(door);
    }

    /// Somebody comes.
    pub(super) fn hear_of_door(&mut self, id: ListenerId, door: u16) {
        if let Some(lane) = self.lane_mut(id)
            && let Some(door) = lane.doors.get_mut(usize::from(door))
        {
            door.readable = true;
        }
    }

    /// The lane of a listener. A seat may come before the sockets do, or after they have gone.
    pub(super) fn lane_for(&mut self, id: ListenerId) -> usize {
        let known = self.lanes.iter().find(|(_, lane)| lane.id == id);
        match known {
            Some((index, _)) => index,
            None => {
                let mut lane = Lane::new(id, self.settings.slots);
                for (_, seat) in &self.seats {
                    if let Some(vacancy) = lane.vacant.get_mut(seat.slot()) {
                        vacancy.listens_elsewhere(clock::now_ns());
                    }
                }
                self.lanes.insert(lane)
            }
        }
    }

    /// The first lane from this key on.
    pub(super) fn next_lane(&self, from: usize) -> Option<usize> {
        (from..self.lanes.capacity()).find(|&index| self.lanes.contains(index))
    }

    /// One more connection of this lane can be kept here if nobody takes it. Each lane has its share, so that
    /// one whose servers have all closed it does not keep the others from accepting.
    pub(super) fn has_room(&self, index: usize) -> bool {
        self.lanes[index].held + self.burst.len() < self.share()
    }

    /// One that is safe in this seat's channel can be got back. Where some wait for their own slot, and this one
    /// would too, the last place is left to those who come: for them somebody would have to go where he does not
    /// belong.
    pub(super) fn has_room_to_recall(&self, key: usize) -> bool {
        let seat = &self.seats[key];
        let lane = &self.lanes[seat.lane];
        let kept_free = lane.waiting != 0 && self.is_waited_for(seat.lane, seat.slot());
        lane.held + usize::from(kept_free) < self.share()
    }

    /// Who belongs to this slot would have to wait for it now.
    fn is_waited_for(&self, lane: usize, slot: usize) -> bool {
        let on_hold = self.on_hold.get(slot).copied().unwrap_or(true);
        let lane = &self.lanes[lane];
        match lane.seats.get(slot).copied().flatten() {
            _ if on_hold => false,
            Some(key) => !self.seats[key].takes(clock::now_ns(), self.settings.queue_cap),
            None => lane
                .vacant
                .get(slot)
                .is_some_and(|place| place.is_expected()),
        }
    }

    fn share(&self) -> usize {
        let lanes = self.lanes.iter();
        let sharing = lanes.filter(|(_, lane)| !lane.stage.is_final() || lane.held != 0);
        (self.settings.max_held / sharing.count().max(1)).max(1)
    }

    /// One bounded batch from each socket that has something.
    pub(super) fn accept_round(&mut self) {
        let now = clock::now_ns();
        if !self.lanes.iter().any(|(_, lane)| lane.wants_accept(now)) {
            return;
        }
        self.gather(now);
        let before = self.last_connection;
        let mut from = 0;
        while let Some(index) = self.next_lane(from) {
            from = index + 1;
            for door in 0..self.lanes[index].doors.len() {
                if self.lanes[index].doors[door].wants_accept(clock::now_ns()) {
                    self.accept_batch(index, door);
                }
            }
        }
        let found = self.last_connection - before;
        self.burst.gather.note(found as usize);
    }

    fn accept_batch(&mut self, index: usize, door: usize) {
        let lane = &mut self.lanes[index];
        let source = Source::Listener(lane.id, door as u16);
        lane.doors[door].paused_until = None;
        lane.doors[door].watch(self.poll.registry(), source);
        let nonblocking = self.servers_want_nonblocking(index);
        self.burst.is_open = self.burst.gather.is_dense();
        for _ in 0..ACCEPT_BATCH {
            if !self.has_room(index)
                || matches!(self.accept_one(index, door, nonblocking), Step::Enough)
            {
                break;
            }
        }
        self.send_burst();
    }

    /// Accepted as the servers want them, connections need no fcntl(2) in the worker.
    pub(super) fn servers_want_nonblocking(&self, index: usize) -> bool {
        let seats = self.lanes[index].seats.iter().flatten();
        seats
            .filter_map(|&key| self.seats[key].wants_nonblocking())
            .next()
            .unwrap_or(false)
    }

    pub(super) fn accept_one(&mut self, index: usize, door: usize, nonblocking: bool) -> Step {
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
                    self.make_room(index, door)
                } else {
                    Step::More
                }
            }
            Accepted::Empty if entry.watched => {
                entry.readable = false;
                Step::Enough
            }
            Accepted::Empty => self.rest(index, door),
            Accepted::ClientGone => Step::More,
            Accepted::Exhausted(_) => self.make_room(index, door),
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

    /// Descriptors are scarce. Who says nothing keeps nobody else out.
    fn make_room(&mut self, index: usize, door: usize) -> Step {
        if self.crowd_out() {
            return Step::More;
        }
        self.rest(index, door)
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
        let is_ipv6 = peer.family == Family::V6 && peer.mapped_v4().is_none();
        // Whom a proxy is there for is another matter.
        if lane.ipv4_only && is_ipv6 && !self.is_proxy(&peer) {
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
        self.take_in(Hand {
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
