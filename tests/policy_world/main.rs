//! Fleet, lifecycle and rollout together in a world of simulated processes, under a fake clock: random walks
//! of crashes, late starts, reloads good and bad, limits, resizes. What must hold is checked after every step.

mod dice;
mod world;

use std::collections::BTreeMap;

use forkfront::policy::fleet::{Condition, PERMIT};
use forkfront::policy::ids::{SlotId, WorkerId};
use forkfront::policy::lifecycle::{Event, State, Why};
use serde::Serialize;
use serde::de::DeserializeOwned;

use world::{Process, World};

impl World {
    /// What must hold at every moment.
    fn check(&self, before: &BTreeMap<SlotId, Vec<WorkerId>>) {
        let mut owned = BTreeMap::new();
        for slot in self.slots() {
            let (worker, successor) = (self.fleet.worker(slot), self.fleet.successor(slot));
            assert!(worker.is_some() || successor.is_none(), "{}", self.trace);
            let former = self.fleet.former(slot);
            assert!(former.is_none() || former != worker, "{}", self.trace);
            for id in worker.into_iter().chain(successor).chain(former) {
                assert!(owned.insert(id, slot).is_none(), "{}: one slot", self.trace);
                let process = self.processes.get(&id);
                assert!(
                    process.is_some_and(|one| one.slot == slot),
                    "{}: {id}",
                    self.trace
                );
            }
        }
        for (id, process) in &self.processes {
            let lives = matches!(process.state, State::Ready | State::Starting { .. });
            assert!(
                !lives || owned.contains_key(id),
                "{}: {id} is forgotten",
                self.trace
            );
        }
        let serving = self.serving();
        for (slot, ids) in &serving {
            let standing_by = usize::from(self.fleet.former(*slot).is_some());
            assert_eq!(ids.len(), 1 + standing_by, "{}: slot {slot}", self.trace);
        }
        for slot in before.keys().filter(|slot| !self.hurt.contains(slot)) {
            let kept = serving.contains_key(slot) || slot.index() >= self.fleet.slots();
            assert!(kept, "{}: slot {slot} served and was not hurt", self.trace);
        }
        let fresh = |process: &&Process| {
            matches!(process.state, State::Starting { .. })
                && self.now.since(process.started) < PERMIT
        };
        let unready = self.processes.values().filter(fresh).count();
        assert!(unready <= self.cores, "{}: {unready} starts", self.trace);
    }

    /// Nothing is under way: every slot serves or has failed for good, and no other process is left.
    fn is_settled(&self) -> bool {
        let settled = |slot| {
            let condition = self.fleet.condition(slot);
            matches!(condition, Some(Condition::Ready | Condition::Failed))
        };
        self.reload.is_none()
            && self.slots().all(settled)
            && self.processes.len() == self.serving().len()
    }
}

/// As it comes out of an upgrade in place.
fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("JSON");
    serde_json::from_str(&text).expect("what was written")
}

/// All that crosses an upgrade is written down and read again.
fn upgrade(world: &mut World) {
    world.fleet = again(&world.fleet);
    world.reload = again(&world.reload);
    for process in world.processes.values_mut() {
        process.state = again(&process.state);
    }
}

/// Everything ends, and nothing starts any more.
fn stop(mut world: World) {
    world.fleet.stop();
    world.reload = None;
    let ids: Vec<WorkerId> = world.processes.keys().copied().collect();
    for &id in &ids {
        world.happen(id, Event::Drain(Why::Stop));
    }
    for _ in 0..1_000 {
        world.step();
        let known = world.processes.keys().all(|id| ids.contains(id));
        assert!(known, "{}: started after a stop", world.trace);
        if world.processes.is_empty() {
            return;
        }
    }
    panic!("{}: it never ends", world.trace);
}

/// A walk, then calm or a stop. Returns how many reloads were done and how many aborted.
fn walk(seed: u64) -> (usize, usize) {
    let mut world = World::new(seed);
    for _ in 0..300 {
        let before = world.serving();
        world.hurt.clear();
        if world.dice.roll(10) == 0 {
            world.disturb();
        }
        world.step();
        world.check(&before);
        if world.dice.roll(50) == 0 {
            upgrade(&mut world);
        }
    }
    world.calm = true;
    if seed.is_multiple_of(3) {
        let outcome = (world.reloaded, world.aborted);
        stop(world);
        return outcome;
    }
    for _ in 0..2_000 {
        if world.is_settled() {
            return (world.reloaded, world.aborted);
        }
        world.step();
    }
    panic!("{}: never at rest", world.trace);
}

#[test]
fn random_worlds_keep_their_promises_and_come_to_rest() {
    let outcomes: Vec<_> = (1..=300).map(walk).collect();
    let reloaded: usize = outcomes.iter().map(|outcome| outcome.0).sum();
    let aborted: usize = outcomes.iter().map(|outcome| outcome.1).sum();
    assert!(
        reloaded > 200 && aborted > 200,
        "{reloaded} done, {aborted} aborted"
    );
}
