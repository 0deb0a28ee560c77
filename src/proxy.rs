//! The built-in proxy: a native worker that connects each connection on to a backend and moves bytes both ways.
//!
//! One process per core, one thread, one mio loop. Which backends there are, how they are doing and what each gets is
//! decided by the primary and read from the board of backends (`view`); what the sessions see is written there.
//!
//! | file | what |
//! |---|---|
//! | `server` | the loop: who has a turn, what becomes of a session after it |
//! | `session` | one client and its backend |
//! | `asking` | whom a client belongs to, where backends are sticky |
//! | `attempt`, `dial`, `rest` | the way to a backend: the choice, the connect, the next one, a pause |
//! | `header` | what a backend is told of the client |
//! | `patience` | how long each thing may take |
//! | `view` | the plan and the board as this worker sees them |
//! | `duplex` | bytes between two connected sockets |
//! | `source` | what a poll's token means |

mod asking;
mod attempt;
mod dial;
mod duplex;
mod header;
mod patience;
mod rest;
mod server;
mod session;
mod site;
mod source;
mod view;

use std::net::SocketAddr;

use crate::error::{Error, Result};
use crate::sys::scheduler::let_wakers_finish;
use crate::worker::join::Membership;
use crate::worker::{Options, Stopper};

/// Serves as a worker of a proxy on `address`, until it is drained or a SIGTERM or SIGINT comes; then finishes what is
/// open.
///
/// Call it before any thread is started: it blocks the two signals.
///
/// # Errors
/// A sentence, when nobody balances us, the address cannot be had or polling fails.
pub fn run(address: SocketAddr) -> Result<()> {
    let alone = || Error::usage("a proxy worker is started by 'forkfront proxy'");
    let failed = |error| Error::io("a proxy worker cannot join", &error);
    let stopper = Stopper::on_signals().map_err(failed)?;
    let membership = Membership::from_environment().map_err(failed)?;
    let means = membership.ok_or_else(alone)?.backends().map_err(failed)?;
    // A proxy is woken by each send of either side: without this it slept four times as often and cost a quarter more.
    let_wakers_finish(true);
    let listener = Options::new()
        .nonblocking_connections(true)
        .nodelay(true)
        .ready_on_bind(false)
        .stopper(&stopper)
        .bind(address)
        .map_err(|error| Error::io(format_args!("cannot listen on {address}"), &error))?;
    server::Server::new(listener, stopper, means)
        .and_then(server::Server::serve)
        .map_err(|error| Error::io("a proxy worker has failed", &error))
}
