//! What the threads of the primary say to each other: commands from the main thread down to the
//! dispatcher, reports up. Plain values over crossbeam channels, each with a mio `Waker` behind it.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use crate::config::Routing;
use crate::policy::ids::{ListenerId, SlotId, WorkerId};
use crate::primary::app::room::Room;
use crate::primary::pulse::Beat;
use crate::status::Keys;
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
    /// Deal nothing more to this worker (on `listener`, or on all) and read back what it has queued; evicted from
    /// all, it is answered by [`Report::Evicted`]. The channel stays open, since to the worker its end of it *is* the listening socket; a native worker is
    /// told by a [`Kind::Drain`](crate::wire::Kind::Drain) record if all its listeners are meant.
    Evict {
        /// The worker.
        worker: WorkerId,
        /// One listener, or all.
        listener: Option<ListenerId>,
    },
    /// Deal again to a worker that was evicted from one listener: its server listens again. One that was evicted
    /// from all of them never comes back, and a newer worker of its slot keeps the place.
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
    /// Let nobody new connect to this listener, accept who has come, close it, deal all of them to its workers,
    /// then report [`Report::ListenerClosed`]. What no worker is left to take is closed, by policy. The caller
    /// has closed its own copies of the sockets before, so that nobody comes by them.
    RemoveListener(ListenerId),
    /// The same with one of a listener's sockets, known by its inode; the others stay, and nothing is reported.
    RemoveSocket {
        /// Whose it is.
        listener: ListenerId,
        /// What fstat(2) says of it.
        inode: u64,
    },
    /// So many slots from now on. What sits in a slot that goes is not dealt to any more, and read back.
    Resize(usize),
    /// Choose otherwise from now on. Clients keep their slots if only the key stays the same. To or from
    /// [`Balance::Kernel`](crate::config::Balance::Kernel) there is no way: nobody accepts here then.
    Route(Routing),
    /// Deal nothing to this slot, whatever worker sits there, and read back what is queued there; or deal to it
    /// again.
    Hold {
        /// The slot.
        slot: SlotId,
        /// On hold from now on.
        held: bool,
    },
    /// No worker will come to this slot by itself: its clients do not wait for it, until it has one again.
    Abandon(SlotId),
    /// How much this slot gets in proportion to the others: see [`crate::policy::weights`].
    Weight {
        /// The slot.
        slot: SlotId,
        /// Its weight.
        weight: u16,
    },
    /// Other bounds from now on.
    SetLimits {
        /// Most connections held here while no worker takes them.
        max_held: usize,
        /// Age at which a queue that does not move is read back.
        steal_after: Duration,
        /// What the limit of open files allows, if that changes.
        room: Option<Room>,
    },
    /// Let connections gather for so long at most.
    Gather(Duration),
    /// Hand this connection, which no listener here has accepted, to this worker and to no other. If it does not
    /// get it, it is closed and [`Report::ProbeReturned`] says so.
    Probe {
        /// The worker.
        worker: WorkerId,
        /// On which listener; any of the worker's if it does not matter.
        listener: Option<ListenerId>,
        /// The connection.
        socket: OwnedFd,
        /// Who the client is.
        peer: Address,
        /// The address it connected to.
        local: Address,
    },
    /// Accept what the backlog holds, close the listeners, deal everything, then report [`Report::Dry`].
    Finish,
    /// Answer with the state as of now.
    Snapshot(Sender<Snapshot>),
    /// Show that the thread still goes round.
    Beat(Beat),
    /// End the thread and leave all as it is, for [`Dispatcher::freeze`](super::dispatcher::Dispatcher::freeze).
    Freeze,
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
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// A channel cannot be sent to any more. Nothing is dealt to it until the worker's next.
    Broken {
        /// The worker.
        worker: WorkerId,
        /// The listener whose channel it was.
        listener: ListenerId,
        /// What sendmsg(2) said: `BrokenPipe` and `ConnectionReset` mean that the worker has shut it down.
        #[serde(with = "as_number")]
        error: io::Error,
    },
    /// A [`Command::Probe`] has not come to its worker, or was read back from it, and is closed: nothing was learnt.
    ProbeReturned(WorkerId),
    /// After [`Command::RemoveListener`]: nobody who came by it is left here.
    ListenerClosed(ListenerId),
    /// Connections were read back from a ready worker that did not take them in time.
    Stolen {
        /// The worker.
        worker: WorkerId,
        /// How many.
        count: u64,
    },
    /// After [`Command::Evict`] of all its listeners: nothing is left in the worker's channels, or nothing that
    /// anybody but this worker could take.
    Evicted {
        /// The worker.
        worker: WorkerId,
        /// Connections that it has received, those that are left to it and probes included.
        received: u64,
    },
    /// A listener cannot be accepted from any more.
    ListenerFailed {
        /// Which.
        listener: ListenerId,
        /// What accept(2) said.
        #[serde(with = "as_number")]
        error: io::Error,
    },
    /// A trusted proxy's connection was closed for want of a PROXY header. Not each is reported.
    Refused {
        /// By which listener it came.
        listener: ListenerId,
        /// The proxy; `None` if it has no address.
        peer: Option<SocketAddr>,
        /// What is wrong.
        why: Cow<'static, str>,
        /// How many more there were since the last report.
        others: u64,
    },
    /// Connections of an IPv6 client were refused, the first time: see [`Command::Ipv4Only`].
    Ipv6Refused(ListenerId),
    /// After [`Command::Finish`]: listeners closed, nothing held, every queue empty.
    Dry,
}

/// An error of the kernel's as its number, which is all there is to it.
mod as_number {
    use std::io;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(error: &io::Error, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(error.raw_os_error().unwrap_or(libc::EIO))
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<io::Error, D::Error> {
        i32::deserialize(from).map(io::Error::from_raw_os_error)
    }
}

/// The dispatcher's state at one moment: the ledger adds up.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Accepted, not yet dealt: in hand, their first bytes waited for, or read back and still in a dead worker's queue.
    pub held: u64,
    /// Closed by a rule.
    pub closed_by_policy: u64,
    /// Given up because the client had gone.
    pub client_gone: u64,
    /// Connections accepted, by listener.
    pub accepted: Vec<(ListenerId, u64)>,
    /// Connections accepted from listeners that are gone.
    pub accepted_formerly: u64,
    /// Per slot, indexed by slot number, those that are gone included: dealt less read back, read back, queued now.
    pub slots: Vec<SlotCounts>,
    /// By what connections were dealt.
    pub keys: Keys,
}

impl Snapshot {
    /// Connections accepted from all listeners that there ever were.
    pub fn accepted_in_all(&self) -> u64 {
        let now: u64 = self.accepted.iter().map(|(_, count)| count).sum();
        now + self.accepted_formerly
    }
}

/// One slot's part of a [`Snapshot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotCounts {
    /// Dealt, less read back, over all workers of the slot.
    pub dealt: u64,
    /// Read back.
    pub read_back: u64,
    /// Dealt to the slot's workers of now and not yet taken, probes too.
    pub queued: u64,
    /// What the slot gets in proportion to the others; 0 of one that is gone.
    pub weight: u16,
    /// Nothing is dealt to it.
    pub on_hold: bool,
    /// What `dealt` was when what it is to be compared with last changed: slots came or went, or their weights.
    pub before: u64,
}

impl SlotCounts {
    /// Dealt since the slots last changed.
    pub fn lately(&self) -> u64 {
        self.dealt.saturating_sub(self.before)
    }

    /// Connections that the slot's workers have taken, those that have gone included; never more than were dealt,
    /// whatever a worker says.
    pub fn taken(&self) -> u64 {
        self.dealt.saturating_sub(self.queued)
    }
}
