//! The log files: opened when there is something to write, rotated by size, opened anew when asked.
//!
//! A primary that is root may write into a directory of somebody else's: all is done in the directory that was
//! opened, no file is followed that is a symbolic link, nothing but a plain file of one name is written to, and what
//! is new is 0640. Only the writer thread of the files is here, so a slow disk holds up nobody else.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access, geteuid};

use super::sink::Piece;
use crate::config::LogFile;
use directory::Directory;

mod directory;

/// Permissions of a new file: its group may read it.
const MODE: u32 = 0o640;

/// Files open at one time; with more slots they take turns.
const MOST_OPEN: usize = 64;

/// A file that cannot be written is complained of once in this time.
const COMPLAIN_AFTER: Duration = Duration::from_secs(60);

/// Rotated files beyond those to keep that are looked for after each rotation, for when there were to be more.
const MOST_SUPERFLUOUS: u32 = 100;

/// When a file is full and what is kept then; changed by the main thread.
pub type Rotation = Arc<Mutex<(Option<u64>, u32)>>;

/// The files of one directory.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// Where files are opened.
    directory: Arc<Directory>,
    rotation: Rotation,
    open: HashMap<Arc<str>, Open>,
    complained: Option<Instant>,
}

/// One that is open.
#[derive(Debug)]
struct Open {
    /// Where it is, and is rotated: another one may have its path by now.
    directory: Arc<Directory>,
    file: File,
    size: u64,
    /// It ends in the middle of a line.
    torn: bool,
}

impl Files {
    /// The files of this wish. That of our own lines is opened at once, so that what is wrong is found at the start.
    ///
    /// # Errors
    /// A sentence.
    pub fn open(wish: &LogFile) -> Result<(Self, Rotation), String> {
        let rotation = Rotation::default();
        let own: Arc<str> = wish.own_name().into();
        let refused = |error| refusal(&wish.directory().join(&*own), &error);
        let mut files = Self {
            path: wish.directory().to_owned(),
            directory: Directory::open(wish.directory()).map_err(refused)?.into(),
            rotation: rotation.clone(),
            open: HashMap::new(),
            complained: None,
        };
        set_rotation(&rotation, wish);
        let opened = open(&files.directory, &own).map_err(refused)?;
        files.open.insert(own, opened);
        Ok((files, rotation))
    }

    /// Writes a part of the piece.
    pub(super) fn write(&mut self, piece: &mut Piece) -> Result<usize, Errno> {
        let Some(name) = piece.name.clone() else {
            return Err(Errno::EBADF);
        };
        let rest = &piece.bytes[piece.written..];
        self.try_to_write(&name, rest, piece.written == 0)
            .map_err(|error| {
                let path = self.path.join(&*name);
                self.complain(&format!(
                    "cannot write {}: {error}; lines are dropped and counted until it can be written",
                    path.display()
                ));
                error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
            })
    }

    fn try_to_write(&mut self, name: &Arc<str>, bytes: &[u8], begins: bool) -> io::Result<usize> {
        if begins {
            self.rotate_if_full(name, bytes.len() as u64);
        }
        let open = self.opened(name)?;
        if begins && open.torn {
            // What could not be written to its end was dropped, and is not to be joined by what follows.
            open.append(b"\n")?;
        }
        open.append(bytes)
    }

    fn opened(&mut self, name: &Arc<str>) -> io::Result<&mut Open> {
        if !self.open.contains_key(name) {
            if self.open.len() >= MOST_OPEN {
                self.open.clear();
            }
            let opened = match open(&self.directory, name) {
                // Nothing can be made in a directory that was removed; there may be another one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.directory = Directory::open(&self.path)?.into();
                    open(&self.directory, name)?
                }
                opened => opened?,
            };
            self.open.insert(name.clone(), opened);
        }
        let opened = self.open.get_mut(name);
        opened.ok_or_else(|| io::Error::other("it is not open"))
    }

    /// Opens what is open anew: it was moved away. What cannot be opened stays as it is.
    pub fn reopen(&mut self) {
        let mut failures = Vec::new();
        let there = Directory::open(&self.path).map(Arc::new);
        for (name, opened) in &mut self.open {
            let new = match &there {
                Ok(directory) => open(directory, name),
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            match new {
                Ok(new) => *opened = new,
                Err(error) => failures.push(refusal(&self.path.join(&**name), &error)),
            }
        }
        if let Ok(there) = there {
            self.directory = there;
        }
        for failure in failures {
            log::error!("{failure}; what was open so far is written on");
        }
    }

    fn rotate_if_full(&mut self, name: &Arc<str>, more: u64) {
        let (max_size, keep) = *self.rotation.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(max_size) = max_size else { return };
        // One that cannot be opened is complained of when it is written.
        let Ok(full) = self.opened(name) else { return };
        if full.size == 0 || full.size + more <= max_size {
            return;
        }
        let directory = Arc::clone(&full.directory);
        if let Err(error) = rotate(&directory, name, keep) {
            let path = self.path.join(&**name);
            let path = path.display();
            return self.complain(&format!("cannot rotate {path}: {error}; it grows on"));
        }
        // The next one stands beside it.
        match open(&directory, name) {
            Ok(next) => self.open.insert(name.clone(), next),
            Err(_) => self.open.remove(name),
        };
    }

    /// Says it, unless something was said lately: whatever is wrong is wrong for every line.
    fn complain(&mut self, sentence: &str) {
        let lately = self
            .complained
            .is_some_and(|at| at.elapsed() < COMPLAIN_AFTER);
        if !lately {
            self.complained = Some(Instant::now());
            log::error!("{sentence}");
        }
    }
}

impl Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = nix::unistd::write(&self.file, bytes)?;
        self.size += written as u64;
        if let Some(last) = bytes[..written].last() {
            self.torn = *last != b'\n';
        }
        Ok(written)
    }
}

/// From now on it is as this wish says.
pub fn set_rotation(rotation: &Rotation, wish: &LogFile) {
    *rotation.lock().unwrap_or_else(PoisonError::into_inner) = (wish.max_size, wish.keep);
}

/// Whether the files of this wish could be written, without making any.
///
/// # Errors
/// A sentence.
pub fn check(wish: &LogFile) -> Result<(), String> {
    let directory = wish.directory();
    if !directory.is_dir() {
        return Err(format!("there is no directory '{}'", directory.display()));
    }
    let may = |path: &Path, how| {
        access(path, how).map_err(|errno| refusal(path, &io::Error::from(errno)))
    };
    let own = directory.join(wish.own_name());
    Directory::open(directory).map_err(|error| refusal(&own, &error))?;
    match fs::symlink_metadata(&own) {
        Err(_) => {
            let how = AccessFlags::W_OK | AccessFlags::X_OK;
            access(directory, how).map_err(|errno| {
                format!(
                    "no file can be made in the directory '{}': {}",
                    directory.display(),
                    errno.desc()
                )
            })
        }
        Ok(found) if found.is_symlink() => Err(refusal(&own, &Errno::ELOOP.into())),
        Ok(found) if !found.is_file() => Err(refusal(&own, &no_plain_file())),
        Ok(_) => may(&own, AccessFlags::W_OK),
    }
}

fn open(directory: &Arc<Directory>, name: &str) -> io::Result<Open> {
    let append = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT;
    // A pipe is not to be waited for, until it is seen to be none.
    let flags = append | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(directory.open_file(name, flags, MODE)?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(no_plain_file());
    }
    if geteuid().is_root() && found.nlink() > 1 {
        return Err(io::Error::other(
            "it has another name elsewhere, whose owner may not mean it to grow",
        ));
    }
    Ok(Open {
        directory: Arc::clone(directory),
        size: found.len(),
        file,
        torn: false,
    })
}

fn no_plain_file() -> io::Error {
    io::Error::other("it is no plain file")
}

fn refusal(path: &Path, error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::ELOOP) => "it is a symbolic link, which is not followed".to_owned(),
        Some(libc::ENXIO) => no_plain_file().to_string(),
        _ => error.to_string(),
    };
    format!("cannot write the log file {}: {why}", path.display())
}

/// `app.log` becomes `app.log.1`, that `app.log.2`, and so on to `keep`.
fn rotate(directory: &Directory, name: &str, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| format!("{name}.{number}");
    for number in (1..keep).rev() {
        match directory.rename(&numbered(number), &numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    directory.rename(name, &numbered(1))?;
    for number in keep + 1..=keep + MOST_SUPERFLUOUS {
        if directory.remove(&numbered(number)).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
