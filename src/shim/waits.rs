//! The functions that wait for descriptors. They are passed on as they are; all the shim adds is two
//! stores into the scoreboard, by which the primary sees that a worker sleeps and that its loop turns.
//!
//! Only for the thread that takes connections, and without any system call.

use core::ffi::{c_int, c_void};

use crate::arch::number as nr;
use crate::next::{self, answer};
use crate::process::Asleep;
use crate::sys::{TimeSpec, forward};

/// Bytes of the kernel's signal set.
const SIGNAL_SET: usize = 8;

/// epoll_wait(2).
///
/// # Safety
/// As epoll_wait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: c_int,
) -> c_int {
    type F = unsafe extern "C" fn(c_int, *mut c_void, c_int, c_int) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::EPOLL_WAIT.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(epoll, events, most, timeout) };
    }
    let (at, most, timeout) = (events as usize, most as usize, timeout as usize);
    answer(forward(
        nr::EPOLL_PWAIT,
        [epoll as usize, at, most, timeout, 0, SIGNAL_SET],
    )) as c_int
}

/// epoll_pwait(2).
///
/// # Safety
/// As epoll_pwait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait(
    epoll: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: c_int,
    mask: *const c_void,
) -> c_int {
    type F = unsafe extern "C" fn(c_int, *mut c_void, c_int, c_int, *const c_void) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::EPOLL_PWAIT.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(epoll, events, most, timeout, mask) };
    }
    let (at, most, timeout) = (events as usize, most as usize, timeout as usize);
    answer(forward(
        nr::EPOLL_PWAIT,
        [epoll as usize, at, most, timeout, mask as usize, SIGNAL_SET],
    )) as c_int
}

/// epoll_pwait2(2).
///
/// # Safety
/// As epoll_pwait2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait2(
    epoll: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: *const TimeSpec,
    mask: *const c_void,
) -> c_int {
    type F =
        unsafe extern "C" fn(c_int, *mut c_void, c_int, *const TimeSpec, *const c_void) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::EPOLL_PWAIT2.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(epoll, events, most, timeout, mask) };
    }
    let (at, most, timeout) = (events as usize, most as usize, timeout as usize);
    answer(forward(
        nr::EPOLL_PWAIT2,
        [epoll as usize, at, most, timeout, mask as usize, SIGNAL_SET],
    )) as c_int
}

/// poll(2).
///
/// # Safety
/// As poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(fds: *mut c_void, count: usize, timeout: c_int) -> c_int {
    type F = unsafe extern "C" fn(*mut c_void, usize, c_int) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::POLL.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(fds, count, timeout) };
    }
    raw_poll(fds, count, timeout)
}

/// What programs built with `_FORTIFY_SOURCE` call instead of poll(2).
///
/// # Safety
/// As poll(2); `room` is the size of the array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __poll_chk(
    fds: *mut c_void,
    count: usize,
    timeout: c_int,
    room: usize,
) -> c_int {
    type F = unsafe extern "C" fn(*mut c_void, usize, c_int, usize) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::POLL_CHK.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(fds, count, timeout, room) };
    }
    raw_poll(fds, count, timeout)
}

/// ppoll(2).
///
/// # Safety
/// As ppoll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppoll(
    fds: *mut c_void,
    count: usize,
    timeout: *const TimeSpec,
    mask: *const c_void,
) -> c_int {
    type F = unsafe extern "C" fn(*mut c_void, usize, *const TimeSpec, *const c_void) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::PPOLL.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(fds, count, timeout, mask) };
    }
    // SAFETY: the program's timeout, null or readable.
    unsafe { raw_ppoll(fds, count, timeout, mask) }
}

/// What programs built with `_FORTIFY_SOURCE` call instead of ppoll(2).
///
/// # Safety
/// As ppoll(2); `room` is the size of the array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __ppoll_chk(
    fds: *mut c_void,
    count: usize,
    timeout: *const TimeSpec,
    mask: *const c_void,
    room: usize,
) -> c_int {
    type F =
        unsafe extern "C" fn(*mut c_void, usize, *const TimeSpec, *const c_void, usize) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::PPOLL_CHK.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(fds, count, timeout, mask, room) };
    }
    // SAFETY: the program's timeout, null or readable.
    unsafe { raw_ppoll(fds, count, timeout, mask) }
}

/// select(2).
///
/// # Safety
/// As select(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn select(
    count: c_int,
    read: *mut c_void,
    write: *mut c_void,
    except: *mut c_void,
    timeout: *mut TimeVal,
) -> c_int {
    type F =
        unsafe extern "C" fn(c_int, *mut c_void, *mut c_void, *mut c_void, *mut TimeVal) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::SELECT.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(count, read, write, except, timeout) };
    }
    // SAFETY: the program's timeout: null, or readable and writable.
    let timeout = unsafe { timeout.as_mut() };
    let mut left = timeout.as_ref().map(|timeout| TimeSpec {
        sec: timeout.sec + timeout.usec / 1_000_000,
        nsec: timeout.usec % 1_000_000 * 1000,
    });
    let at = left.as_mut().map_or(0, |left| &raw mut *left as usize);
    let (read, write, except) = (read as usize, write as usize, except as usize);
    let ready = forward(nr::PSELECT6, [count as usize, read, write, except, at, 0]);
    // select(2) tells the time that is left, as the kernel just has.
    if let (Some(timeout), Some(left)) = (timeout, left) {
        timeout.sec = left.sec;
        timeout.usec = left.nsec / 1000;
    }
    answer(ready) as c_int
}

/// pselect(2).
///
/// # Safety
/// As pselect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pselect(
    count: c_int,
    read: *mut c_void,
    write: *mut c_void,
    except: *mut c_void,
    timeout: *const TimeSpec,
    mask: *const c_void,
) -> c_int {
    type F = unsafe extern "C" fn(
        c_int,
        *mut c_void,
        *mut c_void,
        *mut c_void,
        *const TimeSpec,
        *const c_void,
    ) -> c_int;
    let _asleep = Asleep::begin();
    // SAFETY: the C library's function of this name, with the program's own arguments.
    if let Some(function) = unsafe { next::PSELECT.get::<F>() } {
        // SAFETY: as above.
        return unsafe { function(count, read, write, except, timeout, mask) };
    }
    // SAFETY: the program's timeout, null or readable. The kernel writes into the copy.
    let mut copy = unsafe { timeout.as_ref() }.copied();
    let at = copy.as_mut().map_or(0, |copy| &raw mut *copy as usize);
    let masks = [mask as usize, SIGNAL_SET];
    let (read, write, except) = (read as usize, write as usize, except as usize);
    let masks = (&raw const masks) as usize;
    answer(forward(
        nr::PSELECT6,
        [count as usize, read, write, except, at, masks],
    )) as c_int
}

/// `struct timeval`.
#[repr(C)]
pub struct TimeVal {
    sec: i64,
    usec: i64,
}

fn raw_poll(fds: *mut c_void, count: usize, timeout: c_int) -> c_int {
    let mut left = (timeout >= 0).then(|| TimeSpec {
        sec: i64::from(timeout / 1000),
        nsec: i64::from(timeout % 1000) * 1_000_000,
    });
    let at = left.as_mut().map_or(0, |left| &raw mut *left as usize);
    answer(forward(nr::PPOLL, [fds as usize, count, at, 0, 0, 0])) as c_int
}

/// # Safety
/// `timeout` must be null or readable.
unsafe fn raw_ppoll(
    fds: *mut c_void,
    count: usize,
    timeout: *const TimeSpec,
    mask: *const c_void,
) -> c_int {
    // SAFETY: the caller's promise. The kernel writes into the copy.
    let mut copy = unsafe { timeout.as_ref() }.copied();
    let at = copy.as_mut().map_or(0, |copy| &raw mut *copy as usize);
    let (fds, mask) = (fds as usize, mask as usize);
    answer(forward(nr::PPOLL, [fds, count, at, mask, SIGNAL_SET, 0])) as c_int
}
