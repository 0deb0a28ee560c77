//! The thread itself: what it holds, and how it goes on from turn to turn.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::super::dump;
use super::super::frozen::FrozenReader;
use super::super::lines::Splitter;
use super::super::logger::{OwnLine, OwnLines};
use super::super::outputs::Outputs;
use super::super::ring::{BUDGET, Ring, Whose};
use super::super::sink::Name;
use super::super::{Counts, Place};
use super::follower::Follower;
use super::tails::Tails;
use super::{Order, Shown, ShownPipe};
use crate::protocol::line::Stream;
use crate::sys::handover::{Kind, Luggage};
use crate::sys::memfd;

mod carry;
mod guests;

/// One read; as much as a pipe holds by default (pipe(7)).
const READ: usize = 64 * 1024;

/// Pipes and followers count up from 0 and never take a number again, so an event of one that is gone finds nothing.
const WAKER: Token = Token(usize::MAX);

/// What runs.
pub(super) struct Thread {
    poll: Poll,
    orders: Receiver<Order>,
    outputs: Outputs,
    pipes: HashMap<usize, Pipe>,
    tails: Tails,
    ring: Ring,
    followers: BTreeMap<usize, Follower>,
    own: Arc<OwnLines>,
    counts: Arc<Counts>,
    /// Lines that another image was told and has not read.
    inherited: Vec<OwnLine>,
    /// Several apps run, so that they are said.
    named: bool,
    next: usize,
    buffer: Box<[u8]>,
}

struct Pipe {
    /// Shared with nobody but a [`Still`](super::Still).
    end: Arc<OwnedFd>,
    stream: Stream,
    worker: usize,
    place: Place,
    pid: u32,
    splitter: Splitter,
    /// Where its lines go, if to a file.
    name: Name,
    /// Where they are kept.
    strand: usize,
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
    pub(super) fn new(
        orders: Receiver<Order>,
        outputs: Outputs,
        counts: Arc<Counts>,
    ) -> io::Result<(Self, Arc<Waker>, Arc<OwnLines>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let own = Arc::new(OwnLines::new(waker.clone(), counts.lost.clone()));
        let thread = Self {
            poll,
            orders,
            outputs,
            pipes: HashMap::new(),
            tails: Tails::default(),
            ring: Ring::new(BUDGET),
            followers: BTreeMap::new(),
            own: own.clone(),
            counts,
            inherited: Vec::new(),
            named: false,
            next: 0,
            buffer: vec![0; READ].into(),
        };
        Ok((thread, waker, own))
    }

    /// Takes over what another image had, but for the ring, and says which pipes are to be read at once: what came in
    /// the meantime makes no edge on some kernels.
    pub(super) fn thaw(
        &mut self,
        frozen: FrozenReader,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Vec<usize>> {
        self.next = frozen.next;
        self.tails = Tails::thaw(frozen.workers, frozen.ended);
        self.inherited = frozen.own;
        let more = frozen.pipes.iter().map(|pipe| pipe.number).collect();
        for pipe in frozen.pipes {
            let end = luggage.take(pipe.end, Kind::Pipe)?;
            let (place, pid) = pipe.whose();
            let splitter = Splitter::within(pipe.partial.0);
            let whose = (pipe.stream, pipe.worker, pid);
            self.take_in(pipe.number, end, whose, place, splitter)?;
        }
        for follower in frozen.followers {
            let socket = luggage.take(follower.socket, Kind::Control)?;
            self.follow(Follower::thaw(socket.into(), follower.reading));
        }
        Ok(more)
    }

    pub(super) fn start(self, more: Vec<usize>, ring: Option<OwnedFd>) -> io::Result<()> {
        std::thread::Builder::new()
            .name("forkfront-logs".into())
            .spawn(move || self.run(more, ring))?;
        Ok(())
    }

    /// `more`: pipes whose turn ended before their bytes did; the poll is edge-triggered and will not say so
    /// again.
    fn run(mut self, mut more: Vec<usize>, ring: Option<OwnedFd>) {
        self.restore(ring.as_ref());
        drop(ring);
        for line in std::mem::take(&mut self.inherited) {
            self.carry_own(line);
        }
        let mut events = Events::with_capacity(256);
        let mut hurry = !more.is_empty();
        loop {
            let wait = hurry.then_some(Duration::ZERO);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    unreachable!("epoll_wait(2) has no other error for a valid set: {error}")
                }
                _ => {}
            }
            let mut turn = std::mem::take(&mut more);
            for event in &events {
                match self.followers.get(&event.token().0) {
                    Some(_) => self.heed_follower(event),
                    None => turn.push(event.token().0),
                }
            }
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
            let more_own = self.take_own();
            let more_shown = self.show_followers();
            hurry = !more.is_empty() || more_own || more_shown;
        }
    }

    /// The last lines that the image before knew, if they came along.
    fn restore(&mut self, ring: Option<&OwnedFd>) {
        // Old lines are worth no refusal.
        let bytes = ring.and_then(|ring| memfd::open(ring).ok());
        let bytes = bytes.unwrap_or_default();
        self.ring = dump::read(&bytes, BUDGET);
        for pipe in self.pipes.values_mut() {
            pipe.strand = self.ring.strand(&whose(&pipe.place));
        }
        for follower in self.followers.values_mut() {
            follower.in_ring(&self.ring);
        }
    }

    /// Does what was ordered; false when nobody can order any more.
    fn obey(&mut self, more: &mut Vec<usize>) -> bool {
        use crossbeam_channel::TryRecvError::{Disconnected, Empty};
        loop {
            match self.orders.try_recv() {
                Ok(Order::Attach { place, pid, pipes }) => self.attach(place, pid, pipes, more),
                Ok(Order::Tail { pid, answer }) => {
                    let _ = answer.send(self.last_words(pid));
                }
                Ok(Order::Sweep { answer }) => {
                    self.sweep(|_| true);
                    while self.take_own() {}
                    self.show_followers();
                    let _ = answer.send(());
                }
                Ok(Order::Beat(beat)) => beat.answer(),
                Ok(Order::Use(outputs)) => {
                    self.outputs = outputs;
                    self.outputs.close_former();
                    for pipe in self.pipes.values_mut() {
                        pipe.name = self.outputs.name_of(&pipe.place);
                    }
                }
                Ok(Order::Show(client, wish)) => self.welcome(client, wish),
                Ok(Order::Stand { answer, resume }) => {
                    while self.take_own() {}
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
        place: Place,
        pid: u32,
        pipes: [(Stream, OwnedFd); 2],
        more: &mut Vec<usize>,
    ) {
        let worker = self.next;
        self.tails.begin(worker, pid, pipes.len());
        for (stream, end) in pipes {
            let number = self.next;
            self.next += 1;
            let whose = (stream, worker, pid);
            let taken = self.take_in(number, end, whose, place.clone(), Splitter::default());
            if let Err(error) = taken {
                log::warn!("cannot watch the output of worker {pid}, so it is lost: {error}");
                self.tails.ended(worker);
                continue;
            }
            // What was printed before makes no edge on some kernels; one read more costs nothing.
            more.push(number);
        }
    }

    fn take_in(
        &mut self,
        number: usize,
        end: OwnedFd,
        (stream, worker, pid): (Stream, usize, u32),
        place: Place,
        splitter: Splitter,
    ) -> io::Result<()> {
        watch(&self.poll, &end, Token(number))?;
        self.named = place.named;
        let pipe = Pipe {
            end: Arc::new(end),
            stream,
            worker,
            pid,
            splitter,
            name: self.outputs.name_of(&place),
            strand: self.ring.strand(&whose(&place)),
            place,
        };
        self.pipes.insert(number, pipe);
        Ok(())
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
                place: pipe.place.clone(),
                pid: pipe.pid,
                partial,
            }
        };
        let (workers, ended) = self.tails.freeze();
        Shown {
            pipes: self.pipes.iter().map(pipe).collect(),
            workers,
            ended,
            next: self.next,
            // Without it the next image begins with an empty one.
            ring: memfd::seal(&self.ring.dump()).ok(),
            followers: self.followers.values().map(Follower::show).collect(),
            own: self.own.clone(),
        }
    }
}

fn whose(place: &Place) -> Whose {
    Whose::Slot(place.app.clone(), place.slot)
}

fn watch(poll: &Poll, end: &OwnedFd, token: Token) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL)?);
    fcntl(end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let raw = end.as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&raw), token, Interest::READABLE)
}
