//! The order of a rolling reload: which slots are under way, which are done, and how many old generations may
//! still be finishing their connections when a new one begins. Pure: the caller asks the fleet for successors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deadlines::Moment;
use super::ids::{SlotId, WorkerId};

/// An old generation that is in the way of a new one may finish its connections for so long.
pub const OLD_PATIENCE: Duration = Duration::from_secs(10);

/// The slots of one rolling reload. As an iterator it gives the slots whose turn has come; `None` while as many as
/// may be are under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    waiting: VecDeque<SlotId>,
    under_way: BTreeSet<SlotId>,
    done: usize,
    parallel: usize,
}

impl Rollout {
    /// Renews these slots in this order, `parallel` (1 at least) at a time.
    pub fn new(slots: impl Iterator<Item = SlotId>, parallel: usize) -> Self {
        Self {
            waiting: slots.collect(),
            under_way: BTreeSet::new(),
            done: 0,
            parallel: parallel.max(1),
        }
    }

    /// A new worker has this slot. `true`: it was waited for.
    pub fn ready(&mut self, slot: SlotId) -> bool {
        let waited_for = self.under_way.remove(&slot);
        self.done += usize::from(waited_for);
        waited_for
    }

    /// The slot's new worker is waited for.
    pub fn is_under_way(&self, slot: SlotId) -> bool {
        self.under_way.contains(&slot)
    }

    /// Its first slot is under way, or was.
    pub fn has_begun(&self) -> bool {
        self.done != 0 || !self.under_way.is_empty()
    }

    /// Every slot has its new worker.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// How many slots it is about.
    pub fn slots(&self) -> usize {
        self.waiting.len() + self.under_way.len() + self.done
    }
}

impl Iterator for Rollout {
    type Item = SlotId;

    fn next(&mut self) -> Option<SlotId> {
        if self.under_way.len() >= self.parallel {
            return None;
        }
        let slot = self.waiting.pop_front()?;
        self.under_way.insert(slot);
        Some(slot)
    }
}

/// Former generations whose workers still finish their connections.
#[derive(Debug)]
pub struct OldGenerations {
    most: usize,
    leaving_since: BTreeMap<u32, Moment>,
}

/// What a new generation has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The oldest generation: its end is waited for.
    pub generation: u32,
    /// From when on its workers are to be hurried.
    pub hurry_at: Moment,
}

impl OldGenerations {
    /// At most so many of them, 1 at least, while a new one is under way.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            leaving_since: BTreeMap::new(),
        }
    }

    /// A living worker of this generation has been told to go, at this moment.
    pub fn note(&mut self, generation: u32, leaving_since: Moment) {
        let since = self
            .leaving_since
            .entry(generation)
            .or_insert(leaving_since);
        *since = leaving_since.min(*since);
    }

    /// What has to go before the generation of now may become an old one.
    pub fn in_the_way(&self) -> Option<Bound> {
        let (&generation, &since) = self.leaving_since.first_key_value()?;
        (self.leaving_since.len() >= self.most).then_some(Bound {
            generation,
            hurry_at: since + OLD_PATIENCE,
        })
    }
}

/// Which of a slot's former workers have to hurry, since more than `most` (1 at least) still finish their
/// connections: the oldest. However often a slot is renewed, by people or by limits, its past stays bounded.
pub fn crowd(finishing: impl Iterator<Item = (Moment, WorkerId)>, most: usize) -> Vec<WorkerId> {
    let mut finishing: Vec<_> = finishing.collect();
    finishing.sort_unstable();
    finishing.truncate(finishing.len().saturating_sub(most.max(1)));
    finishing.into_iter().map(|(_, worker)| worker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(slots: u16, parallel: usize) -> Rollout {
        Rollout::new((0..slots).map(SlotId), parallel)
    }

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn one_slot_after_the_other() {
        let mut rollout = of(3, 1);
        assert!(!rollout.has_begun() && !rollout.is_done());
        for slot in (0..3).map(SlotId) {
            assert_eq!((rollout.next(), rollout.next()), (Some(slot), None));
            assert!(rollout.has_begun() && rollout.is_under_way(slot));
            assert!(rollout.ready(slot));
            assert!(!rollout.ready(slot), "counted once");
            assert_eq!(rollout.slots(), 3);
        }
        assert!(rollout.is_done() && rollout.has_begun());
        assert_eq!(rollout.next(), None);
    }

    #[test]
    fn as_many_at_a_time_as_may_be() {
        let mut rollout = of(5, 2);
        assert_eq!(rollout.by_ref().collect::<Vec<_>>(), [SlotId(0), SlotId(1)]);
        assert!(rollout.ready(SlotId(1)), "in whatever order");
        assert_eq!(rollout.by_ref().collect::<Vec<_>>(), [SlotId(2)]);
        assert!(!rollout.ready(SlotId(4)), "not under way");
        assert!(rollout.ready(SlotId(0)) && rollout.ready(SlotId(2)));
        assert!(!rollout.is_done());
        assert_eq!(rollout.by_ref().collect::<Vec<_>>(), [SlotId(3), SlotId(4)]);
    }

    #[test]
    fn nothing_to_do_is_done_and_none_at_a_time_is_one() {
        assert!(of(0, 1).is_done() && !of(0, 1).has_begun());
        assert_eq!(of(2, 0).by_ref().count(), 1);
    }

    #[test]
    fn the_oldest_of_too_many_generations_is_in_the_way() {
        let mut old = OldGenerations::new(2);
        assert_eq!(old.in_the_way(), None);
        old.note(7, at(30));
        assert_eq!(old.in_the_way(), None);
        old.note(4, at(25));
        old.note(4, at(20));
        old.note(4, at(28));
        let bound = Bound {
            generation: 4,
            hurry_at: at(20) + OLD_PATIENCE,
        };
        assert_eq!(old.in_the_way(), Some(bound));
        old.note(9, at(40));
        assert_eq!(old.in_the_way(), Some(bound));
    }

    #[test]
    fn one_old_generation_is_always_allowed_to_come_to_be() {
        let mut old = OldGenerations::new(0);
        assert_eq!(old.in_the_way(), None);
        old.note(1, at(0));
        assert_eq!(old.in_the_way().map(|bound| bound.generation), Some(1));
    }

    #[test]
    fn the_oldest_of_a_crowd_have_to_hurry() {
        let finishing = [(at(9), 1), (at(3), 2), (at(7), 3), (at(5), 4)];
        let finishing = finishing.map(|(since, id)| (since, WorkerId(id)));
        let hurried = |most| crowd(finishing.into_iter(), most);
        assert_eq!(hurried(2), [WorkerId(2), WorkerId(4)]);
        assert_eq!(hurried(0), [WorkerId(2), WorkerId(4), WorkerId(3)]);
        assert_eq!(hurried(4), []);
        assert_eq!(hurried(9), []);
    }
}
