//! Where the preload shim is put: a file that the dynamic loader of any worker can map.
//!
//! The file system must allow execution (`/run` often does not), the path must hold none of the separators
//! of `LD_PRELOAD`, and the workers' user must get there. Where no directory is like that, as in a container with a
//! read-only root, it is in memory, and its path leads through our own descriptors.

use std::fs::{self, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use super::private_dir::{self, FrozenDir, PrivateDir};
use crate::error::{Error, Result};
use crate::sys::handover::{Bytes, Kind, Luggage, Ticket};
use crate::sys::memfd;

/// Directories elsewhere are `forkfront-shim-UID-PID`.
const STEM: &str = "forkfront-shim";

/// The shim as a file, and the directory made for it, if it could not be in the primary's own.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    elsewhere: Option<PrivateDir>,
    /// What holds it if it is in no directory at all.
    memory: Option<OwnedFd>,
    /// The workers are of another user.
    other_user: bool,
}

/// The shim's place, for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenImage {
    path: Bytes,
    elsewhere: Option<FrozenDir>,
    #[serde(default)]
    memory: Option<Ticket>,
    other_user: bool,
}

impl Image {
    /// Writes `bytes` into `own` or, where the loader could not use it there, elsewhere.
    ///
    /// # Errors
    /// One sentence that names each directory tried and what is wrong with it.
    pub fn write(own: &Path, bytes: &[u8], other_user: bool) -> Result<Self> {
        let mut refused = Vec::new();
        match obstacle(own, other_user) {
            None => return Self::in_own(own, bytes, other_user),
            Some(why) => refused.push(format!("{} {why}", own.display())),
        }
        for directory in candidates() {
            let made = match obstacle(&directory, other_user) {
                None => Self::elsewhere(&directory, bytes, other_user),
                Some(why) => {
                    refused.push(format!("{} {why}", directory.display()));
                    continue;
                }
            };
            match made {
                Ok(image) => return Ok(image),
                Err(error) => refused.push(format!("{}: {error}", directory.display())),
            }
        }
        if other_user {
            refused.push("memory cannot be reached by the workers' user".to_owned());
        } else {
            match Self::in_memory(bytes) {
                Ok(image) => return Ok(image),
                Err(error) => refused.push(format!("memory: {error}")),
            }
        }
        Err(Error::failed(format!(
            "there is no directory from which workers could load the preload shim ({}): set TMPDIR to one that they can reach, on a file system mounted without noexec",
            refused.join("; ")
        )))
    }

    fn in_own(own: &Path, bytes: &[u8], other_user: bool) -> Result<Self> {
        let path = write_file(own, bytes, other_user).map_err(|error| {
            Error::io(
                format!("cannot write the preload shim to {}", own.display()),
                &error,
            )
        })?;
        Ok(Self {
            path,
            elsewhere: None,
            memory: None,
            other_user,
        })
    }

    fn elsewhere(parent: &Path, bytes: &[u8], other_user: bool) -> io::Result<Self> {
        let stem = format!("{STEM}-{}-", geteuid());
        private_dir::sweep(parent, &stem);
        let stem = format!("{stem}{}", std::process::id());
        let mode = if other_user { 0o711 } else { 0o700 };
        let directory = PrivateDir::create(parent, &stem, mode)?;
        Ok(Self {
            path: write_file(directory.path(), bytes, other_user)?,
            elsewhere: Some(directory),
            memory: None,
            other_user,
        })
    }

    /// Only for workers of our own user: proc_pid_fd(5).
    fn in_memory(bytes: &[u8]) -> io::Result<Self> {
        let memory = memfd::executable(&file_name(bytes), bytes)?;
        let path = path_of(&memory);
        fs::metadata(&path)?;
        Ok(Self {
            path,
            elsewhere: None,
            memory: Some(memory),
            other_user: false,
        })
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenImage {
        let elsewhere = self.elsewhere.as_ref();
        let memory = self.memory.as_ref();
        FrozenImage {
            path: self.path.as_path().into(),
            elsewhere: elsewhere.map(|directory| directory.freeze(luggage)),
            memory: memory.map(|memory| luggage.lend(Kind::Memfd, memory.as_fd())),
            other_user: self.other_user,
        }
    }

    /// As another image left it, with its shim.
    ///
    /// # Errors
    /// Those of [`PrivateDir::thaw`].
    pub fn thaw(frozen: FrozenImage, luggage: &mut Luggage<'_>) -> io::Result<Self> {
        let elsewhere = frozen.elsewhere;
        let memory = frozen
            .memory
            .map(|memory| luggage.take(memory, Kind::Memfd));
        let memory = memory.transpose()?;
        Ok(Self {
            path: match &memory {
                Some(memory) => path_of(memory),
                None => frozen.path.into(),
            },
            memory,
            elsewhere: elsewhere
                .map(|directory| PrivateDir::thaw(directory, luggage))
                .transpose()?,
            other_user: frozen.other_user,
        })
    }

    /// Puts `bytes` beside what is there, which stays for those who run with it. Does nothing if it is the same.
    ///
    /// # Errors
    /// Those of open(2) and write(2); what is there goes on to be used then.
    pub fn renew(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.memory.is_some() {
            let shown = fs::read_link(&self.path)?;
            if !shown.to_string_lossy().contains(&file_name(bytes)) {
                *self = Self::in_memory(bytes)?;
            }
            return Ok(());
        }
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        self.path = match write_file(directory, bytes, self.other_user) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                directory.join(file_name(bytes))
            }
            written => written?,
        };
        Ok(())
    }

    /// The file, for `LD_PRELOAD`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// As any process of our own user may open it.
fn path_of(memory: &OwnedFd) -> PathBuf {
    let (pid, number) = (std::process::id(), memory.as_raw_fd());
    PathBuf::from(format!("/proc/{pid}/fd/{number}"))
}

/// Directories where a file may usually be executed from.
fn candidates() -> impl Iterator<Item = PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let fixed = ["/tmp", "/var/tmp", "/dev/shm"].map(|path| Some(PathBuf::from(path)));
    [named("TMPDIR")]
        .into_iter()
        .chain(fixed)
        .chain([named("HOME")])
        .flatten()
        .filter(|path| path.is_absolute())
}

/// Why the loader of a worker could not use a file in `directory`; completes "DIRECTORY ...".
fn obstacle(directory: &Path, other_user: bool) -> Option<&'static str> {
    // ld.so(8): the entries of LD_PRELOAD are separated by spaces or colons; `$` starts a token.
    let separators = |byte: &u8| matches!(byte, b' ' | b':' | b'$' | b';' | b'\t' | b'\n');
    if directory.as_os_str().as_bytes().iter().any(separators) {
        return Some("has a separator of LD_PRELOAD in its name");
    }
    match statvfs(directory) {
        Err(_) => return Some("cannot be used"),
        Ok(system) if system.flags().contains(FsFlags::ST_NOEXEC) => {
            return Some("is mounted noexec");
        }
        Ok(_) => {}
    }
    let closed = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 == 0);
    if other_user && directory.ancestors().any(closed) {
        return Some("cannot be reached by the workers' user");
    }
    None
}

fn write_file(directory: &Path, bytes: &[u8], other_user: bool) -> io::Result<PathBuf> {
    let path = directory.join(file_name(bytes));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o500)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&path)?;
    file.write_all(bytes)?;
    let mode = if other_user { 0o555 } else { 0o500 };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(path)
}

/// By what is in it.
fn file_name(bytes: &[u8]) -> String {
    let mut hash = SipHasher24::new();
    hash.write(bytes);
    format!("shim-{:016x}.so", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_elsewhere_where_the_loader_cannot_follow() {
        let parent =
            PrivateDir::create(&std::env::temp_dir(), "forkfront-test image", 0o700).unwrap();
        let image = Image::write(parent.path(), b"shim", false).unwrap();
        assert!(!image.path().starts_with(parent.path()));
        assert_eq!(fs::read(image.path()).unwrap(), b"shim");
        assert_eq!(fs::metadata(image.path()).unwrap().mode() & 0o7777, 0o500);
        let path = image.path().to_owned();
        drop(image);
        assert!(!path.exists() && !path.parent().unwrap().exists());
    }

    #[test]
    fn in_memory_it_is_as_good_as_a_file() {
        let mut image = Image::in_memory(b"shim").unwrap();
        assert_eq!(fs::read(image.path()).unwrap(), b"shim");
        let before = image.path().to_owned();
        image.renew(b"shim").unwrap();
        assert_eq!(image.path(), before);
        image.renew(b"another").unwrap();
        assert_eq!(fs::read(image.path()).unwrap(), b"another");
        assert!(fs::write(image.path(), "x").is_err());
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        assert_eq!(obstacle(Path::new("/"), true), None);
        assert_eq!(
            obstacle(Path::new("/nonexistent"), false),
            Some("cannot be used")
        );
        let closed =
            PrivateDir::create(&std::env::temp_dir(), "forkfront-test-closed", 0o700).unwrap();
        assert!(obstacle(closed.path(), true).unwrap().contains("reached"));
        assert_eq!(obstacle(closed.path(), false), None);
        if let Ok(system) = statvfs("/proc")
            && system.flags().contains(FsFlags::ST_NOEXEC)
        {
            assert_eq!(
                obstacle(Path::new("/proc"), false),
                Some("is mounted noexec")
            );
        }
    }
}
