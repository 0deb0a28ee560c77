//! The socket of a connection, of whichever kind it is, and what can be done with either kind.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The socket of a connection. What it is was decided by the listener's address: with
/// `forkfront run -l unix:PATH` a program that asked for a TCP port is given Unix connections.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection: the client's own, with nothing of ours in between.
    Tcp(TcpStream),
    /// A connection through a Unix socket.
    Unix(UnixStream),
}

/// Runs the same call on whichever socket it is.
macro_rules! either {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($socket) => $call,
            Stream::Unix($socket) => $call,
        }
    };
}

impl Stream {
    /// Moves the socket into or out of non-blocking mode.
    ///
    /// # Errors
    /// Those of ioctl(2).
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        either!(self, socket => socket.set_nonblocking(nonblocking))
    }

    /// Time-out of reads; `None` waits for ever.
    ///
    /// # Errors
    /// `InvalidInput` for a duration of zero; those of setsockopt(2).
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        either!(self, socket => socket.set_read_timeout(timeout))
    }

    /// Time-out of writes; `None` waits for ever.
    ///
    /// # Errors
    /// `InvalidInput` for a duration of zero; those of setsockopt(2).
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        either!(self, socket => socket.set_write_timeout(timeout))
    }

    /// Sends small writes at once (`TCP_NODELAY`); a Unix socket always does.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(nodelay),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Closes one direction or both.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        either!(self, socket => socket.shutdown(how))
    }

    /// A second handle on the same socket.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// The TCP socket, or `self` again if it is none.
    ///
    /// # Errors
    /// The stream itself, when it is a Unix socket.
    pub fn into_tcp(self) -> Result<TcpStream, Self> {
        match self {
            Self::Tcp(socket) => Ok(socket),
            unix @ Self::Unix(_) => Err(unix),
        }
    }

    pub(super) fn new(fd: OwnedFd, tcp: bool) -> Self {
        if tcp {
            Self::Tcp(fd.into())
        } else {
            Self::Unix(fd.into())
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, socket => { let mut socket = socket; socket.read(buffer) })
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        either!(self, socket => { let mut socket = socket; socket.read_vectored(buffers) })
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, socket => { let mut socket = socket; socket.write(bytes) })
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, socket => { let mut socket = socket; socket.write_vectored(buffers) })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, socket => socket.as_fd())
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        either!(stream, socket => socket.into())
    }
}
