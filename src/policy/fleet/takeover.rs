//! What happens between the moment in which a new worker takes a slot over and the one in which the former
//! worker is not needed any more.

use serde::{Deserialize, Serialize};

use super::super::deadlines::Moment;
use super::super::ids::{SlotId, WorkerId};
use super::slot::{Phase, Slot, Successor};
use super::{Fleet, Verdict};

/// A worker that has just taken a slot over.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Settling {
    /// Who had it and can take it back, and since when that one has been ready.
    pub former: Option<(WorkerId, Moment)>,
    /// When the new one has shown that it lives.
    pub settled_at: Moment,
}

impl Fleet {
    /// Says, once, that the worker that has taken a slot over is there to stay, and gives out the former one,
    /// which is to be drained if it still stands by.
    pub fn settled(&mut self, now: Moment) -> Option<(SlotId, Option<WorkerId>)> {
        let mut numbered = (0..).map(SlotId).zip(&mut self.slots);
        numbered.find_map(|(id, slot)| {
            let former = slot.settle(now)?;
            Some((id, former))
        })
    }

    /// When [`Fleet::settled`] may next have something to say.
    pub fn next_settling(&self) -> Option<Moment> {
        let settling = self.slots.iter().filter_map(|slot| slot.settling);
        settling.map(|one| one.settled_at).min()
    }

    /// `worker` was told to go while it lives. It can take no slot back any more; and if it has not settled in the
    /// one that it took over, its end is not waited for: the former worker has that again, which is the verdict.
    pub fn leaves(
        &mut self,
        slot: SlotId,
        worker: WorkerId,
        now: Moment,
        random: u64,
    ) -> Option<Verdict> {
        let slot = self.slots.get_mut(slot.index())?;
        slot.stand_down(worker);
        if self.stopped || slot.worker() != Some(worker) {
            return None;
        }
        slot.leaving = Some(worker);
        slot.taken_back(now, random)
    }

    /// The worker that stands by until the one that has taken its slot over has settled.
    pub fn former(&self, slot: SlotId) -> Option<WorkerId> {
        self.slots.get(slot.index())?.former()
    }

    /// Its worker has taken the slot over and has yet to show that it lives.
    pub fn is_settling(&self, slot: SlotId) -> bool {
        let slot = self.slots.get(slot.index());
        slot.is_some_and(|slot| slot.settling.is_some())
    }
}

impl Slot {
    /// Somebody has asked for a new worker here and has not got it.
    pub fn awaits(&self) -> bool {
        let asked = match self.phase {
            Phase::Empty { asked, .. } | Phase::Starting { asked, .. } => asked,
            Phase::Ready { .. } | Phase::Finished | Phase::Failed => false,
        };
        asked || self.successor != Successor::None
    }

    /// The worker that stands by to take the slot back.
    pub fn former(&self) -> Option<WorkerId> {
        self.settling?.former.map(|(worker, _)| worker)
    }

    /// That one does so no more. `true`: it did.
    pub fn stand_down(&mut self, worker: WorkerId) -> bool {
        match &mut self.settling {
            Some(settling) => settling
                .former
                .take_if(|(former, _)| *former == worker)
                .is_some(),
            None => false,
        }
    }

    /// Its worker has been there for long enough: the former one, if it still stands by, is not needed any more.
    pub fn settle(&mut self, now: Moment) -> Option<Option<WorkerId>> {
        let settling = self.settling.take_if(|one| one.settled_at <= now)?;
        self.successors_failed = 0;
        Some(settling.former.map(|(worker, _)| worker))
    }

    /// Its worker has gone before it had settled: the former one, if it still stands by, has the slot again.
    pub fn taken_back(&mut self, now: Moment, random: u64) -> Option<Verdict> {
        let (worker, since) = self.settling.take()?.former?;
        self.phase = Phase::Ready { worker, since };
        let wanted = self.successor;
        let verdict = self.successor_failed(now, random);
        self.successor = wanted;
        Some(verdict)
    }
}
