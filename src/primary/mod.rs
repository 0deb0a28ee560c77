//! The primary: the one process that listens, accepts and deals, and that looks after the workers.

use crate::config::Config;
use crate::error::Result;

pub mod app;
pub mod backends;
pub mod check;
pub mod control;
pub mod dispatcher;
pub mod health;
pub mod listeners;
pub mod logs;
pub mod messages;
pub mod metrics;
pub mod notifier;
pub mod preflight;
pub mod pulse;
pub mod reception;
pub mod rendezvous;
pub mod rundir;
pub mod socket_file;
pub mod supervisor;
pub mod upgrade;
pub mod verbs;
pub mod workers;

pub use upgrade::resumed;

/// Runs a primary from its start to its end. To be called by the main thread, before any other is started.
///
/// # Errors
/// The sentence for `main`: it could not start, or no worker ever could.
pub fn run(config: Config) -> Result<()> {
    supervisor::boot::boot(config)?.run()
}
