//! The demo: an HTTP and WebSocket server on one event loop, built on nothing but the public side of
//! [`worker`](super), with a page that shows which slot and which process served each request.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page, one file |
//! | `/api/who` | who answers, as JSON; ends the connection, so that the next question is dealt anew |
//! | `/ws` | WebSocket: echoes, and tells the worker's counters once a second |
//! | `POST /api/crash` | aborts the process; only from this machine, only with the header `X-Forkfront` |
//!
//! It holds against garbage, slow clients and many of them. It is no framework: everything it does not need
//! is refused.

mod exchange;
mod http;
mod routes;
mod server;
mod session;
mod socket;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use super::{Listener, Options, Stopper};
use crate::error::{Error, Result};

/// Serves the demo on `address`, dealt to by forkfront or alone, until the worker is drained or a SIGTERM or
/// SIGINT comes; then finishes what is open.
///
/// Call it before any thread is started: it blocks the two signals.
///
/// # Errors
/// A sentence, when the address cannot be had or polling fails.
pub fn run(address: SocketAddr) -> Result<()> {
    let stopper =
        Stopper::on_signals().map_err(|error| Error::io("cannot watch for signals", &error))?;
    let listener = Options::new()
        .nonblocking_connections(true)
        .nodelay(true)
        .stopper(&stopper)
        .bind(address)
        .map_err(|error| Error::io(format_args!("cannot listen on {address}"), &error))?;
    if !listener.is_balanced() {
        log::info!("alone on http://{}", listener.local_addr());
    }
    serve(listener)
}

/// Serves the demo's clients from `listener`, whose connections must come in non-blocking mode
/// ([`Options::nonblocking_connections`]), until it ends.
///
/// # Errors
/// A sentence, when polling fails.
pub fn serve(listener: Listener) -> Result<()> {
    server::Server::new(listener)
        .and_then(server::Server::serve)
        .map_err(|error| Error::io("the demo's server has failed", &error))
}
