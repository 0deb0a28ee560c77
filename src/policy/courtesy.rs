//! Whether a thread that is woken lets whoever woke it up finish first, or takes the core as anybody would.
//!
//! Who has several things to send sends them all before a courteous thread runs, which is then woken once for all of
//! them. But on a core that somebody else needs for long, courtesy waits for the end of his time: then it is given up.

/// How often it is judged anew, ns.
const TURN: u64 = 10_000_000;
/// A thread that waits for a core so long on average each time is in strangers' company, ns. Among those who work for
/// each other it is a fifth of that.
const LONG: u64 = 1_000_000;
/// For so long it is not courteous then, ns.
const BREAK: u64 = 200_000_000;

/// The judgement, and what it rests on. A thread is courteous at first.
#[derive(Clone, Debug, Default)]
pub struct Courtesy {
    turned_at: u64,
    /// How it had fared then: time in which it could run and had no core, ns, and how often it got one.
    former: Option<(u64, u64)>,
    /// Not courteous before that.
    again_at: u64,
    is_over: bool,
}

impl Courtesy {
    /// Whether the thread is to be courteous from now on, if that is another answer than the last one. `waits` says for
    /// how long in all it could have run and had no core, ns, and how often it got one; it is asked rarely.
    pub fn judge(&mut self, now: u64, waits: impl FnOnce() -> Option<(u64, u64)>) -> Option<bool> {
        if now.saturating_sub(self.turned_at) >= TURN {
            self.turned_at = now;
            let waits = waits();
            if let (Some((time, runs)), Some(waits)) = (self.former, waits) {
                let runs = waits.1.saturating_sub(runs).max(1);
                if waits.0.saturating_sub(time) / runs >= LONG {
                    self.again_at = now.saturating_add(BREAK);
                }
            }
            self.former = waits;
        }
        let is_over = now < self.again_at;
        let changes = is_over != self.is_over;
        self.is_over = is_over;
        changes.then_some(!is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread with its clock, which runs once in each millisecond.
    #[derive(Default)]
    struct World {
        courtesy: Courtesy,
        is_rude: bool,
        now: u64,
        waits: (u64, u64),
        asked: usize,
    }

    impl World {
        /// So many milliseconds in which it waits so long each time, ns; in how many of them it was courteous.
        fn go(&mut self, milliseconds: u64, each: u64) -> usize {
            let mut courteous = 0;
            for _ in 0..milliseconds {
                self.now += 1_000_000;
                self.waits = (self.waits.0 + each, self.waits.1 + 1);
                let (waits, asked) = (self.waits, &mut self.asked);
                let judged = self.courtesy.judge(self.now, || {
                    *asked += 1;
                    Some(waits)
                });
                // Said only where it changes.
                assert!(judged.is_none_or(|is| is == self.is_rude));
                self.is_rude ^= judged.is_some();
                courteous += usize::from(!self.is_rude);
            }
            courteous
        }
    }

    #[test]
    fn among_those_who_work_for_each_other_it_stays() {
        let mut world = World::default();
        assert_eq!(world.go(5_000, 200_000), 5_000);
        assert!(world.asked <= 500, "{} times", world.asked);
    }

    #[test]
    fn beside_somebody_who_keeps_the_core_it_ends_and_is_tried_again_later() {
        let mut world = World::default();
        world.go(100, 0);
        let courteous = world.go(100, 3_000_000);
        assert!((1..=20).contains(&courteous), "{courteous}");
        // Without courtesy the waits are short.
        assert_eq!(world.go(100, 100_000), 0);
        assert!(world.go(500, 100_000) >= 390);
    }

    #[test]
    fn where_the_kernel_does_not_count_it_stays() {
        let mut courtesy = Courtesy::default();
        assert!((1..1_000).all(|now| courtesy.judge(now * TURN, || None).is_none()));
    }
}
