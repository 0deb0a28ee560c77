//! Getting connections back: out of the channel of a worker that died, left, or does not move. One
//! mechanism, the primary's kept copy of the worker's end (design.md §3, promise 1).

use std::io;
use std::os::fd::OwnedFd;

use super::deal::Hand;
use super::probe::is_probe;
use super::seat::Standing;
use super::state::{Finishing, State};
use crate::primary::messages::Report;
use crate::sys::clock;
use crate::sys::fdpass::Received;
use crate::wire::{Kind, Record};

/// Messages recalled before the loop turns, so that a long queue holds nothing else up (A19).
const RECALL_BATCH: usize = 256;
/// Bounds of the time between two looks at the queues, ns: often enough to see that a queue lags.
const LOOK_EVERY: std::ops::RangeInclusive<u64> = 5_000_000..=20_000_000;

/// How long nothing is read back when there is no descriptor for it, ns.
const REST: u64 = 10_000_000;

/// What was found in a channel.
enum Recalled {
    /// A connection, in hand again.
    Connection(Hand),
    /// One of the primary's own.
    Probe(Record, OwnedFd),
    /// A message without one.
    Other,
    /// Nothing more.
    Nothing,
    /// No descriptor is free for what may be there.
    NotNow,
}

impl State {
    pub(super) fn recall(&mut self, key: usize) {
        if !self.recalled.contains(&key) {
            self.recalled.push_back(key);
        }
    }

    /// Deals again what is left in the channels of workers that are gone or going, as far as there is
    /// room; the rest is safe where it is.
    pub(super) fn pump_recalled(&mut self) {
        if self.recalled.is_empty() || clock::now_ns() < self.recall_from {
            return;
        }
        for _ in 0..RECALL_BATCH {
            let Some(key) = self.next_recalled() else {
                return;
            };
            match self.read_back(key) {
                Recalled::Connection(hand) => self.place_or_hold(hand),
                Recalled::Probe(..) => {
                    let worker = self.seats[key].worker();
                    self.reports.send(Report::ProbeReturned(worker));
                }
                Recalled::Other => {}
                Recalled::Nothing => {
                    self.recalled.retain(|&recalled| recalled != key);
                    self.let_go(key);
                }
                Recalled::NotNow => {
                    self.recall_from = clock::now_ns() + REST;
                    return;
                }
            }
        }
    }

    /// The first seat to get connections back from for one of which there is room.
    pub(super) fn next_recalled(&self) -> Option<usize> {
        let mut recalled = self.recalled.iter().copied();
        recalled.find(|&key| self.has_room_to_recall(key))
    }

    /// A dead worker's seat goes; a native worker that drains is told that nothing more will come.
    fn let_go(&mut self, key: usize) {
        let seat = &self.seats[key];
        match seat.standing {
            Standing::Forgotten => {
                self.seats.remove(key);
            }
            Standing::Evicted if seat.is_native() => seat.tell(Kind::Drain),
            Standing::Evicted | Standing::Paused | Standing::Admitted => {}
        }
    }

    /// Takes one message out of a channel.
    fn read_back(&mut self, key: usize) -> Recalled {
        let mut buffer = [0; Record::LEN];
        let lane = self.seats[key].lane;
        // Nobody else could take them, and a worker that lives on may.
        if self.lanes[lane].stage.is_final()
            && self.seats[key].standing != Standing::Forgotten
            && !self.somebody_takes(lane)
        {
            return Recalled::Nothing;
        }
        let seat = &mut self.seats[key];
        // Received without a free number, a connection would be closed by the kernel (KF8).
        if !seat.can_receive() {
            return Recalled::NotNow;
        }
        let received = match seat.receive(&mut buffer) {
            Ok(Received::Message {
                length,
                fd,
                truncated,
            }) => (length, fd, truncated),
            Ok(Received::Empty | Received::Closed) | Err(_) => return Recalled::Nothing,
        };
        let (length, fd, truncated) = received;
        let record = buffer.get(..length).and_then(Record::decode);
        match (record, fd) {
            (Some(record), Some(fd)) if is_probe(&record) => {
                seat.note_probe_read_back();
                Recalled::Probe(record, fd)
            }
            (Some(record), Some(fd)) if record.kind == Kind::Connection => {
                seat.note_read_back();
                let slot = seat.slot();
                self.slots[slot].dealt -= 1;
                self.slots[slot].read_back += 1;
                let record = Record {
                    attempt: record.attempt.saturating_add(1),
                    ..record
                };
                Recalled::Connection(Hand { record, fd, lane })
            }
            _ => {
                // Another thread took the last number in this very moment.
                if truncated && record.as_ref().is_some_and(is_probe) {
                    seat.note_probe_read_back();
                    let worker = seat.worker();
                    self.reports.send(Report::ProbeReturned(worker));
                } else if truncated {
                    let slot = seat.slot();
                    seat.note_read_back();
                    self.slots[slot].dealt -= 1;
                    self.closed_by_policy += 1;
                }
                Recalled::Other
            }
        }
    }

    /// Keeps an eye on the queues from now on.
    pub(super) fn watch(&mut self, now: u64) {
        if !self.watching {
            self.watching = true;
            self.next_look = now + self.look_every();
        }
    }

    fn look_every(&self) -> u64 {
        (self.settings.steal_after.as_nanos() as u64 / 4)
            .clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end())
    }

    /// Looks how the queues move, and takes those that do not to workers that can.
    pub(super) fn look_at_queues(&mut self) {
        let now = clock::now_ns();
        if !self.watching || now < self.next_look {
            return;
        }
        self.next_look = now + self.look_every();
        let mut busy = self.finishing == Finishing::Asked;
        let (mut overdue, mut shut) = (None, None);
        let limit = self.settings.steal_after.as_nanos() as u64;
        for (key, seat) in &mut self.seats {
            let queued = seat.look(now);
            busy |= queued != 0;
            if queued == 0 || seat.standing != Standing::Admitted || !seat.progress.lags(now) {
                continue;
            }
            if seat.is_shut() {
                shut = Some(key);
            } else if seat.progress.is_overdue(now, limit) {
                overdue = overdue.or(Some(key));
            }
        }
        self.watching = busy;
        if let Some(key) = shut {
            self.is_broken(key, io::Error::from_raw_os_error(libc::EPIPE));
        }
        if let Some(key) = overdue
            && self.somebody_else_moves(key)
        {
            self.steal(key, now);
            // There may be more of them; the next one comes at the next turn of the loop.
            self.next_look = now;
        }
    }

    /// Some other slot of the same listener has nothing queued, or takes what it has.
    fn somebody_else_moves(&self, key: usize) -> bool {
        let (now, cap) = (clock::now_ns(), self.settings.queue_cap);
        self.dealt_by(self.seats[key].lane).any(|other| {
            let seat = &self.seats[other];
            other != key
                && seat.takes(now, cap)
                && !seat.progress.is_stuck()
                && (seat.queued() == 0 || !seat.progress.lags(now))
        })
    }

    /// Reads back all that a stuck worker has not taken, and deals it to the others.
    fn steal(&mut self, key: usize, now: u64) {
        self.seats[key].progress.declare_stuck(now);
        let mut count = 0;
        let mut wakes = 0;
        let mut probe = None;
        while self.has_room_to_recall(key) {
            match self.read_back(key) {
                Recalled::Connection(hand) => {
                    count += 1;
                    self.place_or_hold(hand);
                }
                Recalled::Probe(record, fd) => {
                    // One is enough to learn from.
                    if probe.replace((record, fd)).is_some() {
                        let worker = self.seats[key].worker();
                        self.reports.send(Report::ProbeReturned(worker));
                    }
                }
                Recalled::Other => wakes += 1,
                Recalled::Nothing | Recalled::NotNow => break,
            }
        }
        // Messages that are the worker's own business go back to it.
        (0..wakes).for_each(|_| self.seats[key].tell(Kind::Wake));
        if let Some((record, fd)) = probe {
            self.send_probe(key, &record, &fd);
        }
        if count != 0 {
            let worker = self.seats[key].worker();
            self.reports.send(Report::Stolen { worker, count });
        }
    }
}
