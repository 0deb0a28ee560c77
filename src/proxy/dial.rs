//! Connecting without waiting.

use std::fs;
use std::io;
use std::ops::RangeInclusive;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::view::Door;

/// A socket to a backend.
#[derive(Debug)]
pub enum Dialed {
    /// It is connected: a Unix socket.
    Connected(Socket),
    /// It is not known yet; it may be connected already.
    UnderWay(Socket),
}

/// Begins to connect. `bytes_are_there`: some will be sent as soon as it stands.
///
/// # Errors
/// Those of socket(2) and connect(2) that say that it will not come about.
pub fn dial(door: &Door, bytes_are_there: bool) -> Result<Dialed, Errno> {
    // Close-on-exec too: socket2 sees to that.
    let socket = Socket::new(door.domain, Type::STREAM.nonblocking(), None).map_err(number)?;
    if bytes_are_there && door.domain != Domain::UNIX {
        // tcp(7): the last packet of the handshake goes with the bytes. It wakes nobody up alone.
        socket.set_tcp_quickack(false).map_err(number)?;
    }
    match socket.connect(&door.address).map_err(number) {
        Ok(()) => Ok(Dialed::Connected(socket)),
        Err(Errno::EINPROGRESS) if door.may_be_own_port && is_connected_to_itself(&socket) => {
            Err(Errno::ECONNREFUSED)
        }
        Err(Errno::EINPROGRESS) => Ok(Dialed::UnderWay(socket)),
        Err(errno) => Err(errno),
    }
}

/// Where nobody listens on this machine, at a port of those that the kernel gives to connects, it gives a connect that
/// very port now and then, and the socket then talks with itself.
fn is_connected_to_itself(socket: &Socket) -> bool {
    let peer = socket.peer_addr();
    peer.is_ok_and(|peer| socket.local_addr().is_ok_and(|own| own == peer))
}

/// The ports that the kernel gives to connects.
pub fn own_ports() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => first..=last,
        _ => 1..=u16::MAX,
    }
}

/// The bytes are sent: acknowledgements come at once again, as on any fresh connection. Otherwise a backend that writes
/// its answer in two pieces, and does not ask for `TCP_NODELAY`, would wait 40 ms with the second one.
pub fn end_quiet(socket: &Socket) {
    // A Unix socket knows no such thing.
    let _ = socket.set_tcp_quickack(true);
}

/// The errno of an error of the standard library.
pub fn number(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    #[test]
    fn a_socket_that_is_connected_to_itself_is_known() {
        let connect = |from: SocketAddr, to: SocketAddr| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&from.into()).unwrap();
            let to = match to.port() {
                0 => socket.local_addr().unwrap(),
                _ => to.into(),
            };
            socket.connect(&to).unwrap();
            is_connected_to_itself(&socket)
        };
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(connect(any, any));
        let other = TcpListener::bind(any).unwrap();
        assert!(!connect(any, other.local_addr().unwrap()));
        assert!(own_ports().start() < own_ports().end());
    }
}
