//! The primary's listening sockets: which there are, which `bind` of a server is answered with which, and
//! how full their queues are.
//!
//! With `-l` (or inherited sockets) exactly the named ports of the server are shared; without, the first
//! `bind` of an address makes its listener, as the server asked, and its errno is the server's. Never
//! accepts: that is the dispatcher's, which gets copies. Called by the supervisor only.

mod deferral;
pub mod door;
mod frozen;
pub mod live;
mod locals;
mod named;
mod options;
pub mod overflows;
mod sharing;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::config::Listen;
use crate::error::Result;
use crate::policy::ids::ListenerId;
use crate::status::ListenerStatus;
use crate::sys::address;
use crate::wire::{Address, SocketOption};
use door::{Door, Place};
pub use frozen::{FrozenDoor, FrozenListeners};
pub use named::{open_one, share_out};

/// The most listeners that workers may ask for: a server that binds without end stops here.
pub const MOST_LISTENERS: usize = 64;

/// What applies to all listeners.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// `--backlog`.
    pub backlog: Option<i32>,
    /// The workers run as the primary's own user, so options that need privileges may be set for them.
    pub own_user: bool,
    /// `--defer-accept`.
    #[serde(default)]
    pub defer_accept: Option<Duration>,
}

/// All listeners of one primary.
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<Listener>,
    next: u16,
    /// Only the ports named are shared.
    named: bool,
    settings: Settings,
    /// `ListenOverflows` of the network namespace when this primary started.
    overflows_before: u64,
}

/// What a worker's channel is for: a port of the server, and the doors through which connections to it come.
#[derive(Debug)]
struct Listener {
    id: ListenerId,
    /// The port of the server; `None` until its first `bind` (only Unix doors).
    app_port: Option<u16>,
    doors: Vec<Door>,
    /// Servers have bound it as `AF_INET`, as `AF_INET6`.
    asked_v4: bool,
    asked_v6: bool,
    /// `TCP_DEFER_ACCEPT` is as its server, or whoever handed the socket down, wants it.
    defers_itself: bool,
}

impl Listener {
    /// What a server keeps to this machine, `-l` may show to the world: said once.
    fn warn_if_widened(&self, asked: SocketAddr) {
        let first = !self.asked_v4 && !self.asked_v6;
        let wide =
            |door: &&Door| matches!(&door.place, Place::Tcp(at, _) if !at.ip().is_loopback());
        if first
            && asked.ip().is_loopback()
            && let Some(door) = self.doors.iter().find(wide)
        {
            log::warn!(
                "the server asks for {asked} only, but clients reach it through {} from elsewhere too",
                door.text()
            );
        }
    }
}

/// The answer to a server's `bind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindDecision {
    /// Not shared: the server's own socket is bound.
    PassThrough,
    /// Shared, through this listener.
    Share(ListenerId),
    /// The `bind` fails with this errno.
    Errno(i32),
}

impl Listeners {
    /// Opens all that `-l` names; all of them are listening when this returns.
    ///
    /// # Errors
    /// A usage error for two `-l` of one address; one sentence for an address that cannot be listened on.
    /// Nothing stays open then.
    pub fn open(listen: &[Listen], inherited: Vec<OwnedFd>, settings: Settings) -> Result<Self> {
        let mut this = Self {
            listeners: Vec::new(),
            next: 0,
            named: !listen.is_empty() || !inherited.is_empty(),
            settings,
            // None are ours where it cannot be said.
            overflows_before: overflows::now().unwrap_or(u64::MAX),
        };
        let doors = named::open(listen, inherited, settings.backlog)?;
        // A Unix door without a port leads where the first TCP door leads.
        let first = doors.iter().find_map(|(_, port)| *port);
        for (door, port) in doors {
            let id = this.add_door(door, port.or(first));
            this.defer_on(id);
        }
        Ok(this)
    }

    fn add_door(&mut self, door: Door, app_port: Option<u16>) -> ListenerId {
        match self
            .listeners
            .iter_mut()
            .find(|listener| listener.app_port == app_port)
        {
            Some(listener) => {
                listener.defers_itself |= deferral::is_set(&door);
                listener.doors.push(door);
                listener.id
            }
            None => self.add(door, app_port),
        }
    }

    fn add(&mut self, door: Door, app_port: Option<u16>) -> ListenerId {
        let id = ListenerId(self.next);
        self.next += 1;
        self.listeners.push(Listener {
            id,
            app_port,
            defers_itself: deferral::is_set(&door),
            doors: vec![door],
            asked_v4: false,
            asked_v6: false,
        });
        id
    }

    /// All listeners, in the order in which they were made.
    pub fn ids(&self) -> impl Iterator<Item = ListenerId> + '_ {
        self.listeners.iter().map(|listener| listener.id)
    }

    /// Which ports of the server are shared, as far as that is known.
    pub fn app_ports(&self) -> Vec<u16> {
        let ports = self.listeners.iter().filter_map(|one| one.app_port);
        ports.collect()
    }

    /// The first TCP port that clients connect to: the default name of the primary.
    pub fn first_port(&self) -> Option<u16> {
        self.doors().find_map(|door| match &door.place {
            Place::Tcp(address, _) => Some(address.port()),
            Place::Unix(_) => None,
        })
    }

    /// Addresses of all doors, as people write them.
    pub fn addresses(&self) -> Vec<String> {
        self.doors().map(Door::text).collect()
    }

    /// Some listener has several doors, which `--balance kernel` cannot serve: a server's `bind` is answered
    /// with one socket there.
    pub fn shares_a_port_between_doors(&self) -> bool {
        self.listeners.iter().any(|one| one.doors.len() > 1)
    }

    fn doors(&self) -> impl Iterator<Item = &Door> {
        self.listeners.iter().flat_map(|listener| &listener.doors)
    }

    /// Answers a `bind` of a worker's server.
    pub fn for_bind(
        &mut self,
        asked: &Address,
        v6only: bool,
        reuse_port: bool,
        options: &[SocketOption],
    ) -> BindDecision {
        let Some(address) = address::from_wire(asked).filter(|address| address.port() != 0) else {
            return BindDecision::PassThrough;
        };
        let decision = if self.named {
            self.find_named(address.port())
        } else {
            self.find_or_bind(address, v6only, reuse_port, options)
        };
        if let BindDecision::Share(id) = decision
            && let Some(listener) = self.get_mut(id)
        {
            listener.warn_if_widened(address);
            listener.asked_v4 |= address.is_ipv4();
            listener.asked_v6 |= address.is_ipv6();
        }
        decision
    }

    /// `listen` by a worker's server: sets `options`, and listens unless that is done. `true` if the listener
    /// is new to the dispatcher: it did not listen before, at the server's request.
    ///
    /// # Errors
    /// The errno for the server's `listen`.
    pub fn listen(
        &mut self,
        id: ListenerId,
        backlog: i32,
        options: &[SocketOption],
    ) -> io::Result<bool> {
        let Settings {
            backlog: fixed,
            own_user,
            defer_accept,
        } = self.settings;
        let listener = self.get_mut(id).ok_or_else(no_such_listener)?;
        listener.defers_itself |= deferral::is_among(options);
        let mut newly = false;
        for door in &mut listener.doors {
            let _ = options::apply(door.socket()?, options, own_user);
            newly |= door.backlog.is_none();
            door.listen(fixed.unwrap_or(backlog))?;
        }
        if newly && defer_accept.is_some() {
            listener.defer(defer_accept);
        }
        Ok(newly)
    }

    /// Options that a server set on its listening socket.
    ///
    /// # Errors
    /// The errno for the server's `setsockopt`.
    pub fn set_options(&mut self, id: ListenerId, options: &[SocketOption]) -> io::Result<()> {
        let own_user = self.settings.own_user;
        let listener = self.get_mut(id).ok_or_else(no_such_listener)?;
        listener.defers_itself |= deferral::is_among(options);
        listener
            .doors
            .iter()
            .try_for_each(|door| options::apply(door.socket()?, options, own_user))
    }

    /// Whether the listener is listening, so that the dispatcher can be given its sockets.
    pub fn is_listening(&self, id: ListenerId) -> bool {
        self.get(id)
            .is_some_and(|listener| listener.doors.iter().all(|door| door.backlog.is_some()))
    }

    /// Copies of the listener's sockets for the dispatcher, made non-blocking, each with its address.
    ///
    /// # Errors
    /// `EMFILE` and the like.
    pub fn sockets(&self, id: ListenerId) -> io::Result<Vec<(OwnedFd, Address)>> {
        let listener = self.get(id).ok_or_else(no_such_listener)?;
        let copy = |door: &Door| {
            door.socket()?.set_nonblocking(true)?;
            Ok((door.copy()?, door.local()))
        };
        listener.doors.iter().map(copy).collect()
    }

    /// A copy of the listening socket itself, for a worker (`--balance kernel`). Its `O_NONBLOCK` is shared
    /// by all of them, as it is between processes that fork after `listen`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the listener has several sockets; `EMFILE` and the like.
    pub fn socket_for_worker(&self, id: ListenerId) -> io::Result<OwnedFd> {
        match self.get(id).map(|listener| listener.doors.as_slice()) {
            Some([door]) => door.copy(),
            Some(_) => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            None => Err(no_such_listener()),
        }
    }

    /// True if a dual-stack door serves a server that has bound IPv4 only: IPv6 clients are then to be
    /// closed. Changes when a server binds the same port as IPv6 too.
    pub fn ipv4_only(&self, id: ListenerId) -> bool {
        self.get(id).is_some_and(|listener| {
            listener.asked_v4
                && !listener.asked_v6
                && listener.doors.iter().any(Door::is_dual_stack)
        })
    }

    /// Closes the primary's own copies of all sockets and unlinks Unix ones: the dispatcher's are then the
    /// only ones, and nobody can connect once it has closed them. What the listeners were is still known.
    pub fn close(&mut self) {
        for listener in &mut self.listeners {
            listener.doors.iter_mut().for_each(Door::close);
        }
    }

    /// Gives back the address of a listener that a server has bound and given up without ever listening.
    /// `true` if there was such a one; a listener that listens stays.
    pub fn release(&mut self, id: ListenerId) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|listener| {
            listener.id != id || listener.doors.iter().any(|door| door.backlog.is_some())
        });
        self.listeners.len() < before
    }

    /// The state of all listeners, which are `app`'s; `accepted` counts a listener's connections.
    pub fn statuses(&self, app: &str, accepted: impl Fn(ListenerId) -> u64) -> Vec<ListenerStatus> {
        let overflows = overflows::now().unwrap_or(0);
        let overflows = overflows.saturating_sub(self.overflows_before);
        let status = |listener: &Listener| {
            let queues = listener.doors.iter().map(Door::accept_queue);
            let (backlog, backlog_limit) = queues.fold((0, 0), |sum: (u32, u32), queue| {
                (sum.0.saturating_add(queue.0), sum.1.saturating_add(queue.1))
            });
            ListenerStatus {
                app: app.to_owned(),
                address: door::texts(&listener.doors),
                app_port: listener.app_port,
                accepted: accepted(listener.id),
                backlog,
                backlog_limit,
                overflows,
            }
        };
        self.listeners.iter().map(status).collect()
    }

    /// The listener's addresses, as people write them.
    pub fn text(&self, id: ListenerId) -> String {
        self.get(id)
            .map_or_else(String::new, |one| door::texts(&one.doors))
    }

    fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.id == id)
    }

    fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.iter_mut().find(|listener| listener.id == id)
    }
}

fn no_such_listener() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

#[cfg(test)]
mod tests;
