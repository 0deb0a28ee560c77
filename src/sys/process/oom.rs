//! How often the kernel has killed a process because there was no memory left: of our control group where it
//! says so, else of the machine.

use std::fs;
use std::path::Path;

/// Kills so far; they only ever grow. 0 where nothing can be read.
pub fn kills() -> u64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let events = group.and_then(|group| {
        let directory = Path::new("/sys/fs/cgroup").join(group);
        fs::read_to_string(directory.join("memory.events")).ok()
    });
    let machine = || fs::read_to_string("/proc/vmstat").ok();
    let counted = events.as_deref().and_then(oom_kill);
    counted
        .or_else(|| machine().as_deref().and_then(oom_kill))
        .unwrap_or(0)
}

/// The line `oom_kill N` of a `memory.events` (cgroup v2) or of proc_vmstat(5).
fn oom_kill(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(
            oom_kill("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"),
            Some(2)
        );
        assert_eq!(oom_kill("nr_free_pages 7\noom_kill 41\n"), Some(41));
        assert_eq!(oom_kill("oom 3\n"), None);
        assert!(kills() <= kills());
    }
}
