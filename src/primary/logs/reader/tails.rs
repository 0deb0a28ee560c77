//! The last words of each worker, kept for a while after its end: what is said of one that failed.

use std::collections::{BTreeMap, VecDeque};

use super::FrozenWorker;
use crate::protocol::line::single;
use crate::sys::handover::Bytes;

/// Lines kept of each worker, to say what its last words were.
const TAIL_LINES: usize = 20;

/// Bytes kept of each of them.
const TAIL_WIDTH: usize = 400;

/// Workers that have ended whose last lines are kept.
const ENDED_KEPT: usize = 64;

/// Workers by the order of their start: a pid may come again.
#[derive(Debug, Default)]
pub struct Tails {
    workers: BTreeMap<usize, Worker>,
    ended: VecDeque<usize>,
}

#[derive(Debug)]
pub struct Worker {
    pid: u32,
    tail: VecDeque<Vec<u8>>,
    open_pipes: usize,
}

impl Tails {
    /// As another image left them.
    pub fn thaw(workers: Vec<FrozenWorker>, ended: Vec<usize>) -> Self {
        let workers = workers.into_iter();
        Self {
            workers: workers.map(|one| (one.number, Worker::thaw(one))).collect(),
            ended: ended.into(),
        }
    }

    /// What the next image needs.
    pub fn freeze(&self) -> (Vec<FrozenWorker>, Vec<usize>) {
        let worker = |(&number, worker): (&usize, &Worker)| FrozenWorker {
            number,
            pid: worker.pid,
            tail: worker.tail.iter().cloned().map(Bytes).collect(),
            open_pipes: worker.open_pipes,
        };
        let ended = self.ended.iter().copied().collect();
        (self.workers.iter().map(worker).collect(), ended)
    }

    /// A worker with so many pipes.
    pub fn begin(&mut self, number: usize, pid: u32, open_pipes: usize) {
        let tail = VecDeque::new();
        self.workers.insert(
            number,
            Worker {
                pid,
                tail,
                open_pipes,
            },
        );
    }

    /// The worker of this number.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut Worker> {
        self.workers.get_mut(&number)
    }

    /// Whether the worker of this number has this pid.
    pub fn has_pid(&self, number: usize, pid: u32) -> bool {
        self.workers.get(&number).is_some_and(|one| one.pid == pid)
    }

    /// One pipe of a worker has ended; after the last, its words are kept for a while.
    pub fn ended(&mut self, number: usize) {
        let Some(worker) = self.workers.get_mut(&number) else {
            return;
        };
        worker.open_pipes -= 1;
        if worker.open_pipes > 0 {
            return;
        }
        self.ended.push_back(number);
        if self.ended.len() > ENDED_KEPT
            && let Some(oldest) = self.ended.pop_front()
        {
            self.workers.remove(&oldest);
        }
    }

    /// The number of the latest worker of this pid, and its last lines.
    pub fn latest(&self, pid: u32) -> Option<(usize, VecDeque<Vec<u8>>)> {
        let latest = self.workers.iter().rev().find(|(_, one)| one.pid == pid);
        latest.map(|(&number, worker)| (number, worker.tail.clone()))
    }
}

impl Worker {
    fn thaw(frozen: FrozenWorker) -> Self {
        Self {
            pid: frozen.pid,
            tail: frozen.tail.into_iter().map(|line| line.0).collect(),
            open_pipes: frozen.open_pipes,
        }
    }

    /// It has printed this.
    pub fn remember(&mut self, line: &[u8]) {
        remember(&mut self.tail, line);
    }
}

/// Adds a line to the last ones.
pub fn remember(tail: &mut VecDeque<Vec<u8>>, line: &[u8]) {
    let mut kept = if tail.len() < TAIL_LINES {
        Vec::new()
    } else {
        tail.pop_front().unwrap_or_default()
    };
    kept.clear();
    kept.extend_from_slice(&line[..line.len().min(TAIL_WIDTH)]);
    tail.push_back(kept);
}

/// Lines as people may read them.
pub fn texts(tail: &VecDeque<Vec<u8>>) -> Vec<String> {
    let text = |line: &Vec<u8>| single(&String::from_utf8_lossy(line)).into_owned();
    tail.iter().map(text).collect()
}
