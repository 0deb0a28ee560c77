//! What the scheduler does with a thread: how long it waits for a core, and how exactly its naps end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The counts of the thread that opened this, from `/proc/thread-self/schedstat` (the kernel's
/// Documentation/scheduler/sched-stats.rst).
#[derive(Debug)]
pub struct SchedStat(File);

impl SchedStat {
    /// Of the calling thread, whoever reads it later.
    ///
    /// # Errors
    /// Those of open(2): `NotFound` where the kernel does not count.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/thread-self/schedstat").map(Self)
    }

    /// Time in all that the thread could have run and had no core, ns; `None` if it cannot be told.
    pub fn delay(&self) -> Option<u64> {
        let mut bytes = [0; 96];
        let length = self.0.read_at(&mut bytes, 0).ok()?;
        delay(std::str::from_utf8(&bytes[..length]).ok()?)
    }
}

/// The second of three numbers: time on a core, time without one, how often it got one.
fn delay(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Lets the naps of the calling thread end when they are over, and not up to 50 µs later, in company with others'.
pub fn nap_exactly() {
    // SAFETY: the call takes one number and touches no memory. It cannot fail for this thread itself.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize, 0, 0, 0) };
}

/// From now on the calling thread does not take the core from whoever wakes it up (`SCHED_BATCH`, sched(7)): so whoever
/// has several things to send sends them all, and we are woken once for them instead of once for each. On a core that is
/// idle it runs at once, as ever.
pub fn let_wakers_finish() {
    let usual = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure lives longer than the call, which reads it and acts on the calling thread only. A kernel that
    // refuses leaves all as it was.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const usual) };
}

/// Sleeps for so many nanoseconds.
pub fn nap(ns: u64) {
    std::thread::sleep(Duration::from_nanos(ns));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_how_long_a_thread_was_kept_waiting() {
        let counts = SchedStat::open().unwrap();
        let before = counts.delay().unwrap();
        nap(1_000);
        assert!(counts.delay().unwrap() >= before);
    }

    #[test]
    fn a_thread_that_lets_wakers_finish_is_of_the_batch_class() {
        let_wakers_finish();
        // SAFETY: the call takes a number and touches no memory.
        assert_eq!(unsafe { libc::sched_getscheduler(0) }, libc::SCHED_BATCH);
    }

    #[test]
    fn what_is_no_count_is_none() {
        assert_eq!(delay("1200 23 7\n"), Some(23));
        for line in ["", "1", "1 x 2", "1 -2 3"] {
            assert_eq!(delay(line), None, "{line}");
        }
    }
}
