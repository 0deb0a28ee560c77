//! Two operations at a random distance, again and again: what each may answer is known, so that everything else
//! is a failure of the test.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forkfront::status::SlotState;
use nix::sys::signal::Signal;

use super::{Balancer, Finished, Random, send};

/// What can be done to a primary and its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// `forkfront reload`.
    Reload,
    /// `forkfront upgrade`, to the same binary.
    Upgrade,
    /// `forkfront scale`.
    Scale,
    /// `forkfront drain`, then `resume`.
    Drain,
    /// SIGSTOP to a worker, SIGCONT a moment later.
    Pause,
    /// kill -9 a worker.
    Kill,
}

const DEEDS: [Deed; 6] = [
    Deed::Reload,
    Deed::Upgrade,
    Deed::Scale,
    Deed::Drain,
    Deed::Pause,
    Deed::Kill,
];

/// Longest distance between the two of a pair, milliseconds.
const DISTANCE_MS: u64 = 300;

/// A deed with its chance already taken.
struct Chosen {
    deed: Deed,
    number: u64,
    pause: Duration,
}

/// What was done so far.
#[derive(Default)]
pub struct Pairs {
    /// Which worker was killed when.
    pub kills: Vec<(u32, Instant)>,
    /// How often each deed was done.
    pub done: BTreeMap<Deed, u64>,
    /// How often each was refused or given up, as it may when the other one interferes.
    pub given_up: BTreeMap<Deed, u64>,
}

impl Pairs {
    /// One pair: the second begins within [`DISTANCE_MS`] after the first; both have ended at the return.
    #[track_caller]
    pub fn one(&mut self, balancer: &Balancer<'_>, random: &mut Random) {
        let mut choose = || Chosen {
            deed: DEEDS[random.below(DEEDS.len() as u64) as usize],
            number: random.next(),
            pause: Duration::from_millis(random.below(DISTANCE_MS)),
        };
        let (first, second) = (choose(), choose());
        let distance = first.pause;
        let both = [first.deed, second.deed];
        let results = std::thread::scope(|scope| {
            let first = scope.spawn(|| first.carry_out(balancer));
            std::thread::sleep(distance);
            let second = second.carry_out(balancer);
            [first.join().expect("the first deed"), second]
        });
        for (at, result) in results.into_iter().enumerate() {
            self.judge(both[at], both[1 - at], result);
        }
        balancer.until("all slots serve", |status| {
            let served = |state| matches!(state, SlotState::Ready | SlotState::Drained);
            status.slots.iter().all(|slot| served(slot.state))
        });
    }

    /// `slots` slots, all dealt to, and nobody leaving.
    #[track_caller]
    pub fn as_at_first(&self, balancer: &Balancer<'_>, slots: u16) {
        // The last of the pairs may have killed a worker.
        balancer.until("all slots ready", |status| {
            let mut slots = status.slots.iter();
            slots.all(|slot| slot.state == SlotState::Ready)
        });
        balancer.scale(slots);
        balancer.left();
    }

    #[track_caller]
    fn judge(&mut self, deed: Deed, other: Deed, result: Result) {
        *self.done.entry(deed).or_default() += 1;
        self.kills.extend(result.killed);
        for finished in result.commands {
            if finished.code == Some(0) {
                continue;
            }
            *self.given_up.entry(deed).or_default() += 1;
            // A kill may hit the successor of a reload, a new slot's first worker; a slot may be scaled away; a
            // drain may find connections open for longer than its time.
            let hurt = other == Deed::Kill && matches!(deed, Deed::Reload | Deed::Scale);
            let no_slot = other == Deed::Scale && finished.stderr.contains("no slot");
            let open = deed == Deed::Drain && finished.words[0] == "drain";
            assert!(
                finished.code == Some(1) && (hurt || no_slot || open),
                "{deed:?} beside {other:?}: {finished}"
            );
        }
    }
}

/// What came of one deed.
#[derive(Default)]
struct Result {
    commands: Vec<Finished>,
    killed: Option<(u32, Instant)>,
}

impl Chosen {
    fn carry_out(&self, balancer: &Balancer<'_>) -> Result {
        let run = |words: &[&str]| balancer.command(words);
        let mut result = Result::default();
        match self.deed {
            Deed::Reload => result.commands.push(run(&["reload"])),
            Deed::Upgrade => result.commands.push(run(&["upgrade"])),
            Deed::Scale => {
                let to = (2 + self.number % 3).to_string();
                result.commands.push(run(&["scale", &to]));
            }
            Deed::Drain => {
                let slots = balancer.status().slots.len() as u64;
                let slot = (self.number % slots).to_string();
                result.commands.push(run(&["drain", &slot]));
                result.commands.push(run(&["resume", &slot]));
            }
            Deed::Pause => {
                if let Some(pid) = self.worker(balancer) {
                    send(pid, Signal::SIGSTOP);
                    std::thread::sleep(self.pause);
                    send(pid, Signal::SIGCONT);
                }
            }
            Deed::Kill => {
                if let Some(pid) = self.worker(balancer) {
                    result.killed = Some((pid, Instant::now()));
                    send(pid, Signal::SIGKILL);
                }
            }
        }
        result
    }

    /// One of those that have a worker.
    fn worker(&self, balancer: &Balancer<'_>) -> Option<u32> {
        let status = balancer.try_status()?;
        let live: Vec<u32> = status.slots.iter().filter_map(|slot| slot.pid).collect();
        let at = self.number as usize % live.len().max(1);
        live.get(at).copied()
    }
}
