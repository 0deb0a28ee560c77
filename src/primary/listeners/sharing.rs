//! Which listener a server's `bind` is answered with: one that is there, or, where none is named, a new one.

use std::net::SocketAddr;

use super::door::{self, Place, Wish};
use super::{BindDecision, Listener, Listeners, MOST_LISTENERS};
use crate::wire::SocketOption;

impl Listeners {
    pub(super) fn find_named(&mut self, port: u16) -> BindDecision {
        let fits = |wanted: Option<u16>| {
            move |listener: &&mut Listener| -> bool { listener.app_port == wanted }
        };
        if let Some(listener) = self.listeners.iter_mut().find(fits(Some(port))) {
            return BindDecision::Share(listener.id);
        }
        // Only Unix doors were named: they lead to the first port that the server binds.
        match self.listeners.iter_mut().find(fits(None)) {
            Some(listener) => {
                listener.app_port = Some(port);
                BindDecision::Share(listener.id)
            }
            None => BindDecision::PassThrough,
        }
    }

    pub(super) fn find_or_bind(
        &mut self,
        address: SocketAddr,
        v6only: bool,
        reuse_port: bool,
        options: &[SocketOption],
    ) -> BindDecision {
        let v6only = v6only && address.is_ipv6();
        let known = |listener: &&Listener| {
            listener.doors.iter().any(|door| match door.place {
                Place::Tcp(at, only) => {
                    (at == address && (only == v6only || !at.ip().is_unspecified()))
                        // Two sockets of one server share a port by SO_REUSEPORT; ours never do, so the wider
                        // of the two serves both.
                        || (reuse_port && covers(at, only, address))
                }
                Place::Unix(_) => false,
            })
        };
        if let Some(listener) = self.listeners.iter().find(known) {
            return BindDecision::Share(listener.id);
        }
        if self.listeners.len() >= MOST_LISTENERS {
            return BindDecision::Errno(libc::ENOBUFS);
        }
        let wish = Wish {
            v6only,
            reuse_address: false,
            options,
            own_user: self.settings.own_user,
        };
        match door::bind_tcp(address, &wish) {
            Ok(door) => BindDecision::Share(self.add(door, Some(address.port()))),
            Err(error) => BindDecision::Errno(error.raw_os_error().unwrap_or(libc::EINVAL)),
        }
    }
}

/// Whether a socket bound to `at` gets the connections that one bound to `address` would.
fn covers(at: SocketAddr, v6only: bool, address: SocketAddr) -> bool {
    at.port() == address.port()
        && at.ip().is_unspecified()
        && (at.is_ipv4() == address.is_ipv4() || (at.is_ipv6() && !v6only))
}
