//! Whether running a file gives more rights than its user has, upon which the loader ignores `LD_PRELOAD`
//! (ld.so(8), secure-execution mode).

use std::ffi::CString;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::prctl::get_no_new_privs;
use nix::sys::statvfs::{FsFlags, statvfs};

/// What running a file gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// Another user: the file is set-user-ID.
    User(u32),
    /// Another group: the file is set-group-ID.
    Group(u32),
    /// The file has capabilities.
    Capabilities,
}

/// What user `uid` of group `gid` gains by running the file at `path`, if anything.
///
/// # Errors
/// Those of stat(2).
pub fn gain(path: &Path, uid: u32, gid: u32) -> io::Result<Option<Gain>> {
    let file = std::fs::metadata(path)?;
    let gain = gain_by_mode(&file, uid, gid)
        // Root has all of them without the file.
        .or_else(|| (uid != 0 && has_capabilities(path)).then_some(Gain::Capabilities));
    Ok(gain.filter(|_| !ignored(path)))
}

fn gain_by_mode(file: &Metadata, uid: u32, gid: u32) -> Option<Gain> {
    let has = |bits: u32| file.mode() & bits == bits;
    if has(libc::S_ISUID) && file.uid() != uid {
        return Some(Gain::User(file.uid()));
    }
    // Without the group's execute bit, set-group-ID meant mandatory locking (inode(7)).
    if has(libc::S_ISGID | libc::S_IXGRP) && file.gid() != gid {
        return Some(Gain::Group(file.gid()));
    }
    None
}

fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: two NUL-terminated strings; with size 0 nothing is written (getxattr(2)).
    let size = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            std::ptr::null_mut(),
            0,
        )
    };
    size > 0
}

/// The kernel gives nothing on such a mount, or to such a process, and the loader then preloads as ever.
fn ignored(path: &Path) -> bool {
    let mount = statvfs(path).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOSUID));
    mount || get_no_new_privs().unwrap_or(false)
}
