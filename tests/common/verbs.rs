//! The commands that change a running primary, typed at it as an operator would: each is a process of its own
//! with an exit code, its words and its time.

use forkfront::status::{SlotState, Status};

use super::{Balancer, Begun, Finished, census, eventually};

impl Balancer<'_> {
    /// Starts `forkfront WORDS` against this primary.
    #[track_caller]
    pub fn begin(&self, words: &[&str]) -> Begun {
        let mut words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        words.push("--control".into());
        words.push(self.site.control().display().to_string());
        Begun::start(self.site, words)
    }

    /// Runs `forkfront WORDS` against this primary to its end.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> Finished {
        self.begin(words).end()
    }

    /// `forkfront reload`.
    #[track_caller]
    pub fn reload(&self) -> Finished {
        self.command(&["reload"])
    }

    /// `forkfront scale TO`, which must succeed; `TO` slots are then ready.
    #[track_caller]
    pub fn scale(&self, to: u16) -> Status {
        self.command(&["scale", &to.to_string()]).done();
        let status = self.status();
        let ready = |status: &Status| {
            let mut slots = status.slots.iter();
            status.slots.len() == usize::from(to) && slots.all(|s| s.state == SlotState::Ready)
        };
        assert!(ready(&status), "{status:#?}");
        status
    }

    /// Waits until an operation is under way.
    #[track_caller]
    pub fn under_way(&self, what: &str) -> Status {
        self.until(&format!("{what} is under way"), |status| {
            let operation = status.operation.as_deref().unwrap_or_default();
            operation.contains(what)
        })
    }

    /// Pids of the workers' processes (not their helpers) that are none of `known`.
    pub fn others(&self, known: &[u32]) -> Vec<u32> {
        let mut all = census::children(self.pid());
        all.retain(|pid| !known.contains(pid));
        all
    }

    /// Waits until the primary or a worker has printed this: lines come by a thread of their own, and may be later than
    /// what `status` shows.
    #[track_caller]
    pub fn says(&self, what: &str) {
        eventually(what, || self.output().contains(what).then_some(()));
    }

    /// Waits until every worker that left its slot has gone.
    #[track_caller]
    pub fn left(&self) -> Status {
        self.until("nobody leaves any more", |status| status.leaving.is_empty())
    }

    /// Waits until `pids` have ended.
    #[track_caller]
    pub fn gone(&self, pids: &[u32]) {
        eventually("the former workers have ended", || {
            let mut all = census::children(self.pid()).into_iter();
            (!all.any(|pid| pids.contains(&pid))).then_some(())
        });
    }
}
