//! How often the kernel has turned a connection away because an accept queue was full (D4, KF18). It counts
//! for the whole network namespace, not by socket.

use std::fs;

/// `ListenOverflows` of this network namespace; 0 where the kernel does not say.
pub fn now() -> u64 {
    fs::read_to_string("/proc/self/net/netstat")
        .ok()
        .and_then(|table| in_table(&table))
        .unwrap_or(0)
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
    use super::in_table;

    #[test]
    fn the_column_is_found_by_name() {
        let table =
            "IpExt: A\nIpExt: 9\nTcpExt: SyncookiesSent ListenOverflows X\nTcpExt: 1 42 7\n";
        assert_eq!(in_table(table), Some(42));
        assert_eq!(in_table("TcpExt: ListenDrops\nTcpExt: 1\n"), None);
        assert_eq!(in_table(""), None);
    }
}
