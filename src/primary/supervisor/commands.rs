//! What people ask over the control socket, done.

use std::time::Instant;

use super::Supervisor;
use crate::primary::control::ClientId;
use crate::protocol::{Done, Request};

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
            // One that comes while a stop is under way waits for its end as well.
            Request::Stop => {
                self.commands.await_stop(client);
                self.stop("forkfront stop");
            }
            Request::Reload { .. }
            | Request::Restart { .. }
            | Request::Scale { .. }
            | Request::Drain { .. }
            | Request::Resume { .. }
            | Request::Set { .. }
            | Request::Upgrade { .. } => {
                let sentence = format!("this version cannot {request:?} yet");
                self.commands.answer::<Done>(client, Err(sentence));
            }
        }
    }

    /// Tells those who wait for the stop how far it is.
    pub(super) fn progress(&mut self, line: &str) {
        log::debug!("{line}");
        self.commands.progress_of_stop(line);
    }
}
