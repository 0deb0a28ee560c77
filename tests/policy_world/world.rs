//! A primary without a kernel: simulated processes in the slots of one fleet, and what may happen to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forkfront::config::Restart;
use forkfront::policy::deadlines::Moment;
use forkfront::policy::fleet::{Cause, Condition, Fleet, Settings, Verdict};
use forkfront::policy::ids::{SlotId, WorkerId};
use forkfront::policy::lifecycle::{Action, End, Event, Patience, State, Why};
use forkfront::policy::rollout::Rollout;

use crate::dice::Dice;

const PATIENCE: Patience = Patience {
    drain: Duration::from_secs(2),
    grace: Duration::from_secs(1),
    kill: Duration::from_secs(1),
};
const READY_TIMEOUT: Duration = Duration::from_secs(8);

/// One simulated process.
pub struct Process {
    pub slot: SlotId,
    generation: u32,
    pub state: State,
    pub started: Moment,
    /// When it will be ready. Never, if it is broken.
    ready_at: Option<Moment>,
    /// When its last connection will be closed, once it drains.
    empty_at: Option<Moment>,
    /// When it will be dead.
    dies_at: Option<Moment>,
    /// Of SIGTERM it does not die.
    stubborn: bool,
}

/// A primary without a kernel.
pub struct World {
    pub dice: Dice,
    pub now: Moment,
    pub cores: usize,
    pub fleet: Fleet,
    pub processes: BTreeMap<WorkerId, Process>,
    next_id: u64,
    generation: u32,
    /// Generations whose program never gets ready.
    broken: BTreeSet<u32>,
    pub reload: Option<Rollout>,
    pub aborted: usize,
    pub reloaded: usize,
    /// Starts succeed and are quick, nobody dies.
    pub calm: bool,
    /// Slots in which a ready worker was hurt from outside in this step.
    pub hurt: BTreeSet<SlotId>,
    pub trace: String,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice(oorandom::Rand64::new(seed.into()));
        let slots = 1 + dice.roll(5) as usize;
        let cores = 1 + dice.roll(3) as usize;
        let restart = Restart {
            most: (dice.roll(4) == 0).then_some((6, Duration::from_secs(20))),
            ..Restart::default()
        };
        let mut world = Self {
            dice,
            now: Moment::default(),
            cores,
            fleet: Fleet::new(Settings { slots, restart }),
            processes: BTreeMap::new(),
            next_id: 0,
            generation: 1,
            broken: BTreeSet::new(),
            reload: None,
            aborted: 0,
            reloaded: 0,
            calm: true,
            hurt: BTreeSet::new(),
            trace: format!("seed {seed}, {slots} slots, {cores} cores"),
        };
        while !world.all_ready() {
            world.step();
        }
        world.calm = false;
        world
    }

    pub fn slots(&self) -> impl Iterator<Item = SlotId> + use<> {
        (0..self.fleet.slots() as u16).map(SlotId)
    }

    fn all_ready(&self) -> bool {
        let ready = |slot| self.fleet.condition(slot) == Some(Condition::Ready);
        self.slots().all(ready)
    }

    /// Time goes on; what is due happens; what may start starts.
    pub fn step(&mut self) {
        self.now = self.dice.in_ms(self.now, 250);
        let ids: Vec<WorkerId> = self.processes.keys().copied().collect();
        for id in ids {
            let due = |at: Option<Moment>| at.is_some_and(|at| at <= self.now);
            let Some(process) = self.processes.get(&id) else {
                continue;
            };
            let (dies, empty) = (due(process.dies_at), due(process.empty_at));
            let starting = matches!(process.state, State::Starting { .. });
            if dies {
                self.die(id);
            } else if starting && due(process.ready_at) {
                self.happen(id, Event::ReadyReport);
            } else if due(process.state.deadline()) {
                self.happen(id, Event::Deadline);
            } else if empty {
                self.happen(id, Event::Empty);
            }
        }
        while let Some((slot, former)) = self.fleet.settled(self.now) {
            if let Some(former) = former {
                self.happen(former, Event::Drain(Why::Replaced));
            }
            self.renewed(slot);
        }
        self.advance_reload();
        self.start();
    }

    fn start(&mut self) {
        loop {
            let permits = self.cores.saturating_sub(self.fleet.unready(self.now));
            let Some(slot) = self.fleet.startable(self.now, permits) else {
                return;
            };
            if !self.calm && self.dice.roll(40) == 0 {
                let random = self.dice.0.rand_u64();
                let verdict = self.fleet.start_failed(slot, self.now, random);
                self.judge(slot, verdict);
                continue;
            }
            let id = WorkerId(self.next_id);
            self.next_id += 1;
            let broken = self.broken.contains(&self.generation);
            let quick = self.calm || self.dice.roll(8) > 0;
            let after = if quick { 300 } else { 10_000 };
            let ready_at = (!broken).then(|| self.dice.in_ms(self.now, after));
            let dies_early = broken && self.dice.roll(2) == 0;
            let process = Process {
                slot,
                generation: self.generation,
                state: State::Starting {
                    ready_by: self.now + READY_TIMEOUT,
                },
                started: self.now,
                ready_at,
                empty_at: None,
                dies_at: dies_early.then(|| self.dice.in_ms(self.now, 500)),
                stubborn: self.dice.roll(6) == 0,
            };
            self.processes.insert(id, process);
            self.fleet.started(slot, id, self.now);
        }
    }

    pub fn happen(&mut self, id: WorkerId, event: Event) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let (state, actions) = process.state.after(event, self.now, PATIENCE);
        process.state = state;
        let slot = process.slot;
        let leaves = |state| {
            !matches!(
                state,
                State::Starting { .. } | State::Ready | State::Gone(_)
            )
        };
        if leaves(state)
            && let Some(verdict) = self.fleet.leaves(slot, id, self.now, 0)
        {
            self.judge(slot, verdict);
        }
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if matches!(state, State::Draining { .. }) && process.empty_at.is_none() {
            process.empty_at = Some(self.dice.in_ms(self.now, 4000));
        }
        let slot = process.slot;
        for action in actions {
            match action {
                Action::Admit => {
                    let not_needed = self.fleet.ready(slot, id, self.now);
                    if let Some(not_needed) = not_needed {
                        self.happen(not_needed, Event::Drain(Why::Replaced));
                    }
                    if !self.fleet.is_settling(slot) {
                        self.renewed(slot);
                    }
                }
                Action::Evict => {}
                Action::Terminate | Action::Abort if self.processes[&id].stubborn => {}
                Action::Terminate | Action::Abort => self.doom(id, 300),
                Action::Kill if self.dice.roll(20) == 0 => {}
                Action::Kill => self.doom(id, 20),
                Action::Unkillable => {
                    let end = (End::Killed(Why::Late), None);
                    let verdict = self.fleet.ended(slot, id, end, self.now, 0);
                    self.judge(slot, verdict);
                }
            }
        }
    }

    /// The new worker of a slot is there to stay.
    fn renewed(&mut self, slot: SlotId) {
        if let Some(reload) = &mut self.reload
            && !self.fleet.awaits(slot)
        {
            reload.ready(slot);
        }
    }

    fn doom(&mut self, id: WorkerId, most: u64) {
        let at = self.dice.in_ms(self.now, most);
        if let Some(process) = self.processes.get_mut(&id) {
            process.dies_at = Some(process.dies_at.map_or(at, |before| before.min(at)));
        }
    }

    fn die(&mut self, id: WorkerId) {
        let success = self.dice.roll(3) == 0;
        self.happen(id, Event::Exited { success });
        let Some(process) = self.processes.remove(&id) else {
            return;
        };
        let State::Gone(end) = process.state else {
            panic!("{}: dead is dead", self.trace);
        };
        let code = Some(i32::from(!success));
        let random = self.dice.0.rand_u64();
        let verdict = self
            .fleet
            .ended(process.slot, id, (end, code), self.now, random);
        if self.fleet.worker(process.slot).is_none() {
            self.hurt.insert(process.slot);
        }
        self.judge(process.slot, verdict);
    }

    fn judge(&mut self, slot: SlotId, verdict: Verdict) {
        assert_ne!(
            verdict,
            Verdict::Hopeless,
            "{}: it has been ready",
            self.trace
        );
        let holds = matches!(verdict, Verdict::Nothing | Verdict::Inherited);
        let waits = self
            .reload
            .as_ref()
            .is_some_and(|one| one.is_under_way(slot));
        if waits && !holds {
            self.abort_reload();
        }
    }

    fn begin_reload(&mut self) {
        if self.reload.is_some() {
            return;
        }
        self.generation += 1;
        if self.dice.roll(3) == 0 {
            self.broken.insert(self.generation);
        }
        let parallel = 1 + self.dice.roll(3) as usize;
        self.reload = Some(Rollout::new(self.slots(), parallel));
        self.advance_reload();
    }

    fn advance_reload(&mut self) {
        let Some(reload) = &mut self.reload else {
            return;
        };
        let slots: Vec<SlotId> = reload.by_ref().collect();
        let done = reload.is_done();
        for slot in slots {
            if !self.fleet.replace(slot, Cause::People, self.now) {
                let given_up = self.fleet.cancel(slot, self.now);
                assert!(self.fleet.replace(slot, Cause::People, self.now));
                let given_up = given_up.expect("a successor was starting");
                self.happen(given_up, Event::KillNow(Why::Replaced));
            }
        }
        if done {
            self.reload = None;
            self.reloaded += 1;
            for slot in self.slots() {
                let generation = self
                    .fleet
                    .worker(slot)
                    .and_then(|id| self.processes.get(&id))
                    .map(|process| process.generation);
                assert!(
                    generation.is_none_or(|generation| generation == self.generation),
                    "{}: slot {slot} is renewed",
                    self.trace
                );
            }
        }
    }

    /// What is starting for it is given up; the serving workers must not notice.
    fn abort_reload(&mut self) {
        let Some(reload) = self.reload.take() else {
            return;
        };
        let slots: Vec<SlotId> = self
            .slots()
            .filter(|&slot| reload.is_under_way(slot) && !self.fleet.is_settling(slot))
            .collect();
        let before = self.serving();
        for slot in slots {
            if let Some(given_up) = self.fleet.cancel(slot, self.now) {
                self.happen(given_up, Event::KillNow(Why::Replaced));
            }
        }
        assert_eq!(self.serving(), before, "{}: untouched", self.trace);
        self.broken.insert(self.generation);
        self.generation = (1..self.generation)
            .rev()
            .find(|generation| !self.broken.contains(generation))
            .expect("the first one works");
        self.aborted += 1;
    }

    /// Workers that are dealt to.
    pub fn serving(&self) -> BTreeMap<SlotId, Vec<WorkerId>> {
        let mut serving: BTreeMap<SlotId, Vec<WorkerId>> = BTreeMap::new();
        for (id, process) in &self.processes {
            if process.state == State::Ready {
                serving.entry(process.slot).or_default().push(*id);
            }
        }
        serving
    }

    /// Something comes from outside.
    pub fn disturb(&mut self) {
        let ids: Vec<WorkerId> = self.processes.keys().copied().collect();
        let one = ids
            .get(self.dice.roll(1 + ids.len() as u64) as usize)
            .copied();
        let slot = SlotId(self.dice.roll(1 + self.fleet.slots() as u64) as u16);
        match (self.dice.roll(12), one) {
            (0 | 1, Some(id)) => {
                self.hurt.insert(self.processes[&id].slot);
                self.die(id);
            }
            (2, Some(id)) => {
                self.hurt.insert(self.processes[&id].slot);
                self.happen(id, Event::ChannelTrouble);
            }
            (3, Some(id)) => {
                self.hurt.insert(self.processes[&id].slot);
                self.happen(id, Event::Abort);
            }
            (4, Some(id)) => self.happen(id, Event::Hurry),
            (5 | 6, _) => self.begin_reload(),
            (7, _) => {
                self.fleet.replace(slot, Cause::Limit, self.now);
            }
            (8, _) if self.reload.is_none() => self.resize(),
            (9, _) if self.reload.is_none() => {
                self.fleet.replace(slot, Cause::People, self.now);
            }
            _ => {}
        }
    }

    fn resize(&mut self) {
        let slots = 1 + self.dice.roll(6) as usize;
        for id in self.fleet.resize(slots) {
            self.happen(id, Event::Drain(Why::Scaled));
        }
    }
}
