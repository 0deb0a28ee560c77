//! What /proc says about the processes of a scenario.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Site;

/// Pids of all processes, zombies too.
fn pids() -> Vec<u32> {
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Fields of /proc/PID/stat after the name: state, parent, group, session, ...
fn fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_string).collect())
}

/// Live processes that carry the mark of a scenario, with their command lines.
pub fn marked(mark: &str) -> Vec<(u32, String)> {
    let wanted = format!("{}={mark}", Site::MARK);
    pids()
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
                all.split(|&byte| byte == 0)
                    .any(|one| one == wanted.as_bytes())
            })
        })
        .filter(|&pid| fields(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X"))
        .map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

/// Live children of `parent`.
pub fn children(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    pids()
        .into_iter()
        .filter(|&pid| fields(pid).is_some_and(|fields| fields[0] != "Z" && fields[1] == parent))
        .collect()
}

/// Children of `parent` that are dead and not waited for.
pub fn children_in_state_z(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    pids()
        .into_iter()
        .filter(|&pid| fields(pid).is_some_and(|fields| fields[0] == "Z" && fields[1] == parent))
        .collect()
}

/// Accepted Unix connections that `pid` holds: its sockets that are connected and carry a listener's path.
pub fn guests(pid: u32) -> usize {
    let table = fs::read_to_string("/proc/net/unix").expect("/proc/net/unix");
    // Num RefCount Protocol Flags Type St Inode Path; St 03: connected.
    let accepted: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() >= 8 && fields[5] == "03")
        .map(|fields| fields[6])
        .collect();
    let held = descriptors(pid).into_iter().filter(|(_, link)| {
        let inode = link
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| accepted.contains(&inode))
    });
    held.count()
}

/// Live processes in `session`.
pub fn members_of(session: u32) -> Vec<u32> {
    let session = session.to_string();
    pids()
        .into_iter()
        .filter(|&pid| fields(pid).is_some_and(|fields| fields[0] != "Z" && fields[3] == session))
        .collect()
}

/// The session of a process: the pid of the worker it belongs to.
pub fn session_of(pid: u32) -> Option<u32> {
    fields(pid)?.get(3)?.parse().ok()
}

/// Open descriptors of a process and what they are.
pub fn descriptors(pid: u32) -> BTreeMap<u32, String> {
    let directory = format!("/proc/{pid}/fd");
    fs::read_dir(&directory)
        .map(|entries| {
            entries
                .filter_map(|entry| {
                    let entry = entry.ok()?;
                    let number = entry.file_name().to_str()?.parse().ok()?;
                    let link = fs::read_link(entry.path()).ok()?;
                    Some((number, link.display().to_string()))
                })
                .collect()
        })
        .unwrap_or_default()
}

/// User and system time of a process, in ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
    fields(pid).map_or(0, |fields| {
        fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0)
    })
}

/// CPU time of all processes of a scenario, in ticks of 10 ms.
pub fn cpu_ticks_of_all(mark: &str) -> u64 {
    marked(mark)
        .into_iter()
        .map(|(pid, _)| cpu_ticks(pid))
        .sum()
}

/// Names in a directory.
pub fn entries(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .map(|entries| {
            entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect()
        })
        .unwrap_or_default()
}

/// Resident memory of a process, KiB.
pub fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}
