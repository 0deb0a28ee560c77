//! Who is behind the connections that a proxy has made: the client it named, by descriptor.
//!
//! The kernel knows the proxy only. An entry holds the client's address as the server is shown it, and the
//! inode of the socket that it was written for, so that a number which was closed unseen and given out again
//! never shows the address of another. Entries come a block of numbers at a time, with the first proxied
//! connection that has one of these, so that nothing is spent where there is no proxy. They are never given
//! back; a fork has its own copies, and a program that is started by exec(3) has none.
//!
//! No lock: the inode is taken away before the address is written and put back after, and is read twice.

use core::mem::size_of;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    fence,
};

use crate::address::SharedAddress;
use crate::sys;
use crate::table;
use crate::wire::Address;

/// Numbers in a block, which is 40 KiB; its pages are taken as they are written to.
const BLOCK: usize = 1024;

/// One descriptor's.
struct Entry {
    /// Inode of the socket that this is about; 0 for none.
    inode: AtomicU64,
    client: SharedAddress,
}

static BLOCKS: [AtomicPtr<[Entry; BLOCK]>; table::SIZE / BLOCK] =
    [const { AtomicPtr::new(null_mut()) }; table::SIZE / BLOCK];

/// Keeps the client of the connection `fd`. `false`: there is no memory for it.
pub fn keep(fd: i32, client: &Address) -> bool {
    let (Ok(inode), Some(entry)) = (sys::inode(fd), made(fd)) else {
        return false;
    };
    entry.inode.store(0, Relaxed);
    fence(Release);
    entry.client.store(client);
    entry.inode.store(inode, Release);
    true
}

/// The client of the connection `fd`, if it is still the one that was kept.
pub fn of(fd: i32) -> Option<Address> {
    // SAFETY: a block is zeroes when it is mapped, which is valid for all-atomic entries; never unmapped.
    let block = unsafe { BLOCKS.get(fd as usize / BLOCK)?.load(Acquire).as_ref() }?;
    let entry = block.get(fd as usize % BLOCK)?;
    let inode = entry.inode.load(Acquire);
    let client = entry.client.load();
    fence(Acquire);
    let whole = inode != 0 && entry.inode.load(Relaxed) == inode;
    (whole && sys::inode(fd) == Ok(inode)).then_some(client)
}

/// The entry of `fd`, whose block is mapped if it is the first in it.
fn made(fd: i32) -> Option<&'static Entry> {
    let place = BLOCKS.get(fd as usize / BLOCK)?;
    let mut block = place.load(Acquire);
    if block.is_null() {
        let size = size_of::<[Entry; BLOCK]>();
        let fresh = sys::map(-1, size).ok()?.cast();
        block = match place.compare_exchange(null_mut(), fresh, AcqRel, Acquire) {
            Ok(_) => fresh,
            Err(first) => {
                // SAFETY: mapped above, and nobody else has seen it.
                let _ = unsafe { sys::unmap(fresh.cast(), size) };
                first
            }
        };
    }
    // SAFETY: as in `of`.
    unsafe { block.as_ref() }?.get(fd as usize % BLOCK)
}
