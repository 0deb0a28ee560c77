//! What the process has besides the shim: the C library's own functions, found by `dlsym(RTLD_NEXT)`,
//! its `errno` and its environment.
//!
//! Resolved once, by the constructor, because `dlsym` takes locks. Only calls that can block are passed
//! on this way (they are cancellation points); all others are raw system calls. Where a program has no
//! `dlsym` (old C libraries keep it apart) the raw call is used for these too.

use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute_copy;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::arch::weak;
use crate::sys::{ENOSYS, Errno, MsgHdr, TimeSpec, check, monotonic};

/// One function of the C library; 0 until resolved, or for ever.
pub struct Next(AtomicUsize);

impl Next {
    /// The function, if there is one.
    ///
    /// # Safety
    /// `F` must be the function pointer type of the symbol behind this slot.
    #[inline(always)]
    pub unsafe fn get<F: Copy>(&self) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<usize>()) };
        let address = self.0.load(Relaxed);
        // SAFETY: an address that dlsym gave for this symbol, and the caller vouches for the type.
        (address != 0).then(|| unsafe { transmute_copy(&address) })
    }
}

macro_rules! next {
    ($($slot:ident = $symbol:literal;)*) => {
        $(
            #[doc = concat!("`", stringify!($slot), "`, in lower case.")]
            pub static $slot: Next = Next(AtomicUsize::new(0));
        )*

        /// Looks all of them up. For the constructor.
        pub fn resolve() {
            type DlSym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
            const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
            let dlsym = weak!("dlsym");
            if dlsym == 0 {
                return;
            }
            // SAFETY: the address of the C library's dlsym, which has this type everywhere.
            let dlsym: DlSym = unsafe { core::mem::transmute(dlsym) };
            $(
                // SAFETY: a valid handle and a C string; called from the constructor, so nothing is held.
                let found = unsafe { dlsym(RTLD_NEXT, $symbol.as_ptr()) };
                $slot.0.store(found as usize, Relaxed);
            )*
        }
    };
}

next! {
    ACCEPT = c"accept";
    ACCEPT4 = c"accept4";
    FCNTL = c"fcntl";
    FORK = c"fork";
    EPOLL_WAIT = c"epoll_wait";
    EPOLL_PWAIT = c"epoll_pwait";
    EPOLL_PWAIT2 = c"epoll_pwait2";
    POLL = c"poll";
    POLL_CHK = c"__poll_chk";
    PPOLL = c"ppoll";
    PPOLL_CHK = c"__ppoll_chk";
    SELECT = c"select";
    PSELECT = c"pselect";
}

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// The calling thread's `errno`.
pub fn errno() -> c_int {
    // SAFETY: glibc and musl both return the address of the thread's own errno.
    unsafe { *__errno_location() }
}

/// Sets the calling thread's `errno`.
pub fn set_errno(value: c_int) {
    // SAFETY: as in `errno`.
    unsafe { *__errno_location() = value }
}

/// A result as C functions give it: -1 and `errno`, which is left alone on success.
#[inline(always)]
pub fn answer(result: Result<usize, Errno>) -> isize {
    match result {
        Ok(value) => value as isize,
        Err(Errno(code)) => {
            set_errno(code);
            -1
        }
    }
}

/// recvmsg(2) through the C library, so that a thread blocked in it can be cancelled as in accept().
///
/// # Safety
/// Every pointer in `message` must be good for its length.
pub unsafe fn recvmsg(fd: i32, message: &mut MsgHdr, flags: i32) -> Result<usize, Errno> {
    type RecvMsg = unsafe extern "C" fn(c_int, *mut MsgHdr, c_int) -> isize;
    let address = weak!("recvmsg");
    if address == 0 {
        // SAFETY: passed on from the caller.
        return unsafe { crate::sys::recvmsg(fd, message, flags) };
    }
    // SAFETY: the C library's recvmsg, which has this type.
    let function: RecvMsg = unsafe { core::mem::transmute(address) };
    // SAFETY: passed on from the caller.
    let received = unsafe { function(fd, message, flags) };
    if received < 0 {
        return Err(Errno(errno()));
    }
    check(received)
}

/// fork(2) through the C library, which has locks and handlers of its own to bring across.
pub fn fork() -> c_int {
    type Fork = unsafe extern "C" fn() -> c_int;
    // SAFETY: the C library's fork.
    if let Some(function) = unsafe { FORK.get::<Fork>() } {
        // SAFETY: as above.
        return unsafe { function() };
    }
    let address = weak!("__fork");
    if address == 0 {
        set_errno(ENOSYS.0);
        return -1;
    }
    // SAFETY: the same function by the name that old C libraries without dlsym have for it.
    let function: Fork = unsafe { core::mem::transmute(address) };
    // SAFETY: as above.
    unsafe { function() }
}

/// `CLOCK_MONOTONIC`, nanoseconds; through the C library because it has the vDSO's.
pub fn now() -> u64 {
    type ClockGetTime = unsafe extern "C" fn(c_int, *mut TimeSpec) -> c_int;
    const CLOCK_MONOTONIC: c_int = 1;
    let address = weak!("clock_gettime");
    let now = if address == 0 {
        monotonic()
    } else {
        let mut now = TimeSpec::default();
        // SAFETY: the C library's clock_gettime, which has this type.
        let function: ClockGetTime = unsafe { core::mem::transmute(address) };
        // SAFETY: `now` is a live timespec; this clock always exists.
        unsafe { function(CLOCK_MONOTONIC, &raw mut now) };
        now
    };
    now.sec as u64 * 1_000_000_000 + now.nsec as u64
}

/// Calls `look` with each `NAME=VALUE` of the environment.
pub fn environment(mut look: impl FnMut(&'static [u8])) {
    let address = weak!("environ") as *const *const *const c_char;
    if address.is_null() {
        return;
    }
    // SAFETY: the C library's `environ`, a null-terminated array of C strings; nobody changes it while
    // constructors run.
    unsafe {
        let mut entry = *address;
        while !entry.is_null() && !(*entry).is_null() {
            look(core::ffi::CStr::from_ptr(*entry).to_bytes());
            entry = entry.add(1);
        }
    }
}
