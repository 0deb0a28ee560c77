//! A listening Unix socket and its name in the file system: bound without a moment of wrong permissions,
//! taken over only from a dead owner, unlinked when dropped.
//!
//! Never removes what is not a socket, what belongs to somebody else, what is listened to, or what has
//! replaced our own file. Used for the control socket, the rendezvous and `-l unix:PATH`.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use crate::error::{Error, Result};
use crate::sys::handover::Bytes;

/// unix(7): `sun_path` is 108 bytes, of which the last is the terminating zero.
pub const LONGEST_PATH: usize = 107;
/// How long a directory may be locked by another process that is just taking a name in it.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// The name of a bound socket; unlinked when dropped, if it still is the same file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// The name of a bound socket, for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenFile {
    path: Bytes,
    identity: (u64, u64),
}

impl SocketFile {
    /// What the next image needs.
    pub fn freeze(&self) -> FrozenFile {
        FrozenFile {
            path: self.path.as_path().into(),
            identity: self.identity,
        }
    }

    /// As another image left it.
    pub fn thaw(frozen: FrozenFile) -> Self {
        Self {
            path: frozen.path.into(),
            identity: frozen.identity,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the socket; who connects by the new name reaches the same listener.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn rename(&mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        to.clone_into(&mut self.path);
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What is found at a path where a socket is to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing.
    Nobody,
    /// A socket that no process listens on any more.
    Dead,
    /// A socket with a listener, whose pid is known if the kernel tells.
    Alive(Option<u32>),
    /// Something that is not ours to touch; the words complete "PATH ...".
    Stranger(&'static str),
}

/// Looks at `path` and, if a socket is there, tries to connect to it without ever waiting.
///
/// # Errors
/// Those of lstat(2), socket(2) and connect(2) that say nothing about the occupant.
pub fn occupant(path: &Path, kind: SockType) -> io::Result<Occupant> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        found => found?,
    };
    if found.file_type().is_symlink() {
        return Ok(Occupant::Stranger("is a symbolic link"));
    }
    if !found.file_type().is_socket() {
        return Ok(Occupant::Stranger("exists and is not a socket"));
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, kind, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => {
            let pid = getsockopt(&probe, PeerCredentials).map_or(0, |peer| peer.pid());
            Ok(Occupant::Alive(
                u32::try_from(pid).ok().filter(|pid| *pid > 0),
            ))
        }
        // A full backlog, or a listener of another type: somebody is there.
        Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(Occupant::Alive(None)),
        Err(Errno::ECONNREFUSED) if found.uid() != geteuid().as_raw() && !geteuid().is_root() => {
            Ok(Occupant::Stranger("belongs to another user"))
        }
        Err(Errno::ECONNREFUSED) => Ok(Occupant::Dead),
        Err(Errno::ENOENT) => Ok(Occupant::Nobody),
        Err(Errno::EACCES | Errno::EPERM) => Ok(Occupant::Stranger("belongs to another user")),
        Err(error) => Err(error.into()),
    }
}

/// Says in a sentence that `path` is too long for a socket, if it is.
///
/// # Errors
/// Exactly that sentence.
pub fn check_length(path: &Path, advice: &str) -> Result<()> {
    let length = path.as_os_str().len();
    if length <= LONGEST_PATH {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the socket path {} is {length} bytes long, and a socket's path ends at {LONGEST_PATH}: {advice}",
        path.display()
    )))
}

/// A lock on a directory, held while a name in it is being taken. Leaves no file behind.
#[derive(Debug)]
pub struct DirectoryLock(Flock<File>);

impl DirectoryLock {
    /// Whether `path` is the directory that is locked.
    pub fn is_on(&self, path: &Path) -> bool {
        let held = self.0.metadata().map(|held| identity(&held));
        let found = fs::metadata(path).map(|found| identity(&found));
        matches!((held, found), (Ok(held), Ok(found)) if held == found)
    }
}

/// Locks `directory` against other forkfront processes that take a name in it.
///
/// # Errors
/// Those of open(2) and flock(2); `TimedOut` if another process holds the lock for longer than `patience`.
pub fn lock_directory(directory: &Path, patience: Duration) -> io::Result<DirectoryLock> {
    let mut file = File::open(directory)?;
    let give_up = Instant::now() + patience;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(DirectoryLock(lock)),
            Err((_, Errno::EAGAIN)) if Instant::now() >= give_up => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process holds its lock",
                ));
            }
            Err((back, Errno::EAGAIN | Errno::EINTR)) => file = back,
            Err((_, error)) => return Err(error.into()),
        }
        std::thread::sleep(LOCK_RETRY);
    }
}

/// How a socket is to be bound.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// `SOCK_STREAM` or `SOCK_SEQPACKET`.
    pub kind: SockType,
    /// Permissions of the file, from its first moment and whatever the umask.
    pub mode: u32,
    /// Backlog; `None`: the system's maximum.
    pub backlog: Option<i32>,
}

/// Binds and listens at `path`, where nobody is. Close-on-exec; blocking.
///
/// # Errors
/// Those of socket(2), bind(2), listen(2), and of setting the permissions.
pub fn listen_at(path: &Path, shape: Shape) -> io::Result<(OwnedFd, SocketFile)> {
    let listener = socket(
        AddressFamily::Unix,
        shape.kind,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // The inode that bind(2) makes takes its mode from the socket, less the umask: so at no moment can
    // anybody connect who may not (K3).
    fchmod(&listener, Mode::from_bits_truncate(shape.mode))?;
    bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    let found = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(&found),
    };
    if found.mode() & 0o777 != shape.mode {
        widen(path, shape.mode)?;
    }
    // To listen(2) a negative backlog is the greatest.
    SockRef::from(&listener).listen(shape.backlog.unwrap_or(-1))?;
    Ok((listener, file))
}

/// Gives the socket file the bits that the umask took. Through a handle, so that a link put in its place
/// leads nowhere.
fn widen(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let handle = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    if !handle.metadata()?.file_type().is_socket() {
        return Err(Errno::ENOTSOCK.into());
    }
    let by_handle = format!("/proc/self/fd/{}", handle.as_raw_fd());
    fs::set_permissions(by_handle, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests;
