//! What each signal to the primary does: the contract's table, in one match.

use log::{debug, info, warn};

use super::Supervisor;
use crate::sys::signals::Signal;

impl Supervisor {
    /// Reads all signals that have come. First thing in each turn: a stop overtakes whatever else is ready.
    pub(super) fn hear_signals(&mut self) {
        loop {
            match self.signals.read() {
                Ok(Some(signal)) => self.on_signal(signal),
                Ok(None) => return,
                Err(error) => return warn!("cannot read signals: {error}"),
            }
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGCHLD => self.strays = true,
            Signal::SIGTERM => self.stop("SIGTERM"),
            Signal::SIGINT if !self.stopping => self.stop("SIGINT"),
            Signal::SIGINT => self.stop_now("a second signal"),
            Signal::SIGQUIT => self.stop_now("SIGQUIT"),
            Signal::SIGUSR1 => debug!("SIGUSR1: no log file is open, so there is none to reopen"),
            Signal::SIGHUP | Signal::SIGUSR2 => {
                info!("{signal}: this version cannot reload; nothing was changed");
            }
            Signal::SIGTTIN | Signal::SIGTTOU => {
                info!(
                    "{signal}: this version cannot change the number of workers; nothing was changed"
                );
            }
            other => debug!("{other} is not listened to"),
        }
    }
}
