//! One worker on one listener: its channel, what went through it, and whether it moves.

use std::os::fd::AsFd;

use crate::policy::ids::{ListenerId, WorkerId};
use crate::policy::stall::Progress;
use crate::primary::messages::Seat;
use crate::scoreboard::CHANNELS;
use crate::sys::channel;
use crate::sys::fdpass::{self, Sent};
use crate::wire::{Kind, Record};
use std::sync::atomic::Ordering::Relaxed;

/// Whether a seat is dealt to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Dealt to.
    Admitted,
    /// Its worker lives but is not dealt to; the channel stays open.
    Evicted,
    /// Its worker is dead; the seat goes when nothing is left in the channel.
    Forgotten,
}

/// A seat and its history.
#[derive(Debug)]
pub(super) struct SeatState {
    seat: Seat,
    pub standing: Standing,
    pub progress: Progress,
    /// Records with a connection sent.
    sent: u64,
    /// Of those, read back.
    read_back: u64,
    /// What the worker had taken when the channel was found full.
    full_at: Option<u64>,
}

impl SeatState {
    pub fn new(seat: Seat, now: u64) -> Self {
        let progress = Progress::new(now);
        Self {
            seat,
            standing: Standing::Admitted,
            progress,
            sent: 0,
            read_back: 0,
            full_at: None,
        }
    }

    pub fn slot(&self) -> usize {
        self.seat.slot.index()
    }

    pub fn worker(&self) -> WorkerId {
        self.seat.worker
    }

    pub fn listener(&self) -> ListenerId {
        self.seat.listener
    }

    /// The worker gets nothing more on any listener.
    pub fn note_draining(&self) {
        self.seat.board.draining.store(1, Relaxed);
    }

    /// The worker was told that it gets nothing more.
    pub fn drains(&self) -> bool {
        self.seat.board.draining.load(Relaxed) != 0
    }

    /// The worker understands a record that says so.
    pub fn is_native(&self) -> bool {
        self.seat.native
    }

    /// Connections the worker says it has taken from this channel.
    pub fn taken(&self) -> u64 {
        // The index is ours, the page is not: the bound is checked where it is read.
        self.seat.board.taken[self.seat.channel.min(CHANNELS - 1)].load(Relaxed)
    }

    /// Connections that the worker has received, whether it lived to say so or not: all dealt and not read back.
    /// True once its channel is empty.
    pub fn received(&self) -> u64 {
        self.sent - self.read_back
    }

    /// Connections dealt and not taken, by the worker's own count: no system call, untrusted.
    pub fn queued(&self) -> u64 {
        (self.sent - self.read_back).saturating_sub(self.taken())
    }

    /// Messages in the channel, by the kernel's count.
    pub fn exact_queue(&self) -> usize {
        channel::queued(self.seat.kept.as_fd()).unwrap_or(0)
    }

    /// Open connections by the worker's count.
    pub fn open(&self) -> u64 {
        self.seat.board.open_hint()
    }

    pub fn asleep(&self) -> bool {
        self.seat.board.is_asleep()
    }

    /// Whether the worker's server asks for non-blocking connections; `None` while unknown.
    pub fn wants_nonblocking(&self) -> Option<bool> {
        match self.seat.board.nonblocking.load(Relaxed) {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        }
    }

    /// May be sent a connection now.
    pub fn takes(&self, now: u64, cap: usize) -> bool {
        let queued = self.queued();
        self.standing == Standing::Admitted
            && queued < cap as u64
            && self.full_at.is_none_or(|taken| taken != self.taken())
            && self.progress.may_take(now, queued)
    }

    /// The channel was full: nothing more until the worker has taken something.
    pub fn note_full(&mut self) {
        self.full_at = Some(self.taken());
    }

    /// Sends one connection.
    pub fn send(&mut self, record: &Record, fd: std::os::fd::BorrowedFd<'_>) -> Sent {
        let sent = fdpass::send(self.seat.ours.as_fd(), &record.encode(), Some(fd));
        if matches!(sent, Sent::Done) {
            self.sent += 1;
            self.full_at = None;
        }
        sent
    }

    /// Sends a message without a connection; lost if the channel is full, since then nobody sleeps in it.
    pub fn tell(&self, kind: Kind) {
        let record = Record::control(kind, self.seat.listener.0);
        fdpass::send(self.seat.ours.as_fd(), &record.encode(), None);
    }

    /// A descriptor number is free for what [`SeatState::receive`] may find.
    pub fn can_receive(&self) -> bool {
        self.seat.kept.as_fd().try_clone_to_owned().is_ok()
    }

    /// Takes one message back out of the channel.
    pub fn receive(&mut self, buffer: &mut [u8; Record::LEN]) -> std::io::Result<fdpass::Received> {
        fdpass::receive(self.seat.kept.as_fd(), buffer, false)
    }

    pub fn note_read_back(&mut self) {
        self.read_back += 1;
    }

    /// Notes how the queue moves; the kernel's count settles what the worker's leaves in doubt.
    pub fn look(&mut self, now: u64) -> usize {
        let queued = if self.queued() == 0 {
            0
        } else {
            self.exact_queue()
        };
        self.progress.observe(now, self.taken(), queued as u64);
        if queued == 0 {
            self.full_at = None;
        }
        queued
    }
}
