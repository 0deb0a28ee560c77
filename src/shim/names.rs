//! getsockname, getpeername, getsockopt and setsockopt: a listener answers as the socket that the server
//! made, a connection as one of the family that the server bound, from the client that a proxy has named.

use core::sync::atomic::Ordering::Relaxed;

use crate::accept::{Out, shown};
use crate::address::SockAddr;
use crate::arch::number as nr;
use crate::environment;
use crate::listeners::{self, Listener};
use crate::options::{self, OptionList};
use crate::rendezvous::{self, request};
use crate::sources;
use crate::sys::{
    self, AF_UNIX, ENOTCONN, EOPNOTSUPP, Errno, IPPROTO_TCP, SO_ACCEPTCONN, SO_PEERNAME,
    SO_RCVTIMEO, SOL_SOCKET, forward,
};
use crate::table::{self, AS_V4, AS_V6};
use crate::wire::{Address, SocketOption, Verb};

const TCP_INFO: i32 = 11;
/// `tcpi_state` of a listening socket.
const TCP_LISTEN: u8 = 10;

/// A channel, as opposed to a listening socket that was handed over and answers for itself.
fn channel_of(fd: i32) -> Option<&'static Listener> {
    let (_, listener) = listeners::of(fd)?;
    (!listener.is_socket.load(Relaxed)).then_some(listener)
}

/// A connection whose addresses are not shown as the kernel has them.
fn is_translated(byte: u8) -> bool {
    table::is_connection(byte) && byte & (AS_V4 | AS_V6) != 0
}

/// The address at the other end of the connection `fd`, of which the table says `byte`, where that is not what
/// the kernel says.
#[cold]
fn altered_peer(fd: i32, byte: u8) -> Option<Result<Address, Errno>> {
    let client = match table::is_proxied(byte) {
        true => Some(sources::of(fd)?),
        false => None,
    };
    // Whether it is still connected is for the kernel to say, whoever the client is.
    Some(name(fd, byte, sys::peer_address).map(|peer| client.unwrap_or(peer)))
}

/// getsockname(2).
///
/// # Safety
/// `out` must be good as for getsockname(2).
pub unsafe fn getsockname(fd: i32, out: Out) -> Result<usize, Errno> {
    let byte = table::get(fd);
    // A number that was closed unseen and given out again may be known as that.
    let is_stale = || table::is_proxied(byte) && sources::of(fd).is_none();
    if is_translated(byte) && !is_stale() {
        let address = name(fd, byte, sys::local_address)?;
        // SAFETY: the caller's promise.
        unsafe { SockAddr::encode(&address).write(out.address, out.len) }?;
        return Ok(0);
    }
    if may_be_channel(fd, byte)
        && let Some(listener) = channel_of(fd)
    {
        // SAFETY: the caller's promise.
        unsafe { SockAddr::encode(&listener.asked()).write(out.address, out.len) }?;
        return Ok(0);
    }
    let arguments = [fd as usize, out.address as usize, out.len as usize, 0, 0, 0];
    forward(nr::GETSOCKNAME, arguments)
}

/// getpeername(2).
///
/// # Safety
/// `out` must be good as for getpeername(2).
pub unsafe fn getpeername(fd: i32, out: Out) -> Result<usize, Errno> {
    let byte = table::get(fd);
    if table::is_altered(byte)
        && let Some(peer) = altered_peer(fd, byte)
    {
        // SAFETY: the caller's promise.
        unsafe { SockAddr::encode(&peer?).write(out.address, out.len) }?;
        return Ok(0);
    }
    if may_be_channel(fd, byte) && channel_of(fd).is_some() {
        return Err(ENOTCONN);
    }
    let arguments = [fd as usize, out.address as usize, out.len as usize, 0, 0, 0];
    forward(nr::GETPEERNAME, arguments)
}

/// getsockopt(2).
///
/// # Safety
/// `value` and `len` must be good as for getsockopt(2).
pub unsafe fn getsockopt(
    fd: i32,
    level: i32,
    name: i32,
    value: *mut u8,
    len: *mut u32,
) -> Result<usize, Errno> {
    let native = |fd: i32| {
        let (level, name) = (level as usize, name as usize);
        let arguments = [fd as usize, level, name, value as usize, len as usize, 0];
        forward(nr::GETSOCKOPT, arguments)
    };
    let byte = table::get(fd);
    if (level, name) == (SOL_SOCKET, SO_PEERNAME)
        && table::is_altered(byte)
        && let Some(peer) = altered_peer(fd, byte)
    {
        let peer = SockAddr::encode(&peer.map_err(|_| ENOTCONN)?);
        // SAFETY: the caller's promise.
        return unsafe { peer.write_whole(value, len) };
    }
    let listener = may_be_channel(fd, byte).then(|| channel_of(fd));
    let Some(listener) = listener.flatten() else {
        return native(fd);
    };
    let listening = listener.listening.load(Relaxed);
    let result = native(listener.shadow()?)?;
    // The shadow never listens.
    // SAFETY: the kernel has just written `len`, and as many bytes of `value` as it says.
    unsafe {
        if (level, name) == (SOL_SOCKET, SO_ACCEPTCONN) && len.read() >= 1 {
            value.write(u8::from(listening));
        } else if (level, name) == (IPPROTO_TCP, TCP_INFO) && len.read() >= 1 && listening {
            value.write(TCP_LISTEN);
        }
    }
    Ok(result)
}

/// setsockopt(2).
///
/// # Safety
/// `value` must be good as for setsockopt(2).
pub unsafe fn setsockopt(
    fd: i32,
    level: i32,
    name: i32,
    value: *const u8,
    len: u32,
) -> Result<usize, Errno> {
    let native = |fd: i32| {
        let (level, name, len) = (level as usize, name as usize, len as usize);
        let arguments = [fd as usize, level, name, value as usize, len, 0];
        forward(nr::SETSOCKOPT, arguments)
    };
    let listener = may_be_channel(fd, table::get(fd)).then(|| channel_of(fd));
    let Some(listener) = listener.flatten() else {
        return match native(fd) {
            // A client of a Unix listener before a TCP server: asyncio drops a connection that will not
            // take TCP_NODELAY, and there is nothing that the option could do.
            Err(EOPNOTSUPP) if level == IPPROTO_TCP && is_translated(table::get(fd)) => Ok(0),
            result => result,
        };
    };
    let result = native(listener.shadow()?)?;
    if (level, name) == (SOL_SOCKET, SO_RCVTIMEO) {
        native(fd)?;
    }
    if listener.listening.load(Relaxed) && !listener.is_deaf.load(Relaxed) {
        let len = if value.is_null() {
            0
        } else {
            len.min(17) as usize
        };
        let bytes = if len == 0 {
            &[]
        } else {
            // SAFETY: the kernel has just read these bytes.
            unsafe { core::slice::from_raw_parts(value, len) }
        };
        if let Some(option) = options::forwarded(level, name, bytes) {
            send(listener, option)?;
        }
    }
    Ok(result)
}

/// An option set after listen() matters to the connections that the primary accepts from now on.
fn send(listener: &Listener, option: SocketOption) -> Result<(), Errno> {
    let mut list = OptionList::default();
    list.push(option);
    let reply = rendezvous::ask(&request(Verb::Options, listener.inode()), &list)?;
    match reply.answer.errno {
        0 => Ok(()),
        code => Err(Errno(code)),
    }
}

/// Cheap for what is certainly none: outside a worker, for known connections, and for all that is no Unix
/// socket.
fn may_be_channel(fd: i32, byte: u8) -> bool {
    environment::is_worker()
        && !table::is_connection(byte)
        && (byte != 0 || sys::option(fd, SOL_SOCKET, sys::SO_DOMAIN) == Ok(AF_UNIX))
}

/// What `call` says of the connection `fd`, as its server is to see it.
#[cold]
fn name(
    fd: i32,
    byte: u8,
    call: impl FnOnce(i32, &mut [u8; 128]) -> Result<usize, Errno>,
) -> Result<Address, Errno> {
    let mut bytes = [0; 128];
    let len = call(fd, &mut bytes)?;
    let address = bytes.get(..len).and_then(SockAddr::decode);
    Ok(shown(&address.unwrap_or_default(), byte))
}
