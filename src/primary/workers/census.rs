//! Which processes of the workers live: one walk over `/proc` for all of them.
//!
//! When many workers die in the same moment, a walk for each would keep the supervisor from starting their
//! successors for as long as it takes to walk a thousand times past a thousand processes. Decides nothing.

use std::collections::{HashMap, HashSet};

use super::Worker;
use crate::sys::process::{self, Living};
use crate::sys::signals::Signal;
use crate::wire::{ENV_PRIMARY, ENV_WORKER};

/// Who was alive when it was taken.
#[derive(Debug)]
pub struct Census {
    /// By session, which is named by its worker's first process.
    members: HashMap<u32, Vec<u32>>,
    /// By the worker's id: those that live in a session of their own and have lost their parent, which makes
    /// them ours, since the primary is the subreaper.
    runaways: HashMap<String, Vec<u32>>,
}

impl Census {
    /// Looks at all processes; `leaders` are the first processes of all workers.
    pub fn take(leaders: HashSet<u32>) -> Self {
        let (mut members, mut runaways) = (HashMap::new(), HashMap::new());
        let primary = std::process::id();
        for Living {
            pid,
            parent,
            session,
            ..
        } in process::living()
        {
            if leaders.contains(&session) {
                members.entry(session).or_insert_with(Vec::new).push(pid);
            } else if parent == primary
                && let Some(worker) = worker_of(pid)
            {
                runaways.entry(worker).or_insert_with(Vec::new).push(pid);
            }
        }
        Self { members, runaways }
    }

    /// Something of `worker` lives.
    pub fn counts(&self, worker: &Worker) -> bool {
        self.members.contains_key(&worker.pid) || self.runaways.contains_key(&worker.id.to_string())
    }

    /// Signals everything of `worker` that lived.
    pub fn signal(&self, worker: &Worker, signal: Signal) {
        let session = Some(worker.pid);
        for &pid in self.members.get(&worker.pid).into_iter().flatten() {
            process::signal_if(pid, signal, |pid| process::session_of(pid) == session);
        }
        let id = worker.id.to_string();
        for &pid in self.runaways.get(&id).into_iter().flatten() {
            process::signal_if(pid, signal, |pid| is_of(pid, worker));
        }
    }
}

/// By what `pid` was given at its start, it descends from `worker`.
pub fn is_of(pid: u32, worker: &Worker) -> bool {
    worker_of(pid).is_some_and(|id| id == worker.id.to_string())
}

/// The worker of this primary that `pid` was started by, by its environment.
fn worker_of(pid: u32) -> Option<String> {
    let ours = process::variable_of(pid, ENV_PRIMARY)? == std::process::id().to_string();
    ours.then(|| process::variable_of(pid, ENV_WORKER))
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::AppConfig;
    use crate::policy::ids::{AppId, SlotId, WorkerId};
    use crate::policy::lifecycle::State;
    use crate::primary::app::release::Release;
    use crate::sys::board::Board;
    use crate::sys::process::Launch;

    fn shell(id: u64, line: &str) -> Worker {
        let launch = Launch {
            program: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), line.into()],
            env: Vec::new(),
            cwd: None,
            identity: None,
            nofile: None,
            cpu: None,
            death_signal: None,
        };
        let child = launch.start().unwrap();
        let board = Arc::new(Board::create(0, id).unwrap());
        let (pid, pidfd) = (child.pid, child.pidfd);
        let release = Release::find(1, Arc::new(AppConfig::new(vec!["sh".into()])), None);
        let place = (AppId(0), SlotId(0));
        let release = Rc::new(release.unwrap());
        Worker::new(
            WorkerId(id),
            place,
            (pid, pidfd),
            State::Ready,
            board,
            release,
        )
    }

    #[test]
    fn one_look_finds_the_processes_of_all_workers_and_ends_those_of_one() {
        let workers = [shell(1, "sleep 60 & wait"), shell(2, "sleep 60; true")];
        let look = || Census::take(workers.iter().map(|worker| worker.pid).collect());
        let counted = || workers.each_ref().map(|worker| look().counts(worker));
        assert_eq!(counted(), [true, true]);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut ended = [false; 2];
        for (index, worker) in workers.iter().enumerate() {
            // Again and again: a shell that had not started its child yet does so in between.
            while counted()[index] {
                look().signal(worker, Signal::SIGKILL);
                assert!(Instant::now() < deadline, "it lives on");
            }
            ended[index] = true;
            assert_eq!(counted(), ended.map(|ended| !ended));
            process::try_wait(worker.pidfd()).unwrap();
        }
    }
}
