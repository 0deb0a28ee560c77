//! The directory of the log files, held open: whatever its path leads to later, files are opened, renamed and removed
//! in the one that was found.
//!
//! On the way to it, symbolic links are followed, as people expect of `/var/log`. A primary that is root follows only
//! those that belong to root: whoever owns a directory above could lead it anywhere else otherwise.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// As many links on one way as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// One that is open.
#[derive(Debug)]
pub struct Directory(OwnedFd);

impl Directory {
    /// The one at this path.
    ///
    /// # Errors
    /// Those of open(2), and a sentence for a link that is not followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        walk(path).map(Self)
    }

    /// Opens a file in it, which is no symbolic link.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn open_file(&self, name: &str, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(
            &self.0,
            name,
            flags,
            Mode::from_bits_truncate(mode),
        )?)
    }

    /// Renames a file in it.
    ///
    /// # Errors
    /// Those of renameat(2).
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a file in it.
    ///
    /// # Errors
    /// Those of unlinkat(2).
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }
}

/// Goes there word by word, so that nobody can put a link in between what was looked at and what is opened.
fn walk(path: &Path) -> io::Result<OwnedFd> {
    let step = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let root = || nix::fcntl::open("/", step, Mode::empty());
    let mut at = match path.is_absolute() {
        true => root()?,
        false => nix::fcntl::open(".", step, Mode::empty())?,
    };
    let mut ahead = words(path);
    let mut links = 0;
    while let Some(word) = ahead.pop_front() {
        // As a directory first: that mounts what is mounted when somebody goes there (open(2), automount).
        let next = match openat(&at, &*word, step | OFlag::O_DIRECTORY, Mode::empty()) {
            Err(Errno::ENOTDIR) => openat(&at, &*word, step, Mode::empty())?,
            next => next?,
        };
        let found = fstat(&next)?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
            at = next;
            continue;
        }
        if geteuid().is_root() && found.st_uid != 0 {
            return Err(io::Error::other(format!(
                "'{}' on the way there is a symbolic link of user {}, which root does not follow",
                word.display(),
                found.st_uid
            )));
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = PathBuf::from(readlinkat(&next, OsStr::new(""))?);
        if target.is_absolute() {
            at = root()?;
        }
        for word in words(&target).into_iter().rev() {
            ahead.push_front(word);
        }
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(&at, ".", flags, Mode::empty())?)
}

fn words(path: &Path) -> VecDeque<OsString> {
    let parts = path.components();
    let parts = parts.filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    parts.map(|part| part.as_os_str().to_owned()).collect()
}
