//! Why a worker that runs has not joined: a look at the processes of its session, and one sentence.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Suspicion, listening, suspect};
use crate::config::Listen;
use crate::sys::process::{parent_of, session_members};

/// One process of a worker.
#[derive(Debug)]
struct Process {
    pid: u32,
    name: String,
    /// Some other process of the worker is its child: a wrapper, it seems.
    has_children: bool,
    suspicion: Option<Suspicion>,
    /// We may not look into it: it has more rights than we, or has had, and then nothing was preloaded; or it
    /// has made itself undumpable, which is rare.
    closed: bool,
    shim: bool,
    /// Ports that it listens on by itself.
    ports: Vec<u16>,
    io_uring: bool,
}

impl Process {
    /// Nothing speaks against the shim in it.
    fn is_free(&self) -> bool {
        self.suspicion.is_none() && !self.closed
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Why the worker whose first process is `worker` has not joined, in one sentence. `listen` are the `-l`, from
/// which the ports follow that are shared. `None` if nothing of it is left. For when it is late: it reads some
/// files of each process.
pub fn diagnose(worker: u32, listen: &[Listen]) -> Option<String> {
    let processes = survey(worker);
    if processes.is_empty() {
        return None;
    }
    certain(&processes, listen)
        .or_else(|| elsewhere(&processes, listen))
        .or_else(|| {
            let leaf = leaves(&processes).find(|process| process.suspicion.is_some())?;
            named(leaf)
        })
        .or_else(|| without_shim(&processes))
        .or_else(|| beside(&processes, listen))
        .or_else(|| Some(silent(&processes, listen)))
}

/// The same, but only what waiting cannot change: a process that serves outside our control. Cheap enough to be
/// asked twice a second while a worker starts.
pub fn diagnose_early(worker: u32, listen: &[Listen]) -> Option<String> {
    certain(&survey(worker), listen)
}

/// Where it listens so far, if that is nothing that could be shared: for people who wait.
pub fn diagnose_meanwhile(worker: u32, listen: &[Listen]) -> Option<String> {
    beside(&survey(worker), listen)
}

/// No program that runs in this worker, wrappers apart, can take the shim.
pub(super) fn none_is_free(worker: u32) -> bool {
    none_free_of(&survey(worker))
}

fn none_free_of(processes: &[Process]) -> bool {
    !leaves(processes).any(Process::is_free)
}

fn survey(worker: u32) -> Vec<Process> {
    let pids = session_members(worker);
    let parents: Vec<Option<u32>> = pids.iter().map(|&pid| parent_of(pid)).collect();
    pids.iter()
        .map(|&pid| look_at(pid, parents.contains(&Some(pid))))
        .collect()
}

fn look_at(pid: u32, has_children: bool) -> Process {
    let (ports, io_uring) = listening::of(pid);
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    let closed = matches!(&exe, Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
    let exe = exe.unwrap_or_default();
    Process {
        pid,
        name: name_of(pid, &exe),
        has_children,
        suspicion: suspicion(pid, exe),
        closed,
        shim: has_shim(pid),
        ports,
        io_uring,
    }
}

/// The program's own name says more than the command name, which programs change ("MainThread").
fn name_of(pid: u32, exe: &Path) -> String {
    let comm = || fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    exe.file_name()
        .and_then(OsStr::to_str)
        .map(|name| name.trim_end_matches(" (deleted)").to_owned())
        .or_else(|| comm().map(|comm| comm.trim_end().to_owned()))
        .unwrap_or_else(|| "a process".to_owned())
}

/// Read through `/proc`, since the path may mean another file by now; the sentence names the path.
fn suspicion(pid: u32, exe: PathBuf) -> Option<Suspicion> {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let mut suspicion = suspect(&link, real_ids(pid)?)?;
    suspicion.program = exe;
    Some(suspicion)
}

/// Who it was before its file gave it another user: the real ids stay.
fn real_ids(pid: u32) -> Option<(u32, u32)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let first = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some((first("Uid:")?, first("Gid:")?))
}

/// The shim's file is called `shim-HASH.so`, wherever it is.
fn has_shim(pid: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines()
        .filter_map(|line| line.rsplit_once('/'))
        .any(|(_, file)| {
            file.trim_start_matches("memfd:").starts_with("shim-") && file.contains(".so")
        })
}

/// The processes that no other was started by: wrappers wait, and these do the work.
fn leaves(processes: &[Process]) -> impl Iterator<Item = &Process> {
    processes.iter().filter(|process| !process.has_children)
}

fn named(process: &Process) -> Option<String> {
    let suspicion = process.suspicion.as_ref()?;
    Some(format!("{process} cannot be a worker: {suspicion}"))
}

/// It listens where nothing can be shared any more.
fn certain(processes: &[Process], listen: &[Listen]) -> Option<String> {
    let listening = || processes.iter().filter(|process| !process.ports.is_empty());
    let shared = |port: &u16| match listen {
        [] => !listening::is_ephemeral(*port),
        listen => listen.iter().any(|one| one.shared_port() == Some(*port)),
    };
    // A helper that serves something of its own beside a server that still starts proves nothing.
    let alone = none_free_of(processes);
    if let Some(unfit) = listening()
        .filter(|process| alone || process.ports.iter().any(shared))
        .find(|process| process.suspicion.is_some())
    {
        return named(unfit);
    }
    let (process, port) = listening()
        .find_map(|process| Some((process, process.ports.iter().copied().find(shared)?)))?;
    let how = if !process.shim {
        "forkfront's library is not loaded into it, since LD_PRELOAD was lost on the way (env -i, sudo?)"
    } else if process.io_uring {
        "it seems to do so by io_uring, which does not pass through the C library"
    } else {
        "it does not do so through the C library"
    };
    Some(format!(
        "{process} listens on port {port} by itself, outside forkfront's control: {how}"
    ))
}

/// It listens, but on a port that no `-l` names.
fn elsewhere(processes: &[Process], listen: &[Listen]) -> Option<String> {
    let one = listen.first()?;
    let shared = one.shared_port()?;
    let (process, port) = processes
        .iter()
        .flat_map(|process| process.ports.iter().map(move |&port| (process, port)))
        .min_by_key(|&(_, port)| listening::is_ephemeral(port))?;
    let shares = match one.app_port {
        Some(_) => format!("-l {one} shares its port {shared}"),
        None => format!("-l shares port {shared}"),
    };
    // The kernel may have chosen it, for something that is nobody's business.
    let unless = if listening::is_ephemeral(port) {
        "if that is where clients are to go, "
    } else {
        ""
    };
    Some(format!(
        "{process} listens on port {port} by itself, but {shares}: {unless}say -l {}={port}",
        one.at
    ))
}

fn without_shim(processes: &[Process]) -> Option<String> {
    let process = leaves(processes).find(|process| !process.shim)?;
    if process.closed {
        return Some(format!(
            "{process} runs with rights that forkfront does not have (set-uid, file capabilities?), so the loader \
             ignores LD_PRELOAD"
        ));
    }
    Some(format!(
        "{process} runs without forkfront's library: LD_PRELOAD was lost on the way, as by env -i, sudo or a wrapper \
         that cleans the environment"
    ))
}

/// It listens where that cannot be shared: on a port that the kernel has chosen, or a Unix socket.
fn beside(processes: &[Process], listen: &[Listen]) -> Option<String> {
    let port = |process: &Process| process.ports.first().copied();
    if let Some((process, port)) = processes
        .iter()
        .filter(|_| listen.is_empty())
        .find_map(|process| Some((process, port(process)?)))
    {
        return Some(format!(
            "{process} listens on port {port}, which it has left to the kernel to choose and which stays its own: \
             give it a fixed port"
        ));
    }
    let paths = processes
        .iter()
        .map(|process| listening::unix_of(process.pid));
    let (process, path) = processes
        .iter()
        .zip(paths)
        .find_map(|(process, paths)| Some((process, paths.into_iter().next()?)))?;
    Some(format!(
        "{process} listens on the Unix socket {path} only, which cannot be shared: let it listen on a TCP port; \
         'forkfront run -l unix:PATH=PORT' gives its clients a Unix socket"
    ))
}

/// All is as it should be, and nothing came.
fn silent(processes: &[Process], listen: &[Listen]) -> String {
    let names: Vec<String> = processes.iter().map(Process::to_string).collect();
    let ports: Vec<String> = listen
        .iter()
        .filter_map(Listen::shared_port)
        .map(|port| port.to_string())
        .collect();
    let port = match ports.as_slice() {
        [] => "any fixed TCP port".to_owned(),
        [port] => format!("port {port}"),
        ports => format!("port {}", ports.join(" or ")),
    };
    let hint = if leaves(processes).any(|process| process.io_uring) {
        "; if it does so by io_uring, that does not pass through the C library and cannot be shared"
    } else {
        ""
    };
    format!(
        "{} has not listened on {port}{hint}; if its start takes longer, give --ready-timeout",
        names.join(", ")
    )
}
