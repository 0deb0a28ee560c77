//! bind, listen, shutdown and the end of a listener: where a server's socket becomes a channel, and where
//! the primary is told what the server does with it.

use core::sync::atomic::Ordering::Relaxed;

use crate::address::SockAddr;
use crate::arch::number as nr;
use crate::listeners::{self, Listener};
use crate::options::{self, OptionList};
use crate::rendezvous::{self, Reply, request};
use crate::sys::{
    self, ECONNREFUSED, EINVAL, ENOTCONN, Errno, IPPROTO_IPV6, IPPROTO_MPTCP, IPPROTO_TCP,
    IPV6_V6ONLY, O_CLOEXEC, O_NONBLOCK, SO_DOMAIN, SO_PROTOCOL, SO_REUSEPORT, SO_TYPE, SOCK_STREAM,
    SOL_SOCKET,
};
use crate::wire::{Address, Family, Outcome, Request, Verb};
use crate::{environment, epoll, process};

const SHUT_RD: i32 = 0;
const SHUT_WR: i32 = 1;
const SHUT_RDWR: i32 = 2;

/// bind(2) of the server's address `asked`, which `native` would do. `ECONNREFUSED`, which bind(2) itself never
/// gives, says that the primary could not be asked.
pub fn bind(
    fd: i32,
    asked: &Address,
    native: impl FnOnce() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    if !environment::is_worker() || asked.port == 0 {
        return native();
    }
    if listeners::of(fd).is_some() {
        return Err(EINVAL);
    }
    if !is_unbound_tcp(fd, asked.family) {
        return native();
    }
    let question = Request {
        v6only: sys::option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == Ok(1),
        reuse_port: sys::option(fd, SOL_SOCKET, SO_REUSEPORT) == Ok(1),
        address: *asked,
        ..request(Verb::Bind, 0)
    };
    let reply = rendezvous::ask(&question, &options::differing(fd)).map_err(|_| ECONNREFUSED)?;
    match reply.answer.outcome {
        Outcome::Errno if reply.answer.errno != 0 => Err(Errno(reply.answer.errno)),
        // Backends are answered to proxy workers only, which have no shim.
        Outcome::PassThrough | Outcome::Errno | Outcome::Backends => native(),
        Outcome::Channel | Outcome::Listener => {
            process::join(reply.fds[1]);
            take_over(fd, asked, reply)
        }
    }
}

/// listen(2). `None`: not ours.
pub fn listen(fd: i32, backlog: i32) -> Option<Result<usize, Errno>> {
    let (index, listener) = listeners::of(fd).or_else(|| shared_socket(fd))?;
    if listener.is_deaf.load(Relaxed) {
        listener.listening.store(true, Relaxed);
        return Some(Ok(0));
    }
    let differing = if listener.is_socket.load(Relaxed) {
        OptionList::default()
    } else {
        listener
            .shadow()
            .map(options::differing)
            .unwrap_or_default()
    };
    let question = Request {
        number: backlog,
        nonblocking: sys::status_flags(fd).is_ok_and(|flags| flags & O_NONBLOCK != 0),
        ..request(Verb::Listen, listener.inode())
    };
    Some(match rendezvous::ask(&question, &differing) {
        Ok(reply) if reply.answer.errno == 0 => {
            listener.shut.store(false, Relaxed);
            listener.listening.store(true, Relaxed);
            process::note_use(index);
            Ok(0)
        }
        Ok(reply) => Err(Errno(reply.answer.errno)),
        Err(_) => Err(ECONNREFUSED),
    })
}

/// shutdown(2) on a listener never reaches the channel: it would cut the primary off for good. `None`: not
/// ours.
pub fn shutdown(fd: i32, how: i32) -> Option<Result<usize, Errno>> {
    let (_, listener) = listeners::of(fd)?;
    Some(match how {
        SHUT_RD | SHUT_WR | SHUT_RDWR if !listener.listening.load(Relaxed) => Err(ENOTCONN),
        // As tcp(7) has it for a listening socket.
        SHUT_WR => Ok(0),
        SHUT_RD | SHUT_RDWR => {
            listener.shut.store(true, Relaxed);
            listener.listening.store(false, Relaxed);
            wake(listener);
            Ok(0)
        }
        _ => Err(EINVAL),
    })
}

/// The number of a listener is about to be closed or replaced, while its file lives on elsewhere.
pub fn before_close(fd: i32) {
    epoll::forget(fd);
}

/// A number of the listener with this index has been closed by this process.
pub fn after_close(index: usize) {
    // The children of a server that forks per connection close what they inherited and never used; the
    // primary need not hear of each.
    if let Some(listener) = listeners::at(index)
        && !listener.is_deaf.load(Relaxed)
        && (process::has_used(index) || process::is_original())
    {
        rendezvous::tell(&request(Verb::Closed, listener.inode()));
    }
}

/// Replaces the server's socket by what the primary gave, under the same number and flags.
fn take_over(fd: i32, asked: &Address, mut reply: Reply) -> Result<usize, Errno> {
    reply.answer.asked = *asked;
    let mut given = reply.fds[0];
    // If both were channels, a server that selects and then accepts would block on the one that the other
    // has emptied.
    let is_deaf = reply.answer.outcome == Outcome::Channel
        && sys::inode(given).is_ok_and(|inode| listeners::serves_other_family(inode, asked));
    if is_deaf {
        let _ = sys::close(given);
        given = inert_socket()?;
    }
    let replaced = replace(fd, given);
    let inode = sys::inode(given);
    let _ = sys::close(given);
    let shadow = replaced?;
    let Some((_, listener)) = listeners::register(fd, inode?, &reply) else {
        let _ = sys::close(shadow);
        return Err(sys::EMFILE);
    };
    listener.is_deaf.store(is_deaf, Relaxed);
    listener.set_shadow(shadow);
    Ok(0)
}

/// A socket on which nothing ever happens. Its other end stays open for as long as the process lives.
pub fn inert_socket() -> Result<i32, Errno> {
    let [inert, other] = sys::socket_pair()?;
    listeners::out_of_the_way(other);
    Ok(inert)
}

/// Puts `given` in the place of `fd`; the socket that was there comes back under a high number.
fn replace(fd: i32, given: i32) -> Result<i32, Errno> {
    let status = sys::status_flags(fd)?;
    let close_on_exec = sys::descriptor_flags(fd)? & 1 != 0;
    let _ = sys::set_nonblocking(given, status & O_NONBLOCK != 0);
    options::copy_accept_timeout(fd, given);
    let shadow = listeners::out_of_the_way(sys::duplicate(fd, 0)?);
    // An unconnected TCP socket reports OUT|HUP for ever, and as the shadow it stays open.
    let watchers = epoll::registrations(fd);
    watchers.suspend(fd);
    let replaced = sys::dup3(given, fd, if close_on_exec { O_CLOEXEC } else { 0 });
    watchers.resume(fd);
    replaced.map(|_| shadow)
}

/// Makes every thread in accept() look around, and leaves the listener readable, as a listening socket is
/// after shutdown(2).
fn wake(listener: &Listener) {
    if listener.is_deaf.load(Relaxed) {
        return;
    }
    let sleepers = listener.blocked.load(Relaxed) as i32;
    rendezvous::tell(&Request {
        number: sleepers.saturating_add(1),
        ..request(Verb::Wake, listener.inode())
    });
}

/// With `--balance kernel` the listening socket itself may have come over an exec: only the primary knows.
fn shared_socket(fd: i32) -> Option<(usize, &'static Listener)> {
    if !environment::is_worker() || sys::option(fd, SOL_SOCKET, SO_TYPE) != Ok(SOCK_STREAM) {
        return None;
    }
    let mut name = [0; 128];
    let len = sys::local_address(fd, &mut name).ok()?;
    let port = name.get(..len).and_then(SockAddr::decode)?.port;
    (port != 0).then(|| listeners::recognise(fd))?
}

fn is_unbound_tcp(fd: i32, family: Family) -> bool {
    let domain = match family {
        Family::V4 => sys::AF_INET,
        Family::V6 => sys::AF_INET6,
        Family::None => return false,
    };
    let mut name = [0; 128];
    sys::option(fd, SOL_SOCKET, SO_DOMAIN) == Ok(domain)
        && sys::option(fd, SOL_SOCKET, SO_TYPE) == Ok(SOCK_STREAM)
        && matches!(
            sys::option(fd, SOL_SOCKET, SO_PROTOCOL),
            Ok(IPPROTO_TCP | IPPROTO_MPTCP)
        )
        && sys::local_address(fd, &mut name)
            .ok()
            .and_then(|len| SockAddr::decode(name.get(..len)?))
            .is_some_and(|bound| bound.port == 0)
}

/// bind(2) as the kernel does it.
pub fn native_bind(fd: i32, address: usize, len: u32) -> Result<usize, Errno> {
    sys::forward(nr::BIND, [fd as usize, address, len as usize, 0, 0, 0])
}
