//! `--defer-accept`: the kernel keeps a connection to itself until its client has sent something (tcp(7),
//! `TCP_DEFER_ACCEPT`).
//!
//! Whoever has set the option on the socket, a server of its own accord or who handed it down to us, has set it
//! for good: it is left alone then.

use std::time::Duration;

use super::door::{Door, Place};
use super::{Listener, Listeners};
use crate::sys::sockopt;
use crate::wire::SocketOption;

const LEVEL: i32 = libc::IPPROTO_TCP;
const NAME: i32 = libc::TCP_DEFER_ACCEPT;

/// A server says itself what it wants.
pub(super) fn is_among(options: &[SocketOption]) -> bool {
    let is_it = |option: &SocketOption| (option.level, option.name) == (LEVEL, NAME);
    options.iter().any(is_it)
}

/// Somebody has set it on this socket, which has just come to us.
pub(super) fn is_set(door: &Door) -> bool {
    let now = door
        .socket()
        .and_then(|socket| sockopt::get(socket, LEVEL, NAME));
    now.is_ok_and(|seconds| seconds != 0)
}

impl Listener {
    /// Sets it on all sockets of this listener, unless that is the server's.
    pub(super) fn defer(&self, most: Option<Duration>) {
        if self.defers_itself {
            return;
        }
        // The kernel counts in seconds, by which it means numbers of SYN-ACKs.
        let seconds = most.map_or(0, |most| most.as_millis().div_ceil(1000) as i32);
        for door in &self.doors {
            let (Place::Tcp(..), Ok(socket)) = (&door.place, door.socket()) else {
                continue;
            };
            if let Err(error) = sockopt::set(socket, LEVEL, NAME, &seconds.to_ne_bytes()) {
                log::warn!("--defer-accept has no effect on {}: {error}", door.text());
            }
        }
    }
}

impl Listeners {
    /// So long from now on; `None`: a connection is there when the client has connected.
    pub fn set_defer_accept(&mut self, most: Option<Duration>) {
        self.settings.defer_accept = most;
        self.listeners.iter().for_each(|one| one.defer(most));
    }

    /// What holds for all, on this listener too, if it is not held so already.
    pub(super) fn defer_on(&self, id: crate::policy::ids::ListenerId) {
        let most = self.settings.defer_accept;
        if most.is_some()
            && let Some(listener) = self.get(id)
        {
            listener.defer(most);
        }
    }
}
