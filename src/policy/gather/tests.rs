//! Gathering on a made-up machine: how connections come, and how long the dispatcher waits for a core.

use super::*;

const MAX: u64 = 600_000;

/// A dispatcher with its clock.
struct World {
    gather: Gather,
    now: u64,
    delay: u64,
    /// How often the kernel was asked.
    asked: usize,
}

impl World {
    fn new(max: u64) -> Self {
        Self {
            gather: Gather::new(max),
            now: 0,
            delay: 0,
            asked: 0,
        }
    }

    /// One connection after the other, so many a second, and in so many thousandths of the time no core; for 300 ms.
    /// The last wait.
    fn come(&mut self, rate: u64, busy: u64) -> u64 {
        let gap = 1_000_000_000 / rate;
        let end = self.now + 300_000_000;
        let mut wait = 0;
        while self.now < end {
            self.now += gap;
            self.delay += gap * busy / 1000;
            let (delay, asked) = (self.delay, &mut self.asked);
            wait = self.gather.wait(self.now, 2, || {
                *asked += 1;
                Some(delay)
            });
            self.gather.note(1);
        }
        wait
    }
}

#[test]
fn who_comes_alone_waits_for_nobody_and_nothing_is_asked() {
    let mut world = World::new(MAX);
    // Less than two in the longest wait.
    assert_eq!(world.come(3_000, 900), 0);
    assert_eq!(world.asked, 0);
    assert!(!world.gather.is_dense());
}

#[test]
fn nobody_waits_while_a_core_is_free() {
    let mut world = World::new(MAX);
    assert_eq!(world.come(20_000, 60), 0);
    assert!((10..=31).contains(&world.asked), "{} times", world.asked);
}

#[test]
fn where_all_cores_are_busy_each_worker_finds_eight() {
    let mut world = World::new(MAX);
    // Eight each for two workers: sixteen at 40,000 a second take 400 us.
    assert_eq!(world.come(40_000, 300), 400_000);
    assert!(world.gather.is_dense());
    // At half of that it would be 800 us.
    assert_eq!(world.come(20_000, 300), MAX);
}

#[test]
fn it_goes_on_while_the_cores_are_somewhat_busy_and_ends_when_one_is_free() {
    let mut world = World::new(MAX);
    assert_eq!(world.come(20_000, 110), 0, "not busy enough to begin");
    assert_ne!(world.come(20_000, 250), 0);
    assert_ne!(world.come(20_000, 110), 0, "busy enough to go on");
    assert_eq!(world.come(20_000, 50), 0);
}

#[test]
fn one_busy_moment_is_not_enough() {
    let mut world = World::new(MAX);
    world.come(20_000, 0);
    world.delay += TURN;
    world.now += TURN;
    assert_eq!(world.gather.wait(world.now, 2, || Some(world.delay)), 0);
}

#[test]
fn it_ends_when_nobody_comes_any_more() {
    let mut world = World::new(MAX);
    assert_ne!(world.come(20_000, 400), 0);
    world.now += 1_000_000_000;
    assert_eq!(world.gather.wait(world.now, 2, || Some(world.delay)), 0);
}

#[test]
fn without_a_longest_wait_nothing_is_asked() {
    let mut world = World::new(0);
    assert_eq!(world.come(50_000, 900), 0);
    assert_eq!(world.asked, 0);
}

#[test]
fn where_the_kernel_does_not_count_nobody_waits() {
    let mut gather = Gather::new(MAX);
    for now in 1..1000 {
        gather.note(10);
        assert_eq!(gather.wait(now * 1_000_000, 2, || None), 0);
    }
}

#[test]
fn many_at_once_are_sent_together_without_a_wait() {
    let mut gather = Gather::new(MAX);
    gather.note(1);
    assert!(!gather.is_dense());
    gather.note(64);
    assert!(gather.is_dense() && gather.is_behind(64));
}

/// Whatever is counted, in whatever order of time: no wait is longer than the longest.
#[test]
fn no_wait_is_longer_than_the_longest() {
    let mut state = 7_u64;
    let mut dice = move |sides: u64| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    };
    for _ in 0..200 {
        let max = dice(1_000_000);
        let mut gather = Gather::new(max);
        let mut now = dice(u64::MAX / 2);
        for _ in 0..200 {
            now = now.wrapping_add(dice(30_000_000)).wrapping_sub(dice(1000));
            gather.note(dice(100) as usize);
            let wait = gather.wait(now, dice(2000) as usize, || {
                (dice(4) != 0).then(|| dice(u64::MAX))
            });
            assert!(wait <= max);
        }
    }
}
