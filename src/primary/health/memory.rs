//! Whether a worker may have died because there was no memory left (B10): the kernel counts such kills, though
//! it does not say whom it killed.

use crate::policy::lifecycle::{End, State};
use crate::sys::process::{Exit, oom};

/// The kernel's count as of the last look.
#[derive(Debug)]
pub struct Memory {
    kills: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            kills: oom::kills(),
        }
    }
}

impl Memory {
    /// What is to be added to the words about a worker that has ended like this.
    pub fn explain(&mut self, exit: Exit, state: State) -> &'static str {
        let by_us = matches!(state, State::Gone(End::Killed(_)));
        if by_us || exit != Exit::Signal(libc::SIGKILL) {
            return "";
        }
        self.compare(oom::kills())
    }

    fn compare(&mut self, kills: u64) -> &'static str {
        if std::mem::replace(&mut self.kills, kills) < kills {
            "; the kernel has just killed for lack of memory"
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::lifecycle::Why;

    #[test]
    fn a_kill_that_the_kernel_has_counted_is_said_once() {
        let mut memory = Memory { kills: 4 };
        assert_eq!(memory.compare(4), "");
        assert!(memory.compare(5).contains("lack of memory"));
        assert_eq!(memory.compare(5), "");
    }

    #[test]
    fn what_was_no_kill_or_was_ours_is_not_looked_at() {
        let mut memory = Memory { kills: 0 };
        let ours = State::Gone(End::Killed(Why::Late));
        assert_eq!(memory.explain(Exit::Signal(libc::SIGKILL), ours), "");
        let crashed = State::Gone(End::Crashed);
        assert_eq!(memory.explain(Exit::Code(137), crashed), "");
        assert_eq!(memory.kills, 0);
    }
}
