//! Listeners that come and go while the primary runs, as a configuration file that was read again says.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::stat::fstat;

use super::door::Door;
use super::{Listeners, named};
use crate::config::{Listen, ListenAt};
use crate::error::{Error, Result};
use crate::policy::ids::ListenerId;
use crate::wire::Address;

/// A socket that listens already and leads nowhere yet.
#[derive(Debug)]
pub struct Newcomer {
    door: Door,
    app_port: Option<u16>,
    copy: (OwnedFd, Address),
}

/// What is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A listener with its only socket.
    Listener(ListenerId),
    /// One of its sockets, by its inode.
    Socket(ListenerId, u64),
}

impl Listeners {
    /// Listens at one more address. Nothing else has changed: dropped, it is closed.
    ///
    /// # Errors
    /// One sentence: an address that cannot be listened on.
    pub fn open_one(&self, listen: &Listen) -> Result<Newcomer> {
        let mut doors = named::open(
            std::slice::from_ref(listen),
            Vec::new(),
            self.settings.backlog,
        )?;
        let (door, port) = doors.remove(0);
        let copied = door.socket().and_then(|socket| {
            socket.set_nonblocking(true)?;
            door.copy()
        });
        let copy = copied
            .map_err(|error| Error::io(format!("cannot listen on {}", door.text()), &error))?;
        let first = self.listeners.iter().find_map(|one| one.app_port);
        Ok(Newcomer {
            copy: (copy, door.local()),
            app_port: port.or(first),
            door,
        })
    }

    /// Lets it lead to its port of the server: the listener it belongs to from now on, and a copy of the socket
    /// for the dispatcher, should that deal from this listener already.
    pub fn take_in(&mut self, newcomer: Newcomer) -> (ListenerId, (OwnedFd, Address)) {
        let Newcomer {
            door,
            app_port,
            copy,
        } = newcomer;
        let id = self.add_door(door, app_port);
        self.defer_on(id);
        (id, copy)
    }

    /// Forgets the socket that is reached at this address: our copy of it is closed, its name unlinked. Who has
    /// come is still in the dispatcher's.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn close_at(&mut self, at: &ListenAt) -> io::Result<Option<Closing>> {
        let reached = |door: &Door| named::matches(at, door);
        let Some(index) = self
            .listeners
            .iter()
            .position(|one| one.doors.iter().any(reached))
        else {
            return Ok(None);
        };
        let listener = &mut self.listeners[index];
        let id = listener.id;
        if let [_] = listener.doors.as_slice() {
            self.listeners.remove(index);
            return Ok(Some(Closing::Listener(id)));
        }
        let Some(door) = listener.doors.iter().position(reached) else {
            return Ok(None);
        };
        let inode = fstat(listener.doors[door].socket()?)?.st_ino;
        listener.doors.remove(door);
        Ok(Some(Closing::Socket(id, inode)))
    }

    /// Another backlog from now on; `None`: as the servers wish from their next listen(2) on. A queue only grows.
    pub fn set_backlog(&mut self, backlog: Option<i32>) {
        self.settings.backlog = backlog;
        for door in self.listeners.iter_mut().flat_map(|one| &mut one.doors) {
            if let Some(backlog) = backlog.filter(|_| door.backlog.is_some()) {
                // One that listens can do so again; should it not, it goes on with the queue that it has.
                let _ = door.listen(backlog);
            }
        }
    }
}
