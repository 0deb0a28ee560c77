//! The directory that all primaries of one user share: made if need be, checked, locked while names in it
//! are taken, removed by the last one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::SockType;

use super::private_dir;
use crate::error::{Error, Result};
use crate::primary::socket_file::{self, DirectoryLock, LOCK_TIMEOUT, Occupant};
use crate::protocol::INSTANCE_PREFIX;

/// Another primary that ends may remove the directory between our steps: so often they are begun anew.
const ATTEMPTS: usize = 16;

/// Others that leave at the same moment hold the lock for less. One that comes needs the directory anyway.
const LEAVING: Duration = Duration::from_millis(200);
const SUFFIX: &str = "sock";

/// The control socket of the primary `name`.
pub fn socket_path(base: &Path, name: &str) -> PathBuf {
    base.join(format!("{name}.{SUFFIX}"))
}

/// The base directory.
#[derive(Debug)]
pub struct Base {
    /// Where it is.
    pub path: PathBuf,
    lock: Option<DirectoryLock>,
}

impl Base {
    /// Makes or checks the directory and locks it. It may be entered (not listed) by others only if
    /// `other_user`, since the workers then need to get to the rendezvous.
    ///
    /// # Errors
    /// One sentence if the directory is there and is not safe; the inner error if it cannot be made.
    pub fn open(path: &Path, other_user: bool) -> Result<io::Result<Self>> {
        for _ in 0..ATTEMPTS {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Ok(Err(error));
                }
                _ => {}
            }
            check(path)?;
            let lock = match socket_file::lock_directory(path, LOCK_TIMEOUT) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                locked => locked.map_err(|error| {
                    Error::io(
                        format!("cannot lock the run directory {}", path.display()),
                        &error,
                    )
                })?,
            };
            if lock.is_on(path) {
                if other_user {
                    let entered = fs::Permissions::from_mode(0o711);
                    fs::set_permissions(path, entered).map_err(|error| {
                        Error::io(
                            format!("cannot let the workers' user into {}", path.display()),
                            &error,
                        )
                    })?;
                }
                return Ok(Ok(Self {
                    path: path.to_owned(),
                    lock: Some(lock),
                }));
            }
        }
        let gone = io::Error::new(io::ErrorKind::NotFound, "it is removed again and again");
        Ok(Err(gone))
    }

    /// The directory of a primary that has its names already.
    pub fn of(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    /// Whether `path` is this very directory.
    pub fn is(&self, path: &Path) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.is_on(path))
    }

    /// Lets other primaries take names again.
    pub fn unlock(mut self) -> Self {
        self.lock = None;
        self
    }

    /// Removes what primaries that died without cleaning up have left.
    pub fn sweep(&self) {
        private_dir::sweep(&self.path, INSTANCE_PREFIX);
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path
                .extension()
                .is_some_and(|extension| extension == SUFFIX)
                && matches!(
                    socket_file::occupant(&path, SockType::Stream),
                    Ok(Occupant::Dead)
                )
            {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        // Under the lock, so that it is not taken from under somebody who has just checked it.
        if self.lock.is_none() {
            self.lock = socket_file::lock_directory(&self.path, LEAVING).ok();
        }
        // What is locked may be gone already, and another have made it anew and be at work in it.
        if self
            .lock
            .as_ref()
            .is_some_and(|lock| lock.is_on(&self.path))
        {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Refuses a directory in which somebody else could put or read something.
fn check(path: &Path) -> Result<()> {
    let refuse = |why: String| {
        Err(Error::failed(format!(
            "the run directory {} {why}",
            path.display()
        )))
    };
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => {
            found.map_err(|error| Error::io(format!("cannot use {}", path.display()), &error))?
        }
    };
    if !found.is_dir() {
        return refuse("is a link or a file: remove it".to_owned());
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return refuse(format!(
            "belongs to user {}: remove it, or set XDG_RUNTIME_DIR to a directory of your own",
            found.uid()
        ));
    }
    // Search alone (0711) shows nothing: the sockets have permissions of their own.
    if found.mode() & 0o066 != 0 {
        return refuse(format!(
            "is open to others (mode {:04o}): chmod 700 it",
            found.mode() & 0o7777
        ));
    }
    Ok(())
}
