//! The end of a listener: why there is nothing more to accept, and the switch by which a program (or a
//! signal to it) says so itself.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Why a [`Listener`](super::Listener) gives nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// The primary deals nothing more to this worker: a reload, a scale-down, a stop. Finish what is open,
    /// then exit.
    Drained = 1,
    /// The primary is gone.
    PrimaryGone = 2,
    /// The program's own [`Stopper`] was used, or a signal came.
    Stopped = 3,
}

impl End {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Drained),
            2 => Some(Self::PrimaryGone),
            3 => Some(Self::Stopped),
            _ => None,
        }
    }
}

/// Ends [`accept`](super::Listener::accept) from another thread, or on a signal. Clones are the same switch;
/// several listeners may share one ([`Options::stopper`](super::Options::stopper)).
///
/// ```
/// use forkfront::worker::{End, Options, Stopper};
///
/// let stopper = Stopper::new()?;
/// let listener = Options::new().stopper(&stopper).bind("127.0.0.1:0")?;
/// std::thread::spawn(move || stopper.stop());
/// assert!(listener.accept()?.is_none());
/// assert_eq!(listener.ended(), Some(End::Stopped));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    /// Readable for ever once the switch is thrown, so that every waiting thread sees it.
    thrown: EventFd,
    end: AtomicU8,
    signals: Option<SignalFd>,
}

impl Stopper {
    /// A switch that only [`stop`](Self::stop) throws.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> io::Result<Self> {
        Self::with(None)
    }

    /// A switch that SIGTERM and SIGINT throw too: the program then leaves its accept loop, finishes what is
    /// open and exits, as a worker should (and with Ctrl-C when it stands alone).
    ///
    /// Both signals are blocked in the calling thread and in those it starts later, so call this before
    /// starting any. `std::process::Command` unblocks them for the children it starts.
    ///
    /// # Errors
    /// Those of sigprocmask(2), signalfd(2) and eventfd(2).
    pub fn on_signals() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Self::with(Some(SignalFd::with_flags(&signals, flags)?))
    }

    fn with(signals: Option<SignalFd>) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(Switch {
            thrown: EventFd::from_flags(flags)?,
            end: AtomicU8::new(0),
            signals,
        })))
    }

    /// Throws the switch: every `accept` of its listeners returns `None` from now on.
    pub fn stop(&self) {
        self.throw(End::Stopped);
    }

    /// Whether the switch was thrown, by [`stop`](Self::stop) or by a signal.
    pub fn is_stopped(&self) -> bool {
        self.end().is_some()
    }

    /// Throws the switch for a reason; the first one counts.
    pub(super) fn throw(&self, end: End) {
        let first = self
            .0
            .end
            .compare_exchange(0, end as u8, Ordering::Release, Ordering::Relaxed);
        if first.is_ok() {
            // An eventfd takes u64::MAX - 1 before it blocks; this is the only 1 ever written.
            let _ = self.0.thrown.write(1);
        }
    }

    pub(super) fn end(&self) -> Option<End> {
        let end = self.thrown();
        if end.is_none() && self.signalled() {
            self.throw(End::Stopped);
            return Some(End::Stopped);
        }
        end
    }

    /// Takes one signal off that has come, if any has: for who goes on after its listener's end, and is to tell
    /// the signal that comes then from the one that was the end.
    pub(crate) fn take_signal(&self) -> bool {
        let signals = self.0.signals.as_ref();
        signals.is_some_and(|signals| matches!(signals.read_signal(), Ok(Some(_))))
    }

    /// Why it was thrown, as far as is known without a look for signals.
    pub(super) fn thrown(&self) -> Option<End> {
        End::from_code(self.0.end.load(Ordering::Acquire))
    }

    /// Looks without reading: the signal stays pending, so that another switch of the process sees it too.
    fn signalled(&self) -> bool {
        self.0.signals.as_ref().is_some_and(|signals| {
            let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
        })
    }

    /// What becomes readable when the switch is thrown.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let signals = self.0.signals.as_ref().map(AsFd::as_fd);
        std::iter::once(self.0.thrown.as_fd()).chain(signals)
    }
}

/// Readable once the switch is thrown, for ever: for a program that goes on after its listener's end, and is to hear
/// of a signal that comes then.
impl Source for Stopper {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.fds()
            .try_for_each(|fd| SourceFd(&fd.as_raw_fd()).register(registry, token, interests))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.fds()
            .try_for_each(|fd| SourceFd(&fd.as_raw_fd()).reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.fds()
            .try_for_each(|fd| SourceFd(&fd.as_raw_fd()).deregister(registry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_every_clone_sees_it() {
        let stopper = Stopper::new().unwrap();
        let clone = stopper.clone();
        assert_eq!(stopper.end(), None);
        stopper.throw(End::Drained);
        clone.stop();
        assert_eq!(clone.end(), Some(End::Drained));
        let mut fds: Vec<_> = clone
            .fds()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        assert_eq!(poll(&mut fds, PollTimeout::ZERO).unwrap(), 1);
    }
}
