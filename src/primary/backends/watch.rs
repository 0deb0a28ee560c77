//! The thread that looks after the backends of one app: it checks them, hears the alarm of the workers, and does what
//! time brings. Never waits for anything but its own poll.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::check::{Check, Failure, Found};
use super::keeper::{Keeper, now};
use crate::config::proxy;
use crate::policy::backends::schedule::{AT_ONCE, Schedule};
use crate::policy::backends::table::Rules;
use crate::policy::backends::{Member, Table};
use crate::policy::deadlines::Moment;

/// Descriptors that this takes at most: the checks under way and the epoll set.
pub const DESCRIPTORS: usize = AT_ONCE + 1;

/// The alarm. The checks have the places of their backends, which are smaller.
const ALARM: Token = Token(usize::MAX - 1);
/// What it does is small.
const STACK: usize = 256 * 1024;

/// The thread while it runs.
#[derive(Debug)]
pub struct Watch {
    keeper: Arc<Keeper>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts it.
    ///
    /// # Errors
    /// Those of epoll_create(2), epoll_ctl(2) and of starting a thread.
    pub fn start(keeper: Arc<Keeper>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let poll = Poll::new()?;
        let alarm = keeper.alarm.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&alarm), ALARM, Interest::READABLE)?;
        let mut rounds = Rounds {
            keeper: Arc::clone(&keeper),
            stop: Arc::clone(&stop),
            poll,
            attended: (None, Vec::new()),
            schedule: Schedule::default(),
            checks: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("backends".into())
            .stack_size(STACK)
            .spawn(move || rounds.run())?;
        Ok(Self {
            keeper,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    /// Waits for its end, which comes at once.
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.keeper.nudge();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Rounds {
    keeper: Arc<Keeper>,
    stop: Arc<AtomicBool>,
    poll: Poll,
    /// Who is checked how, as far as the schedule knows: by the places of the backends.
    attended: (Option<proxy::Check>, Vec<usize>),
    schedule: Schedule,
    /// The checks under way, by the places of the backends.
    checks: BTreeMap<usize, Check>,
}

impl Rounds {
    fn run(&mut self) {
        let mut events = Events::with_capacity(AT_ONCE + 1);
        let mut verdicts = Vec::new();
        loop {
            let next = self.turn(&mut verdicts);
            let sleep = next.map(|at| round_up(at.since(now())));
            // It fails by a signal only, and then it is called again.
            let _ = self.poll.poll(&mut events, sleep);
            if self.stop.load(Relaxed) {
                return;
            }
            for event in &events {
                match event.token() {
                    ALARM => _ = self.keeper.alarm.heard(),
                    Token(at) => self.proceed(at, &mut verdicts),
                }
            }
            self.time_out(&mut verdicts);
        }
    }

    /// Tells the table what was found, and begins what is to be done; when there is something to do again.
    fn turn(&mut self, verdicts: &mut Vec<(usize, Result<(), String>)>) -> Option<Moment> {
        let found = std::mem::take(verdicts);
        let keeper = Arc::clone(&self.keeper);
        let looked = keeper.turn(|state, now| {
            for (at, found) in found {
                state.table.checked(at, found, now);
            }
        });
        looked?;
        let (rules, next) = {
            let state = keeper.state();
            let rules = state.table.rules().clone();
            let check = &rules.check;
            if self.attended != (check.clone(), state.table.order().to_vec()) {
                self.attend(check.as_ref(), &state.table);
            }
            (rules, state.table.next(now()))
        };
        let checks = rules.check.as_ref().and_then(|check| {
            self.begin(&rules, check, verdicts);
            self.schedule.next()
        });
        // What could not even be begun is told at once.
        let at_once = (!verdicts.is_empty()).then(now);
        let until = self.checks.values().map(Check::until).min();
        let all = [next, checks, until, at_once];
        all.into_iter().flatten().min()
    }

    /// Those that are to be checked are others, or otherwise.
    fn attend(&mut self, check: Option<&proxy::Check>, table: &Table) {
        let order = table.order();
        self.attended = (check.cloned(), order.to_vec());
        let known = |at: &usize| table.member(*at).is_some_and(Member::is_known);
        let who: BTreeMap<usize, bool> = match check {
            Some(_) => order.iter().map(|at| (*at, known(at))).collect(),
            None => BTreeMap::new(),
        };
        self.checks.retain(|at, _| who.contains_key(at));
        let interval = check.map_or(Duration::ZERO, |check| check.interval);
        self.schedule.attend(now(), &who, interval, random);
    }

    fn begin(
        &mut self,
        rules: &Rules,
        check: &proxy::Check,
        verdicts: &mut Vec<(usize, Result<(), String>)>,
    ) {
        while let Some(at) = self.schedule.begin(now()) {
            let (name, target) = match self.keeper.state().table.member(at) {
                Some(member) => (member.name.clone(), member.target.clone()),
                None => continue,
            };
            let until = now() + check.timeout;
            match Check::begin(
                rules,
                (&name, &target),
                until,
                self.poll.registry(),
                Token(at),
            ) {
                Ok(check) => _ = self.checks.insert(at, check),
                Err(failure) => {
                    let again = (check.interval, random());
                    self.schedule.done(now(), at, false, again);
                    match failure {
                        Failure::Ill(why) => verdicts.push((at, Err(why))),
                        Failure::Unable(error) => self.keeper.say_unable(&error),
                    }
                }
            }
        }
    }

    /// Something has happened to a check.
    fn proceed(&mut self, at: usize, verdicts: &mut Vec<(usize, Result<(), String>)>) {
        let Some(check) = self.checks.get_mut(&at) else {
            return;
        };
        let interval = check.interval();
        match check.proceed(now()) {
            Found::Nothing => {}
            Found::Verdict(verdict) => verdicts.push((at, verdict)),
            Found::End(verdict) => {
                self.checks.remove(&at);
                self.schedule.done(now(), at, false, (interval, random()));
                verdicts.extend(verdict.map(|verdict| (at, verdict)));
            }
        }
    }

    fn time_out(&mut self, verdicts: &mut Vec<(usize, Result<(), String>)>) {
        let now = now();
        let late = |check: &Check| check.until() <= now;
        let checks = self.checks.iter();
        let late: Vec<_> = checks
            .filter(|(_, one)| late(one))
            .map(|(at, _)| *at)
            .collect();
        for at in late {
            if let Some(check) = self.checks.remove(&at) {
                let again = (check.interval(), random());
                let verdict = check.time_out();
                self.schedule.done(now, at, verdict.is_some(), again);
                verdicts.extend(verdict.map(|verdict| (at, verdict)));
            }
        }
    }
}

/// To the poll's unit: a sleep that ends just before its time would be followed by sleeps of nothing.
fn round_up(sleep: Duration) -> Duration {
    sleep + Duration::from_micros(999)
}

fn random() -> u64 {
    RandomState::new().hash_one(())
}
