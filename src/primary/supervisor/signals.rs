//! What each signal to the primary does: the contract's table, in one match.

use log::{debug, warn};

use super::Supervisor;
use super::operations::Order;
use crate::protocol::Size;
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
            Signal::SIGUSR1 if self.logs.reopen() => debug!("SIGUSR1: log files are opened anew"),
            Signal::SIGUSR1 => debug!("SIGUSR1: no log file is open, so there is none to reopen"),
            Signal::SIGHUP => self.reload(true),
            Signal::SIGUSR2 => self.reload(false),
            Signal::SIGTTIN => self.order(Order::Scale(None, Size::More(1)), None),
            Signal::SIGTTOU => self.order(Order::Scale(None, Size::Fewer(1)), None),
            other => debug!("{other} is not listened to"),
        }
    }

    /// A rolling reload of all apps, by what the configuration says now if `reread`.
    fn reload(&mut self, reread: bool) {
        let reload = Order::Reload {
            app: None,
            reread,
            changes_only: false,
        };
        self.order(reload, None);
    }
}
