//! From the pipes, and from our own lines, to the sinks and into the ring.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;

use mio::unix::SourceFd;
use nix::errno::Errno;

use super::super::super::logger::OwnLine;
use super::super::super::now_ms;
use super::super::super::ring::{Entry, Kind, Whose};
use super::super::super::sink::Origin;
use super::super::tails;
use super::{After, Pipe, Thread};
use crate::protocol::line::{Head, Voice};

/// Reads from one pipe before the next has its turn.
const READS_PER_TURN: usize = 4;

/// Lines of our own in one turn.
const OWN_PER_TURN: usize = 1024;

/// Lines are given to the output in pieces of about so many bytes: short ones grow a lot by what stands in front of
/// them, and more than an output keeps would never fit.
const PIECE: usize = 64 * 1024;

/// Turns of a pipe that is to be read to its end: a worker that prints without end shall not hold up who asked.
const TURNS: usize = 8;

impl Thread {
    /// Reads a pipe for one turn.
    pub(super) fn drain(&mut self, number: usize) -> After {
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return After::Empty;
        };
        let sink = self.outputs.of(pipe.stream);
        let time = now_ms();
        let voice = Voice::Worker {
            app: pipe.place.named.then_some(&*pipe.place.app),
            slot: pipe.place.slot,
            pid: pipe.pid,
            stream: pipe.stream,
        };
        let head = Head::new(sink.look(), voice, time);
        let mut worker = self.tails.get_mut(pipe.worker);
        let (ring, followers) = (&mut self.ring, &mut self.followers);
        let (strand, pid, kind) = (pipe.strand, pipe.pid, Kind::Worker(pipe.stream));
        let (mut out, mut count) = (Vec::new(), 0);
        let (name, printed) = (pipe.name.clone(), &self.counts.lines);
        let push = |out: &mut Vec<u8>, count: &mut u64| {
            printed.fetch_add(*count, Relaxed);
            let (out, count) = (std::mem::take(out), std::mem::take(count));
            sink.push(&name, out, count, Origin::Worker);
        };
        let mut line = |text: &[u8], cut: bool| {
            head.write(&mut out, text, cut);
            count += 1;
            if out.len() >= PIECE {
                push(&mut out, &mut count);
            }
            if let Some(worker) = &mut worker {
                worker.remember(text);
            }
            let entry = Entry {
                number: 0,
                time,
                pid,
                kind,
                cut,
                text,
            };
            ring.push(strand, entry, &mut |of, chunk| {
                followers
                    .values_mut()
                    .for_each(|one| one.note_gone(of, chunk));
            });
        };
        let after = read(pipe, &mut self.buffer, &mut line);
        if count > 0 {
            push(&mut out, &mut count);
        }
        if after == After::Ended {
            self.close(number);
        }
        after
    }

    /// Reads the pipes of some workers, by their numbers, until they are empty now.
    pub(super) fn sweep(&mut self, which: impl Fn(usize) -> bool) {
        let pipes = self.pipes.iter();
        let wanted = pipes.filter(|(_, pipe)| which(pipe.worker));
        let numbers: Vec<usize> = wanted.map(|(&number, _)| number).collect();
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
            self.tails.ended(pipe.worker);
        }
    }

    /// The last lines of the latest worker of this pid, with those that it has just printed.
    pub(super) fn last_words(&mut self, pid: u32) -> Vec<String> {
        let workers = self.pipes.values().map(|pipe| pipe.worker);
        let of_pid: Vec<usize> = workers
            .filter(|worker| self.tails.has_pid(*worker, pid))
            .collect();
        self.sweep(|worker| of_pid.contains(&worker));
        let Some((number, mut tail)) = self.tails.latest(pid) else {
            return Vec::new();
        };
        for pipe in self.pipes.values().filter(|pipe| pipe.worker == number) {
            pipe.splitter
                .peek(|partial| tails::remember(&mut tail, partial));
        }
        tails::texts(&tail)
    }

    /// Takes our own lines; true if there may be more.
    pub(super) fn take_own(&mut self) -> bool {
        for _ in 0..OWN_PER_TURN {
            match self.own.next() {
                Some(line) => self.carry_own(line),
                None => return false,
            }
        }
        true
    }

    pub(super) fn carry_own(&mut self, line: OwnLine) {
        let OwnLine {
            time,
            level,
            message,
        } = line;
        let text = message.as_bytes();
        for (sink, name) in self.outputs.own() {
            let mut out = Vec::new();
            Head::new(sink.look(), Voice::Primary(level), time).write(&mut out, text, false);
            sink.push(name, out, 1, Origin::Own);
        }
        let strand = self.ring.strand(&Whose::Primary);
        let entry = Entry {
            number: 0,
            time,
            pid: std::process::id(),
            kind: Kind::Own(level),
            cut: false,
            text,
        };
        let followers = &mut self.followers;
        self.ring.push(strand, entry, &mut |of, chunk| {
            followers
                .values_mut()
                .for_each(|one| one.note_gone(of, chunk));
        });
    }
}

/// Reads what a pipe holds, for one turn at most, line by line.
fn read(pipe: &mut Pipe, buffer: &mut [u8], line: &mut impl FnMut(&[u8], bool)) -> After {
    for _ in 0..READS_PER_TURN {
        match nix::unistd::read(&pipe.end, buffer) {
            Ok(length @ 1..) => pipe.splitter.feed(&buffer[..length], &mut *line),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return After::Empty,
            Ok(_) | Err(_) => {
                pipe.splitter.finish(|text| line(text, false));
                return After::Ended;
            }
        }
    }
    After::More
}
