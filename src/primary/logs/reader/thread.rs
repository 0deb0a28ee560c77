//! The thread itself: what it holds, how it reads, and the last words it keeps.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::super::frozen::{FrozenReader, FrozenWorker};
use super::super::lines::{self, Splitter};
use super::super::sink::Origin;
use super::super::{Outputs, Stream};
use super::{Order, Shown, ShownPipe};
use crate::sys::handover::{Bytes, Kind, Luggage};

/// Lines kept of each worker, to say what its last words were.
const TAIL_LINES: usize = 20;

/// Bytes kept of each of them.
const TAIL_WIDTH: usize = 400;

/// Workers that have ended whose last lines are kept.
const ENDED_KEPT: usize = 64;

/// One read; as much as a pipe holds by default (pipe(7)).
const READ: usize = 64 * 1024;

/// Reads from one pipe before the next has its turn.
const READS_PER_TURN: usize = 4;

/// Pipes count up from 0 and never take a number again, so an event of a closed one finds nothing.
const WAKER: Token = Token(usize::MAX);

/// What runs.
pub(super) struct Thread {
    poll: Poll,
    orders: Receiver<Order>,
    outputs: Outputs,
    pipes: HashMap<usize, Pipe>,
    /// By order of their start: a pid may come again.
    workers: BTreeMap<usize, Worker>,
    ended: VecDeque<usize>,
    next: usize,
    buffer: Box<[u8]>,
}

struct Pipe {
    /// Shared with nobody but a [`Still`].
    end: Arc<OwnedFd>,
    stream: Stream,
    worker: usize,
    prefix: Vec<u8>,
    splitter: Splitter,
}

struct Worker {
    pid: u32,
    tail: VecDeque<Vec<u8>>,
    open_pipes: usize,
}

/// What a pipe said when it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Nothing more now.
    Empty,
    /// There may be more, but others wait.
    More,
    /// Nothing more ever.
    Ended,
}

impl Thread {
    pub(super) fn new(orders: Receiver<Order>, outputs: Outputs) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let thread = Self {
            poll,
            orders,
            outputs,
            pipes: HashMap::new(),
            workers: BTreeMap::new(),
            ended: VecDeque::new(),
            next: 0,
            buffer: vec![0; READ].into(),
        };
        Ok((thread, waker))
    }

    /// Takes over what another image had, and says which pipes are to be read at once: what came in the meantime
    /// makes no edge on some kernels.
    pub(super) fn thaw(
        &mut self,
        frozen: FrozenReader,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Vec<usize>> {
        self.next = frozen.next;
        self.ended = frozen.ended.into();
        let workers = frozen.workers.into_iter();
        self.workers = workers.map(|one| (one.number, Worker::thaw(one))).collect();
        let more = frozen.pipes.iter().map(|pipe| pipe.number).collect();
        for pipe in frozen.pipes {
            let end = luggage.take(pipe.end, Kind::Pipe)?;
            watch(&self.poll, &end, Token(pipe.number))?;
            let thawed = Pipe {
                end: Arc::new(end),
                stream: pipe.stream,
                worker: pipe.worker,
                prefix: pipe.prefix.0,
                splitter: Splitter::within(pipe.partial.0),
            };
            self.pipes.insert(pipe.number, thawed);
        }
        Ok(more)
    }

    pub(super) fn start(self, more: Vec<usize>) -> io::Result<()> {
        std::thread::Builder::new()
            .name("forkfront-logs".into())
            .spawn(move || self.run(more))?;
        Ok(())
    }

    /// `more`: pipes whose turn ended before their bytes did; the poll is edge-triggered and will not say so
    /// again.
    fn run(mut self, mut more: Vec<usize>) {
        let mut events = Events::with_capacity(256);
        loop {
            let wait = (!more.is_empty()).then_some(Duration::ZERO);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    unreachable!("epoll_wait(2) has no other error for a valid set: {error}")
                }
                _ => {}
            }
            let mut turn = std::mem::take(&mut more);
            turn.extend(events.iter().map(|event| event.token().0));
            turn.sort_unstable();
            turn.dedup();
            for pipe in turn {
                if self.drain(pipe) == After::More {
                    more.push(pipe);
                }
            }
            if !self.obey(&mut more) {
                return;
            }
        }
    }

    /// Does what was ordered; false when nobody can order any more.
    fn obey(&mut self, more: &mut Vec<usize>) -> bool {
        use crossbeam_channel::TryRecvError::{Disconnected, Empty};
        loop {
            match self.orders.try_recv() {
                Ok(Order::Attach { slot, pid, pipes }) => self.attach(slot, pid, pipes, more),
                Ok(Order::Tail { pid, answer }) => {
                    self.sweep(|worker| worker.pid == pid);
                    let _ = answer.send(self.tail(pid));
                }
                Ok(Order::Sweep { answer }) => {
                    self.sweep(|_| true);
                    let _ = answer.send(());
                }
                Ok(Order::Beat(beat)) => beat.answer(),
                Ok(Order::Stand { answer, resume }) => {
                    let _ = answer.send(self.show());
                    let _ = resume.recv();
                }
                Err(Empty) => return true,
                Err(Disconnected) => return false,
            }
        }
    }

    fn attach(
        &mut self,
        slot: String,
        pid: u32,
        pipes: [(Stream, OwnedFd); 2],
        more: &mut Vec<usize>,
    ) {
        let worker = self.next;
        self.workers.insert(
            worker,
            Worker {
                pid,
                tail: VecDeque::new(),
                open_pipes: pipes.len(),
            },
        );
        for (stream, end) in pipes {
            let number = self.next;
            self.next += 1;
            let watched = watch(&self.poll, &end, Token(number));
            if let Err(error) = watched {
                log::warn!("cannot watch the output of worker {pid}, so it is lost: {error}");
                self.ended(worker);
                continue;
            }
            let prefix = lines::prefix(&slot, pid, self.outputs.of(stream).look());
            self.pipes.insert(
                number,
                Pipe {
                    end: Arc::new(end),
                    stream,
                    worker,
                    prefix,
                    splitter: Splitter::default(),
                },
            );
            // What was printed before makes no edge on some kernels; one read more costs nothing.
            more.push(number);
        }
    }

    fn show(&self) -> Shown {
        let pipe = |(&number, pipe): (&usize, &Pipe)| {
            let mut partial = Vec::new();
            pipe.splitter.peek(|bytes| partial.extend_from_slice(bytes));
            ShownPipe {
                number,
                end: Arc::clone(&pipe.end),
                stream: pipe.stream,
                worker: pipe.worker,
                prefix: pipe.prefix.clone(),
                partial,
            }
        };
        let worker = |(&number, worker): (&usize, &Worker)| FrozenWorker {
            number,
            pid: worker.pid,
            tail: worker.tail.iter().cloned().map(Bytes).collect(),
            open_pipes: worker.open_pipes,
        };
        Shown {
            pipes: self.pipes.iter().map(pipe).collect(),
            workers: self.workers.iter().map(worker).collect(),
            ended: self.ended.iter().copied().collect(),
            next: self.next,
        }
    }

    /// Reads a pipe for one turn.
    fn drain(&mut self, number: usize) -> After {
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return After::Empty;
        };
        let sink = self.outputs.of(pipe.stream);
        let mut worker = self.workers.get_mut(&pipe.worker);
        let (mut out, mut count) = (Vec::new(), 0);
        let mut line = |prefix: &[u8], line: &[u8]| {
            lines::write(&mut out, prefix, line, sink.look());
            count += 1;
            if let Some(worker) = &mut worker {
                worker.remember(line);
            }
        };
        let mut after = After::More;
        for _ in 0..READS_PER_TURN {
            match nix::unistd::read(&pipe.end, &mut self.buffer) {
                Ok(0) => after = After::Ended,
                Ok(length) => {
                    let bytes = &self.buffer[..length];
                    pipe.splitter.feed(bytes, |text| line(&pipe.prefix, text));
                    continue;
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => after = After::Empty,
                Err(_) => after = After::Ended,
            }
            break;
        }
        if after == After::Ended {
            pipe.splitter.finish(|text| line(&pipe.prefix, text));
        }
        if count > 0 {
            sink.push(out, count, Origin::Worker);
        }
        if after == After::Ended {
            self.close(number);
        }
        after
    }

    /// Reads the pipes of some workers until they are empty now.
    fn sweep(&mut self, which: impl Fn(&Worker) -> bool) {
        let wanted = |pipe: &Pipe| self.workers.get(&pipe.worker).is_some_and(&which);
        let numbers: Vec<usize> = self
            .pipes
            .iter()
            .filter_map(|(&number, pipe)| wanted(pipe).then_some(number))
            .collect();
        // A worker that prints without end shall not hold up who asked.
        const TURNS: usize = 8;
        for number in numbers {
            for _ in 0..TURNS {
                if self.drain(number) != After::More {
                    break;
                }
            }
        }
    }

    fn close(&mut self, number: usize) {
        if let Some(pipe) = self.pipes.remove(&number) {
            let raw = pipe.end.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
            self.ended(pipe.worker);
        }
    }

    /// One pipe of a worker has ended; after the last, its words are kept for a while.
    fn ended(&mut self, number: usize) {
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

    fn tail(&self, pid: u32) -> Vec<String> {
        let latest = self.workers.iter().rev().find(|(_, w)| w.pid == pid);
        let Some((&number, worker)) = latest else {
            return Vec::new();
        };
        let mut tail = worker.tail.clone();
        for pipe in self.pipes.values().filter(|pipe| pipe.worker == number) {
            pipe.splitter.peek(|partial| remember(&mut tail, partial));
        }
        let text = |line: &Vec<u8>| lines::single(&String::from_utf8_lossy(line));
        tail.iter().map(text).collect()
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

    fn remember(&mut self, line: &[u8]) {
        remember(&mut self.tail, line);
    }
}

fn remember(tail: &mut VecDeque<Vec<u8>>, line: &[u8]) {
    let mut kept = if tail.len() < TAIL_LINES {
        Vec::new()
    } else {
        tail.pop_front().unwrap_or_default()
    };
    kept.clear();
    kept.extend_from_slice(&line[..line.len().min(TAIL_WIDTH)]);
    tail.push_back(kept);
}

fn watch(poll: &Poll, end: &OwnedFd, token: Token) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL)?);
    fcntl(end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let raw = end.as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&raw), token, Interest::READABLE)
}
