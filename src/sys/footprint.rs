//! How much of our own program is resident: what only the start has run need not stay mapped.

use std::ffi::c_void;
use std::fs;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// A mapping of a program or library that only runs.
#[derive(Debug, PartialEq, Eq)]
struct Text {
    start: usize,
    length: usize,
}

/// Gives back the pages of our own code and that of our libraries: words and options are read once, and what runs
/// from now on comes back from the page cache as it is needed, 64 KiB at a time. To be called when the start is
/// over. Whatever does not work leaves everything as it was.
pub fn forget_the_start() {
    // One that was changed in memory (a debugger, text relocations) could not be read from its file again.
    let Ok(smaps) = fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for text in texts(&smaps) {
        let Some(start) = NonNull::new(text.start as *mut c_void) else {
            continue;
        };
        // SAFETY: the range is one of our own mappings, private, of a file, executable, not writable and without a
        // page of its own (no `Anonymous`), so each page that is dropped is read from that file again as it was.
        // Code that runs in it meanwhile faults and goes on.
        let _ = unsafe { madvise(start, text.length, MmapAdvise::MADV_DONTNEED) };
    }
}

/// The mappings of proc_pid_smaps(5) that can be given back.
fn texts(smaps: &str) -> Vec<Text> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(head) = head(line) {
            candidate = head;
        } else if line.split_ascii_whitespace().eq(["Anonymous:", "0", "kB"]) {
            found.extend(candidate.take());
        }
    }
    found
}

/// `Some` for the first line of a mapping, with the mapping if it is code of a file.
fn head(line: &str) -> Option<Option<Text>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let is_code = words.next() == Some("r-xp");
    let is_file = words.nth(2).is_some_and(|inode| inode != "0");
    let length = end.checked_sub(start)?;
    Some((is_code && is_file).then_some(Text { start, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_was_never_changed_is_given_back() {
        let smaps = "\
55d0c0400000-55d0c0401000 r--p 00000000 fe:00 100                        /bin/forkfront
Rss:                   4 kB
Anonymous:             0 kB
55d0c0401000-55d0c0411000 r-xp 00001000 fe:00 100                        /bin/forkfront
Rss:                  64 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d0c0500000-55d0c0501000 rw-p 00100000 fe:00 100                        /bin/forkfront
Anonymous:             4 kB
7f0000000000-7f0000001000 r-xp 00001000 fe:00 101                        /lib/relocated.so
Anonymous:             4 kB
7f0000002000-7f0000003000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
7f0000004000-7f0000005000 rwxp 00000000 fe:00 102                        /lib/odd.so
Anonymous:             0 kB
";
        let expected = Text {
            start: 0x55d0_c040_1000,
            length: 0x1_0000,
        };
        assert_eq!(texts(smaps), [expected]);
        assert_eq!(texts(""), []);
    }

    #[test]
    fn what_was_given_back_runs_on() {
        let resident = || {
            let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
            let mut code = false;
            let lines = smaps.lines().filter_map(|line| {
                if let Some(head) = head(line) {
                    code = head.is_some();
                }
                let size = line.strip_prefix("Rss:").filter(|_| code)?;
                size.trim().trim_end_matches(" kB").parse::<u64>().ok()
            });
            lines.sum::<u64>()
        };
        let whole: String = (0..1000).map(|n| n.to_string()).collect();
        let before = resident();
        forget_the_start();
        let after = resident();
        assert!(after < before, "{after} kB of {before} kB");
        assert_eq!((0..1000).map(|n| n.to_string()).collect::<String>(), whole);
    }
}
