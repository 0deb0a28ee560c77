//! Sealed memory that several processes map: a worker's scoreboard, an app's board of backends.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::backend_board::{self, BackendBoard};
use crate::scoreboard::{self, Scoreboard};
use crate::wire::PROTOCOL;

/// What can be shared in this way.
///
/// # Safety
/// All fields are atomics or arrays of them, so that any bit pattern is a value and any process may write at any
/// time; the alignment is that of a page at most; [`SIZE`](Self::SIZE) is not smaller than the type.
pub unsafe trait Shared {
    /// Bytes of the mapping, whole pages.
    const SIZE: usize;
    /// Its first two words: what it is, and of which version.
    const HEAD: [u32; 2];

    /// Where these words are.
    fn head(&self) -> [&AtomicU32; 2];
}

// SAFETY: `Scoreboard` consists of atomics, 64-byte aligned at most; the size is asserted in `map`.
unsafe impl Shared for Scoreboard {
    const SIZE: usize = scoreboard::SIZE;
    // A u16 fits.
    const HEAD: [u32; 2] = [scoreboard::MAGIC, PROTOCOL as u32];

    fn head(&self) -> [&AtomicU32; 2] {
        [&self.magic, &self.version]
    }
}

// SAFETY: `BackendBoard` consists of atomics, 128-byte aligned at most; the size is rounded up to pages.
unsafe impl Shared for BackendBoard {
    const SIZE: usize = size_of::<Self>().next_multiple_of(4096);
    const HEAD: [u32; 2] = [backend_board::MAGIC, backend_board::VERSION];

    fn head(&self) -> [&AtomicU32; 2] {
        [&self.magic, &self.version]
    }
}

/// A mapping and the memfd behind it.
pub struct Mapped<T: Shared> {
    page: NonNull<T>,
    memfd: OwnedFd,
}

impl<T: Shared> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mapped").field(&self.memfd).finish()
    }
}

/// A worker's scoreboard.
pub type Board = Mapped<Scoreboard>;

/// An app's board of backends.
pub type Backends = Mapped<BackendBoard>;

// SAFETY: a `Shared` consists of atomics, and the mapping lives as long as this.
unsafe impl<T: Shared> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for Mapped<T> {}

impl Board {
    /// A fresh scoreboard for one worker, its size sealed so that no holder can make a reader fault.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn create(slot: u16, worker: u64) -> io::Result<Self> {
        let board = Self::fresh()?;
        board.slot.store(u32::from(slot), Relaxed);
        board.worker.store(worker, Relaxed);
        Ok(board)
    }
}

impl<T: Shared> Mapped<T> {
    /// Fresh memory, all zero but for its head, its size sealed.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn fresh() -> io::Result<Self> {
        let memfd = memfd_create(
            c"forkfront",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?;
        let file = File::from(memfd);
        file.set_len(T::SIZE as u64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let board = Self::map(file.into())?;
        for (word, value) in board.head().into_iter().zip(T::HEAD) {
            word.store(value, Relaxed);
        }
        Ok(board)
    }

    /// Maps what was received.
    ///
    /// # Errors
    /// Those of fstat(2), fcntl(2) and mmap(2); `InvalidData` if the file is not a sealed board of this kind and version.
    pub fn open(memfd: OwnedFd) -> io::Result<Self> {
        let unfit = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let sealed = fcntl(&memfd, FcntlArg::F_GET_SEALS)?;
        let size = nix::sys::stat::fstat(&memfd)?.st_size;
        if sealed & SealFlag::F_SEAL_SHRINK.bits() == 0 || size != T::SIZE as i64 {
            return unfit("not a sealed scoreboard");
        }
        let board = Self::map(memfd)?;
        let head = board.head().map(|word| word.load(Relaxed));
        if head != T::HEAD {
            return unfit("a scoreboard of another version");
        }
        Ok(board)
    }

    fn map(memfd: OwnedFd) -> io::Result<Self> {
        const { assert!(size_of::<T>() <= T::SIZE && T::SIZE != 0) };
        let length = std::num::NonZeroUsize::new(T::SIZE).expect("asserted above");
        // SAFETY: a fresh mapping of SIZE bytes at an address of the kernel's choice; the file is SIZE bytes
        // and sealed against shrinking, so no access within it can fault.
        let page = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                &memfd,
                0,
            )?
        };
        Ok(Self {
            page: page.cast(),
            memfd,
        })
    }
}

impl<T: Shared> Deref for Mapped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped in `map`, unmapped only in `drop`, page-aligned, valid for any bit pattern (atomics).
        unsafe { self.page.as_ref() }
    }
}

impl<T: Shared> AsFd for Mapped<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

impl<T: Shared> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, of SIZE bytes; no reference outlives `self`.
        let _ = unsafe { munmap(self.page.cast(), T::SIZE) };
    }
}
