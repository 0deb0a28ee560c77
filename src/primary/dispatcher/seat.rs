//! One worker on one listener: its channel, what went through it, and whether it moves.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::frozen::unfit;
use crate::policy::delay::{Backlog, Look};
use crate::policy::ids::{ListenerId, SlotId, WorkerId};
use crate::policy::stall::Progress;
use crate::primary::messages::Seat;
use crate::scoreboard::CHANNELS;
use crate::sys::board::Board;
use crate::sys::channel;
use crate::sys::fdpass::{self, Sent};
use crate::sys::handover::{Kind as HandedOver, Luggage, Ticket};
use crate::wire::{Kind, Record};

/// Whether a seat is dealt to, from the best to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Standing {
    /// Dealt to.
    Admitted,
    /// Its worker's server does not listen; it may again.
    Paused,
    /// Its worker lives but gets nothing any more; the channel stays open.
    Evicted,
    /// Its worker is dead; the seat goes when nothing is left in the channel.
    Forgotten,
}

/// A seat and its history.
#[derive(Debug)]
pub(super) struct SeatState {
    seat: Seat,
    /// Key of its lane, which outlives it.
    pub lane: usize,
    pub standing: Standing,
    pub progress: Progress,
    /// Records with a connection sent.
    sent: u64,
    /// Of those, read back.
    read_back: u64,
    /// Probes sent and not read back; in no other number here.
    probes: u64,
    /// Connections that are in hand and will be sent before anything else is done.
    pub staged: u64,
    /// What the worker had taken when the channel was found full.
    full_at: Option<u64>,
    /// Looked at while somebody else is chosen.
    backlog: Cell<Backlog>,
}

/// A seat that stands still.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FrozenSeat {
    pub slot: SlotId,
    /// Place of its lane.
    pub lane: usize,
    worker: WorkerId,
    listener: ListenerId,
    channel: usize,
    ours: Ticket,
    kept: Ticket,
    native: bool,
    standing: Standing,
    sent: u64,
    read_back: u64,
    #[serde(default)]
    probes: u64,
    full_at: Option<u64>,
    stuck: bool,
}

impl FrozenSeat {
    /// A dead worker's scoreboard is gone, and nobody asks it anything.
    pub fn thaw(
        self,
        lane: usize,
        luggage: &mut Luggage<'_>,
        board: impl Fn(WorkerId) -> Option<Arc<Board>>,
        now: u64,
    ) -> io::Result<SeatState> {
        let board = match board(self.worker) {
            Some(board) => board,
            None if self.standing == Standing::Forgotten => {
                Arc::new(Board::create(self.slot.0, self.worker.0)?)
            }
            None => return Err(unfit("worker")),
        };
        let seat = Seat {
            slot: self.slot,
            worker: self.worker,
            listener: self.listener,
            channel: self.channel,
            ours: luggage.take(self.ours, HandedOver::Packets)?,
            kept: luggage.take(self.kept, HandedOver::Packets)?,
            board,
            native: self.native,
        };
        let mut state = SeatState {
            standing: self.standing,
            sent: self.sent,
            read_back: self.read_back,
            probes: self.probes,
            full_at: self.full_at,
            ..SeatState::new(seat, lane, now)
        };
        state.look(now);
        if self.stuck {
            state.progress.declare_stuck(now);
        }
        Ok(state)
    }
}

impl SeatState {
    /// The pause is nobody's fault: how long a queue has not moved is counted anew.
    pub fn freeze(self, lane: usize, luggage: &mut Luggage<'_>) -> FrozenSeat {
        FrozenSeat {
            slot: self.seat.slot,
            lane,
            worker: self.seat.worker,
            listener: self.seat.listener,
            channel: self.seat.channel,
            ours: luggage.pack(HandedOver::Packets, self.seat.ours),
            kept: luggage.pack(HandedOver::Packets, self.seat.kept),
            native: self.seat.native,
            standing: self.standing,
            sent: self.sent,
            read_back: self.read_back,
            probes: self.probes,
            full_at: self.full_at,
            stuck: self.progress.is_stuck(),
        }
    }

    pub fn new(seat: Seat, lane: usize, now: u64) -> Self {
        let progress = Progress::new(now);
        Self {
            seat,
            lane,
            standing: Standing::Admitted,
            progress,
            sent: 0,
            read_back: 0,
            probes: 0,
            staged: 0,
            full_at: None,
            backlog: Cell::new(Backlog::default()),
        }
    }

    pub fn slot(&self) -> usize {
        self.seat.slot.index()
    }

    pub fn worker(&self) -> WorkerId {
        self.seat.worker
    }

    pub fn channel(&self) -> usize {
        self.seat.channel
    }

    pub fn listener(&self) -> ListenerId {
        self.seat.listener
    }

    /// The worker gets nothing more on any listener.
    pub fn note_draining(&self) {
        self.seat.board.draining.store(1, Relaxed);
    }

    /// The worker understands records without a connection.
    pub fn is_native(&self) -> bool {
        self.seat.native
    }

    /// Connections the worker says it has taken from this channel.
    pub fn taken(&self) -> u64 {
        // The index is ours, the page is not: the bound is checked where it is read.
        self.seat.board.taken[self.seat.channel.min(CHANNELS - 1)].load(Relaxed)
    }

    /// Connections that the worker has received, whether it lived to say so or not: all sent and not read back,
    /// probes too. True once its channel is empty.
    pub fn received(&self) -> u64 {
        self.sent - self.read_back + self.probes
    }

    /// Connections dealt and not taken, by the worker's own count: no system call, untrusted.
    pub fn queued(&self) -> u64 {
        self.received().saturating_sub(self.taken()) + self.staged
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

    /// How long the next one waits until the worker takes it, ns.
    pub fn delay(&self, now: u64) -> u64 {
        let mut backlog = self.backlog.get();
        let delay = backlog.delay(|| Look {
            now,
            taken: self.taken(),
            queued: self.queued(),
        });
        self.backlog.set(backlog);
        delay
    }

    /// It was chosen.
    pub fn note_dealt(&mut self) {
        self.backlog.get_mut().note_dealt();
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

    /// Sends connections that were staged here, of which there are `count`; says how many went in.
    pub fn send_staged<'a>(
        &mut self,
        messages: impl Iterator<Item = (&'a [u8], std::os::fd::BorrowedFd<'a>)>,
        count: usize,
    ) -> usize {
        let sent = fdpass::send_many(self.seat.ours.as_fd(), messages);
        self.staged -= count as u64;
        self.sent += sent as u64;
        if sent != 0 {
            self.full_at = None;
        }
        sent
    }

    /// Sends a connection of the primary's own.
    pub fn probe(&mut self, record: &Record, fd: std::os::fd::BorrowedFd<'_>) -> Sent {
        let sent = fdpass::send(self.seat.ours.as_fd(), &record.encode(), Some(fd));
        if matches!(sent, Sent::Done) {
            self.probes += 1;
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

    pub fn note_probe_read_back(&mut self) {
        self.probes -= 1;
    }

    /// The worker has shut its end down, so that nothing can be sent any more.
    pub fn is_shut(&self) -> bool {
        channel::is_shut(self.seat.ours.as_fd())
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
