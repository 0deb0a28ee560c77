//! Everything the thread owns, and its loop: wait, commands, what was held up, new connections, a look at the
//! queues.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::{Events, Poll};
use serde::{Deserialize, Serialize};
use slab::Slab;

use super::burst::Burst;
use super::deal::Hand;
use super::lane::Lane;
use super::peek::Peek;
use super::seat::SeatState;
use super::{Reports, Settings, Source};
use crate::config::Routing;
use crate::policy::affinity::Affinity;
use crate::policy::gather::Gather;
use crate::policy::ids::{ListenerId, WorkerId};
use crate::policy::weights::Weights;
use crate::primary::messages::{Command, SlotCounts, Snapshot};
use crate::sys::clock;
use crate::wire::Belongs;

/// Everything the thread owns.
#[derive(Debug)]
pub(super) struct State {
    pub settings: Settings,
    pub poll: Poll,
    inbox: Receiver<Command>,
    pub reports: Reports,
    pub affinity: Option<Affinity>,
    pub lanes: Slab<Lane>,
    pub seats: Slab<SeatState>,
    /// Seats whose connections are being got back, oldest first.
    pub recalled: VecDeque<usize>,
    /// Not before this: there was no descriptor for what comes back.
    pub recall_from: u64,
    /// Evicted from everything, and not reported yet.
    pub evicted: Vec<WorkerId>,
    /// Those that no slot takes.
    pub held: VecDeque<Hand>,
    /// Those that their own slot does not take.
    pub waiting: VecDeque<Hand>,
    /// When to look at those again.
    pub waiting_until: Option<u64>,
    /// When to look whose client has gone.
    pub look_for_gone: u64,
    /// Those of which something has to be read first.
    pub peek: Peek,
    /// Those that are dealt together.
    pub burst: Burst,
    /// Of all slots that there ever were: what they were dealt stays in the ledger.
    pub slots: Vec<SlotCounts>,
    pub weights: Weights,
    /// Slots that nothing is dealt to.
    pub on_hold: Vec<bool>,
    /// Some seat may have something queued: keep looking at how the queues move.
    pub watching: bool,
    pub next_look: u64,
    /// When to try again what the weather prevented.
    pub retry_at: Option<u64>,
    pub last_connection: u64,
    pub accepted_formerly: u64,
    pub closed_by_policy: u64,
    pub client_gone: u64,
    pub finishing: Finishing,
    ending: Option<Ending>,
}

/// How the thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// With all that it has.
    Quit,
    /// Leaving all that it has.
    Freeze,
}

/// How far a graceful end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Finishing {
    #[default]
    No,
    Asked,
    Reported,
}

impl State {
    pub fn new(settings: Settings, poll: Poll, inbox: Receiver<Command>, reports: Reports) -> Self {
        Self {
            affinity: affinity(&settings),
            poll,
            inbox,
            reports,
            lanes: Slab::new(),
            seats: Slab::new(),
            recalled: VecDeque::new(),
            recall_from: 0,
            evicted: Vec::new(),
            held: VecDeque::with_capacity(settings.max_held + 1),
            waiting: VecDeque::with_capacity(settings.max_held + 1),
            waiting_until: None,
            look_for_gone: 0,
            peek: Peek::new(&settings.routing),
            burst: Burst::new(settings.gather_max.as_nanos() as u64),
            slots: vec![SlotCounts::default(); settings.slots],
            weights: Weights::equal(settings.slots),
            on_hold: vec![false; settings.slots],
            watching: false,
            next_look: 0,
            retry_at: None,
            last_connection: 0,
            accepted_formerly: 0,
            closed_by_policy: 0,
            client_gone: 0,
            finishing: Finishing::No,
            ending: None,
            settings,
        }
    }

    /// All it has if it was told to freeze.
    pub fn run(mut self) -> Option<Self> {
        let mut events = Events::with_capacity(64);
        self.burst.begin(self.settings.for_proxies);
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("epoll_wait on our own epoll fd cannot fail: {error}"),
            }
            for event in &events {
                match Source::of(event.token()) {
                    Some(Source::Listener(id, door)) => self.hear_of_door(id, door),
                    Some(Source::Peeked(place)) => self.hear_of_peeked(place, event),
                    Some(Source::Commands) | None => {}
                }
            }
            self.obey();
            match self.ending {
                None => {}
                Some(Ending::Quit) => return None,
                Some(Ending::Freeze) => return Some(self),
            }
            self.retry_held();
            self.retry_waiting();
            self.pump_recalled();
            self.peek_round();
            self.accept_round();
            self.look_at_queues();
            self.settle_evicted();
            self.close_lanes();
            self.finish_if_dry();
        }
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&self) -> Option<Duration> {
        let now = clock::now_ns();
        let backlog = |(key, lane): (usize, &Lane)| lane.wants_accept(now) && self.has_room(key);
        let recalled = self.next_recalled().is_some();
        if (recalled && now >= self.recall_from) || self.lanes.iter().any(backlog) {
            return Some(Duration::ZERO);
        }
        let lanes = self.lanes.iter();
        let resumes = lanes.filter_map(|(_, lane)| lane.next_deadline());
        let look = self.watching.then_some(self.next_look);
        let recall = recalled.then_some(self.recall_from);
        let next = resumes.chain(look).chain(self.retry_at).chain(recall);
        let next = next
            .chain(self.waiting_until)
            .chain(self.peek.next_deadline());
        let next = next.min()?;
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    fn obey(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            if !self.waiting.is_empty() {
                self.look_at_waiting(0);
            }
            match command {
                Command::AddListener { id, socket, local } => self.add_listener(id, socket, local),
                Command::RemoveListener(id) => self.remove_listener(id),
                Command::RemoveSocket { listener, inode } => self.remove_socket(listener, inode),
                Command::Admit(seat) => self.admit(seat),
                Command::Evict { worker, listener } => self.evict(worker, listener),
                Command::Resume { worker, listener } => self.resume(worker, listener),
                Command::Forget(worker) => self.forget(worker),
                Command::Wake {
                    worker,
                    listener,
                    count,
                } => self.wake(worker, listener, count),
                Command::Ipv4Only(id, only) => {
                    if let Some(lane) = self.lane_mut(id) {
                        lane.ipv4_only = only;
                    }
                }
                Command::Probe {
                    worker,
                    listener,
                    socket,
                    peer,
                    local,
                } => self.probe(worker, listener, &socket, (peer, local)),
                Command::Finish => self.finish(),
                // The asker may have given up waiting.
                Command::Snapshot(reply) => drop(reply.send(self.snapshot())),
                Command::Beat(beat) => beat.answer(),
                Command::Freeze => self.ending = Some(Ending::Freeze),
                Command::Quit => self.ending = Some(Ending::Quit),
                other => self.change(other),
            }
        }
    }

    /// Commands that change what is done with everything.
    fn change(&mut self, command: Command) {
        if !matches!(command, Command::SetLimits { .. } | Command::Abandon(_)) {
            self.compare_anew();
        }
        match command {
            Command::Resize(slots) => self.resize(slots),
            Command::Abandon(slot) => self.abandon(slot.index()),
            Command::Hold { slot, held } => self.hold_slot(slot.index(), held),
            Command::Weight { slot, weight } => {
                self.weights.set(slot.index(), weight);
                let lanes = self.lanes.iter_mut();
                lanes.for_each(|(_, lane)| lane.rotation.begin_anew());
            }
            Command::Route(routing) => self.route(routing),
            Command::Gather(most) => {
                self.settings.gather_max = most;
                self.burst.gather = Gather::new(most.as_nanos() as u64);
            }
            Command::SetLimits {
                max_held,
                steal_after,
                room,
            } => {
                self.settings.max_held = max_held;
                for deque in [&mut self.held, &mut self.waiting] {
                    deque.reserve(max_held.saturating_sub(deque.len()));
                }
                self.settings.steal_after = steal_after;
                if let Some(room) = room {
                    self.settings.fit(room);
                }
                self.next_look = 0;
            }
            _ => unreachable!("all others are carried out where they are taken"),
        }
    }

    fn route(&mut self, routing: Routing) {
        let former = std::mem::replace(&mut self.settings.routing, routing);
        let now = &self.settings.routing;
        if (former.key(), former.websocket_sticky) != (now.key(), now.websocket_sticky) {
            // What they belonged to by the former key says nothing to this one; who they are does.
            for hand in self.held.iter_mut().chain(&mut self.waiting) {
                hand.record.belongs = Belongs::Address;
            }
        }
        self.affinity = affinity(&self.settings);
        self.read_otherwise();
    }

    pub fn lane_mut(&mut self, id: ListenerId) -> Option<&mut Lane> {
        let mut lanes = self.lanes.iter_mut().map(|(_, lane)| lane);
        lanes.find(|lane| lane.id == id)
    }

    fn snapshot(&self) -> Snapshot {
        let mut slots = self.slots.clone();
        for (_, seat) in &self.seats {
            slots[seat.slot()].queued += seat.queued();
        }
        for (slot, counts) in slots.iter_mut().enumerate() {
            counts.weight = self.weights.of(slot);
            counts.on_hold = self.on_hold.get(slot).copied().unwrap_or(false);
        }
        let lanes = self.lanes.iter();
        Snapshot {
            held: self.in_hand() + self.peek.len() as u64,
            closed_by_policy: self.closed_by_policy,
            client_gone: self.client_gone,
            accepted: lanes.map(|(_, lane)| (lane.id, lane.accepted)).collect(),
            accepted_formerly: self.accepted_formerly,
            slots,
            keys: self.peek.counts_now(),
        }
    }
}

fn affinity(settings: &Settings) -> Option<Affinity> {
    let of = |sticky| Affinity::new(sticky, settings.hash_key);
    settings.routing.key().as_ref().map(of)
}
