//! Becoming another program, as the same process: execve(2) with exactly the descriptors that are to be kept.
//!
//! Close-on-exec is the rule for every descriptor of ours, so it is taken from those that go along, and given
//! back to them if the exec fails: then nothing has changed. Only the main thread may call this; the kernel ends
//! all others, and what they own is closed with them.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::AtFlags;
use nix::unistd::{execve, execveat, getpid, gettid};

use super::process::{check, close_all_on_exec, open_pidfd, output_pipe};

/// What is executed.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// The file of this name.
    Path(&'a Path),
    /// The file behind this descriptor, wherever its name leads by now.
    Open(BorrowedFd<'a>),
}

/// The program that this process runs, held open: still there when its file is replaced or deleted.
///
/// # Errors
/// Those of open(2); `/proc` is needed.
pub fn own_program() -> io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open("/proc/self/exe")
}

/// Whether this is the thread that the process began with.
pub fn is_main_thread() -> bool {
    gettid() == getpid()
}

/// Replaces this process's program. Of ours, only the descriptors of these numbers stay open; what we were started
/// with (a lock, a pipe of whoever waits for our end) stays as it is, since it never was ours to close. Returns only
/// if that failed, with everything as it was.
///
/// # Errors
/// Those of execve(2); `InvalidInput` for a NUL in a word.
pub fn replace(
    program: Program<'_>,
    args: &[OsString],
    env: &[(OsString, OsString)],
    keep: &[RawFd],
) -> io::Result<Infallible> {
    let args = words(args.iter().cloned())?;
    let env = words(env.iter().map(|(name, value)| {
        let mut word = name.clone();
        word.push("=");
        word.push(value);
        word
    }))?;
    let kept = keep.iter().try_for_each(|&fd| leave_open(fd, true));
    let failed = kept.and_then(|()| match program {
        Program::Path(path) => {
            let path = CString::new(path.as_os_str().as_encoded_bytes())?;
            execve(&path, &args, &env).map_err(io::Error::from)
        }
        Program::Open(fd) => {
            execveat(fd, c"", &args, &env, AtFlags::AT_EMPTY_PATH).map_err(io::Error::from)
        }
    });
    for &fd in keep {
        // It was open a moment ago, and no other thread closes what goes along.
        let _ = leave_open(fd, false);
    }
    failed
}

/// Clears or sets close-on-exec.
fn leave_open(fd: RawFd, open: bool) -> io::Result<()> {
    let flags = if open { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: integers only; EBADF for what is not open.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) })
}

/// A program that is tried out in a child, on descriptors of ours.
#[derive(Debug)]
pub struct Trial {
    /// Its pid: not to be reaped as a stray.
    pub pid: u32,
    /// Becomes readable when it ends; to kill it and to wait for it.
    pub pidfd: OwnedFd,
    /// What it writes to stdout: the read end, non-blocking.
    pub stdout: OwnedFd,
    /// What it writes to stderr: the read end, non-blocking.
    pub stderr: OwnedFd,
}

/// Starts `program` in a child that has `keep` under the same numbers, no other descriptor of ours, and dies with
/// us. Nothing of ours changes. Only by the main thread, as every child with a death signal.
///
/// # Errors
/// Those of pipe(2), fork(2), execve(2) and pidfd_open(2); nothing is left running then.
pub fn try_out(
    program: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
    keep: &[BorrowedFd<'_>],
) -> io::Result<Trial> {
    let (stdout, stdout_writer) = output_pipe()?;
    let (stderr, stderr_writer) = output_pipe()?;
    let mut command = Command::new(program);
    if let Some((first, rest)) = args.split_first() {
        command.arg0(first).args(rest);
    }
    command
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(stdout_writer)
        .stderr(stderr_writer);
    let keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: `keep_in_child` makes system calls on integers only; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || keep_in_child(&keep)) };
    let mut child = command.spawn()?;
    let pid = child.id();
    match open_pidfd(pid) {
        Ok(pidfd) => Ok(Trial {
            pid,
            pidfd,
            stdout,
            stderr,
        }),
        Err(error) => {
            // Not waited for yet, so the pid is still this child's.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Between fork and exec: exactly these stay open beside the standard three.
fn keep_in_child(keep: &[RawFd]) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) })?;
    close_all_on_exec()?;
    keep.iter().try_for_each(|&fd| leave_open(fd, true))
}

fn words(words: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    words
        .map(|word| Ok(CString::new(word.into_vec())?))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    fn closes_on_exec(fd: &impl AsFd) -> bool {
        fcntl(fd, FcntlArg::F_GETFD).unwrap() & FdFlag::FD_CLOEXEC.bits() != 0
    }

    #[test]
    fn an_exec_that_fails_changes_nothing_and_says_why() {
        let directory = std::env::temp_dir().join(format!("forkfront-exec-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let file = |name: &str, text: &str, mode: u32| {
            let path = directory.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let text = file("text", "no program", 0o755);
        let busy = file("busy", "#!/bin/sh\n", 0o755);
        let _writer = std::fs::OpenOptions::new().write(true).open(&busy).unwrap();
        let long = vec![OsString::from("x".repeat(200_000))];
        let no_words = Vec::new();
        let cases = [
            (directory.join("none"), &no_words, libc::ENOENT),
            (file("plain", "", 0o644), &no_words, libc::EACCES),
            (text, &no_words, libc::ENOEXEC),
            (busy, &no_words, libc::ETXTBSY),
            ("/bin/true".into(), &long, libc::E2BIG),
        ];
        let (pipe, _writer) = std::io::pipe().unwrap();
        for (path, args, errno) in cases {
            let failed = replace(Program::Path(&path), args, &[], &[pipe.as_raw_fd()]);
            let error = failed.unwrap_err();
            assert_eq!(
                error.raw_os_error(),
                Some(errno),
                "{}: {error}",
                path.display()
            );
            assert!(closes_on_exec(&pipe));
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_trial_has_what_is_shown_to_it_and_nothing_else() {
        let (shown, _one) = std::io::pipe().unwrap();
        let (hidden, _other) = std::io::pipe().unwrap();
        let script = format!(
            "test -e /proc/self/fd/{} && ! test -e /proc/self/fd/{} && echo $GREETING",
            shown.as_raw_fd(),
            hidden.as_raw_fd()
        );
        let args = ["sh".into(), "-c".into(), script.into()];
        let env = [("GREETING".into(), "hello".into())];
        let trial = try_out(Path::new("/bin/sh"), &args, &env, &[shown.as_fd()]).unwrap();
        let mut ended = [nix::poll::PollFd::new(
            trial.pidfd.as_fd(),
            nix::poll::PollFlags::POLLIN,
        )];
        nix::poll::poll(&mut ended, 10_000_u16).unwrap();
        let mut said = [0; 64];
        let length = nix::unistd::read(&trial.stdout, &mut said).unwrap();
        assert_eq!(&said[..length], b"hello\n");
        assert!(closes_on_exec(&shown));
        crate::sys::process::try_wait(trial.pidfd.as_fd()).unwrap();
        drop(hidden);
    }

    #[test]
    fn the_own_program_is_held_open() {
        let program = own_program().unwrap();
        assert!(program.metadata().unwrap().is_file());
        assert!(closes_on_exec(&program));
    }
}
