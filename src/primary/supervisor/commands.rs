//! What people ask over the control socket, done.

use std::time::Instant;

use super::Supervisor;
use super::operations::Order;
use crate::primary::control::ClientId;
use crate::primary::logs::Wish;
use crate::protocol::{Done, LogsOf, Request};

impl Supervisor {
    /// Takes what clients of the control socket ask.
    pub(super) fn hear_commands(&mut self) {
        for (client, request) in self.commands.ready(Instant::now()) {
            self.perform(client, request);
        }
    }

    fn perform(&mut self, client: ClientId, request: Request) {
        match request {
            Request::Status => {
                let status = self.status();
                let status = status.ok_or_else(|| "the dispatcher does not answer".to_owned());
                self.commands.answer(client, status);
            }
            Request::Logs {
                of,
                since,
                lines,
                follow,
            } => {
                let (only_app, unknown) = match self.whose_log(of.as_ref()) {
                    Ok(whose) => whose,
                    Err(sentence) => return self.commands.answer::<Done>(client, Err(sentence)),
                };
                let wish = Wish {
                    of,
                    only_app,
                    since,
                    lines,
                    follow,
                    unknown,
                };
                if let Some(client) = self.commands.release(client) {
                    self.logs.show(client, wish);
                }
            }
            Request::Metrics => {
                let text = self.metrics_text();
                self.commands.answer(client, text);
            }
            // One that comes while a stop is under way waits for its end as well.
            Request::Stop => {
                self.commands.await_stop(client);
                self.stop("forkfront stop");
            }
            Request::Reload { app, changes_only } => {
                let reload = Order::Reload {
                    app,
                    reread: true,
                    changes_only,
                };
                self.order(reload, Some(client));
            }
            Request::Restart { slot } => self.order(Order::Restart(slot), Some(client)),
            Request::Scale { app, to } => self.order(Order::Scale(app, to), Some(client)),
            Request::Drain { slot } => self.order(Order::Drain(slot), Some(client)),
            Request::Resume { slot } => self.order(Order::Resume(slot), Some(client)),
            Request::Set { app, setting } => self.order(Order::Set(app, setting), Some(client)),
            Request::Backend { app, change } => {
                self.change_backend(client, app.as_deref(), &change)
            }
            Request::Upgrade { binary } => self.order(Order::Upgrade(binary), Some(client)),
        }
    }

    /// The app that a slot without one is of, and what is wrong if there are no lines of those whose are wanted.
    /// Slots and apps that there were have left lines.
    fn whose_log(&self, of: Option<&LogsOf>) -> Result<(Option<String>, Option<String>), String> {
        Ok(match of {
            Some(LogsOf::Slot(slot)) => {
                let app = match &slot.app {
                    Some(app) => app.clone(),
                    None => self.apps[self.app_named(None)?].config.name.clone(),
                };
                (Some(app), self.slot_named(slot).err())
            }
            Some(LogsOf::App(app)) => (None, self.app_named(Some(app)).err()),
            Some(LogsOf::Primary) | None => (None, None),
        })
    }

    /// Tells those who wait for the stop how far it is.
    pub(super) fn progress(&mut self, line: &str) {
        log::debug!("{line}");
        self.commands.progress_of_stop(line);
    }
}
