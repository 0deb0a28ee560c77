//! One listening socket of the primary: a *door*. A listener has one, or several if several `-l` lead to
//! the same port of the server.
//!
//! Makes sockets and says why it could not; decides nothing about sharing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::options;
use crate::primary::socket_file::SocketFile;
use crate::sys::address::to_wire;
use crate::sys::{diag, sockopt};
use crate::wire::{Address, SocketOption};

/// To listen(2) a negative backlog is the greatest: the kernel cuts it to `net.core.somaxconn`.
pub const GREATEST_BACKLOG: i32 = -1;

/// One listening socket.
#[derive(Debug)]
pub struct Door {
    /// The socket, until it is closed: close-on-exec, at first blocking.
    socket: Option<Socket>,
    /// Where it is.
    pub place: Place,
    /// The name to unlink, of a Unix socket that we made.
    pub file: Option<SocketFile>,
    /// What listen(2) was last called with.
    pub backlog: Option<i32>,
}

/// Where a door is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A TCP address and `IPV6_V6ONLY`.
    Tcp(SocketAddr, bool),
    /// A Unix socket, as it is to be shown: `unix:/path`.
    Unix(String),
}

/// The addresses of one listener, as people write them.
pub fn texts(doors: &[Door]) -> String {
    let texts: Vec<_> = doors.iter().map(Door::text).collect();
    texts.join(", ")
}

impl Door {
    /// A door of this socket; `backlog` is what listen(2) was called with, if it was.
    pub fn new(socket: Socket, place: Place, backlog: Option<i32>) -> Self {
        Self {
            socket: Some(socket),
            place,
            file: None,
            backlog,
        }
    }

    /// As another image left it; it may be closed.
    pub fn thaw(socket: Option<OwnedFd>, place: Place, backlog: Option<i32>) -> Self {
        Self {
            socket: socket.map(Socket::from),
            place,
            file: None,
            backlog,
        }
    }

    /// The socket.
    ///
    /// # Errors
    /// `EINVAL` once it is closed.
    pub fn socket(&self) -> io::Result<&Socket> {
        self.socket
            .as_ref()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    }

    /// Closes our copy of the socket and unlinks its name.
    pub fn close(&mut self) {
        self.socket = None;
        self.file = None;
    }

    /// The address as people write it.
    pub fn text(&self) -> String {
        match &self.place {
            Place::Tcp(address, _) => address.to_string(),
            Place::Unix(text) => text.clone(),
        }
    }

    /// The address as the records carry it.
    pub fn local(&self) -> Address {
        match &self.place {
            Place::Tcp(address, _) => to_wire(address),
            Place::Unix(_) => Address::default(),
        }
    }

    /// An IPv6 socket that takes IPv4 clients as well.
    pub fn is_dual_stack(&self) -> bool {
        matches!(self.place, Place::Tcp(SocketAddr::V6(address), false) if address.ip().is_unspecified())
    }

    /// Connections in the accept queue now, and its limit; zeros where the kernel does not say.
    pub fn accept_queue(&self) -> (u32, u32) {
        match (&self.place, &self.socket) {
            (Place::Tcp(..), Some(socket)) => sockopt::accept_queue(socket).unwrap_or_default(),
            (Place::Unix(_), Some(socket)) => diag::unix_accept_queue(socket).unwrap_or_default(),
            (_, None) => (0, 0),
        }
    }

    /// listen(2). The queue only ever grows: a worker that asks for less takes nothing from the others.
    pub fn listen(&mut self, backlog: i32) -> io::Result<()> {
        // As unsigned numbers, since that is how the kernel reads them: -1 is the greatest.
        if self.backlog.is_some_and(|now| now as u32 >= backlog as u32) {
            return Ok(());
        }
        self.socket()?.listen(backlog)?;
        self.backlog = Some(backlog);
        Ok(())
    }

    /// A copy of the descriptor, close-on-exec.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.socket()?.as_fd().try_clone_to_owned()
    }
}

/// What a TCP door is made of, beside its address.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// `IPV6_V6ONLY`.
    pub v6only: bool,
    /// `SO_REUSEADDR` whatever `options` say.
    pub reuse_address: bool,
    /// Set before bind(2).
    pub options: &'a [SocketOption],
    /// The workers are the primary's own user: options that need privileges may be set.
    pub own_user: bool,
}

/// A TCP socket bound to `address`, not listening yet. Never `SO_REUSEPORT`: a stranger could share the port.
///
/// # Errors
/// Those of socket(2), setsockopt(2) and bind(2).
pub fn bind_tcp(address: SocketAddr, wish: &Wish<'_>) -> io::Result<Door> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(wish.v6only)?;
    }
    // What cannot be set here could be set by the server: it is bind(2) that judges the consequence.
    let _ = options::apply(&socket, wish.options, wish.own_user);
    if wish.reuse_address {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    let place = Place::Tcp(bound, wish.v6only && address.is_ipv6());
    Ok(Door::new(socket, place, None))
}

/// All addresses, both families: one dual-stack socket, or an IPv4 one if the kernel has no IPv6.
///
/// # Errors
/// Those of [`bind_tcp`].
pub fn bind_any(port: u16) -> io::Result<Door> {
    let wish = Wish {
        v6only: false,
        reuse_address: true,
        options: &[],
        own_user: true,
    };
    let any = |ip: IpAddr| SocketAddr::new(ip, port);
    match bind_tcp(any(Ipv6Addr::UNSPECIFIED.into()), &wish) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
            ) =>
        {
            bind_tcp(any(Ipv4Addr::UNSPECIFIED.into()), &wish)
        }
        bound => bound,
    }
}

/// A socket that was inherited, if it is one that listens for connections.
///
/// # Errors
/// What it is instead, to complete "is ...".
pub fn adopt(fd: OwnedFd) -> Result<Door, &'static str> {
    let socket = SockRef::from(&fd);
    match socket.r#type() {
        Ok(Type::STREAM) => {}
        Ok(_) => return Err("not a stream socket"),
        Err(_) => return Err("not a socket"),
    }
    if !socket.is_listener().unwrap_or(false) {
        return Err("not listening (Accept=no is needed)");
    }
    let local = socket.local_addr().map_err(|_| "without an address")?;
    let place = if let Some(address) = local.as_socket() {
        let v6only = address.is_ipv6() && socket.only_v6().unwrap_or(false);
        Place::Tcp(address, v6only)
    } else if let Some(path) = local.as_pathname() {
        Place::Unix(format!("unix:{}", path.display()))
    } else if local.is_unix() {
        Place::Unix("unix:@".to_owned())
    } else {
        return Err("neither TCP nor Unix");
    };
    Ok(Door::new(fd.into(), place, Some(GREATEST_BACKLOG)))
}
