//! Accepting, and the few questions the dispatcher asks of a socket. Errors of accept(2) come sorted by
//! what the caller must do, since none of them may end the service (D1-D3).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use socket2::{SockAddr, SockFilter, SockRef};

use crate::wire::{Address, Family};

/// What accept(2) brought.
#[derive(Debug)]
pub enum Accepted {
    /// A connection and its peer.
    Connection(OwnedFd, Address),
    /// The backlog is empty.
    Empty,
    /// This one connection failed before it was taken; the next may be fine.
    ClientGone,
    /// No descriptor or memory now; the connection stays in the backlog.
    Exhausted(io::Error),
    /// The listener itself is of no use any more.
    Failed(io::Error),
}

/// Takes one connection, close-on-exec, and non-blocking if asked.
pub fn accept(listener: BorrowedFd<'_>, nonblocking: bool) -> Accepted {
    let flags = libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    loop {
        // SAFETY: `storage` and `length` are live and of the size that `length` states.
        let fd = unsafe {
            libc::accept4(
                listener.as_raw_fd(),
                storage.as_mut_ptr().cast(),
                &mut length,
                flags,
            )
        };
        if fd >= 0 {
            // SAFETY: accept4 returned a new descriptor that nobody else owns.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            // SAFETY: zeroed at birth, then written by the kernel: initialised either way.
            return Accepted::Connection(fd, to_address(unsafe { storage.assume_init_ref() }));
        }
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::EAGAIN) => Accepted::Empty,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                Accepted::Exhausted(error)
            }
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT) => {
                Accepted::Failed(error)
            }
            // accept(2): errors already pending on the new socket are passed on through accept; they are
            // to be treated like EAGAIN by trying again.
            _ => Accepted::ClientGone,
        };
    }
}

/// The address in a `sockaddr_storage` that the kernel filled in.
fn to_address(storage: &libc::sockaddr_storage) -> Address {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a `sockaddr_in`, which is smaller than the storage and
            // needs no stricter alignment.
            let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let mut ip = [0; 16];
            ip[..4].copy_from_slice(&v4.sin_addr.s_addr.to_ne_bytes());
            Address {
                family: Family::V4,
                port: u16::from_be(v4.sin_port),
                ip,
                ..Address::default()
            }
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for `sockaddr_in6`.
            let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            Address {
                family: Family::V6,
                port: u16::from_be(v6.sin6_port),
                flowinfo: v6.sin6_flowinfo,
                scope: v6.sin6_scope_id,
                ip: v6.sin6_addr.s6_addr,
            }
        }
        _ => Address::default(),
    }
}

/// Lets nobody new connect to a listening TCP socket: segments with SYN are dropped, so that its backlog can be
/// emptied for good before it is closed. Handshakes that have begun go on. Connections accepted from now on have
/// the filter too, to which it means nothing.
///
/// # Errors
/// Those of setsockopt(2) with `SO_ATTACH_FILTER`.
pub fn refuse_newcomers(listener: BorrowedFd<'_>) -> io::Result<()> {
    /// Where the flags are in a TCP header (RFC 9293, 3.1), and which of them is SYN.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let load = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    let test = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    let pass = (libc::BPF_RET | libc::BPF_K) as u16;
    SockRef::from(&listener).attach_filter(&[
        SockFilter::new(load, 0, 0, FLAGS),
        SockFilter::new(test, 0, 1, SYN),
        SockFilter::new(pass, 0, 0, 0),
        SockFilter::new(pass, 0, 0, u32::MAX),
    ])
}

/// Bytes that a read would find (`SIOCINQ`); for a sequenced-packet socket, of all messages together.
///
/// # Errors
/// Those of ioctl(2).
pub fn bytes_queued(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD (the same number as SIOCINQ) writes one int through the pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &mut bytes) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(bytes.max(0) as usize)
    }
}

/// What is there to be read of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// So many bytes, from the first; they stay where they are.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come: the client has closed its direction.
    End,
    /// Nothing can be read any more: the client has reset the connection, or it has timed out.
    Gone,
}

/// Looks at what has come by a connection, as far as `buffer` goes. Never waits, though the descriptor may be a
/// blocking one for the server's sake.
pub fn peek(connection: BorrowedFd<'_>, buffer: &mut [u8]) -> Peeked {
    match receive_now(connection, buffer, MsgFlags::MSG_PEEK) {
        Ok(0) => Peeked::End,
        Ok(bytes) => Peeked::Bytes(bytes),
        Err(Errno::EAGAIN) => Peeked::Nothing,
        Err(_) => Peeked::Gone,
    }
}

/// Reads exactly as many bytes as `buffer` has, which have been seen by [`peek`] and so are there. `false` if they
/// are not.
pub fn take_off(connection: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    let mut taken = 0;
    // In one go, but for an urgent mark among them (tcp(7)).
    while taken < buffer.len() {
        match receive_now(connection, &mut buffer[taken..], MsgFlags::empty()) {
            Ok(0) | Err(_) => return false,
            Ok(bytes) => taken += bytes,
        }
    }
    true
}

fn receive_now(socket: BorrowedFd<'_>, buffer: &mut [u8], how: MsgFlags) -> nix::Result<usize> {
    loop {
        match recv(socket.as_raw_fd(), buffer, how | MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Whether the peer of a connection has gone for good: reset, or closed in both directions.
pub fn peer_is_gone(connection: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    polled.is_ok()
        && fds[0]
            .revents()
            .is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}

/// Has a socket connect from `own`, an address without a port: connect(2) finds one that is free for the peer, where
/// bind(2) would take one that is free for all (ip(7), `IP_BIND_ADDRESS_NO_PORT`).
///
/// # Errors
/// Those of setsockopt(2) and bind(2): `EADDRNOTAVAIL` if it is no address of this machine.
pub fn connect_from(socket: &socket2::Socket, own: &SockAddr) -> Result<(), Errno> {
    setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    let bound = socket.bind(own);
    bound.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Whether this machine has an address from which that one can be reached, though there may be no port left: the
/// ports of UDP are others, and connecting there sends nothing.
pub fn has_source(address: &SockAddr) -> bool {
    let socket = socket2::Socket::new(address.domain(), socket2::Type::DGRAM, None);
    socket.is_ok_and(|socket| socket.connect(address).is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_peeked_stays_and_what_is_taken_off_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // A blocking descriptor.
        let (mut served, _) = listener.accept().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(peek(served.as_fd(), &mut buffer), Peeked::Nothing);
        assert!(!take_off(served.as_fd(), &mut buffer[..1]));
        client.write_all(b"headbody").unwrap();
        assert_eq!(peek(served.as_fd(), &mut buffer), Peeked::Bytes(8));
        assert_eq!(peek(served.as_fd(), &mut buffer[..3]), Peeked::Bytes(3));
        assert!(take_off(served.as_fd(), &mut buffer[..4]));
        assert_eq!(&buffer[..4], b"head");
        let mut body = [0; 4];
        served.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"body");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        while peek(served.as_fd(), &mut buffer) == Peeked::Nothing {}
        assert_eq!(peek(served.as_fd(), &mut buffer), Peeked::End);
        let resets = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        let client = SockRef::from(&resets);
        client.set_linger(Some(Duration::ZERO)).unwrap();
        drop(resets);
        let mut looks = std::iter::repeat_with(|| peek(served.as_fd(), &mut buffer));
        let found = looks.find(|found| *found != Peeked::Nothing);
        assert_eq!(found, Some(Peeked::Gone));
    }

    #[test]
    fn newcomers_are_kept_out_while_those_who_came_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut early = TcpStream::connect(at).unwrap();
        refuse_newcomers(listener.as_fd()).unwrap();
        let late = TcpStream::connect_timeout(&at, Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut served, _) = listener.accept().unwrap();
        drop(listener);
        early.write_all(b"ask").unwrap();
        let mut asked = [0; 3];
        served.read_exact(&mut asked).unwrap();
        served.write_all(b"told").unwrap();
        drop(served);
        let mut told = String::new();
        early.read_to_string(&mut told).unwrap();
        assert_eq!((&asked, told.as_str()), (b"ask", "told"));
        assert!(TcpStream::connect(at).is_err(), "refused once it is closed");
    }
}
