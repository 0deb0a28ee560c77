//! Signals to the primary, read from a descriptor in its loop: no handler ever runs.
//!
//! Made once, by the main thread, before any other thread starts, since a thread inherits the mask and one
//! that does not block a signal would take it with its default action. Children get an empty mask from
//! [`Launch`](super::process::Launch).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub use nix::sys::signal::Signal;

/// What the primary listens to: the contract's signals, and `SIGCHLD`.
pub const WATCHED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];

/// The signals that have come, as a descriptor. Several of one kind may show as one.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks [`WATCHED`] and SIGXFSZ in this thread, and so in all that it starts, and opens the descriptor.
    ///
    /// # Errors
    /// Those of pthread_sigmask(3) and signalfd(2).
    pub fn block_and_watch() -> io::Result<Self> {
        // Started with SIGCHLD ignored, as some shells and cron do, the kernel would collect our children
        // itself and no wait would ever see one (waitpid(2), NOTES).
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action replaces no handler that anybody relies on; none was set.
        unsafe { sigaction(Signal::SIGCHLD, &default)? };
        // A log file at the limit of this process (setrlimit(2), RLIMIT_FSIZE) is to fail with EFBIG, and no more.
        SigSet::from(Signal::SIGXFSZ).thread_block()?;
        Self::block(&WATCHED)
    }

    /// The same for SIGINT alone, for a command that has a last word to say. `None` if it is ignored, as in
    /// the background of a shell script: it stays so.
    ///
    /// # Errors
    /// As [`Signals::block_and_watch`].
    pub fn block_and_watch_interrupts() -> io::Result<Option<Self>> {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action replaces no handler that anybody relies on; none was set.
        let before = unsafe { sigaction(Signal::SIGINT, &default)? };
        if matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: this puts back what was there.
            unsafe { sigaction(Signal::SIGINT, &before)? };
            return Ok(None);
        }
        Self::block(&[Signal::SIGINT]).map(Some)
    }

    /// The same for a program that has the terminal: what ends it, and what stops and continues it.
    ///
    /// # Errors
    /// As [`Signals::block_and_watch`].
    pub fn block_and_watch_for_a_screen() -> io::Result<Self> {
        Self::block(&[
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
            Signal::SIGCONT,
        ])
    }

    fn block(watched: &[Signal]) -> io::Result<Self> {
        let watched: SigSet = watched.iter().copied().collect();
        watched.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&watched, flags)?))
    }

    /// The next signal that has come, if any. Read until `None`: mio tells only of the first.
    ///
    /// # Errors
    /// Those of read(2), other than `EAGAIN` and `EINTR`.
    pub fn read(&self) -> io::Result<Option<Signal>> {
        loop {
            match self.0.read_signal() {
                Ok(None) => return Ok(None),
                Ok(Some(came)) => {
                    if let Ok(signal) = Signal::try_from(came.ssi_signo as i32) {
                        return Ok(Some(signal));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Source for Signals {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.0.as_fd().as_raw_fd()).register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.0.as_fd().as_raw_fd()).reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_fd().as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_once() {
        let signals = Signals::block_and_watch().unwrap();
        assert_eq!(signals.read().unwrap(), None);
        // raise(3) signals this thread only, and signalfd shows it to its own reader.
        nix::sys::signal::raise(Signal::SIGUSR2).unwrap();
        nix::sys::signal::raise(Signal::SIGUSR2).unwrap();
        assert_eq!(signals.read().unwrap(), Some(Signal::SIGUSR2));
        assert_eq!(signals.read().unwrap(), None);
    }
}
