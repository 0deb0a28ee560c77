//! What each signal to the primary does: the contract's table, in one match.

use log::{debug, warn};

use super::Supervisor;
use super::operations::Order;
use crate::primary::logs::Prepared;
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
            Signal::SIGUSR1 => self.reopen_log_files(),
            Signal::SIGHUP => self.reload(true),
            Signal::SIGUSR2 => self.reload(false),
            Signal::SIGTTIN => self.order(Order::Scale(None, Size::More(1)), None),
            Signal::SIGTTOU => self.order(Order::Scale(None, Size::Fewer(1)), None),
            other => debug!("{other} is not listened to"),
        }
    }

    fn reopen_log_files(&mut self) {
        if self.logs.reopen() {
            return debug!("SIGUSR1: log files are opened anew");
        }
        if self.config.logs.file.is_none() {
            return debug!("SIGUSR1: no log file is open, so there is none to reopen");
        }
        // It could not be opened after an upgrade.
        let prepared = Prepared::new(&self.config.logs);
        let changed = prepared.and_then(|logs| {
            let changed = self.logs.change(logs);
            changed.map_err(|error| format!("the log stays as it is: {error}"))
        });
        if let Err(sentence) = changed {
            warn!("{sentence}");
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
