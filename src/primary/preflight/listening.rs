//! Which TCP ports a process listens on by itself, told from `/proc` without its help.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};

/// `TCP_LISTEN` as `/proc/net/tcp` writes it.
const LISTEN: &str = "0A";

/// The ports that `pid` listens on, each once, in order, and whether it has an io_uring.
pub fn of(pid: u32) -> (Vec<u16>, bool) {
    let (sockets, io_uring) = descriptors(pid);
    if sockets.is_empty() {
        return (Vec::new(), io_uring);
    }
    let mut ports: Vec<u16> = ["tcp", "tcp6"]
        .into_iter()
        // Its own network namespace, which need not be ours.
        .filter_map(|table| File::open(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| listeners(BufReader::new(table)))
        .filter(|(_, inode)| sockets.contains(inode))
        .map(|(port, _)| port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    (ports, io_uring)
}

/// The Unix sockets that `pid` listens on, by their paths; those without are left out.
pub fn unix_of(pid: u32) -> Vec<String> {
    let (sockets, _) = descriptors(pid);
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let listening = table.lines().filter_map(unix_listener);
    let own = listening.filter(|(inode, _)| sockets.contains(inode));
    own.map(|(_, path)| path.to_owned()).collect()
}

/// proc_pid_net(5): "Num RefCount Protocol Flags Type St Inode Path"; `__SO_ACCEPTCON` is the flag of one that
/// listens.
fn unix_listener(line: &str) -> Option<(u64, &str)> {
    const ACCEPTCON: u32 = 0x10000;
    let mut fields = line.split_ascii_whitespace().skip(3);
    let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
    let inode = fields.nth(2)?.parse().ok()?;
    let path = line.find('/').map(|at| &line[at..])?;
    (flags & ACCEPTCON != 0).then_some((inode, path))
}

/// Inodes of its sockets, and whether one of its descriptors is an io_uring.
fn descriptors(pid: u32) -> (HashSet<u64>, bool) {
    let mut sockets = HashSet::new();
    let mut io_uring = false;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        let Some(target) = target.to_str() else {
            continue;
        };
        io_uring |= target == "anon_inode:[io_uring]";
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
            .and_then(|inode| inode.parse::<u64>().ok());
        sockets.extend(inode);
    }
    (sockets, io_uring)
}

/// Port and inode of each listening socket. The kernel puts these first, so the reading ends at the first
/// line of another state, be there ever so many connections.
fn listeners(table: impl BufRead) -> impl Iterator<Item = (u16, u64)> {
    table
        .lines()
        .skip(1)
        .map_while(Result::ok)
        .map_while(|line| listener(&line))
}

/// proc_pid_net(5): "SL LOCAL REMOTE STATE QUEUES TIMER RETRANSMITS UID TIMEOUT INODE ...".
fn listener(line: &str) -> Option<(u16, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some((u16::from_str_radix(port, 16).ok()?, inode))
}

/// Whether the kernel gives out this port to those who ask for port 0.
pub fn is_ephemeral(port: u16) -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| {
            let mut bounds = text.split_ascii_whitespace().map(str::parse::<u16>);
            Some(bounds.next()?.ok()?..=bounds.next()?.ok()?)
        })
        .is_some_and(|range| range.contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listeners_at_the_top_are_read() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1
   2: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 20 4 30 10 -1
   3: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1
";
        let found: Vec<_> = listeners(table.as_bytes()).collect();
        assert_eq!(found, [(8080, 4711), (80, 4712)]);
    }

    #[test]
    fn our_own_unix_sockets_are_found() {
        let name = format!("forkfront listening {}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let found = unix_of(std::process::id());
        fs::remove_file(&path).unwrap();
        assert!(found.contains(&path.display().to_string()), "{found:?}");
        assert_eq!(unix_of(u32::MAX), [""; 0]);
    }

    #[test]
    fn our_own_listeners_are_found_in_both_families() {
        let v4 = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        let (ports, _) = of(std::process::id());
        assert!(ports.contains(&port), "{port} in {ports:?}");
        assert!(is_ephemeral(port));
        assert!(!is_ephemeral(80));
        if let Ok(v6) = std::net::TcpListener::bind("[::1]:0") {
            let port = v6.local_addr().unwrap().port();
            assert!(of(std::process::id()).0.contains(&port));
        }
        assert_eq!(of(u32::MAX), (Vec::new(), false));
    }
}
