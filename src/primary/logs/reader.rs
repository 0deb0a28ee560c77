//! The thread that drains the workers' pipes, always, so that no worker ever blocks on printing.
//!
//! It holds the pipes, cuts them into lines and leaves those with the sinks. It is told what to do over a
//! channel with a waker behind it, so that the main thread hands over a pipe without waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::lines::{self, Splitter};
use super::sink::Origin;
use super::{Outputs, Stream};

/// Lines kept of each worker, to say what its last words were.
const TAIL_LINES: usize = 20;

/// Bytes kept of each of them.
const TAIL_WIDTH: usize = 400;

/// Workers that have ended whose last lines are kept.
const ENDED_KEPT: usize = 64;

/// How long a question for last lines waits for the thread.
const TAIL_PATIENCE: Duration = Duration::from_millis(100);

/// One read; as much as a pipe holds by default (pipe(7)).
const READ: usize = 64 * 1024;

/// Reads from one pipe before the next has its turn.
const READS_PER_TURN: usize = 4;

/// Pipes count up from 0 and never take a number again, so an event of a closed one finds nothing.
const WAKER: Token = Token(usize::MAX);

enum Order {
    Attach {
        slot: String,
        pid: u32,
        pipes: [(Stream, OwnedFd); 2],
    },
    Tail {
        pid: u32,
        answer: Sender<Vec<String>>,
    },
    Sweep {
        answer: Sender<()>,
    },
}

/// The way to the thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Reader {
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

impl Reader {
    pub fn start(outputs: Outputs) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (orders, received) = unbounded();
        let thread = Thread {
            poll,
            orders: received,
            outputs,
            pipes: HashMap::new(),
            workers: BTreeMap::new(),
            ended: VecDeque::new(),
            next: 0,
            buffer: vec![0; READ].into(),
        };
        std::thread::Builder::new()
            .name("forkfront-logs".into())
            .spawn(move || thread.run())?;
        Ok(Self { orders, waker })
    }

    pub fn attach(&self, slot: String, pid: u32, stdout: OwnedFd, stderr: OwnedFd) {
        self.order(Order::Attach {
            slot,
            pid,
            pipes: [(Stream::Stdout, stdout), (Stream::Stderr, stderr)],
        });
    }

    pub fn tail(&self, pid: u32) -> Vec<String> {
        let (answer, lines) = bounded(1);
        self.order(Order::Tail { pid, answer });
        lines.recv_timeout(TAIL_PATIENCE).unwrap_or_default()
    }

    /// Waits until what the pipes hold now has been read.
    pub fn sweep(&self, deadline: Instant) {
        let (answer, done) = bounded(1);
        self.order(Order::Sweep { answer });
        let _ = done.recv_deadline(deadline);
    }

    fn order(&self, order: Order) {
        // The thread lives as long as `self`, and a waker that was written to is awake already.
        let _ = self.orders.send(order);
        let _ = self.waker.wake();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (unconnected, _) = unbounded();
        self.orders = unconnected;
        let _ = self.waker.wake();
    }
}

struct Thread {
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
    end: OwnedFd,
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
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        // Pipes whose turn ended before their bytes did; the poll is edge-triggered and will not say so again.
        let mut more: Vec<usize> = Vec::new();
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
                    end,
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
