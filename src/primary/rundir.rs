//! The run directory: where the control socket, the rendezvous and the preload shim of one primary are, with
//! the permissions that keep others out, and with nothing left when the primary is gone.
//!
//! ```text
//! BASE/             0700: /run/forkfront, $XDG_RUNTIME_DIR/forkfront or /tmp/forkfront-UID
//!   NAME.sock       0600: control socket (or where --control says)
//!   w.PID/          0700, locked while the primary lives
//!     join.sock     0600: rendezvous, of the workers' user
//!     shim-HASH.so  0500
//! ```
//!
//! Reads and writes no socket: [`super::control`] and [`super::rendezvous`] do. Called by the supervisor.

mod base;
mod image;
mod private_dir;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::lchown;
use std::path::Path;

use nix::sys::socket::SockType;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::socket_file::{self, FrozenFile, LOCK_TIMEOUT, Occupant, Shape, SocketFile};
use crate::error::{Error, Result};
use crate::protocol::{self, INSTANCE_PREFIX, UNNAMED_SOCKET};
use crate::sys::handover::{Bytes, Kind, Luggage, Ticket};
use base::Base;
use image::{FrozenImage, Image};
use private_dir::{FrozenDir, PrivateDir};

const RENDEZVOUS: &str = "join.sock";
/// Longer than any name that [`PrivateDir`] makes for this process.
const LONGEST_INSTANCE: &str = "w.4194304-64";
const SOCKET_MODE: u32 = 0o600;
/// Of the rendezvous, where workers run as several users.
const OPEN_MODE: u32 = 0o666;
const CONTROL_BACKLOG: i32 = 64;
/// All workers may ask at once.
const RENDEZVOUS_BACKLOG: i32 = 1024;

/// What the directory is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// `--name`: the start fails if a primary of that name runs.
    pub name: Option<&'a str>,
    /// `--control`.
    pub control: Option<&'a Path>,
    /// Whom workers run as.
    pub workers_uids: &'a [u32],
    /// The preload shim.
    pub image: &'a [u8],
}

/// Everything that one primary has in the file system but for `-l unix:`; removed when dropped.
#[derive(Debug)]
pub struct RunDir {
    control: (OwnedFd, SocketFile),
    rendezvous: (OwnedFd, SocketFile),
    image: Image,
    instance: PrivateDir,
    base: Base,
    name: Option<String>,
    /// `--control`: the socket keeps its path.
    fixed_path: bool,
}

/// The run directory for the next image, which goes on with all that is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenRunDir {
    control: (Ticket, FrozenFile),
    rendezvous: (Ticket, FrozenFile),
    image: FrozenImage,
    instance: FrozenDir,
    base: Bytes,
    name: Option<String>,
    fixed_path: bool,
}

impl RunDir {
    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenRunDir {
        let control = luggage.lend(Kind::Control, self.control.0.as_fd());
        let rendezvous = luggage.lend(Kind::Packets, self.rendezvous.0.as_fd());
        FrozenRunDir {
            control: (control, self.control.1.freeze()),
            rendezvous: (rendezvous, self.rendezvous.1.freeze()),
            image: self.image.freeze(luggage),
            instance: self.instance.freeze(luggage),
            base: self.base.path.as_path().into(),
            name: self.name.clone(),
            fixed_path: self.fixed_path,
        }
    }

    /// As another image left it. Touches no file.
    ///
    /// # Errors
    /// `InvalidData` if something did not come along. Nothing in the directory is removed then.
    pub fn thaw(frozen: FrozenRunDir, luggage: &mut Luggage<'_>) -> io::Result<Self> {
        let control = luggage.take(frozen.control.0, Kind::Control)?;
        let rendezvous = luggage.take(frozen.rendezvous.0, Kind::Packets)?;
        // Not removed if what follows fails.
        let instance = ManuallyDrop::new(PrivateDir::thaw(frozen.instance, luggage)?);
        let image = Image::thaw(frozen.image, luggage)?;
        Ok(Self {
            control: (control, SocketFile::thaw(frozen.control.1)),
            rendezvous: (rendezvous, SocketFile::thaw(frozen.rendezvous.1)),
            image,
            instance: ManuallyDrop::into_inner(instance),
            base: Base::of(frozen.base.into()),
            name: frozen.name,
            fixed_path: frozen.fixed_path,
        })
    }

    /// Puts another shim beside the one that is there, for workers that are started from now on.
    ///
    /// # Errors
    /// One sentence; workers get the former one then.
    pub fn renew_shim(&mut self, image: &[u8]) -> Result<()> {
        let renewed = self.image.renew(image);
        renewed.map_err(|error| Error::io("cannot write the preload shim", &error))
    }

    /// Makes the directory and both sockets; they listen when this returns. Sweeps what dead primaries left.
    ///
    /// # Errors
    /// One sentence: a primary of that name runs (with its pid), a path is too long or not ours.
    pub fn create(wish: &Wish<'_>) -> Result<Self> {
        let directories = protocol::run_directories();
        let mut unusable = Vec::new();
        for directory in &directories {
            match Self::create_in(directory, wish)? {
                Ok(made) => return Ok(made),
                Err(error) => unusable.push(format!("{}: {error}", directory.display())),
            }
        }
        Err(Error::failed(format!(
            "cannot make a run directory ({})",
            unusable.join("; ")
        )))
    }

    /// As [`RunDir::create`], in one base directory. The inner error: that directory cannot be made, another
    /// may do.
    fn create_in(directory: &Path, wish: &Wish<'_>) -> Result<io::Result<Self>> {
        let own = geteuid().as_raw();
        let other_user = wish.workers_uids.iter().any(|uid| *uid != own);
        check_names(directory, wish)?;
        let base = match Base::open(directory, other_user)? {
            Ok(base) => base,
            Err(error) => return Ok(Err(error)),
        };
        base.sweep();
        let stem = format!("{INSTANCE_PREFIX}{}", std::process::id());
        let mode = if other_user { 0o711 } else { 0o700 };
        match PrivateDir::create(&base.path, &stem, mode) {
            Ok(instance) => Self::fill(base, instance, wish, other_user).map(Ok),
            // There from earlier, on a file system that has become full or read-only.
            Err(error) => Ok(Err(error)),
        }
    }

    fn fill(base: Base, instance: PrivateDir, wish: &Wish<'_>, other_user: bool) -> Result<Self> {
        let path = instance.path().join(RENDEZVOUS);
        let own = geteuid().as_raw();
        let others: BTreeSet<u32> = wish.workers_uids.iter().copied().collect();
        let others: Vec<u32> = others.into_iter().filter(|uid| *uid != own).collect();
        let shape = Shape {
            kind: SockType::SeqPacket,
            // A file has one owner. Whoever connects is looked at, whatever the file lets in.
            mode: if others.len() > 1 {
                OPEN_MODE
            } else {
                SOCKET_MODE
            },
            backlog: Some(RENDEZVOUS_BACKLOG),
        };
        let rendezvous =
            socket_file::listen_at(&path, shape).map_err(|error| cannot_use(&path, &error))?;
        if let [other] = others.as_slice() {
            lchown(&path, Some(*other), None).map_err(|error| {
                let doing = "cannot give the rendezvous socket to the workers' user";
                Error::io(doing, &error)
            })?;
        }
        let image = Image::write(instance.path(), wish.image, other_user)?;
        let control = open_control(&base, instance.path(), wish)?;
        Ok(Self {
            control,
            rendezvous,
            image,
            instance,
            base: base.unlock(),
            name: wish.name.map(str::to_owned),
            fixed_path: wish.control.is_some(),
        })
    }

    /// Gives a primary without `--name` the name of its first port: `PORT`, or `PORT-PID` if a living
    /// primary has that. Does nothing if it has a name.
    ///
    /// # Errors
    /// One sentence if the control socket cannot be renamed.
    pub fn claim_name(&mut self, port: u16) -> Result<()> {
        if self.name.is_some() {
            return Ok(());
        }
        let plain = port.to_string();
        if self.fixed_path {
            self.name = Some(plain);
            return Ok(());
        }
        let _lock = socket_file::lock_directory(&self.base.path, LOCK_TIMEOUT)
            .map_err(|error| cannot_use(&self.base.path, &error))?;
        for name in [plain.clone(), format!("{plain}-{}", std::process::id())] {
            let path = base::socket_path(&self.base.path, &name);
            if matches!(look(&path)?, Occupant::Nobody | Occupant::Dead) {
                self.control
                    .1
                    .rename(&path)
                    .map_err(|error| cannot_use(&path, &error))?;
                self.name = Some(name);
                return Ok(());
            }
        }
        Err(Error::failed(format!(
            "the names {plain} and {plain}-{} are both taken in {}: give --name",
            std::process::id(),
            self.base.path.display()
        )))
    }

    /// The primary's name, if it has one yet.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the control socket is.
    pub fn control_path(&self) -> &Path {
        self.control.1.path()
    }

    /// A copy of the listening control socket, for [`super::control`].
    ///
    /// # Errors
    /// `EMFILE` and the like.
    pub fn control_socket(&self) -> io::Result<OwnedFd> {
        self.control.0.as_fd().try_clone_to_owned()
    }

    /// Where workers find the rendezvous.
    pub fn rendezvous_path(&self) -> &Path {
        self.rendezvous.1.path()
    }

    /// A copy of the listening rendezvous socket, for [`super::rendezvous`].
    ///
    /// # Errors
    /// `EMFILE` and the like.
    pub fn rendezvous_socket(&self) -> io::Result<OwnedFd> {
        self.rendezvous.0.as_fd().try_clone_to_owned()
    }

    /// The preload shim, for `LD_PRELOAD`.
    pub fn shim_path(&self) -> &Path {
        self.image.path()
    }
}

fn open_control(base: &Base, instance: &Path, wish: &Wish<'_>) -> Result<(OwnedFd, SocketFile)> {
    let path = match (wish.control, wish.name) {
        (Some(path), _) => path.to_owned(),
        (None, Some(name)) => base::socket_path(&base.path, name),
        (None, None) => instance.join(UNNAMED_SOCKET),
    };
    // The base is locked already; the directory of `--control` is locked as far as it can be opened: only
    // who may write it can take a name in it.
    let parent = parent_of(&path);
    let _lock = (wish.control.is_some() && !base.is(parent))
        .then(|| socket_file::lock_directory(parent, LOCK_TIMEOUT));
    match look(&path)? {
        Occupant::Nobody => {}
        Occupant::Dead => fs::remove_file(&path).map_err(|error| cannot_use(&path, &error))?,
        Occupant::Alive(pid) => return Err(taken(wish, &path, pid)),
        Occupant::Stranger(what) => {
            return Err(Error::failed(format!(
                "cannot make the control socket: {} {what}; it is left alone, give another --control or --name",
                path.display()
            )));
        }
    }
    let shape = Shape {
        kind: SockType::Stream,
        mode: SOCKET_MODE,
        backlog: Some(CONTROL_BACKLOG),
    };
    socket_file::listen_at(&path, shape).map_err(|error| cannot_use(&path, &error))
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn look(path: &Path) -> Result<Occupant> {
    socket_file::occupant(path, SockType::Stream).map_err(|error| cannot_use(path, &error))
}

fn cannot_use(path: &Path, error: &io::Error) -> Error {
    Error::io(format!("cannot use {}", path.display()), error)
}

/// Another primary has the name.
fn taken(wish: &Wish<'_>, path: &Path, pid: Option<u32>) -> Error {
    let pid = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    Error::failed(match (wish.control, wish.name) {
        (None, Some(name)) => format!(
            "a primary named {name} runs already{pid}: stop it with `forkfront stop --name {name}`, or give this one another --name"
        ),
        _ => format!(
            "a process{pid} listens on the control socket {} already: stop it, or give another --control",
            path.display()
        ),
    })
}

fn check_names(base: &Path, wish: &Wish<'_>) -> Result<()> {
    if let Some(name) = wish.name {
        if !protocol::is_valid_name(name) {
            return Err(Error::usage(format!(
                "the name {name:?} cannot be a file's: use up to 64 letters, digits, dots, dashes and underscores"
            )));
        }
        if wish.control.is_none() {
            let path = base::socket_path(base, name);
            socket_file::check_length(&path, "give a shorter --name")?;
        }
    }
    if let Some(path) = wish.control {
        socket_file::check_length(path, "give a shorter --control")?;
    }
    let longest = base.join(LONGEST_INSTANCE).join(UNNAMED_SOCKET);
    socket_file::check_length(&longest, "set XDG_RUNTIME_DIR to a shorter directory")
}

#[cfg(test)]
mod tests;
