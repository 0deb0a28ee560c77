//! One worker's scoreboard: a sealed memfd, mapped shared.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::scoreboard::{MAGIC, SIZE, Scoreboard};
use crate::wire::PROTOCOL;

/// A mapped scoreboard and the memfd behind it.
#[derive(Debug)]
pub struct Board {
    page: NonNull<Scoreboard>,
    memfd: OwnedFd,
}

// SAFETY: all fields of a `Scoreboard` are atomics, and the mapping lives as long as the `Board`.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// A fresh scoreboard for one worker, its size sealed so that no holder can make a reader fault.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn create(slot: u16, worker: u64) -> io::Result<Self> {
        let memfd = memfd_create(
            c"forkfront",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?;
        let file = File::from(memfd);
        file.set_len(SIZE as u64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let board = Self::map(file.into())?;
        board.magic.store(MAGIC, Relaxed);
        board.version.store(u32::from(PROTOCOL), Relaxed);
        board.slot.store(u32::from(slot), Relaxed);
        board.worker.store(worker, Relaxed);
        Ok(board)
    }

    /// Maps a scoreboard that was received.
    ///
    /// # Errors
    /// Those of fstat(2), fcntl(2) and mmap(2); `InvalidData` if the file is not a sealed scoreboard.
    pub fn open(memfd: OwnedFd) -> io::Result<Self> {
        let sealed = fcntl(&memfd, FcntlArg::F_GET_SEALS)?;
        let size = nix::sys::stat::fstat(&memfd)?.st_size;
        if sealed & SealFlag::F_SEAL_SHRINK.bits() == 0 || size != SIZE as i64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a sealed scoreboard",
            ));
        }
        let board = Self::map(memfd)?;
        if board.magic.load(Relaxed) != MAGIC || board.version.load(Relaxed) != u32::from(PROTOCOL)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a scoreboard of another version",
            ));
        }
        Ok(board)
    }

    fn map(memfd: OwnedFd) -> io::Result<Self> {
        const { assert!(size_of::<Scoreboard>() <= SIZE) };
        let length = std::num::NonZeroUsize::new(SIZE).expect("SIZE is a constant above zero");
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

impl Deref for Board {
    type Target = Scoreboard;

    fn deref(&self) -> &Scoreboard {
        // SAFETY: mapped in `map`, unmapped only in `drop`, page-aligned, valid for any bit pattern (atomics).
        unsafe { self.page.as_ref() }
    }
}

impl AsFd for Board {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, of SIZE bytes; no reference outlives `self`.
        let _ = unsafe { munmap(self.page.cast(), SIZE) };
    }
}
