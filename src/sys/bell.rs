//! A bell between processes: an eventfd. Whoever rings it wakes all that watch it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The bell. Watched edge-triggered it need never be [heard](Self::heard): each ring is a new edge for every
/// watcher, and 2^64 - 2 of them fit.
#[derive(Debug)]
pub struct Bell(File);

impl Bell {
    /// A new one, close-on-exec.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let fd = OwnedFd::from(EventFd::from_flags(flags)?);
        Ok(Self::from(fd))
    }

    /// Wakes whoever watches it.
    pub fn ring(&self) {
        // It fails only when it is full, and then it has been rung.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// Takes all rings so far: one who watches level-triggered sleeps again. Whether there were any.
    pub fn heard(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }
}

impl From<OwnedFd> for Bell {
    fn from(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_heard_once_by_whoever_has_a_copy() {
        let bell = Bell::new().unwrap();
        let copy = Bell::from(bell.as_fd().try_clone_to_owned().unwrap());
        assert!(!copy.heard());
        bell.ring();
        bell.ring();
        assert!(copy.heard());
        assert!(!bell.heard());
    }
}
