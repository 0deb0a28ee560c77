//! A directory of one primary: private, locked as long as its owner lives, removed with it. What a killed
//! primary left behind is known by its free lock.
//!
//! Never follows a link, never touches a directory of somebody else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::sys::handover::{Bytes, Kind, Luggage, Ticket};

/// Names tried: the same pid may live twice on one file system, in two pid namespaces.
const NAMES: usize = 64;
/// A sweeper holds a fresh directory for a moment only.
const SWEEPER: Duration = Duration::from_millis(2);

/// A directory that is ours alone.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    lock: Flock<File>,
}

/// A directory for the next image, which goes on to hold the lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenDir {
    path: Bytes,
    lock: Ticket,
}

impl PrivateDir {
    /// Makes `parent/STEM`, or `parent/STEM-1` and so on if that name is taken by a living owner.
    ///
    /// # Errors
    /// Those of mkdir(2), open(2) and flock(2).
    pub fn create(parent: &Path, stem: &str, mode: u32) -> io::Result<Self> {
        for number in 0..NAMES {
            let name = match number {
                0 => stem.to_owned(),
                _ => format!("{stem}-{number}"),
            };
            let path = parent.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    sweep_one(&path);
                    if DirBuilder::new().mode(0o700).create(&path).is_err() {
                        continue;
                    }
                }
                made => made?,
            }
            // A sweeper may have come between: it takes what is not locked for left behind.
            let Some(lock) = lock(&path)? else {
                std::thread::sleep(SWEEPER);
                continue;
            };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            return Ok(Self { path, lock });
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenDir {
        FrozenDir {
            path: self.path.as_path().into(),
            lock: luggage.lend(Kind::Directory, self.lock.as_fd()),
        }
    }

    /// As another image left it, still locked: the lock belongs to what both have open.
    ///
    /// # Errors
    /// `InvalidData` if the lock did not come along; those of flock(2).
    pub fn thaw(frozen: FrozenDir, luggage: &mut Luggage<'_>) -> io::Result<Self> {
        let directory = File::from(luggage.take(frozen.lock, Kind::Directory)?);
        let lock = Flock::lock(directory, FlockArg::LockExclusiveNonblock);
        Ok(Self {
            path: frozen.path.into(),
            lock: lock.map_err(|(_, errno)| errno)?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the directories `parent/PREFIX*` of this user whose owner is dead.
pub fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(prefix))
        {
            sweep_one(&entry.path());
        }
    }
}

fn sweep_one(path: &Path) {
    if let Ok(Some(_lock)) = lock(path) {
        log::debug!("removing {}, left by a primary that died", path.display());
        remove(path);
    }
}

/// Takes the lock; `None` if another holds it, or has removed the directory meanwhile.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let directory = match open_own(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let lock = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, Errno::EAGAIN)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    let held = lock.metadata()?;
    let still_there = fs::symlink_metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino()));
    Ok(still_there.then_some(lock))
}

/// Opens a directory of this very user; never a link.
///
/// # Errors
/// Those of open(2): `ENOTDIR` for a link or a file; `PermissionDenied` for somebody else's.
pub fn open_own(path: &Path) -> io::Result<File> {
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    if directory.metadata()?.uid() == geteuid().as_raw() {
        Ok(directory)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Removes the directory and the plain files and sockets in it.
fn remove(path: &Path) {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten() {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{PrivateDir, sweep};

    #[test]
    fn lives_with_its_owner_and_is_swept_after_it() {
        let parent =
            PrivateDir::create(&std::env::temp_dir(), "forkfront-test-own", 0o700).unwrap();
        let one = PrivateDir::create(parent.path(), "w.1", 0o700).unwrap();
        let other = PrivateDir::create(parent.path(), "w.1", 0o711).unwrap();
        assert!(other.path().ends_with("w.1-1"));
        fs::write(one.path().join("file"), "x").unwrap();
        fs::create_dir(parent.path().join("w.2")).unwrap();
        fs::write(parent.path().join("w.2").join("left"), "x").unwrap();
        std::os::unix::fs::symlink("/", parent.path().join("w.3")).unwrap();
        sweep(parent.path(), "w.");
        assert!(one.path().join("file").exists());
        assert!(!parent.path().join("w.2").exists());
        assert!(parent.path().join("w.3").is_symlink());
        let paths = [one.path().to_owned(), other.path().to_owned()];
        drop((one, other));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
