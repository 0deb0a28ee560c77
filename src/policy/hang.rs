//! Does a worker still react? Judged by what it takes, by whether its loop turns, and by whether it keeps a
//! processor busy meanwhile; each look adds to what was seen before.
//!
//! Two things are no sign of life: that connections were offered and none was taken, and that a process
//! neither sleeps in its wait nor comes back to it while it computes. A worker that is idle offers no
//! evidence at all; a server that blocks in a read neither turns nor computes. Where several processes take
//! connections, one that turns speaks for all, and one that has taken none yet may. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deadlines::Moment;

/// So many looks in a row must show the same before it counts: fewer are chance.
const LEAST_LOOKS: u32 = 3;

/// What one look at a worker shows.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    /// Connections it has taken, in all.
    pub taken: u64,
    /// Something is queued for it, or was taken away from it since the last look because it left it alone.
    pub offered: bool,
    /// Its processes that have taken connections.
    pub processes: Vec<Process>,
}

/// What one look at a process shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// The thread that takes connections sleeps in its wait.
    pub asleep: bool,
    /// How often that thread has gone to wait; 0 if that cannot be seen.
    pub turns: u64,
    /// It runs, wants to, or is in a sleep that nothing interrupts.
    pub busy: bool,
}

/// What comes of the looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// For so long it was offered connections, took none, and did not turn once.
    Deaf(Duration),
    /// For so long it was offered connections at every look and took none, though its loop turns.
    Refusing(Duration),
    /// For so long it has been in one callback of its loop, busy.
    Busy(Duration),
}

/// A state of things that has lasted.
#[derive(Clone, Copy, Debug)]
struct Spell {
    since: Moment,
    looks: u32,
}

impl Spell {
    fn go_on(spell: &mut Option<Self>, since: Moment) {
        let spell = spell.get_or_insert(Self { since, looks: 0 });
        spell.looks += 1;
    }
}

/// What the looks at one worker have shown.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    seen: Option<Moment>,
    taken: u64,
    turns: BTreeMap<u32, u64>,
    /// Connections were offered and none taken.
    unserved: Option<Spell>,
    /// Some loop has turned since that began.
    turned: bool,
    /// A process is busy outside of its wait, and no other turns.
    busy: Option<Spell>,
}

impl Pulse {
    /// Takes in one more look.
    pub fn look(&mut self, now: Moment, signs: &Signs) -> Option<Symptom> {
        // The value of a count is as old as the look that first showed it.
        let before = self.seen.replace(now).unwrap_or(now);
        let moved = signs.taken != self.taken;
        let turned = signs
            .processes
            .iter()
            .any(|process| self.has_turned(process));
        let visible = signs.processes.iter().any(|process| process.turns != 0);
        self.judge_offers(before, signs, moved, turned, visible);
        self.judge_loops(before, signs, moved || turned);
        self.taken = signs.taken;
        let turns = signs.processes.iter();
        self.turns = turns.map(|process| (process.pid, process.turns)).collect();
        self.symptom(now, signs.offered)
    }

    fn has_turned(&self, process: &Process) -> bool {
        self.turns.get(&process.pid) != Some(&process.turns) && process.turns != 0
    }

    fn judge_offers(
        &mut self,
        before: Moment,
        signs: &Signs,
        moved: bool,
        turned: bool,
        visible: bool,
    ) {
        // Nothing is offered now: a loop that turns would have taken what was, and one that cannot be seen to
        // turn gets the benefit of the doubt.
        let idle = !signs.offered && (turned || !visible);
        if moved || idle {
            self.unserved = None;
            self.turned = false;
        } else if signs.offered || self.unserved.is_some() {
            Spell::go_on(&mut self.unserved, before);
            self.turned |= turned;
        }
    }

    fn judge_loops(&mut self, before: Moment, signs: &Signs, alive: bool) {
        let asleep = signs.processes.iter().any(|process| process.asleep);
        // One that cannot be seen to turn, such as a sibling that has taken nothing yet, may be well.
        let unseen = signs.processes.iter().any(|process| process.turns == 0);
        let busy = signs.processes.iter().any(|process| process.busy);
        if alive || asleep || unseen || !busy {
            self.busy = None;
        } else {
            Spell::go_on(&mut self.busy, before);
        }
    }

    fn symptom(&self, now: Moment, offered: bool) -> Option<Symptom> {
        let lasted = |spell: &Option<Spell>| {
            let spell = spell.filter(|spell| spell.looks >= LEAST_LOOKS)?;
            Some(now.since(spell.since))
        };
        // Only with the evidence before one's eyes.
        let unserved = lasted(&self.unserved).filter(|_| offered);
        match (unserved, lasted(&self.busy)) {
            (Some(unserved), busy) if !self.turned => Some(match busy {
                Some(busy) if busy > unserved => Symptom::Busy(busy),
                _ => Symptom::Deaf(unserved),
            }),
            (Some(unserved), None) => Some(Symptom::Refusing(unserved)),
            (_, Some(busy)) => Some(Symptom::Busy(busy)),
            (None, None) => None,
        }
    }
}

impl Symptom {
    /// For how long.
    pub fn lasted(self) -> Duration {
        match self {
            Self::Deaf(lasted) | Self::Refusing(lasted) | Self::Busy(lasted) => lasted,
        }
    }
}
