//! The health checks: who is asked when, and how often in a row it failed. Each worker is asked over a
//! connection of its own, in turn and spread over the interval; never two at a time of one worker, and never
//! many at once. What is done about one that fails is the supervisor's.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use mio::{Registry, Token};

use super::pair::Given;
use super::probing::{Finding, Probing, Question, Step};
use crate::config::Health;
use crate::policy::deadlines::Moment;
use crate::policy::ids::WorkerId;

/// So many workers are asked at one time: each costs a few descriptors meanwhile.
const AT_ONCE: usize = 16;
/// How long the rest of an answer is waited for.
const LINGER: Duration = Duration::from_secs(1);
/// How long an end without an answer waits for the word that it was our own doing.
const DOUBT: Duration = Duration::from_millis(100);
/// An interval is spread by one part in so many, to either side.
const JITTER_PARTS: u32 = 10;

/// All workers that are asked.
#[derive(Debug, Default)]
pub struct Probes {
    patients: BTreeMap<WorkerId, Patient>,
}

/// A worker that is asked.
#[derive(Debug)]
struct Patient {
    /// When to ask next.
    due: Moment,
    current: Option<Current>,
    /// Failures in a row, and the last one's words.
    failures: u32,
    why: String,
    /// Connections of ours that were given to it and have not come back.
    given: u64,
    /// Of those, the ones that were given up before it answered: they may still be in its queue.
    stale: u64,
}

#[derive(Debug)]
struct Current {
    probing: Probing,
    until: Moment,
    timeout: Duration,
    /// The worker has its end, or will have.
    given: bool,
    /// Counts at `until` unless it was our own doing.
    ended: Option<String>,
}

/// What comes of an event.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing, as far as others are concerned.
    Nothing,
    /// This end of a connection is for the worker.
    Give(Given),
    /// It was well; it had failed so often before.
    Well(u32),
    /// It could not be asked.
    Unable(io::Error),
    /// It has failed so often in a row, the last time like this.
    Ill(u32, String),
}

impl Probes {
    /// Whether nobody is asked.
    pub fn is_empty(&self) -> bool {
        self.patients.is_empty()
    }

    /// These workers are to be asked, and no others; those that are new for the first time within their interval.
    pub fn attend(&mut self, now: Moment, workers: &BTreeMap<WorkerId, Duration>, random: u64) {
        self.patients.retain(|id, _| workers.contains_key(id));
        for (position, (worker, interval)) in workers.iter().enumerate() {
            let share = fraction(random.rotate_left(position as u32 * 7));
            let due = now + interval.mul_f64(share);
            let patient = self.patients.entry(*worker);
            patient.or_insert_with(|| Patient::new(due));
        }
    }

    /// The worker is not to be asked any more.
    pub fn forget(&mut self, worker: WorkerId) {
        self.patients.remove(&worker);
    }

    /// Nobody waits any more for what is asked now; a command that asks is killed.
    pub fn give_up(&mut self) {
        for patient in self.patients.values_mut() {
            if patient.current.take().is_some_and(|current| current.given) {
                patient.stale += 1;
            }
        }
    }

    /// When [`Probes::due`] or [`Probes::overdue`] has something.
    pub fn next(&self) -> Option<Moment> {
        let full = self.running() >= AT_ONCE;
        let moments = self.patients.values().filter_map(|one| match &one.current {
            Some(current) => Some(current.until),
            None => (!full).then_some(one.due),
        });
        moments.min()
    }

    /// A worker that is to be asked now.
    pub fn due(&self, now: Moment) -> Option<WorkerId> {
        if self.running() >= AT_ONCE {
            return None;
        }
        let mut waiting = self.patients.iter();
        let due = |one: &Patient| one.current.is_none() && one.due <= now;
        waiting.find(|(_, one)| due(one)).map(|(id, _)| *id)
    }

    fn running(&self) -> usize {
        let current = |one: &&Patient| one.current.is_some();
        self.patients.values().filter(current).count()
    }

    /// Begins to ask a worker.
    ///
    /// # Errors
    /// Those of [`Probing::begin`].
    pub fn begin(
        &mut self,
        now: Moment,
        worker: WorkerId,
        (question, ipv6): (Question, bool),
        health: &Health,
        (registry, token): (&Registry, Token),
    ) -> io::Result<()> {
        let Some(patient) = self.patients.get_mut(&worker) else {
            return Ok(());
        };
        patient.current = Some(Current {
            probing: Probing::begin(question, ipv6, registry, token)?,
            until: now + health.timeout,
            timeout: health.timeout,
            given: false,
            ended: None,
        });
        Ok(())
    }

    /// The next time that the worker is asked is after its interval.
    pub fn postpone(&mut self, now: Moment, worker: WorkerId, interval: Duration, random: u64) {
        if let Some(patient) = self.patients.get_mut(&worker) {
            let least = interval - interval / JITTER_PARTS;
            patient.due = now + least + (interval / JITTER_PARTS * 2).mul_f64(fraction(random));
        }
    }

    /// Something has happened to what a worker is asked by.
    pub fn proceed(
        &mut self,
        now: Moment,
        worker: WorkerId,
        registry: &Registry,
        token: Token,
    ) -> Outcome {
        let Some(patient) = self.patients.get_mut(&worker) else {
            return Outcome::Nothing;
        };
        let Some(current) = &mut patient.current else {
            return Outcome::Nothing;
        };
        match current.probing.proceed(registry, token) {
            Step::Waits => Outcome::Nothing,
            Step::Give(given) => {
                patient.given += 1;
                current.given = true;
                Outcome::Give(given)
            }
            Step::Answered => {
                current.until = current.until.min(now + LINGER);
                Outcome::Nothing
            }
            Step::Ended(why) => {
                current.until = now + DOUBT;
                current.ended = Some(why);
                Outcome::Nothing
            }
            Step::Unable(error) => {
                patient.current = None;
                Outcome::Unable(error)
            }
            Step::Found(finding) => patient.found(finding),
        }
    }

    /// A worker whose time is over, and what comes of that.
    pub fn overdue(&mut self, now: Moment) -> Option<(WorkerId, Outcome)> {
        let over = |one: &Patient| one.current.as_ref().is_some_and(|it| it.until <= now);
        let mut patients = self.patients.iter_mut();
        let (worker, patient) = patients.find(|(_, one)| over(one))?;
        let current = patient.current.take()?;
        if current.given && current.ended.is_none() {
            patient.stale += 1;
        }
        let finding = match current.ended {
            Some(why) => Finding::Ill(why),
            None => {
                let after = format!("{} s", current.timeout.as_secs_f64());
                current.probing.time_out(&after)
            }
        };
        Some((*worker, patient.found(finding)))
    }

    /// What was given to the worker has come back: nothing was learnt.
    pub fn returned(&mut self, worker: WorkerId) {
        if let Some(patient) = self.patients.get_mut(&worker) {
            patient.given = patient.given.saturating_sub(1);
            match patient.stale.checked_sub(1) {
                Some(stale) => patient.stale = stale,
                None => patient.current = None,
            }
        }
    }

    /// How many connections of ours the worker may have taken.
    pub fn given(&self, worker: WorkerId) -> u64 {
        self.patients.get(&worker).map_or(0, |one| one.given)
    }

    /// [`Probes::given`] of all workers.
    pub fn all_given(&self) -> impl Iterator<Item = (WorkerId, u64)> + '_ {
        self.patients
            .iter()
            .map(|(worker, one)| (*worker, one.given))
    }

    /// What [`Probes::all_given`] said in another image, whose questions nobody waits for any more.
    pub fn remember(&mut self, given: Vec<(WorkerId, u64)>) {
        for (worker, given) in given {
            let due = Moment::default();
            self.patients.insert(
                worker,
                Patient {
                    given,
                    ..Patient::new(due)
                },
            );
        }
    }

    /// How often in a row the worker has failed, and the words of the last time.
    pub fn failures(&self, worker: WorkerId) -> Option<(u32, &str)> {
        let patient = self.patients.get(&worker)?;
        (patient.failures > 0).then_some((patient.failures, patient.why.as_str()))
    }

    /// Whether `pid` is a command that asks: its end is ours to take.
    pub fn is_helper(&self, pid: u32) -> bool {
        self.helpers().any(|helper| helper == pid)
    }

    /// The commands that ask now.
    pub fn helpers(&self) -> impl Iterator<Item = u32> + '_ {
        let current = self
            .patients
            .values()
            .filter_map(|one| one.current.as_ref());
        current.filter_map(|one| one.probing.helper())
    }
}

impl Patient {
    fn new(due: Moment) -> Self {
        Self {
            due,
            current: None,
            failures: 0,
            why: String::new(),
            given: 0,
            stale: 0,
        }
    }

    fn found(&mut self, finding: Finding) -> Outcome {
        self.current = None;
        match finding {
            Finding::Well => {
                self.why.clear();
                // It takes what is given to it, so nothing of ours waits there any more.
                self.stale = 0;
                Outcome::Well(std::mem::take(&mut self.failures))
            }
            Finding::Ill(why) => {
                self.failures = self.failures.saturating_add(1);
                self.why.clone_from(&why);
                Outcome::Ill(self.failures, why)
            }
        }
    }
}

/// In 0..=1, from any number.
fn fraction(random: u64) -> f64 {
    (random >> 32) as f64 / f64::from(u32::MAX)
}
