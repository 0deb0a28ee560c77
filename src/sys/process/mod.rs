//! Child processes: started clean, signalled and waited for by pidfd, strays collected.
//!
//! Owns what the kernel asks for and nothing of the rules: who is started when, and what an exit means, is
//! the supervisor's business. Never signals a pid that was only remembered: a pidfd, or a look at `/proc`
//! while a pidfd is held, stands behind every signal (a pid is reused, a pidfd never is).
//!
//! `launch` starts a child, `proc_files` reads what `/proc` tells about processes, `connections` which of our
//! listeners' connections they hold.

pub mod connections;
mod launch;
pub mod oom;
mod proc_files;

pub use launch::{Child, Credentials, Helper, Launch};
pub(super) use launch::{check, close_all_on_exec, output_pipe};
pub use proc_files::{
    Living, Usage, activity, holds_inode, living, own_descriptors, parent_of, session_members,
    session_of, usage, usage_by_session, variable_of,
};

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By `exit`, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// A pidfd of `pid`, close-on-exec.
///
/// # Errors
/// Those of pidfd_open(2): `ESRCH` if there is no such process (a zombie counts as one), `EMFILE`.
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends `signal` to the process behind `pidfd`.
///
/// # Errors
/// `ESRCH` once it has been waited for, and never to another process; `EPERM`.
pub fn signal(pidfd: BorrowedFd, signal: Signal) -> io::Result<()> {
    // SAFETY: pidfd_send_signal(2) reads no memory when its siginfo pointer is null.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as i32,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match sent {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends `signal` to every process of the group `pgid`. A worker's pid names its group as long as the worker
/// has not been waited for or the group has a member; so signal the group first, then [`try_wait`].
///
/// # Errors
/// `ESRCH` if the group is empty, `EPERM`; `InvalidInput` for 0 and 1, which mean ourselves and everybody.
pub fn signal_group(pgid: u32, signal: Signal) -> io::Result<()> {
    match i32::try_from(pgid) {
        Ok(group) if group > 1 => Ok(kill(Pid::from_raw(-group), signal)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Sends `signal` to `pid` if it `still` is who it was when it was looked up: the pid may have been reused since,
/// and a pidfd holds still what is then asked about.
pub fn signal_if(pid: u32, signal: Signal, still: impl Fn(u32) -> bool) -> bool {
    open_pidfd(pid).is_ok_and(|pidfd| still(pid) && self::signal(pidfd.as_fd(), signal).is_ok())
}

/// Collects the child behind `pidfd` if it has ended. `None`: it runs on.
///
/// # Errors
/// `ECHILD` if it was already waited for, or is no child of ours.
pub fn try_wait(pidfd: BorrowedFd) -> io::Result<Option<Exit>> {
    let ended = wait(libc::P_PIDFD, pidfd.as_raw_fd() as u32, 0)?;
    Ok(ended.map(|(_, exit)| exit))
}

/// How the child behind `pidfd` ended, if it has, without collecting it: it stays a zombie, whose pid goes on
/// naming its session and group and becomes nobody else's.
///
/// # Errors
/// As [`try_wait`].
pub fn peek_exit(pidfd: BorrowedFd) -> io::Result<Option<Exit>> {
    let ended = wait(libc::P_PIDFD, pidfd.as_raw_fd() as u32, libc::WNOWAIT)?;
    Ok(ended.map(|(_, exit)| exit))
}

/// Whether `fd` stands for a process, of whatever parent.
pub fn is_pidfd(fd: BorrowedFd) -> bool {
    // EBADF says that it is none; ECHILD, that it is nobody we wait for.
    !matches!(peek_exit(fd), Err(error) if error.raw_os_error() == Some(libc::EBADF))
}

/// waitid(2) for children that have ended, without blocking: the pid and its end. Not nix's, which turns an
/// end by a real-time signal into an error, after it has taken it.
fn wait(kind: libc::idtype_t, id: u32, flags: i32) -> io::Result<Option<(u32, Exit)>> {
    // SAFETY: all zero is a valid siginfo_t, and what "none has ended" leaves in si_pid.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = flags | libc::WEXITED | libc::WNOHANG;
    loop {
        // SAFETY: the kernel writes one siginfo_t into `seen`.
        if unsafe { libc::waitid(kind, id, &mut seen, flags) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: waitid filled in the fields of SIGCHLD, or left them zero.
    let (pid, status) = unsafe { (seen.si_pid(), seen.si_status()) };
    Ok(match (pid, seen.si_code) {
        (0, _) => None,
        (pid, libc::CLD_EXITED) => Some((pid as u32, Exit::Code(status))),
        (pid, _) => Some((pid as u32, Exit::Signal(status))),
    })
}

/// Makes this process the parent of every orphan among its descendants, so that what a worker leaves behind
/// is seen, can be signalled, and ends as no zombie.
///
/// # Errors
/// Those of prctl(2); none on Linux 3.4 or later.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(true)?)
}

/// Collects children that ended and are not workers, and says how many. Looks before it takes
/// (`WNOWAIT`), so a worker's exit is always left to [`try_wait`].
pub fn reap_strays(is_worker: impl Fn(u32) -> bool) -> usize {
    let mut reaped = 0;
    loop {
        match wait(libc::P_ALL, 0, libc::WNOWAIT) {
            Ok(Some((pid, _))) if !is_worker(pid) => reaped += usize::from(collect(pid)),
            // The kernel shows always the same one, and a worker may stay a zombie for a while.
            Ok(Some(_)) => break,
            Ok(None) | Err(_) => return reaped,
        }
    }
    proc_files::zombies_of(std::process::id())
        .into_iter()
        .filter(|&pid| !is_worker(pid) && collect(pid))
        .count()
        + reaped
}

/// Takes the exit of a child of ours that has ended, as was just seen: neither blocks nor takes another.
fn collect(pid: u32) -> bool {
    matches!(wait(libc::P_PID, pid, 0), Ok(Some(_)))
}
