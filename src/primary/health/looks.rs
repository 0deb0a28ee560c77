//! Regular looks at the ready workers of apps that limit them: what they use, what they take, whether they turn.
//!
//! One walk over `/proc` for all of them, their scoreboards and the lengths of their queues; the judges in
//! [`policy::limits`](crate::policy::limits) say what it means. The scoreboards are the workers' own word: a pid
//! in one counts only if it is in its worker's session.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::policy::deadlines::Moment;
use crate::policy::hang::{Process, Signs};
use crate::policy::ids::{AppId, WorkerId};
use crate::policy::limits::{Judge, Sample, Verdict, period};
use crate::primary::app::{App, Apps};
use crate::primary::workers::{Worker, Workers};
use crate::sys::channel;
use crate::sys::process::{self, Living};

/// A process that used so much of the time since the last look was busy, whatever its first thread did.
const BUSY: f64 = 0.25;

/// What is kept from one look to the next.
#[derive(Debug, Default)]
pub struct Looks {
    judges: BTreeMap<AppId, Judge>,
    /// Since when workers are known that a former image has looked at.
    remembered: BTreeMap<AppId, Vec<(WorkerId, Moment)>>,
    /// Workers from which connections were taken away, since they left them alone.
    stolen: HashSet<WorkerId>,
    /// When the last look was, and the processor time of each process then.
    last: Option<(Moment, HashMap<u32, u64>)>,
}

/// What lives now, by session.
type Sessions = HashMap<u32, Vec<Living>>;

impl Looks {
    /// How often to look, as these apps are configured now; `None`: never.
    pub fn period(apps: &Apps) -> Option<Duration> {
        let limited = apps.iter().filter(|app| app.phase.is_serving());
        limited.filter_map(|app| period(&app.config.limits)).min()
    }

    /// Since when each worker is known.
    pub fn since(&self) -> impl Iterator<Item = (AppId, WorkerId, Moment)> + '_ {
        self.judges.iter().flat_map(|(app, judge)| {
            let since = judge.since();
            since.map(|(worker, moment)| (*app, worker, moment))
        })
    }

    /// What [`Looks::since`] said in another image.
    pub fn remember(&mut self, since: Vec<(AppId, WorkerId, Moment)>) {
        for (app, worker, moment) in since {
            let known = self.remembered.entry(app).or_default();
            known.push((worker, moment));
        }
    }

    /// Connections were taken away from this worker: it had left them alone.
    pub fn note_stolen(&mut self, worker: WorkerId) {
        self.stolen.insert(worker);
    }

    /// Looks at all, and says what is to be done. `probes` is how many of the connections that a worker has taken
    /// were our own.
    pub fn look(
        &mut self,
        now: Moment,
        (apps, workers): (&Apps, &Workers),
        secret: u64,
        probes: impl Fn(WorkerId) -> u64,
    ) -> Vec<(WorkerId, Verdict)> {
        let mut sessions = Sessions::new();
        for one in process::living() {
            sessions.entry(one.session).or_default().push(one);
        }
        self.judges.retain(|app, _| apps.get(*app).is_some());
        let mut verdicts = Vec::new();
        for app in apps.iter().filter(|app| app.phase.is_serving()) {
            let limits = app.config.limits;
            if period(&limits).is_none() {
                self.judges.remove(&app.id);
                continue;
            }
            let ready = workers.of_app(app.id).filter(|worker| worker.is_ready());
            let samples: Vec<Sample> = ready
                .map(|worker| Sample {
                    connections: worker
                        .board
                        .taken_in_all()
                        .saturating_sub(probes(worker.id)),
                    ..self.sample(now, app, worker, &sessions)
                })
                .collect();
            let judge = self.judges.entry(app.id);
            let judge = judge.or_insert_with(|| Judge::new(limits, secret));
            judge.set_limits(limits);
            for (worker, since) in self.remembered.remove(&app.id).unwrap_or_default() {
                judge.remember(worker, since);
            }
            verdicts.extend(judge.look(now, &samples));
        }
        self.stolen.clear();
        let ticks = sessions.values().flatten();
        let ticks = ticks.map(|one| (one.pid, one.usage.cpu_ticks));
        self.last = Some((now, ticks.collect()));
        verdicts
    }

    fn sample(&self, now: Moment, app: &App, worker: &Worker, sessions: &Sessions) -> Sample {
        let members = sessions.get(&worker.pid).map_or(&[][..], Vec::as_slice);
        let memory = members.iter().map(|one| one.usage.rss_bytes);
        let processes = worker.board.processes.iter().filter_map(|process| {
            let pid = process.pid.load(Relaxed);
            let living = members.iter().find(|one| one.pid == pid)?;
            Some(Process {
                pid,
                asleep: process.asleep.load(Relaxed) != 0,
                turns: process.loops.load(Relaxed),
                busy: living.busy || self.worked(now, living),
            })
        });
        Sample {
            worker: worker.id,
            memory: memory.fold(0, u64::saturating_add),
            connections: 0,
            renewed: app.fleet.awaits(worker.slot),
            signs: Signs {
                taken: worker.board.taken_in_all(),
                offered: self.stolen.contains(&worker.id) || has_queue(worker),
                processes: processes.collect(),
            },
        }
    }

    /// It has used a good part of the time since the last look.
    fn worked(&self, now: Moment, one: &Living) -> bool {
        let Some((at, ticks)) = &self.last else {
            return false;
        };
        let Some(before) = ticks.get(&one.pid) else {
            return false;
        };
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let used = one.usage.cpu_ticks.saturating_sub(*before) as f64 / per_second;
        used > now.since(*at).as_secs_f64() * BUSY && used > 0.0
    }
}

/// Something waits in one of its channels, by the kernel's count. Under `--balance kernel` there is none.
fn has_queue(worker: &Worker) -> bool {
    let mut listening = worker.bindings.iter().filter(|binding| binding.listening);
    listening.any(|binding| channel::queued(binding.end()).is_ok_and(|queued| queued > 0))
}

/// What a worker that does not react is doing: the process of it that takes connections.
pub fn activity(worker: &Worker) -> String {
    let takes = |process: &&crate::scoreboard::Process| process.loops.load(Relaxed) != 0;
    let awake = |process: &&crate::scoreboard::Process| process.asleep.load(Relaxed) == 0;
    let processes = || worker.board.processes.iter().filter(takes);
    let taker = processes().find(awake).or_else(|| processes().next());
    let pid = taker.map(|process| process.pid.load(Relaxed));
    let ours = |pid: &u32| process::session_of(*pid) == Some(worker.pid);
    let pid = pid.filter(ours).unwrap_or(worker.pid);
    format!("process {pid} {}", process::activity(pid))
}
