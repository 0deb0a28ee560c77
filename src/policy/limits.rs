//! What the workers of an app may use, and how long one may be silent: judged from regular looks at them.
//!
//! A worker over a soft limit is to be replaced, which costs nothing but a start; so that not all workers of
//! one age go together, limits on age and connections are spread by a tenth to either side, and at most one
//! slot at a time is renewed for a limit. Far over its memory a worker is killed, and one that does not react
//! is aborted, whatever else goes on. Pure: the caller looks, and carries out.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::deadlines::Moment;
use super::hang::{Pulse, Signs, Symptom};
use super::ids::WorkerId;
use crate::config::Limits;

/// The usual time from one look to the next.
pub const PERIOD: Duration = Duration::from_secs(1);
/// A short hang timeout is looked at so often.
const LOOKS_PER_HANG: u32 = 4;
/// The shortest time from one look to the next.
const SHORTEST_PERIOD: Duration = Duration::from_millis(50);
/// How long a worker's memory must stay over its limit: three looks of a second.
const MEMORY_PATIENCE: Duration = Duration::from_secs(2);
/// Over its limit by half, a worker is killed.
const HARD: f64 = 1.5;
/// What limits are spread by, to either side.
const JITTER: f64 = 0.1;

/// What one look at a ready worker shows.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Whose.
    pub worker: WorkerId,
    /// Resident memory of all its processes, bytes.
    pub memory: u64,
    /// Connections of clients that it has taken.
    pub connections: u64,
    /// Its slot has a successor on the way.
    pub renewed: bool,
    /// Signs of life.
    pub signs: Signs,
}

/// What is to be done with a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Said once: it goes on like this for half the time that is granted.
    Warn(Reason),
    /// Start another in its slot, then let it finish.
    Replace(Reason),
    /// Start another in its slot at once, and end it so that it leaves a trace of where it was.
    Abort(Reason),
    /// End it now.
    Kill(Reason),
}

/// Why, as words that follow "worker PID ".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// Its memory, and the limit.
    Memory(u64, u64),
    /// The time for which it was ready.
    Age(Duration),
    /// Connections taken.
    Connections(u64),
    /// It does not react.
    Hangs(Symptom),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: f64 = (1 << 20) as f64;
        let mib = |bytes: u64| bytes as f64 / MIB;
        match *self {
            Self::Memory(used, limit) => write!(
                f,
                "uses {:.1} MiB, over --max-memory {:.1} MiB",
                mib(used),
                mib(limit)
            ),
            Self::Age(age) => write!(f, "is {} s old (--max-age)", age.as_secs()),
            Self::Connections(taken) => {
                write!(f, "has taken {taken} connections (--max-connections)")
            }
            Self::Hangs(symptom) => {
                let seconds = symptom.lasted().as_secs_f64();
                match symptom {
                    Symptom::Deaf(_) => {
                        write!(f, "has left waiting connections alone for {seconds:.1} s")
                    }
                    Symptom::Refusing(_) => write!(
                        f,
                        "has taken none of its waiting connections for {seconds:.1} s, though its loop turns"
                    ),
                    Symptom::Busy(_) => {
                        write!(f, "has been busy in one callback for {seconds:.1} s")
                    }
                }
            }
        }
    }
}

/// What is known of one worker.
#[derive(Debug)]
struct Watch {
    since: Moment,
    /// Its share of the limits that are spread: 1 ± [`JITTER`].
    share: f64,
    over_memory: Option<Moment>,
    pulse: Pulse,
    warned: bool,
}

/// The judge of one app's workers.
#[derive(Debug)]
pub struct Judge {
    limits: Limits,
    secret: u64,
    known: BTreeMap<WorkerId, Watch>,
}

/// How often workers with these limits are to be looked at; `None`: never.
pub fn period(limits: &Limits) -> Option<Duration> {
    let hang = limits.hang_timeout.map(|limit| limit / LOOKS_PER_HANG);
    let any = limits.max_memory.is_some()
        || limits.max_age.is_some()
        || limits.max_connections.is_some()
        || hang.is_some();
    any.then(|| hang.map_or(PERIOD, |hang| hang.clamp(SHORTEST_PERIOD, PERIOD)))
}

impl Judge {
    /// Judges by `limits`; `secret` makes the spread of each primary its own.
    pub fn new(limits: Limits, secret: u64) -> Self {
        Self {
            limits,
            secret,
            known: BTreeMap::new(),
        }
    }

    /// Since when each worker is known, by which its age is counted.
    pub fn since(&self) -> impl Iterator<Item = (WorkerId, Moment)> + '_ {
        self.known
            .iter()
            .map(|(worker, watch)| (*worker, watch.since))
    }

    /// Counts a worker's age from `since` on.
    pub fn remember(&mut self, worker: WorkerId, since: Moment) {
        let share = spread(self.secret, worker);
        self.known.insert(worker, Watch::new(since, share));
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// One look at all ready workers of the app; who is not among them is forgotten. One that has a successor on
    /// the way keeps all others from being replaced. Of several that are to be, the first is to be tried first,
    /// and the rest only if it cannot be done.
    pub fn look(&mut self, now: Moment, samples: &[Sample]) -> Vec<(WorkerId, Verdict)> {
        self.known
            .retain(|id, _| samples.iter().any(|sample| sample.worker == *id));
        let may_replace = !samples.iter().any(|sample| sample.renewed);
        let mut verdicts = Vec::new();
        for sample in samples {
            let share = spread(self.secret, sample.worker);
            let watch = self.known.entry(sample.worker);
            let watch = watch.or_insert_with(|| Watch::new(now, share));
            let verdict = watch.look(&self.limits, now, sample);
            let verdict =
                verdict.filter(|verdict| may_replace || !matches!(verdict, Verdict::Replace(_)));
            verdicts.extend(verdict.map(|verdict| (sample.worker, verdict)));
        }
        verdicts
    }
}

impl Watch {
    fn new(since: Moment, share: f64) -> Self {
        Self {
            since,
            share,
            over_memory: None,
            pulse: Pulse::default(),
            warned: false,
        }
    }

    fn look(&mut self, limits: &Limits, now: Moment, sample: &Sample) -> Option<Verdict> {
        let over = self.over(limits, now, sample);
        let hangs = self.hangs(limits, now, sample);
        if let Some(limit) = limits.max_memory
            && sample.memory as f64 > limit as f64 * HARD
        {
            return Some(Verdict::Kill(Reason::Memory(sample.memory, limit)));
        }
        match hangs {
            Some(Verdict::Warn(_)) | None => over.map(Verdict::Replace).or(hangs),
            hangs => hangs,
        }
    }

    /// The soft limit that it is over.
    fn over(&mut self, limits: &Limits, now: Moment, sample: &Sample) -> Option<Reason> {
        if let Some(limit) = limits.max_memory {
            if sample.memory <= limit {
                self.over_memory = None;
            } else if now.since(*self.over_memory.get_or_insert(now)) >= MEMORY_PATIENCE {
                return Some(Reason::Memory(sample.memory, limit));
            }
        }
        let age = now.since(self.since);
        let too_old = |limit: Duration| age >= limit.mul_f64(self.share);
        if limits.max_age.is_some_and(too_old) {
            return Some(Reason::Age(age));
        }
        let worn = |limit: u64| sample.connections >= ((limit as f64 * self.share) as u64).max(1);
        let worn = limits.max_connections.is_some_and(worn);
        worn.then_some(Reason::Connections(sample.connections))
    }

    /// What to do if it does not react.
    fn hangs(&mut self, limits: &Limits, now: Moment, sample: &Sample) -> Option<Verdict> {
        let limit = limits.hang_timeout?;
        let Some(symptom) = self.pulse.look(now, &sample.signs) else {
            self.warned = false;
            return None;
        };
        let lasted = symptom.lasted();
        let reason = Reason::Hangs(symptom);
        if lasted >= limit {
            return Some(match symptom {
                Symptom::Refusing(_) => Verdict::Replace(reason),
                Symptom::Deaf(_) | Symptom::Busy(_) => Verdict::Abort(reason),
            });
        }
        let warn = lasted >= limit / 2 && !std::mem::replace(&mut self.warned, true);
        if lasted < limit / 2 {
            self.warned = false;
        }
        warn.then_some(Verdict::Warn(reason))
    }
}

/// A worker's own share of a limit that is spread.
fn spread(secret: u64, worker: WorkerId) -> f64 {
    let mut hasher = SipHasher13::new_with_keys(secret, 0);
    hasher.write_u64(worker.0);
    let unit = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64;
    1.0 - JITTER + 2.0 * JITTER * unit
}
