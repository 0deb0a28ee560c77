//! Connecting without waiting.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::backend_board::BACKENDS;
use crate::config::proxy::{Planned, Target};
use crate::sys::socket::{connect_from, has_source};

/// How a backend is got at.
#[derive(Debug)]
pub struct Door {
    /// Its place on the board.
    pub at: usize,
    /// The family of its sockets.
    pub domain: Domain,
    /// Where it listens.
    pub address: SockAddr,
    /// The kernel may give its port to one of our own connects.
    pub may_be_own_port: bool,
    /// None of our ports was free for it: until then it is not looked for one again.
    pub portless_until: u64,
    /// So many sessions at most.
    pub max: Option<u32>,
}

/// Our own addresses to connect from.
#[derive(Debug, Default)]
pub struct Sources {
    v4: Ring,
    v6: Ring,
}

/// Those of one family.
#[derive(Debug, Default)]
struct Ring {
    all: Vec<SockAddr>,
    turn: usize,
}

impl Sources {
    /// These.
    pub fn new(all: &[IpAddr]) -> Self {
        let (v4, v6): (Vec<IpAddr>, _) = all.iter().partition(|own| own.is_ipv4());
        let ring = |all: Vec<IpAddr>| Ring {
            all: all
                .iter()
                .map(|own| SocketAddr::new(*own, 0).into())
                .collect(),
            turn: 0,
        };
        Self {
            v4: ring(v4),
            v6: ring(v6),
        }
    }

    /// Those of this family, another one first each time.
    fn next(&mut self, domain: Domain) -> impl Iterator<Item = &SockAddr> {
        let ring = match domain {
            Domain::IPV4 => Some(&mut self.v4),
            Domain::IPV6 => Some(&mut self.v6),
            _ => None,
        };
        ring.into_iter().flat_map(Ring::next)
    }
}

impl Ring {
    fn next(&mut self) -> impl Iterator<Item = &SockAddr> {
        let first = self.turn;
        self.turn = (first + 1) % self.all.len().max(1);
        let (before, from) = self.all.split_at(first);
        from.iter().chain(before)
    }
}

impl Door {
    /// The way to one of the plan.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn new(planned: &Planned, own_ports: &RangeInclusive<u16>) -> io::Result<Self> {
        let (domain, address) = match &planned.target {
            Target::Tcp(address) => (Domain::for_address(*address), (*address).into()),
            Target::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        if planned.at >= BACKENDS {
            return Err(io::Error::other("a backend beyond the board"));
        }
        Ok(Self {
            at: planned.at,
            domain,
            may_be_own_port: match &planned.target {
                Target::Tcp(address) => own_ports.contains(&address.port()),
                Target::Unix(_) => false,
            },
            address,
            portless_until: 0,
            max: planned.max,
        })
    }
}

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
/// Those of socket(2) and connect(2) that say that it will not come about. `EADDRNOTAVAIL`: of our own ports none is
/// free for it, or nothing gets there from those addresses of ours that are given; that is not the backend's fault.
pub fn dial(door: &Door, bytes_are_there: bool, sources: &mut Sources) -> Result<Dialed, Errno> {
    let mut outcome = None;
    for own in sources.next(door.domain) {
        outcome = Some(match dial_from(Some(own), door, bytes_are_there) {
            // From the machine's own addresses nothing gets to another one: connect(2) says so in this way.
            Err(Errno::EINVAL) => Err(Errno::EADDRNOTAVAIL),
            other => other,
        });
        // From another there may be a port, or it may be one of ours.
        if !matches!(outcome, Some(Err(Errno::EADDRNOTAVAIL))) {
            break;
        }
    }
    outcome.unwrap_or_else(|| match dial_from(None, door, bytes_are_there) {
        // Where there is no IPv6, it is not for want of ports.
        Err(Errno::EADDRNOTAVAIL) if !has_source(&door.address) => Err(Errno::ENETUNREACH),
        other => other,
    })
}

fn dial_from(own: Option<&SockAddr>, door: &Door, bytes_are_there: bool) -> Result<Dialed, Errno> {
    // Close-on-exec too: socket2 sees to that.
    let socket = Socket::new(door.domain, Type::STREAM.nonblocking(), None).map_err(number)?;
    if bytes_are_there && door.domain != Domain::UNIX {
        // tcp(7): the last packet of the handshake goes with the bytes. It wakes nobody up alone.
        socket.set_tcp_quickack(false).map_err(number)?;
    }
    if let Some(own) = own {
        connect_from(&socket, own)?;
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
    fn own_addresses_take_turns_within_their_family() {
        let all = ["10.0.0.1", "::1", "10.0.0.2"].map(|own| own.parse().unwrap());
        let mut sources = Sources::new(&all);
        let mut next = |domain| {
            let own = sources
                .next(domain)
                .map(|own| own.as_socket().unwrap().ip());
            own.map(|own| own.to_string()).collect::<Vec<_>>()
        };
        // What the others do is nothing to them.
        for _ in 0..2 {
            assert_eq!(next(Domain::IPV4), ["10.0.0.1", "10.0.0.2"]);
            assert_eq!(next(Domain::IPV6), ["::1"]);
            assert_eq!(next(Domain::IPV4), ["10.0.0.2", "10.0.0.1"]);
        }
        assert_eq!(next(Domain::UNIX), [""; 0]);
        assert_eq!(Sources::default().next(Domain::IPV4).count(), 0);
    }

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
