//! How often the kernel has turned a connection away because an accept queue was full (D4, KF18). It counts
//! for the whole network namespace, not by socket.

use std::fs;

use serde::{Deserialize, Serialize};

/// How often it has been since some moment. Never less than it was, whatever the kernel says and whoever listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overflows {
    /// Not known as long as the kernel has not said it: what was before would all be ours otherwise.
    before: Option<u64>,
    counted: u64,
}

impl Overflows {
    /// None so far.
    pub fn from_now_on() -> Self {
        Self {
            before: now(),
            counted: 0,
        }
    }

    /// So often.
    pub fn count(&mut self) -> u64 {
        self.count_to(now())
    }

    fn count_to(&mut self, now: Option<u64>) -> u64 {
        if let Some(now) = now {
            let before = *self.before.get_or_insert(now);
            self.counted = self.counted.max(now.saturating_sub(before));
        }
        self.counted
    }
}

/// `ListenOverflows` of this network namespace; none where the kernel does not say.
pub fn now() -> Option<u64> {
    let table = fs::read_to_string("/proc/self/net/netstat").ok()?;
    in_table(&table)
}

/// proc_net(5): pairs of lines, names above, values below.
fn in_table(table: &str) -> Option<u64> {
    let mut lines = table.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let column = names
        .split_whitespace()
        .position(|name| name == "ListenOverflows")?;
    values.split_whitespace().nth(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_never_goes_down() {
        let mut overflows = Overflows {
            before: Some(40),
            counted: 0,
        };
        let said = [Some(40), Some(42), None, Some(0), Some(41), Some(45)];
        let counted = said.map(|now| overflows.count_to(now));
        assert_eq!(counted, [0, 2, 2, 2, 2, 5]);
    }

    #[test]
    fn what_the_kernel_says_first_is_not_ours() {
        let mut overflows = Overflows {
            before: None,
            counted: 0,
        };
        let counted = [None, Some(40), Some(42)].map(|now| overflows.count_to(now));
        assert_eq!(counted, [0, 0, 2]);
    }

    #[test]
    fn the_column_is_found_by_name() {
        let table =
            "IpExt: A\nIpExt: 9\nTcpExt: SyncookiesSent ListenOverflows X\nTcpExt: 1 42 7\n";
        assert_eq!(in_table(table), Some(42));
        assert_eq!(in_table("TcpExt: ListenDrops\nTcpExt: 1\n"), None);
        assert_eq!(in_table(""), None);
    }
}
