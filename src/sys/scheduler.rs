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

    /// Time in all that the thread could have run and had no core, ns, and how often it got one; `None` if it cannot be
    /// told.
    pub fn waits(&self) -> Option<(u64, u64)> {
        let mut bytes = [0; 96];
        let length = self.0.read_at(&mut bytes, 0).ok()?;
        waits(std::str::from_utf8(&bytes[..length]).ok()?)
    }
}

/// The second and the third of three numbers; the first is time on a core.
fn waits(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Lets the naps of the calling thread end when they are over, and not up to 50 µs later, in company with others'.
pub fn nap_exactly() {
    // SAFETY: the call takes one number and touches no memory. It cannot fail for this thread itself.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize, 0, 0, 0) };
}

/// From now on the calling thread does not take the core from whoever wakes it up (`SCHED_BATCH`, sched(7)): so whoever
/// has several things to send sends them all, and we are woken once for them instead of once for each. On a core that is
/// idle it runs at once, as ever. Or, where that is not wanted any more, it is as any other thread.
pub fn let_wakers_finish(wanted: bool) {
    let class = match wanted {
        true => libc::SCHED_BATCH,
        false => libc::SCHED_OTHER,
    };
    let usual = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure lives longer than the call, which reads it and acts on the calling thread only. A kernel that
    // refuses leaves all as it was.
    unsafe { libc::sched_setscheduler(0, class, &raw const usual) };
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
        let before = counts.waits().unwrap();
        nap(1_000);
        let after = counts.waits().unwrap();
        assert!(
            after.0 >= before.0 && after.1 > before.1,
            "{before:?}, {after:?}"
        );
    }

    #[test]
    fn a_thread_that_lets_wakers_finish_is_of_the_batch_class_as_long_as_that_is_wanted() {
        // SAFETY: the call takes a number and touches no memory.
        let class = || unsafe { libc::sched_getscheduler(0) };
        let_wakers_finish(true);
        assert_eq!(class(), libc::SCHED_BATCH);
        let_wakers_finish(false);
        assert_eq!(class(), libc::SCHED_OTHER);
    }

    #[test]
    fn what_is_no_count_is_none() {
        assert_eq!(waits("1200 23 7\n"), Some((23, 7)));
        for line in ["", "1", "1 2", "1 x 2", "1 -2 3"] {
            assert_eq!(waits(line), None, "{line}");
        }
    }
}
