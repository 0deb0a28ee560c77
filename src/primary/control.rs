//! The control socket: a line asks, lines answer ([`crate::protocol`]).
//!
//! Takes clients, bounds everything they can do (lines, number, time, unread answers), and hands requests to
//! the supervisor, which answers whenever it can. Knows no verb's meaning ([`super::verbs`] and the supervisor
//! do), never waits, and never receives a descriptor: it reads without a control buffer.

mod client;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::reception::Reception;
use super::verbs;
use crate::protocol::{Reply, Request};
use crate::sys::handover::Luggage;
use client::{Client, FrozenClient, Phase};

/// Clients at one time (K2).
pub const MOST_CLIENTS: usize = 32;
/// Clients taken, and sets of events looked at, in one turn: the supervisor has other things to do as well.
const TURN: usize = 64;

/// A client; the number is never used again, so an answer that comes late reaches nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(usize);

/// All clients, for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenControl {
    clients: Vec<FrozenClient>,
    next: usize,
}

/// The listening side and all clients.
#[derive(Debug)]
pub struct Control {
    listener: Socket,
    reception: Reception,
    clients: Vec<Client>,
    /// The id of the next client.
    next: usize,
}

impl Control {
    /// Serves `listener`, a listening stream socket.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and epoll_ctl(2).
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        let listener = Socket::from(listener);
        Ok(Self {
            reception: Reception::new(&listener, MOST_CLIENTS, "clients at the control socket")?,
            listener,
            clients: Vec::new(),
            next: 1,
        })
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenControl {
        let now = Instant::now();
        let living = self.clients.iter().filter(|one| one.phase != Phase::Gone);
        FrozenControl {
            clients: living.map(|one| one.freeze(luggage, now)).collect(),
            next: self.next,
        }
    }

    /// As another image left it, on its `listener`.
    ///
    /// # Errors
    /// Those of [`Control::new`]; `InvalidData` for a client that did not come along.
    pub fn thaw(
        listener: OwnedFd,
        frozen: FrozenControl,
        luggage: &mut Luggage<'_>,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let mut this = Self::new(listener)?;
        this.next = frozen.next;
        for client in frozen.clients {
            let client = Client::thaw(client, luggage, now)?;
            this.reception.watch(&client, client.id.0)?;
            this.clients.push(client);
        }
        // Lines may be there that nothing will tell of again.
        this.reception.look_again(now);
        Ok(this)
    }

    /// Clients whose requests are not answered yet.
    pub fn waiting(&self) -> Vec<ClientId> {
        let waiting = self
            .clients
            .iter()
            .filter(|one| one.phase == Phase::Waiting);
        waiting.map(|one| one.id).collect()
    }

    /// When [`Control::ready`] is to be called at the latest, event or not.
    pub fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().filter_map(Client::deadline);
        self.reception.deadline(clients)
    }

    /// Takes what has come, without waiting, and returns what is asked. Every request is to be answered by
    /// [`Control::finish`] once. To be called when the descriptor is readable and at the
    /// [`deadline`](Control::deadline).
    pub fn ready(&mut self, now: Instant) -> Vec<(ClientId, Request)> {
        self.heed_events(now);
        self.clients
            .retain(|client| client.deadline().is_none_or(|deadline| deadline > now));
        self.take_clients(now);
        let asked = self.requests();
        self.clients.retain(|client| client.phase != Phase::Gone);
        if self.clients.iter().any(Client::has_line) {
            self.reception.look_again(now);
        }
        asked
    }

    /// Tells a client how far its request is.
    pub fn progress(&mut self, client: ClientId, line: &str) {
        if let Some(client) = self.client(client) {
            client.send(&Reply::<()>::Progress(line.to_owned()));
        }
    }

    /// Answers a client's request.
    pub fn finish<T: Serialize>(&mut self, client: ClientId, outcome: Result<T, String>) {
        let now = Instant::now();
        let reply = match outcome {
            Ok(value) => Reply::Ok(value),
            Err(sentence) => Reply::Error(sentence),
        };
        if let Some(client) = self.client(client) {
            client.finish(&reply, now);
            if client.has_line() || client.phase == Phase::Gone {
                self.reception.look_again(now);
            }
        }
    }

    /// Lets a client go, with what it has not read yet sent if its socket takes it.
    pub fn release(&mut self, id: ClientId) -> Option<Socket> {
        let at = self.clients.iter().position(|client| client.id == id)?;
        let client = self.clients.remove(at);
        self.reception.forget(&client);
        Some(client.into_socket())
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.id == id)
    }

    fn heed_events(&mut self, now: Instant) {
        for (number, event) in self.reception.events(TURN, now) {
            let Some(client) = self.client(ClientId(number)) else {
                continue;
            };
            if event.is_writable() {
                client.flush();
            }
            // Both directions are closed: nobody is there for an answer.
            if event.is_error() || (event.is_read_closed() && event.is_write_closed()) {
                client.phase = Phase::Gone;
            } else if event.is_readable() {
                client.read();
            }
        }
    }

    fn requests(&mut self) -> Vec<(ClientId, Request)> {
        let mut asked = Vec::new();
        for client in &mut self.clients {
            let Some(line) = client.next_line() else {
                continue;
            };
            match verbs::decode(&line) {
                Ok(request) => asked.push((client.id, request)),
                Err(sentence) => client.refuse(&sentence),
            }
        }
        asked
    }

    fn take_clients(&mut self, now: Instant) {
        for _ in 0..TURN {
            match self.reception.accept(&self.listener, now) {
                Ok(Some(socket)) => self.welcome(socket, now),
                Ok(None) | Err(_) => return,
            }
        }
        self.reception.look_again(now);
    }

    fn welcome(&mut self, socket: Socket, now: Instant) {
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let peer = getsockopt(&socket, PeerCredentials).map(|peer| peer.uid());
        let id = ClientId(self.next);
        self.next += 1;
        let mut client = Client::new(id, socket, now);
        // The permissions of the socket file say the same; this holds whatever became of them (K4).
        if !peer.is_ok_and(|uid| uid == 0 || uid == geteuid().as_raw()) {
            return client.refuse("only the user who started this primary, and root, may ask it");
        }
        if !self.make_room() {
            return client.refuse("this primary is busy with other clients: try again");
        }
        if self.reception.watch(&client, id.0).is_ok() {
            // What was sent right after connecting is here already: an honest client is served even if
            // the next one takes its place.
            client.read();
            self.clients.push(client);
        }
    }

    /// Makes room for one more: the client that has been silent for longest gives way.
    fn make_room(&mut self) -> bool {
        if self.clients.len() < MOST_CLIENTS {
            return true;
        }
        // In the order of their arrival.
        let Some(longest) = self.clients.iter().position(Client::is_silent) else {
            return false;
        };
        let mut client = self.clients.remove(longest);
        client.refuse("this primary is busy with other clients: ask sooner");
        true
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.reception.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
