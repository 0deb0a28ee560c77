//! The listening sockets of the server that are channels in truth: what the server asked for, and how a
//! descriptor is known to be one.
//!
//! A listener is its inode. The table's byte is only a short cut to it: a descriptor may have been
//! duplicated, inherited over an exec or replaced unseen, so every rare call proves it by fstat(2). All
//! fields are atomics because threads and signal handlers meet here; nothing is ever freed.

use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::address::SharedAddress;
use crate::options::OptionList;
use crate::rendezvous::{self, Reply, request};
use crate::sys::{
    self, AF_INET, AF_INET6, AF_UNIX, Errno, IPPROTO_TCP, SO_DOMAIN, SO_PEERCRED, SO_TYPE,
    SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET,
};
use crate::wire::{Address, Family, Outcome, Verb};
use crate::{environment, process, table};

/// Listeners that one process may have.
const MAX: usize = 64;

/// One listener.
pub struct Listener {
    /// Inode of the channel; 0 for a free place.
    inode: AtomicU64,
    /// The listening socket itself was handed over (`--balance kernel`), not a channel.
    pub is_socket: AtomicBool,
    /// Nothing ever arrives here: another address of the server's, in the other family, has the channel.
    pub is_deaf: AtomicBool,
    /// Index in the scoreboard's `taken`.
    pub channel: AtomicU16,
    /// The server has called listen().
    pub listening: AtomicBool,
    /// The server has called shutdown(): accept() fails until it listens again.
    pub shut: AtomicBool,
    /// Threads that wait in accept().
    pub blocked: AtomicU32,
    /// The address that the server asked for.
    asked: SharedAddress,
    /// The server's own socket, unbound, which keeps its options; -1 for none.
    shadow: AtomicI32,
    /// Inode of the shadow, for the day somebody has closed it.
    shadow_inode: AtomicU64,
}

static LISTENERS: [Listener; MAX] = [const { Listener::new() }; MAX];

impl Listener {
    const fn new() -> Self {
        Self {
            inode: AtomicU64::new(0),
            is_socket: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
            channel: AtomicU16::new(0),
            listening: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            blocked: AtomicU32::new(0),
            asked: SharedAddress::new(),
            shadow: AtomicI32::new(-1),
            shadow_inode: AtomicU64::new(0),
        }
    }

    /// The inode by which the primary knows it.
    pub fn inode(&self) -> u64 {
        self.inode.load(Acquire)
    }

    /// The channel behind it is another one now.
    pub fn set_inode(&self, inode: u64) {
        self.inode.store(inode, Release);
    }

    /// The address that the server asked for.
    pub fn asked(&self) -> Address {
        self.asked.load()
    }

    /// Keeps `socket` as the one that answers for the server's options.
    pub fn set_shadow(&self, socket: i32) {
        let inode = sys::inode(socket).unwrap_or(0);
        let old = self.shadow.swap(socket, AcqRel);
        let old_inode = self.shadow_inode.swap(inode, AcqRel);
        if old >= 0 && old != socket && sys::inode(old) == Ok(old_inode) {
            let _ = sys::close(old);
        }
    }

    /// The socket that answers for the server's options; made anew when it is gone, as after an exec.
    pub fn shadow(&self) -> Result<i32, Errno> {
        let kept = self.shadow.load(Acquire);
        if kept >= 0 && sys::inode(kept) == Ok(self.shadow_inode.load(Acquire)) {
            return Ok(kept);
        }
        self.shadow.store(-1, Release);
        let domain = match self.asked().family {
            Family::V6 => AF_INET6,
            Family::V4 | Family::None => AF_INET,
        };
        let fresh = sys::socket(domain, SOCK_STREAM, IPPROTO_TCP)?;
        let high = out_of_the_way(fresh);
        self.set_shadow(high);
        Ok(high)
    }
}

/// Moves a descriptor of the shim's to a number that no program expects to get.
pub fn out_of_the_way(fd: i32) -> i32 {
    let limit = sys::open_files_limit().unwrap_or(0).min(1024) as i32;
    match sys::duplicate(fd, limit / 4 * 3) {
        Ok(high) => {
            let _ = sys::close(fd);
            high
        }
        Err(_) => fd,
    }
}

/// The listener with this index.
#[inline(always)]
pub fn at(index: usize) -> Option<&'static Listener> {
    LISTENERS.get(index)
}

/// The listener with this index is a listening socket, not a channel.
#[inline(always)]
pub fn is_socket(index: usize) -> bool {
    at(index).is_some_and(|listener| listener.is_socket.load(Relaxed))
}

/// The listener that `fd` is, proven, if this process has seen it before or can recognise it now.
pub fn of(fd: i32) -> Option<(usize, &'static Listener)> {
    if !environment::is_worker() {
        return None;
    }
    if let Some(index) = table::listener_of(table::get(fd)) {
        let listener = at(index)?;
        if sys::inode(fd) == Ok(listener.inode()) {
            return Some((index, listener));
        }
        table::set(fd, 0);
    }
    if table::is_connection(table::get(fd)) {
        return None;
    }
    is_channel(fd).then(|| recognise(fd))?
}

/// Asks the primary about a socket that may be one of its own: a channel that came over an exec, or with
/// `--balance kernel` the listening socket.
pub fn recognise(fd: i32) -> Option<(usize, &'static Listener)> {
    let inode = sys::inode(fd).ok()?;
    let known = LISTENERS.iter().position(|l| l.inode() == inode);
    if let Some(index) = known {
        table::set(fd, table::listener_byte(index));
        return Some((index, at(index)?));
    }
    let question = request(Verb::Recognise, inode);
    let Reply { answer, fds } = rendezvous::ask(&question, &OptionList::default()).ok()?;
    match answer.outcome {
        Outcome::Channel | Outcome::Listener => {
            process::join(fds[0]);
            let reply = Reply { answer, fds };
            let (index, listener) = register(fd, inode, &reply)?;
            listener.listening.store(answer.listening, Relaxed);
            Some((index, listener))
        }
        Outcome::PassThrough | Outcome::Errno | Outcome::Backends => {
            for fd in fds.into_iter().filter(|fd| *fd >= 0) {
                let _ = sys::close(fd);
            }
            None
        }
    }
}

/// Asks whether another process of the worker has called listen() meanwhile.
pub fn is_listening_now(listener: &Listener) -> bool {
    let question = request(Verb::Recognise, listener.inode());
    let Ok(reply) = rendezvous::ask(&question, &OptionList::default()) else {
        return false;
    };
    process::join(reply.fds[0]);
    let listening = reply.answer.outcome != Outcome::Errno && reply.answer.listening;
    listener.listening.store(listening, Relaxed);
    listening
}

/// The channel with this inode already serves an address of the other family: 0.0.0.0 and [::] share one
/// when the primary's listener takes both.
pub fn serves_other_family(inode: u64, asked: &Address) -> bool {
    LISTENERS.iter().enumerate().any(|(index, listener)| {
        listener.inode() == inode
            && listener.asked().family != asked.family
            && has_descriptors(index)
    })
}

/// Some number of this process is known to be the listener with this index.
fn has_descriptors(index: usize) -> bool {
    let mut found = false;
    table::each(0, u32::MAX, |_, byte| {
        found |= table::listener_of(byte) == Some(index);
    });
    found
}

/// Notes that `fd` is the channel (or listening socket) that `reply` is about.
pub fn register(fd: i32, inode: u64, reply: &Reply) -> Option<(usize, &'static Listener)> {
    let known = LISTENERS.iter().position(|l| l.inode() == inode);
    let unused = |index: &usize| take_place(*index, 0, inode);
    let former = |index: &usize| {
        let last = at(*index).map_or(0, Listener::inode);
        !has_descriptors(*index) && take_place(*index, last, inode)
    };
    let index = known
        .or_else(|| (0..MAX).find(unused))
        .or_else(|| (0..MAX).find(former))?;
    let listener = at(index)?;
    if !has_descriptors(index) {
        listener.listening.store(false, Relaxed);
        listener.shut.store(false, Relaxed);
    }
    listener.asked.store(&reply.answer.asked);
    listener.channel.store(reply.answer.channel, Relaxed);
    let is_socket = reply.answer.outcome == Outcome::Listener;
    listener.is_socket.store(is_socket, Relaxed);
    listener.is_deaf.store(false, Relaxed);
    table::set(fd, table::listener_byte(index));
    Some((index, listener))
}

/// Gives the place of the listener with the inode `former`, 0 for none, to the one with `inode`. Threads
/// may bind at the same time.
fn take_place(index: usize, former: u64, inode: u64) -> bool {
    at(index).is_some_and(|listener| {
        let taken = listener
            .inode
            .compare_exchange(former, inode, AcqRel, Relaxed);
        taken.is_ok()
    })
}

/// A channel is a SEQPACKET Unix socket made by the primary: a pair's credentials name its creator (KF25).
fn is_channel(fd: i32) -> bool {
    if sys::option(fd, SOL_SOCKET, SO_DOMAIN) != Ok(AF_UNIX)
        || sys::option(fd, SOL_SOCKET, SO_TYPE) != Ok(SOCK_SEQPACKET)
    {
        return false;
    }
    let mut credentials = [0; 12];
    if sys::option_bytes(fd, SOL_SOCKET, SO_PEERCRED, &mut credentials) != Ok(12) {
        return false;
    }
    let pid = u32::from_ne_bytes([
        credentials[0],
        credentials[1],
        credentials[2],
        credentials[3],
    ]);
    pid != 0 && pid == environment::primary()
}
