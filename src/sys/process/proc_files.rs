//! What `/proc` tells about other processes: parents, sessions, open sockets, memory and time.
//!
//! Every answer is of one moment and the process may be gone by the next, so nothing here fails: what cannot
//! be read is not there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory it has resident, bytes.
    pub rss_bytes: u64,
    /// User and system time, clock ticks (`_SC_CLK_TCK` to the second, 100 everywhere).
    pub cpu_ticks: u64,
}

impl Usage {
    /// The processor time in seconds.
    pub fn cpu_seconds(self) -> f64 {
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        self.cpu_ticks as f64 / per_second as f64
    }
}

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: u32,
    session: u32,
    cpu_ticks: u64,
    rss_pages: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// proc_pid_stat(5). The command name may hold spaces and brackets, so counting starts after the last one.
    fn parse(line: &[u8]) -> Option<Self> {
        let name_end = line.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Field n of the manual page, of which 3 (the state) is the first after the name.
        let field = |n: usize| fields.get(n - 3).copied();
        let number = |n: usize| field(n)?.parse::<u64>().ok();
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            parent: u32::try_from(number(4)?).ok()?,
            session: u32::try_from(number(6)?).ok()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            rss_pages: number(24)?,
        })
    }

    /// A zombie has ended and waits to be collected.
    fn alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }

    fn usage(&self) -> Usage {
        let page = sysconf(SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(4096);
        Usage {
            rss_bytes: self.rss_pages.saturating_mul(page),
            cpu_ticks: self.cpu_ticks,
        }
    }
}

/// All processes, alive or zombies.
fn all() -> impl Iterator<Item = (u32, Stat)> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::of(pid)?)))
}

/// The processes of a session that have not ended, its leader first if it lives.
pub fn session_members(session: u32) -> Vec<u32> {
    let mut members: Vec<u32> = all()
        .filter(|(_, stat)| stat.session == session && stat.alive())
        .map(|(pid, _)| pid)
        .collect();
    members.sort_unstable_by_key(|&pid| (pid != session, pid));
    members
}

/// The children of `parent` that have ended and wait to be collected.
pub(super) fn zombies_of(parent: u32) -> Vec<u32> {
    all()
        .filter(|(_, stat)| stat.parent == parent && stat.state == b'Z')
        .map(|(pid, _)| pid)
        .collect()
}

/// A process that has not ended, where it belongs, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    /// Itself.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// Its session.
    pub session: u32,
    /// Its first thread runs, wants to, or is in a sleep that nothing interrupts.
    pub busy: bool,
    /// What it uses.
    pub usage: Usage,
}

/// All processes that have not ended, by one walk over `/proc`.
pub fn living() -> impl Iterator<Item = Living> {
    let alive = all().filter(|(_, stat)| stat.alive());
    alive.map(|(pid, stat)| Living {
        pid,
        parent: stat.parent,
        session: stat.session,
        busy: matches!(stat.state, b'R' | b'D'),
        usage: stat.usage(),
    })
}

/// How often, and after which pause, an environment that reads empty is read again.
const EXEC_LOOKS: usize = 100;
const EXEC_PAUSE: Duration = Duration::from_micros(200);

/// What the environment variable `name` was for `pid` when its program was started.
///
/// In the middle of an execve(2) the environment reads empty, as that of a program without any does: it is
/// looked at again for up to 20 ms.
pub fn variable_of(pid: u32, name: &str) -> Option<String> {
    let path = format!("/proc/{pid}/environ");
    let mut all = fs::read(&path).ok()?;
    for _ in 0..EXEC_LOOKS {
        if !all.is_empty() {
            break;
        }
        std::thread::sleep(EXEC_PAUSE);
        all = fs::read(&path).ok()?;
    }
    let mut variables = all.split(|byte| *byte == 0);
    let value = variables.find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// The parent of `pid`. A zombie still has one.
pub fn parent_of(pid: u32) -> Option<u32> {
    Stat::of(pid).map(|stat| stat.parent)
}

/// The session `pid` is in, if it has not ended.
pub fn session_of(pid: u32) -> Option<u32> {
    Stat::of(pid).filter(Stat::alive).map(|stat| stat.session)
}

/// Whether `pid` has the socket with this inode number open. A process that we cannot look into might, so
/// then it does: a server must not be taken for closed because it made itself undumpable, or because we have no
/// descriptor left.
pub fn holds_inode(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|target| target.as_os_str() == wanted.as_str()),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// What the first thread of `pid` is doing, in words: `is in state S, in system call 0, waits in pipe_read`.
/// Only what may be read is said.
pub fn activity(pid: u32) -> String {
    let Some(stat) = Stat::of(pid) else {
        return "is gone".to_owned();
    };
    let mut words = format!("is in state {}", char::from(stat.state));
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    // proc_pid_syscall(5): `running`, or the number and what it was called with; -1: blocked outside of any.
    let call = read("syscall").and_then(|line| line.split_whitespace().next().map(str::to_owned));
    if let Some(number) = call.filter(|call| call.parse().is_ok_and(|number: i64| number >= 0)) {
        words += &format!(", in system call {number}");
    }
    if let Some(place) = read("wchan").filter(|place| !place.is_empty() && place != "0") {
        words += &format!(", waits in {place}");
    }
    words
}

/// What one process uses; nothing, if it is gone.
pub fn usage(pid: u32) -> Usage {
    Stat::of(pid).map(|stat| stat.usage()).unwrap_or_default()
}

/// How many descriptors this process has open.
pub fn own_descriptors() -> u64 {
    // One is that of the walk itself.
    fs::read_dir("/proc/self/fd").map_or(0, |all| (all.count() as u64).saturating_sub(1))
}

/// What each session uses, all its processes taken together: a worker that was started through a wrapper is
/// several. Pages that they share are counted in each. One walk over `/proc`.
pub fn usage_by_session() -> HashMap<u32, Usage> {
    let mut sessions: HashMap<u32, Usage> = HashMap::new();
    for (_, stat) in all() {
        let one = stat.usage();
        let sum = sessions.entry(stat.session).or_default();
        sum.rss_bytes = sum.rss_bytes.saturating_add(one.rss_bytes);
        sum.cpu_ticks = sum.cpu_ticks.saturating_add(one.cpu_ticks);
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_shifts_no_field() {
        let line = b"4242 (a) R 1 (b) S 17 4242 4000 0 -1 4194560 9 0 0 0 12 30 0 0 20 0 1 0 \
            777 1234567 321 18446744073709551615 1 1";
        let expected = Stat {
            state: b'S',
            parent: 17,
            session: 4000,
            cpu_ticks: 42,
            rss_pages: 321,
        };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse(b"4242 (cut"), None);
        assert_eq!(Stat::parse(b"4242 (cut) S 17"), None);
    }

    #[test]
    fn this_process_is_found_everywhere() {
        let me = std::process::id();
        let session = session_of(me).unwrap();
        assert!(session_members(session).contains(&me));
        assert_eq!(parent_of(me), Some(std::os::unix::process::parent_id()));
        assert!(usage(me).rss_bytes > 0 && own_descriptors() > 2);
        let used = Usage {
            cpu_ticks: 150,
            ..Usage::default()
        };
        assert!((0.1..=1.5).contains(&used.cpu_seconds()));
        assert!(activity(me).starts_with("is in state "));
        assert_eq!(activity(u32::MAX), "is gone");
        assert!(usage_by_session()[&session].rss_bytes >= usage(me).rss_bytes / 2);
    }

    #[test]
    fn a_socket_is_found_by_its_inode() {
        use std::os::linux::fs::MetadataExt;
        use std::os::unix::fs::FileTypeExt;
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = fs::File::from(std::os::fd::OwnedFd::from(socket));
        let metadata = file.metadata().unwrap();
        assert!(metadata.file_type().is_socket());
        let inode = metadata.st_ino();
        assert!(holds_inode(std::process::id(), inode));
        drop(file);
        assert!(!holds_inode(std::process::id(), inode));
        assert!(!holds_inode(u32::MAX, inode));
    }
}
