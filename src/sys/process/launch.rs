//! The start of one child, clean of everything that is ours: signal mask, dispositions, descriptors, limits,
//! session, privilege.
//!
//! `std::process::Command` forks, carries the errno of a failed exec back through its close-on-exec pipe and
//! does the stdio; one `pre_exec` does the rest with async-signal-safe calls on values prepared before the
//! fork. Umask, nice value, core limit and oom score stay as the primary has them.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::{gettid, pipe2};

use super::open_pidfd;

/// What to start, and as whom.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The file to execute; with a slash in it, no search is made.
    pub program: PathBuf,
    /// All arguments, `argv[0]` included.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; default: the primary's.
    pub cwd: Option<PathBuf>,
    /// Who it runs as; default: the primary's user.
    pub identity: Option<Credentials>,
    /// `RLIMIT_NOFILE` (soft, hard) to restore, since the primary raised its own.
    pub nofile: Option<(u64, u64)>,
    /// The one CPU that it is to run on, if the cpuset still has it; default: any of the primary's.
    pub cpu: Option<usize>,
    /// What the kernel sends it when the primary dies.
    pub death_signal: Option<Signal>,
}

/// Whom a child runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A child that has been started: exec has succeeded.
#[derive(Debug)]
pub struct Child {
    /// Its pid, also its session and its process group.
    pub pid: u32,
    /// Becomes readable when it ends; to signal it and to wait for it.
    pub pidfd: OwnedFd,
    /// What it writes to stdout: the read end, non-blocking.
    pub stdout: OwnedFd,
    /// What it writes to stderr: the read end, non-blocking.
    pub stderr: OwnedFd,
}

/// A child that talks over a connection: what it writes to stderr is all that is left for us.
#[derive(Debug)]
pub struct Helper {
    /// Its pid, also its session and its process group.
    pub pid: u32,
    /// Becomes readable when it ends; to signal it and to wait for it.
    pub pidfd: OwnedFd,
    /// What it writes to stderr: the read end, non-blocking.
    pub stderr: OwnedFd,
}

impl Launch {
    /// Starts the child. Only from the main thread when `death_signal` is set: the kernel ties that signal to
    /// the life of the *thread* that forked (prctl(2), `PR_SET_PDEATHSIG`).
    ///
    /// # Errors
    /// Those of pipe(2), fork(2), pidfd_open(2) and execve(2), and of each step of the child before its exec;
    /// nothing is left running then.
    pub fn start(&self) -> io::Result<Child> {
        let (stdout, stdout_writer) = output_pipe()?;
        let (stderr, stderr_writer) = output_pipe()?;
        let stdio = [Stdio::null(), stdout_writer.into(), stderr_writer.into()];
        let (pid, pidfd) = self.spawn(stdio)?;
        Ok(Child {
            pid,
            pidfd,
            stdout,
            stderr,
        })
    }

    /// Starts a child whose stdin and stdout are `connection`.
    ///
    /// # Errors
    /// As [`Launch::start`], and those of dup(2).
    pub fn start_over(&self, connection: OwnedFd) -> io::Result<Helper> {
        let (stderr, stderr_writer) = output_pipe()?;
        let stdin = connection.try_clone()?;
        let (pid, pidfd) = self.spawn([stdin.into(), connection.into(), stderr_writer.into()])?;
        Ok(Helper { pid, pidfd, stderr })
    }

    fn spawn(&self, [stdin, stdout, stderr]: [Stdio; 3]) -> io::Result<(u32, OwnedFd)> {
        if self.death_signal.is_some() && gettid().as_raw() as u32 != std::process::id() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a child with a death signal must be started by the main thread",
            ));
        }
        let mut command = Command::new(&self.program);
        if let Some((first, rest)) = self.args.split_first() {
            command.arg0(first).args(rest);
        }
        command
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        let mut cleaning = Cleaning::prepare(self);
        // SAFETY: `Cleaning::run` calls only async-signal-safe functions, allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || cleaning.run()) };
        let child = command.spawn().map_err(|error| self.explain(error))?;
        let pid = child.id();
        match open_pidfd(pid) {
            Ok(pidfd) => Ok((pid, pidfd)),
            Err(error) => {
                // Not waited for yet, so the pid is still this child's.
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// `EPERM` comes from the change of user; an exec that is not allowed says `EACCES`.
    fn explain(&self, error: io::Error) -> io::Error {
        match &self.identity {
            Some(identity) if error.raw_os_error() == Some(libc::EPERM) => io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "may not become user {} and group {}",
                    identity.uid, identity.gid
                ),
            ),
            _ => error,
        }
    }
}

/// A pipe for a child's output: non-blocking for us, blocking for the child, since the two ends are two open
/// file descriptions.
pub(in crate::sys) fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

/// What the child does to itself between fork and exec: values made before the fork, since nothing may be
/// allocated after it.
struct Cleaning {
    primary: libc::pid_t,
    death_signal: Option<libc::c_int>,
    nofile: Option<libc::rlimit>,
    /// The CPU to run on, as the kernel's bit mask; empty: any.
    cpus: Vec<u64>,
    identity: Option<Credentials>,
    /// Room for getgroups(2), one more than there should be.
    groups: Vec<libc::gid_t>,
}

impl Cleaning {
    fn prepare(launch: &Launch) -> Self {
        let mut identity = launch.identity.clone();
        if let Some(identity) = &mut identity {
            // The kernel returns them sorted; `has_groups` compares.
            identity.groups.sort_unstable();
            identity.groups.dedup();
        }
        let count = identity.as_ref().map_or(0, |wanted| wanted.groups.len());
        Self {
            primary: std::process::id() as libc::pid_t,
            death_signal: launch.death_signal.map(|signal| signal as libc::c_int),
            nofile: launch.nofile.map(|(soft, hard)| libc::rlimit {
                rlim_cur: soft,
                rlim_max: hard,
            }),
            cpus: launch.cpu.map_or_else(Vec::new, only),
            identity,
            groups: vec![0; count + 1],
        }
    }

    fn run(&mut self) -> io::Result<()> {
        reset_signals()?;
        // SAFETY: no arguments; a fresh child leads no group, so it cannot fail.
        check(unsafe { libc::setsid() })?;
        if let Some(limit) = &self.nofile {
            // SAFETY: reads one rlimit that lives in `self`. Before the drop, since root may have raised `hard`.
            check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) })?;
        }
        if !self.cpus.is_empty() {
            // A CPU that was taken away meanwhile is no reason not to run: any other does as well.
            // SAFETY: reads as many bytes as the mask has, which lives in `self`.
            unsafe {
                libc::sched_setaffinity(
                    0,
                    size_of_val(self.cpus.as_slice()),
                    self.cpus.as_ptr().cast(),
                )
            };
        }
        self.change_user()?;
        if let Some(signal) = self.death_signal {
            // After the change of user, which clears it.
            // SAFETY: one integer argument.
            check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) })?;
            // The primary may have died before that: nobody would ever send it.
            // SAFETY: no arguments, no failure.
            if unsafe { libc::getppid() } != self.primary {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        close_all_on_exec()
    }

    /// Groups, then group, then user: the other way round there is no right left to do it. Each is read back.
    fn change_user(&mut self) -> io::Result<()> {
        let Some(identity) = &self.identity else {
            return Ok(());
        };
        let (uid, gid) = (identity.uid, identity.gid);
        // Asking for the groups one already has needs no privilege.
        if !has_groups(&identity.groups, &mut self.groups) {
            // SAFETY: reads `len` group ids from a slice that lives in `self`.
            check(unsafe { libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) })?;
        }
        // SAFETY: integers only.
        check(unsafe { libc::setresgid(gid, gid, gid) })?;
        // SAFETY: integers only.
        check(unsafe { libc::setresuid(uid, uid, uid) })?;
        let (mut uids, mut gids) = ([0; 3], [0; 3]);
        let [real, effective, saved] = &mut uids;
        // SAFETY: writes three ids to three distinct integers on the stack.
        check(unsafe { libc::getresuid(real, effective, saved) })?;
        let [real, effective, saved] = &mut gids;
        // SAFETY: as above.
        check(unsafe { libc::getresgid(real, effective, saved) })?;
        let changed =
            uids == [uid; 3] && gids == [gid; 3] && has_groups(&identity.groups, &mut self.groups);
        // SAFETY: integers only; it must fail.
        let regained = uid != 0 && unsafe { libc::setresuid(0, 0, 0) } == 0;
        if !changed || regained {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        Ok(())
    }
}

/// A mask of this CPU alone.
fn only(cpu: usize) -> Vec<u64> {
    let mut mask = vec![0; cpu / 64 + 1];
    mask[cpu / 64] = 1 << (cpu % 64);
    mask
}

/// Whether the supplementary groups are exactly `wanted` (sorted). More than fit into `room` is not it.
fn has_groups(wanted: &[u32], room: &mut [libc::gid_t]) -> bool {
    // SAFETY: writes at most `len` group ids into the slice.
    let count = unsafe { libc::getgroups(room.len() as libc::c_int, room.as_mut_ptr()) };
    usize::try_from(count).is_ok_and(|count| room.get(..count) == Some(wanted))
}

/// Empty mask, default dispositions: both survive an exec (KF23), and the primary blocks and ignores.
fn reset_signals() -> io::Result<()> {
    /// `_NSIG` of the kernel.
    const LAST_SIGNAL: libc::c_int = 64;
    /// The kernel's signal set, bytes.
    const SET: usize = 8;
    // The kernel's `struct sigaction`, larger than on any architecture: all zero is the default handler, no
    // flags, an empty mask.
    let default = [0_u64; 16];
    for signal in 1..=LAST_SIGNAL {
        // Not the C library's sigaction, which refuses the two signals that it keeps for itself, while whoever
        // started us may have ignored those too. KILL and STOP say EINVAL.
        // SAFETY: reads `default`; writes nothing since the third argument is null.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET,
            )
        };
    }
    // SAFETY: an empty set, made on the stack, then read; nothing is written back.
    check(unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())
    })
}

/// Marks everything above stderr close-on-exec: what is ours is already, but the primary may itself have been
/// started with descriptors that are not.
pub(in crate::sys) fn close_all_on_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    /// How far the slow way looks, on kernels before 5.11.
    const MOST: libc::c_int = 65_536;
    // SAFETY: three integers; std's own error pipe is close-on-exec anyway and stays open until then.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done != 0 {
        for fd in FIRST as libc::c_int..MOST {
            // SAFETY: integers only; EBADF for what is not open.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

pub(in crate::sys) fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
