//! Whether a thread still goes round its loop: it is asked, and has answered or not when it is looked at again.
//!
//! Nobody waits for the answer. One that is busy answers when it comes round, one that hangs does not. The main
//! thread asks; the handles of the dispatcher and of the log thread carry the question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The asking side.
#[derive(Debug, Default)]
pub struct Pulse {
    asked: u64,
    answered: Arc<AtomicU64>,
}

/// One question, on its way to the thread.
#[derive(Debug)]
pub struct Beat {
    number: u64,
    answered: Arc<AtomicU64>,
}

impl Pulse {
    /// The next question.
    pub fn ask(&mut self) -> Beat {
        self.asked += 1;
        Beat {
            number: self.asked,
            answered: Arc::clone(&self.answered),
        }
    }

    /// Nothing that was asked is without an answer.
    pub fn is_felt(&self) -> bool {
        self.answered.load(Relaxed) >= self.asked
    }
}

impl Beat {
    /// The thread has come round.
    pub fn answer(self) {
        self.answered.fetch_max(self.number, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_felt_until_an_answer_is_missing() {
        let mut pulse = Pulse::default();
        assert!(pulse.is_felt());
        let (first, second) = (pulse.ask(), pulse.ask());
        assert!(!pulse.is_felt());
        first.answer();
        assert!(!pulse.is_felt());
        second.answer();
        assert!(pulse.is_felt());
        drop(pulse.ask());
        assert!(!pulse.is_felt());
    }
}
