//! A TCP connection of the primary to itself, both of whose ends it has: one for a worker, which takes it for a
//! client's, one to ask by. Made without ever waiting.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::address::from_wire;
use crate::sys::socket::{Accepted, accept};
use crate::wire::Address;

/// A connection that is about to be there: the private listener, and the end to ask by.
#[derive(Debug)]
pub struct Pair {
    listener: Socket,
    client: Socket,
    own: SocketAddr,
    at: SocketAddr,
}

/// The end for the worker.
#[derive(Debug)]
pub struct Given {
    /// The socket.
    pub socket: OwnedFd,
    /// Who the client is.
    pub peer: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
}

impl Pair {
    /// Begins a connection in the family that a server has bound. The listener gets readable when it is there.
    ///
    /// # Errors
    /// Those of socket(2), bind(2), listen(2) and connect(2).
    pub fn begin(ipv6: bool) -> io::Result<Self> {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if ipv6 {
            // Where there is no IPv6, a server that bound both families is reached by the other one.
            Self::at((Ipv6Addr::LOCALHOST, 0).into()).or_else(|_| Self::at(v4))
        } else {
            Self::at(v4)
        }
    }

    fn at(address: SocketAddr) -> io::Result<Self> {
        let socket = || -> io::Result<Socket> {
            let kind = Type::STREAM.nonblocking().cloexec();
            Socket::new_raw(Domain::for_address(address), kind, Some(Protocol::TCP))
        };
        let (listener, client) = (socket()?, socket()?);
        listener.bind(&address.into())?;
        listener.listen(8)?;
        let at = known(listener.local_addr()?.as_socket())?;
        match client.connect(&at.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                return Err(error);
            }
            _ => {}
        }
        let own = known(client.local_addr()?.as_socket())?;
        Ok(Self {
            listener,
            client,
            own,
            at,
        })
    }

    /// What gets readable when the connection is there.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The worker's end, if it is there; strangers who have found the listener are sent away.
    ///
    /// # Errors
    /// Those of accept(2) that another try does not cure.
    pub fn take(&self) -> io::Result<Option<Given>> {
        loop {
            match accept(self.listener.as_fd(), true) {
                Accepted::Connection(socket, peer) if is(&peer, self.own) => {
                    let (peer, local) = (self.own, self.at);
                    return Ok(Some(Given {
                        socket,
                        peer,
                        local,
                    }));
                }
                Accepted::Connection(..) | Accepted::ClientGone => {}
                Accepted::Empty => return Ok(None),
                Accepted::Exhausted(error) | Accepted::Failed(error) => return Err(error),
            }
        }
    }

    /// The end to ask by, non-blocking.
    pub fn into_client(self) -> Socket {
        self.client
    }
}

fn is(peer: &Address, own: SocketAddr) -> bool {
    from_wire(peer).is_some_and(|peer| (peer.ip(), peer.port()) == (own.ip(), own.port()))
}

fn known(address: Option<SocketAddr>) -> io::Result<SocketAddr> {
    address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    #[test]
    fn both_ends_are_one_connection_and_a_stranger_is_sent_away() {
        for ipv6 in [false, true] {
            let pair = Pair::begin(ipv6).unwrap();
            let mut stranger = TcpStream::connect(pair.at).unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            let given = loop {
                if let Some(given) = pair.take().unwrap() {
                    break given;
                }
                assert!(Instant::now() < deadline);
            };
            assert_eq!((given.peer, given.local), (pair.own, pair.at));
            let mut server = TcpStream::from(given.socket);
            server.set_nonblocking(false).unwrap();
            // A second look takes whoever came after us.
            assert!(pair.take().unwrap().is_none());
            let mut client = TcpStream::from(pair.into_client());
            client.set_nonblocking(false).unwrap();
            client.write_all(b"there?").unwrap();
            let mut back = [0; 6];
            server.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"there?");
            assert!(matches!(stranger.read(&mut back), Ok(0) | Err(_)));
        }
    }
}
