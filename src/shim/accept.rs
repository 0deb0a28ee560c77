//! accept: a connection out of the channel instead of the kernel's queue.
//!
//! The rules are those of accept(2): the same errors in the same order, the flags as asked, the client's
//! address (behind a proxy the one that it named) in the family that the server bound. A connection is never taken off the channel unless there is
//! a number to put it under.

use core::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Relaxed},
};

use crate::address::{SockAddr, shown_in};
use crate::listeners::{self, Listener};
use crate::process::{self, Asleep};
use crate::received::{self, Received};
use crate::sys::{
    self, AF_INET, EAGAIN, EBADF, ECONNRESET, EFAULT, EINTR, EINVAL, ENOTCONN, ENOTSOCK, Errno,
    IPPROTO_IPV6, IPV6_ADDRFORM, O_CLOEXEC, O_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK,
};
use crate::table::{self, AS_V4, AS_V6, CONNECTION, PROXIED};
use crate::wire::{Address, Family, Kind, Record};
use crate::{bind, epoll, next, room, sources};

/// Where the caller wants the peer's address.
#[derive(Clone, Copy)]
pub struct Out {
    /// Null if nowhere.
    pub address: *mut u8,
    /// Room there is, and length of the whole.
    pub len: *mut u32,
}

/// Why nothing was accepted.
pub enum Refusal {
    /// The call ends so.
    Errno(Errno),
    /// The descriptor is no channel any more: let the kernel answer.
    NotOurs,
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        Self::Errno(error)
    }
}

/// accept4(2) on the channel `fd`, which is the listener with this index.
///
/// # Safety
/// `out` must be good as for accept(2).
pub unsafe fn accept(fd: i32, index: usize, out: Out, flags: i32) -> Result<i32, Refusal> {
    let listener = listeners::at(index).ok_or(Refusal::NotOurs)?;
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(EINVAL.into());
    }
    if !out.address.is_null() {
        // Before a connection is at stake.
        // SAFETY: the caller's promise: null or a socklen_t.
        let room = unsafe { out.len.as_ref() }.ok_or(EFAULT)?;
        if (*room as i32) < 0 {
            return Err(EINVAL.into());
        }
    }
    if !listener.listening.load(Relaxed)
        && (listener.shut.load(Relaxed) || !listeners::is_listening_now(listener))
    {
        return Err(EINVAL.into());
    }
    // First of all: a fork registers itself here, with the connections that it inherited.
    process::note_use(index);
    loop {
        let mut bytes = [0; Record::LEN];
        let received = match take(fd, &mut bytes, flags & SOCK_CLOEXEC != 0) {
            Ok(received) => received,
            Err(EAGAIN) => {
                wait(fd, listener)?;
                continue;
            }
            // Said once when the primary has died; what is queued can still be read, then comes the end.
            Err(ECONNRESET) => continue,
            Err(EBADF | ENOTSOCK | ENOTCONN | EINVAL) => {
                table::set(fd, 0);
                return Err(Refusal::NotOurs);
            }
            Err(error) => return Err(error.into()),
        };
        let connection = received.fds[0];
        let record = bytes.get(..received.len).and_then(Record::decode);
        match record {
            Some(record) if record.kind == Kind::Connection && connection >= 0 => {
                present(connection, listener, &record, out, flags)?;
                return Ok(connection);
            }
            None if received.is_end() => {
                outlive(listener, index)?;
                // The handler of the signal may have done no more than set a flag.
                if !listener.is_deaf.load(Relaxed) && sys::status_flags(fd)? & O_NONBLOCK == 0 {
                    return Err(EINTR.into());
                }
            }
            _ => discard(&received, record.as_ref()),
        }
        if listener.shut.load(Relaxed) {
            return Err(EINVAL.into());
        }
    }
}

/// Takes a message off the channel if there is one, and a number for what is in it.
#[inline(always)]
fn take(fd: i32, bytes: &mut [u8], close_on_exec: bool) -> Result<Received, Errno> {
    let _gate = room::prove(fd)?;
    received::record(fd, bytes, close_on_exec)
}

/// Waits for a message if the descriptor waits, as accept(2) would, else fails as it would.
fn wait(fd: i32, listener: &Listener) -> Result<(), Errno> {
    if sys::status_flags(fd)? & O_NONBLOCK != 0 {
        return Err(EAGAIN);
    }
    listener.blocked.fetch_add(1, Relaxed);
    let asleep = Asleep::begin();
    let waited = received::wait(fd);
    drop(asleep);
    listener.blocked.fetch_sub(1, Relaxed);
    match waited {
        Err(ECONNRESET) => Ok(()),
        other => other,
    }
}

/// What came was no connection that can be used.
#[cold]
fn discard(received: &Received, record: Option<&Record>) {
    for fd in received.fds.into_iter().filter(|fd| *fd >= 0) {
        let _ = sys::close(fd);
    }
    let lost = received.truncated || record.is_some_and(|record| record.kind == Kind::Connection);
    if lost && let Some(board) = process::board() {
        board.truncated.fetch_add(1, Relaxed);
    }
}

/// Makes of the received descriptor what accept4(2) would have returned, and counts it.
fn present(
    connection: i32,
    listener: &Listener,
    record: &Record,
    out: Out,
    flags: i32,
) -> Result<(), Errno> {
    let nonblocking = flags & SOCK_NONBLOCK != 0;
    if record.nonblocking != nonblocking {
        let _ = sys::set_nonblocking(connection, nonblocking);
    }
    let (peer, shown) = in_family(connection, record, listener.asked().family);
    if !out.address.is_null() {
        // SAFETY: checked by `accept` before anything was received; good by its caller's promise.
        unsafe { SockAddr::encode(&peer).write(out.address, out.len) }?;
    }
    note(connection, shown);
    let Some(board) = process::board() else {
        return Ok(());
    };
    let now = next::now();
    let waited = now.saturating_sub(record.accepted_at) / 1000;
    board.note_taken(listener.channel.load(Relaxed).into(), waited, now);
    let wish = if nonblocking { 1 } else { 2 };
    if board.nonblocking.load(Relaxed) != wish {
        board.nonblocking.store(wish, Relaxed);
    }
    Ok(())
}

/// What accept4(2) on a listening socket of the primary's returned: the kernel chose this worker.
pub fn count(connection: i32, index: usize) -> i32 {
    if connection < 0 {
        return connection;
    }
    process::note_use(index);
    note(connection, 0);
    if let (Some(board), Some(listener)) = (process::board(), listeners::at(index)) {
        if let Some(taken) = board.taken.get(usize::from(listener.channel.load(Relaxed))) {
            taken.fetch_add(1, Relaxed);
        }
        board.last_taken.store(next::now(), Relaxed);
    }
    connection
}

/// Notes a connection in the table and in this process's counts.
fn note(connection: i32, shown: u8) {
    if table::is_counted(table::set(connection, CONNECTION | shown)) {
        // Its number was given out again, so the former one was closed unseen.
        process::note_closed();
    }
    process::note_opened();
}

/// The client's address in the family that the server bound, and how the socket's addresses are to be shown
/// from now on.
#[inline(always)]
fn in_family(connection: i32, record: &Record, family: Family) -> (Address, u8) {
    if record.proxied {
        return behind_proxy(connection, record, family);
    }
    match alter(connection, record.peer.family, family) {
        None => (record.peer, 0),
        Some(shown) => (shown_in(&record.peer, family), shown),
    }
}

/// As [`in_family`] for a connection that a proxy has made: its socket is of the listener's family, whoever the
/// client is.
#[cold]
fn behind_proxy(connection: i32, record: &Record, family: Family) -> (Address, u8) {
    let shown = alter(connection, record.local.family, family).unwrap_or(0);
    let client = shown_in(&record.peer, family);
    if sources::keep(connection, &client) {
        (client, shown | PROXIED)
    } else {
        (client, shown)
    }
}

/// Makes a socket that is none of the family that the server bound look as one; how its addresses are to be shown.
#[inline(always)]
fn alter(connection: i32, own: Family, bound: Family) -> Option<u8> {
    match (bound, own) {
        (Family::V4, Family::V6) => {
            // Refused once the client has half-closed; then the addresses are translated at each call.
            let form = AF_INET.to_ne_bytes();
            let done = sys::set_option(connection, IPPROTO_IPV6, IPV6_ADDRFORM, &form).is_ok();
            Some(if done { 0 } else { AS_V4 })
        }
        (Family::V4, Family::None) => Some(AS_V4),
        (Family::V6, Family::V4 | Family::None) => Some(AS_V6),
        _ => None,
    }
}

/// An address of a connection as its server is to see it.
pub fn shown(address: &Address, byte: u8) -> Address {
    match byte & (AS_V4 | AS_V6) {
        AS_V4 => shown_in(address, Family::V4),
        AS_V6 => shown_in(address, Family::V6),
        _ => *address,
    }
}

/// The primary is dead. The channel is replaced by a socket on which nothing ever happens, so that the
/// server does not spin on its end, and the server is asked to terminate.
#[cold]
fn outlive(listener: &Listener, index: usize) -> Result<(), Errno> {
    const SIGTERM: i32 = 15;
    /// The process that has been asked.
    static ASKED: AtomicU32 = AtomicU32::new(0);

    let head = process::head();
    // The other end of a deaf one is a socket of our own, which the server may have closed.
    if !listener.is_deaf.load(Relaxed) && ASKED.swap(head, AcqRel) != head {
        let _ = sys::kill(head, SIGTERM);
    }
    let inert = bind::inert_socket()?;
    table::each(0, u32::MAX, |fd, byte| {
        if table::listener_of(byte) == Some(index) && sys::inode(fd) == Ok(listener.inode()) {
            let flags = sys::status_flags(fd).unwrap_or(0);
            let _ = sys::set_nonblocking(inert, flags & O_NONBLOCK != 0);
            let keep = sys::descriptor_flags(fd).is_ok_and(|flags| flags & 1 == 0);
            // It stays registered, since the server may yet change or end that.
            let watchers = epoll::registrations(fd);
            epoll::forget(fd);
            let _ = sys::dup3(inert, fd, if keep { 0 } else { O_CLOEXEC });
            watchers.resume(fd);
        }
    });
    listener.set_inode(sys::inode(inert).unwrap_or(0));
    let _ = sys::close(inert);
    Ok(())
}
