//! Connecting without waiting.

use std::io;

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
        Err(Errno::EINPROGRESS) => Ok(Dialed::UnderWay(socket)),
        Err(errno) => Err(errno),
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
