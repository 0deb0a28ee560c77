//! The board of backends as one worker sees it: its copy of the plan, the choice over all of it, and the counts that
//! it keeps there.

use std::io;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::asking::Oracle;
use super::attempt::Tried;
use super::dial::{self, Dialed, Door, Sources};
use super::duplex::Moved;
use super::patience::Patience;
use super::rest::rest_of_ports;
use crate::backend_board::{BACKENDS, Entry, TurnedAway};
use crate::config::proxy::{Plan, Proxy};
use crate::policy::affinity::{Affinity, Key};
use crate::policy::upstream::{Backends, Standing, Upstream};
use crate::sys::bell::Bell;
use crate::worker::join::ProxyMeans;

/// What this worker knows of the backends.
#[derive(Debug)]
pub struct View {
    means: ProxyMeans,
    row: usize,
    generation: u64,
    plan: Plan,
    doors: Vec<Door>,
    sources: Sources,
    upstream: Upstream,
    /// How long each thing may take.
    pub patience: Patience,
    /// Where clients belong, if anything is sticky.
    pub oracle: Option<Oracle>,
    /// How often each backend has been cut, as far as that was seen.
    cuts: Vec<u32>,
    /// The weights have been looked at since the loop woke up.
    weighed: bool,
    /// Bytes that are not on the board yet, by place there.
    tallies: Vec<Moved>,
    /// The places of those.
    tallied: Vec<u16>,
}

/// Where a session is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// By the balance.
    Anywhere,
    /// With all of this key.
    With(Key),
    /// To the backend of this place in the plan; anywhere if it takes nothing.
    At(usize),
}

/// What came of looking for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one, by its place in the plan. The session is counted there.
    Place(usize),
    /// All that may get it have as many sessions as they are to have.
    Full,
    /// There is none to get it.
    Nobody,
}

impl View {
    /// What `means` lead to.
    ///
    /// # Errors
    /// There is no plan, or one that cannot be read; no row is free.
    pub fn new(means: ProxyMeans) -> io::Result<Self> {
        let row = means.board.claim_row(std::process::id());
        let mut view = Self {
            row: row.ok_or_else(|| io::Error::other("too many proxy workers"))?,
            means,
            generation: 0,
            plan: Plan::default(),
            doors: Vec::new(),
            sources: Sources::default(),
            upstream: Upstream::default(),
            patience: Patience::default(),
            oracle: None,
            cuts: vec![0; BACKENDS],
            weighed: false,
            tallies: vec![Moved::default(); BACKENDS],
            tallied: Vec::new(),
        };
        view.reread()?;
        view.cut();
        match view.generation {
            0 => Err(io::Error::other("there is no plan of the backends")),
            _ => Ok(view),
        }
    }

    /// Looks whether there is a new plan; whether there was.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn reread(&mut self) -> io::Result<bool> {
        let board = &self.means.board;
        if board.generation.load(Relaxed) == self.generation {
            return Ok(false);
        }
        let Some((generation, text)) = board.plan() else {
            return Ok(false);
        };
        // Whatever it is, it is not read twice.
        self.generation = generation;
        let plan: Plan = serde_json::from_slice(&text)?;
        let mut doors = Vec::with_capacity(plan.backends.len());
        let own_ports = dial::own_ports();
        for one in &plan.backends {
            doors.push(Door::new(one, &own_ports)?);
        }
        let known = Affinity::plain(plan.hash_key);
        let standing = { plan.backends.iter() }.map(|one| Standing {
            weight: one.weight,
            identity: known.key_of(one.target.to_string().as_bytes()).0,
        });
        self.upstream = Upstream::new(standing.collect());
        self.oracle = Oracle::new(&plan);
        self.patience = Patience::new(&plan);
        self.doors = doors;
        self.sources = Sources::new(&plan.proxy.source);
        self.plan = plan;
        self.weighed = false;
        Ok(true)
    }

    /// How sessions are to be treated.
    pub fn proxy(&self) -> &Proxy {
        &self.plan.proxy
    }

    /// How the backend of this place in the plan is got at.
    pub fn door(&self, place: usize) -> &Door {
        &self.doors[place]
    }

    /// Begins to connect to the backend of this place in the plan, as [`dial`](dial::dial()) does. `began`: just now.
    ///
    /// # Errors
    /// Those of `dial`. Where the kernel has looked at all ports in vain it is not asked again at once: that takes it
    /// milliseconds, and any number of sessions may wait for one.
    pub fn dial(
        &mut self,
        place: usize,
        bytes_are_there: bool,
        (now, began): (u64, Instant),
    ) -> Result<Dialed, Errno> {
        let door = &mut self.doors[place];
        if now < door.portless_until {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let dialed = dial::dial(door, bytes_are_there, &mut self.sources);
        if let Err(Errno::EADDRNOTAVAIL) = dialed {
            self.means.board.without_port.fetch_add(1, Relaxed);
            door.portless_until = now.saturating_add(rest_of_ports(began.elapsed()));
        }
        dialed
    }

    /// What the backend at `at` is called.
    pub fn name(&self, at: usize) -> &str {
        let mut backends = self.plan.backends.iter();
        backends
            .find(|one| one.at == at)
            .map_or("a backend that has left", |one| one.name.as_str())
    }

    /// What is rung when something is new here.
    pub fn bell(&self) -> &Bell {
        &self.means.bell
    }

    /// The loop has been asleep: weights may be others now.
    pub fn woken(&mut self) {
        self.weighed = false;
    }

    /// The backend for a session that belongs there and has tried these in vain.
    pub fn choose(&mut self, belongs: Belongs, tried: &Tried) -> Choice {
        if !std::mem::replace(&mut self.weighed, true) {
            self.weigh();
        }
        let mut looked_again = false;
        loop {
            let Some(place) = self.look(belongs, tried) else {
                let untried = |door: &Door| !tried.contains(door.at);
                let mut doors = self.doors.iter().enumerate();
                let some = doors.any(|(place, door)| self.upstream.is_open(place) && untried(door));
                return if some { Choice::Full } else { Choice::Nobody };
            };
            let (door, board) = (&self.doors[place], &self.means.board);
            // Once only, whatever somebody writes there.
            if board.entries[door.at].weight.load(Relaxed) == 0
                && !std::mem::replace(&mut looked_again, true)
            {
                self.weigh();
                continue;
            }
            match door.max {
                None => board.opened(self.row, door.at),
                // Another worker was faster: now it is seen to be full.
                Some(max) if !board.opened_within(self.row, door.at, max) => continue,
                Some(_) => {}
            }
            return Choice::Place(place);
        }
    }

    fn look(&self, belongs: Belongs, tried: &Tried) -> Option<usize> {
        let room = Room { view: self, tried };
        match belongs {
            Belongs::With(key) => return self.upstream.preferred(key, |place| room.takes(place)),
            Belongs::At(place) if self.upstream.is_open(place) && room.takes(place) => {
                return Some(place);
            }
            Belongs::At(_) | Belongs::Anywhere => {}
        }
        let turn = self.means.board.turn.fetch_add(1, Relaxed);
        let random = scatter(turn ^ self.plan.hash_key.0);
        self.upstream
            .choose(self.plan.proxy.balance, turn, random, &room)
    }

    fn weigh(&mut self) {
        let (doors, board) = (&self.doors, &self.means.board);
        self.upstream
            .weigh(|place| board.entries[doors[place].at].weight.load(Relaxed));
    }

    fn entry(&self, at: usize) -> &Entry {
        &self.means.board.entries[at]
    }

    /// A connect to the backend at `at` came about.
    pub fn connected(&self, at: usize, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.entry(at).connected(us);
    }

    /// A connect to the backend at `at` did not come about. `is_anew`: of a session that had tried all before, so that
    /// one client alone ejects nobody.
    pub fn failed(&self, at: usize, errno: i32, is_anew: bool) {
        let entry = self.entry(at);
        entry.last_error.store(errno.unsigned_abs(), Relaxed);
        entry.failures.fetch_add(1, Relaxed);
        if is_anew {
            return;
        }
        let failing = entry.failing.fetch_add(1, Relaxed).saturating_add(1);
        let report_at = entry.report_at.load(Relaxed);
        if report_at != 0 && failing >= report_at {
            self.means.alarm.ring();
        }
    }

    /// A session goes on to another backend than the one at `at`.
    pub fn retried(&self, at: usize) {
        self.entry(at).retried.fetch_add(1, Relaxed);
    }

    /// A session that was counted at the backend at `at` was not led there.
    pub fn taken_back(&self, at: usize) {
        self.means.board.closed(self.row, at);
    }

    /// A session at the backend at `at` has ended, or has not come about. `queued`: sessions of ours that wait.
    pub fn closed(&self, at: usize, queued: usize) {
        let board = &self.means.board;
        board.closed(self.row, at);
        // Who waits has said so before it looked for the last time.
        fence(SeqCst);
        if board.waiting.load(Relaxed) > queued as u64 {
            self.means.bell.ring();
        }
    }

    /// One session more waits for room: look once more, it may be there.
    pub fn waits(&self) {
        self.means.board.waits(self.row);
        fence(SeqCst);
    }

    /// One session less waits.
    pub fn waits_no_more(&self) {
        self.means.board.waits_no_more(self.row);
    }

    /// A client was served by nobody.
    pub fn turned_away(&self, why: TurnedAway) {
        self.means.board.turned_away[why as usize].fetch_add(1, Relaxed);
    }

    /// The places of backends that have been cut since this was last asked, and have sessions of ours.
    pub fn cut(&mut self) -> Vec<u16> {
        let board = &self.means.board;
        let own = &board.rows[self.row].open;
        let mut places = Vec::new();
        for (at, seen) in self.cuts.iter_mut().enumerate() {
            // Without sessions it does not matter, and most entries are of nobody.
            let cut = board.entries[at].cut.load(Relaxed);
            if std::mem::replace(seen, cut) != cut && own[at].load(Relaxed) != 0 {
                places.push(at as u16);
            }
        }
        places
    }

    /// Bytes of a session at the backend at `at`.
    pub fn moved(&mut self, at: usize, moved: Moved) {
        let tally = &mut self.tallies[at];
        if *tally == Moved::default() {
            self.tallied.push(at as u16);
        }
        tally.up += moved.up;
        tally.down += moved.down;
    }

    /// Puts on the board what was [moved](Self::moved).
    pub fn tell(&mut self) {
        let board = &self.means.board;
        let add = |sum: &AtomicU64, more: u64| {
            if more != 0 {
                sum.fetch_add(more, Relaxed);
            }
        };
        for at in self.tallied.drain(..) {
            let moved = std::mem::take(&mut self.tallies[usize::from(at)]);
            let entry = &board.entries[usize::from(at)];
            add(&entry.bytes_in, moved.up);
            add(&entry.bytes_out, moved.down);
        }
    }
}

/// The backends for one session.
struct Room<'a> {
    view: &'a View,
    tried: &'a Tried,
}

impl Backends for Room<'_> {
    fn takes(&self, place: usize) -> bool {
        let door = &self.view.doors[place];
        let has_room = |max| self.open(place) < max;
        !self.tried.contains(door.at) && door.max.is_none_or(has_room)
    }

    fn open(&self, place: usize) -> u32 {
        let at = self.view.doors[place].at;
        self.view.entry(at).open.load(Relaxed)
    }
}

/// Neighbouring numbers become ones that have nothing to do with each other (the end of splitmix64).
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
