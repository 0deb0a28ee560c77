//! The end of a worker, and what kind of an end it is: in peace, the last one, unplanned.

use std::time::Duration;

use super::PROVEN;
use crate::config::{Restart, RestartWhen};
use crate::policy::lifecycle::{End, Why};

/// The end of a slot's worker.
#[derive(Debug)]
pub(super) struct Loss {
    pub end: End,
    /// Exit code of its first process, if it exited.
    pub code: Option<i32>,
    /// How long it had been ready, if it ever was.
    pub ready_for: Option<Duration>,
}

impl Loss {
    /// It was well, and ended with success of its own accord: what a limit of the server's own looks like (B8).
    pub fn is_in_peace(&self) -> bool {
        self.end == End::Finished && self.ready_for.is_some_and(|lasted| lasted >= PROVEN)
    }

    /// The slot gets no next worker.
    pub fn is_last(&self, restart: &Restart) -> bool {
        let by_itself = matches!(self.end, End::Early | End::Crashed | End::Finished);
        let code = self.code.filter(|_| by_itself);
        restart.when == RestartWhen::Never
            || code.is_some_and(|code| restart.stop_exit_codes.contains(&code))
            || (restart.when == RestartWhen::OnFailure && code == Some(0))
    }
}

/// It ended as none should; `lasted` is how long it was ready.
pub(super) fn is_unplanned(end: End, lasted: Duration) -> bool {
    match end {
        End::Early | End::Crashed => true,
        End::Finished => lasted < PROVEN,
        End::Drained(why) | End::Killed(why) => matches!(why, Why::Late | Why::Broken | Why::Hung),
    }
}
