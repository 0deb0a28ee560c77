//! How a listener is to be made.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::join::{Bound, Membership};
use super::listener::Listener;
use super::stop::Stopper;
use super::supply::Supply;

/// Builder of a [`Listener`].
///
/// ```
/// use forkfront::worker::{Options, Stopper};
///
/// // Bound, but not ready: the caches are still cold.
/// let listener = Options::new()
///     .backlog(512)
///     .nodelay(true)
///     .ready_on_bind(false)
///     .stopper(&Stopper::on_signals()?)
///     .bind("127.0.0.1:0")?;
/// // ... warm up ...
/// listener.ready()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) backlog: i32,
    pub(super) nodelay: bool,
    pub(super) nonblocking: bool,
    v6only: bool,
    ready_on_bind: bool,
    stopper: Option<Stopper>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Blocking connections, both families on `[::]`, ready on bind, the system's largest backlog.
    pub fn new() -> Self {
        Self {
            // listen(2): the kernel cuts it to net.core.somaxconn.
            backlog: i32::MAX,
            nodelay: false,
            nonblocking: false,
            v6only: false,
            ready_on_bind: true,
            stopper: None,
        }
    }

    /// Length of the kernel's accept queue; `forkfront run --backlog` wins over it.
    #[must_use]
    pub fn backlog(mut self, backlog: i32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Connections come with `TCP_NODELAY` set.
    #[must_use]
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Connections come in non-blocking mode: for event loops, one system call saved for each.
    #[must_use]
    pub fn nonblocking_connections(mut self, nonblocking: bool) -> Self {
        self.nonblocking = nonblocking;
        self
    }

    /// An IPv6 wildcard takes no IPv4 clients.
    #[must_use]
    pub fn v6only(mut self, v6only: bool) -> Self {
        self.v6only = v6only;
        self
    }

    /// `false`: [`Listener::ready`] is called later, when the program can serve. Until then the primary
    /// deals nothing to this worker, and kills it after `--ready-timeout`.
    #[must_use]
    pub fn ready_on_bind(mut self, ready: bool) -> Self {
        self.ready_on_bind = ready;
        self
    }

    /// The switch that ends this listener.
    #[must_use]
    pub fn stopper(mut self, stopper: &Stopper) -> Self {
        self.stopper = Some(stopper.clone());
        self
    }

    /// Asks for the first of `address` that can be had.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn bind(&self, address: impl ToSocketAddrs) -> io::Result<Listener> {
        let membership = Membership::from_environment()?;
        let mut last = None;
        for address in address.to_socket_addrs()? {
            match self.bind_one(membership.as_ref(), address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")
        }))
    }

    fn bind_one(
        &self,
        membership: Option<&Membership>,
        address: SocketAddr,
    ) -> io::Result<Listener> {
        // A port of the kernel's choice differs from worker to worker, so it cannot be shared.
        let member = membership.filter(|_| address.port() != 0);
        let supply = match member {
            None => Supply::own(address, self.v6only, self)?,
            Some(member) => match member.bind(address, self.v6only, self.nonblocking)? {
                Bound::Alone => Supply::own(address, self.v6only, self)?,
                Bound::Dealt {
                    channel,
                    board,
                    index,
                } => Supply::dealt(channel, board, index, member.clone(), self)?,
                Bound::Shared {
                    socket,
                    board,
                    index,
                } => Supply::shared(socket, board, index, member.clone(), self)?,
            },
        };
        let local = supply.local_addr()?.unwrap_or(address);
        let listener = Listener::new(supply, local, self.stopper.clone())?;
        if self.ready_on_bind {
            listener.ready()?;
        }
        Ok(listener)
    }
}
