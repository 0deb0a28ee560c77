//! What the threads of the primary say to each other: commands from the main thread down to the
//! dispatcher, reports up. Plain values over crossbeam channels, each with a mio `Waker` behind it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::policy::ids::{ListenerId, SlotId, WorkerId};
use crate::sys::board::Board;
use crate::wire::Address;

/// Main thread to dispatcher.
#[derive(Debug)]
pub enum Command {
    /// Accept from this listening socket from now on.
    AddListener {
        /// Its number.
        id: ListenerId,
        /// The socket, listening, non-blocking.
        socket: OwnedFd,
        /// Its address as the records carry it.
        local: Address,
    },
    /// Deal to this worker from now on.
    Admit(Seat),
    /// Deal nothing more to this worker (on `listener`, or on all) and read back what it has queued. The
    /// channel stays open, since to the worker its end of it *is* the listening socket; a native worker is
    /// told by a [`Kind::Drain`](crate::wire::Kind::Drain) record if all its listeners are meant.
    Evict {
        /// The worker.
        worker: WorkerId,
        /// One listener, or all.
        listener: Option<ListenerId>,
    },
    /// Deal to an evicted worker again: its server listens again.
    Resume {
        /// The worker.
        worker: WorkerId,
        /// The listener.
        listener: ListenerId,
    },
    /// The worker is dead: read back what is left in its channels, then close them.
    Forget(WorkerId),
    /// Send `count` messages of no connection that make a blocked `accept` look around.
    Wake {
        /// The worker.
        worker: WorkerId,
        /// The listener whose channel is meant.
        listener: ListenerId,
        /// How many.
        count: u32,
    },
    /// Whether the server takes IPv4 only: an IPv6 client of this (dual-stack) listener is then closed, as
    /// the server's own socket would have refused it.
    Ipv4Only(ListenerId, bool),
    /// Accept what the backlog holds, close the listeners, deal everything, then report [`Report::Dry`].
    Finish,
    /// Answer with the state as of now.
    Snapshot(Sender<Snapshot>),
    /// End the thread. Everything still held is closed.
    Quit,
}

/// A worker that can be dealt to, on one listener.
#[derive(Debug)]
pub struct Seat {
    /// Its slot.
    pub slot: SlotId,
    /// The worker.
    pub worker: WorkerId,
    /// The listener that this channel is for.
    pub listener: ListenerId,
    /// Index of this channel in the scoreboard's `taken`.
    pub channel: usize,
    /// The primary's end of the channel.
    pub ours: OwnedFd,
    /// The primary's copy of the worker's end, from which it reads back.
    pub kept: OwnedFd,
    /// What the worker says of itself.
    pub board: Arc<Board>,
    /// Built on `forkfront::worker`, so it understands records without a connection.
    pub native: bool,
}

/// Dispatcher to main thread.
#[derive(Debug)]
pub enum Report {
    /// A channel cannot be sent to any more (`EPIPE`): the worker shut it down.
    Broken {
        /// The worker.
        worker: WorkerId,
        /// The listener whose channel it was.
        listener: ListenerId,
    },
    /// Connections were read back from a ready worker that did not take them in time.
    Stolen {
        /// The worker.
        worker: WorkerId,
        /// How many.
        count: u64,
    },
    /// After [`Command::Evict`] of all its listeners: nothing is left in the worker's channels.
    Evicted {
        /// The worker.
        worker: WorkerId,
        /// Connections that it has received.
        received: u64,
    },
    /// A listener cannot be accepted from any more.
    ListenerFailed {
        /// Which.
        listener: ListenerId,
        /// What accept(2) said.
        error: std::io::Error,
    },
    /// Connections of an IPv6 client were refused, the first time: see [`Command::Ipv4Only`].
    Ipv6Refused(ListenerId),
    /// After [`Command::Finish`]: listeners closed, nothing held, every queue empty.
    Dry,
}

/// The dispatcher's state at one moment: the ledger adds up.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Accepted, not yet dealt: in hand, or read back and still in a dead worker's queue.
    pub held: u64,
    /// Closed by a rule.
    pub closed_by_policy: u64,
    /// Given up because the client had gone.
    pub client_gone: u64,
    /// Connections accepted, by listener.
    pub accepted: Vec<(ListenerId, u64)>,
    /// Per slot, indexed by slot number: dealt less read back, read back, queued now.
    pub slots: Vec<SlotCounts>,
}

/// One slot's part of a [`Snapshot`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SlotCounts {
    /// Dealt, less read back, over all workers of the slot.
    pub dealt: u64,
    /// Read back.
    pub read_back: u64,
    /// Dealt to the slot's workers of now and not yet taken.
    pub queued: u64,
    /// Taken by the slot's workers that have gone.
    pub taken_by_former: u64,
}
