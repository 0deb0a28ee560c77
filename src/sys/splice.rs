//! A pipe for splice(2): bytes go from a socket into it and on to another socket without being copied by us.
//!
//! It knows how much is inside, which is the only way to tell what `EAGAIN` means: from an empty pipe's filling that
//! the source has nothing, else perhaps that the pipe is full. Who has a pipe, and for how long, is the business of
//! the proxy's.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::pipe2;

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_MOVE.union(SpliceFFlags::SPLICE_F_NONBLOCK);

/// Its two ends, close-on-exec and non-blocking.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: u32,
    inside: u32,
}

impl Pipe {
    /// One that holds `wanted` bytes, or as many as the kernel grants: an unprivileged user who has many pipes gets
    /// smaller ones, down to two pages (pipe(7), `pipe-user-pages-soft`).
    ///
    /// # Errors
    /// Those of pipe(2): `EMFILE`, `ENFILE`.
    pub fn new(wanted: u32) -> Result<Self, Errno> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
        // Refused beyond the quota or beyond pipe-max-size; then it stays as it was made.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(wanted));
        let size = fcntl(&write, FcntlArg::F_GETPIPE_SZ)?;
        Ok(Self {
            read,
            write,
            size: u32::try_from(size).unwrap_or(0),
            inside: 0,
        })
    }

    /// How much it is made for, bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// What is in it, bytes.
    pub fn inside(&self) -> u32 {
        self.inside
    }

    /// Takes what `source` has, as much as there is room for. Zero is the end, or urgent data before the end.
    ///
    /// # Errors
    /// Those of splice(2). `EAGAIN` from an empty pipe: the source has nothing now. `EINVAL`: it cannot be spliced.
    pub fn fill(&mut self, source: BorrowedFd<'_>) -> Result<usize, Errno> {
        let room = self.size.saturating_sub(self.inside) as usize;
        let count = splice(source, None, &self.write, None, room, FLAGS)?;
        self.inside += count as u32;
        Ok(count)
    }

    /// Gives `sink` what is in it, as much as it takes.
    ///
    /// # Errors
    /// Those of splice(2). `EAGAIN`: the sink is full. `EPIPE` comes with a SIGPIPE, which no flag prevents, hence
    /// [`ignore_sigpipe`].
    pub fn empty(&mut self, sink: BorrowedFd<'_>) -> Result<usize, Errno> {
        let count = splice(&self.read, None, sink, None, self.inside as usize, FLAGS)?;
        self.inside = self.inside.saturating_sub(count as u32);
        Ok(count)
    }
}

/// A write to what its reader has left is an error from now on, and never the end of this process. Rust's start has
/// done that; who splices relies on it, so makes sure.
pub fn ignore_sigpipe() {
    // SAFETY: no handler of ours is installed, so that nothing runs in signal context.
    let done = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    debug_assert!(done.is_ok(), "SIGPIPE is a signal that can be ignored");
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_inside_is_known_and_goes_on_unchanged() {
        let mut pipe = Pipe::new(64 * 1024).unwrap();
        assert_eq!((pipe.size(), pipe.inside()), (64 * 1024, 0));
        let (mut near, source) = UnixStream::pair().unwrap();
        let (sink, mut far) = UnixStream::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        sink.set_nonblocking(true).unwrap();
        assert_eq!(pipe.fill(source.as_fd()), Err(Errno::EAGAIN));
        near.write_all(b"some bytes").unwrap();
        assert_eq!(pipe.fill(source.as_fd()), Ok(10));
        assert_eq!(pipe.inside(), 10);
        assert_eq!(pipe.empty(sink.as_fd()), Ok(10));
        assert_eq!(pipe.inside(), 0);
        let mut heard = [0; 10];
        far.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"some bytes");
        drop(near);
        assert_eq!(pipe.fill(source.as_fd()), Ok(0));
    }

    #[test]
    fn a_sink_whose_reader_is_gone_is_an_error_and_no_signal() {
        ignore_sigpipe();
        let mut pipe = Pipe::new(4096).unwrap();
        let (mut near, source) = UnixStream::pair().unwrap();
        let (sink, far) = UnixStream::pair().unwrap();
        near.write_all(b"x").unwrap();
        pipe.fill(source.as_fd()).unwrap();
        drop(far);
        assert_eq!(pipe.empty(sink.as_fd()), Err(Errno::EPIPE));
        assert_eq!(pipe.inside(), 1);
    }
}
