//! Descriptors passed by a service manager: sd_listen_fds_with_names(3), `LISTEN_PID`, `LISTEN_FDS` and
//! `LISTEN_FDNAMES`.
//!
//! Takes what the environment names, once, at the very start of the program and before anything else is
//! opened. Never removes the variables: the workers' environment is made without them.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Number of the first descriptor passed, after standard input, output and error.
const FIRST: RawFd = 3;
/// More than this many is a broken environment.
const MOST: i32 = 1024;

/// One of them.
#[derive(Debug)]
pub struct Inherited {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What the manager calls it (`FileDescriptorName=`), if it gives names.
    pub name: Option<String>,
}

/// The descriptors that `LISTEN_FDS` names, if `LISTEN_PID` is this process, now close-on-exec.
///
/// To be called once, before anything else is opened.
///
/// # Errors
/// `InvalidInput` for numbers that are none; `EBADF` for a descriptor that is not open.
pub fn take() -> io::Result<Vec<Inherited>> {
    let variable = |name| std::env::var(name).ok();
    take_named(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
    )
}

fn take_named(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
) -> io::Result<Vec<Inherited>> {
    let (Some(pid), Some(count)) = (pid, count) else {
        return Ok(Vec::new());
    };
    if pid.parse() != Ok(std::process::id()) {
        return Ok(Vec::new());
    }
    let count: i32 = count
        .parse()
        .ok()
        .filter(|count| (0..=MOST).contains(count))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "LISTEN_FDS is not a number"))?;
    let names = names.into_iter().flat_map(|names| names.split(':'));
    let names = names.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    let named = (FIRST..FIRST + count).zip(names.chain(std::iter::repeat(None)));
    named
        .map(|(fd, name)| adopt(fd).map(|fd| Inherited { fd, name }))
        .collect()
}

fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for the one call, which answers EBADF if there is no such descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: open (the call above succeeded), and by the protocol of sd_listen_fds(3) passed to this very
    // process for it to own; `take` runs once, before anything else could have got the number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::take_named;

    #[test]
    fn another_process_or_no_number_takes_nothing() {
        let me = std::process::id().to_string();
        let take = |pid, count| take_named(pid, count, Some("web:api"));
        assert!(take(None, Some("1")).unwrap().is_empty());
        assert!(take(Some("1"), Some("1")).unwrap().is_empty());
        assert!(take(Some("x"), Some("1")).unwrap().is_empty());
        assert!(take(Some(&me), Some("0")).unwrap().is_empty());
        assert!(take(Some(&me), Some("-1")).is_err());
        assert!(take(Some(&me), Some("many")).is_err());
    }
}
