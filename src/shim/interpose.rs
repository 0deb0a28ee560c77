//! The functions that the program finds instead of the C library's: sockets and descriptors.
//!
//! Each looks its descriptor up in the table and either passes the call on as it is, or hands it to the
//! module that knows better. `errno` is set on failure and left alone otherwise. See `waits.rs` for those
//! that wait.

use core::ffi::{c_int, c_long, c_uint, c_void};

use crate::accept::{self, Out, Refusal};
use crate::address::SockAddr;
use crate::arch::number as nr;
use crate::next::{self, answer, errno};
use crate::sys::{EINVAL, ENOSYS, Errno, F_DUPFD, F_DUPFD_CLOEXEC, forward};
use crate::{bind as binding, descriptors, environment, listeners, names, process, table};

/// bind(2).
///
/// # Safety
/// As bind(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bind(fd: c_int, address: *const c_void, len: c_uint) -> c_int {
    let native = || binding::native_bind(fd, address as usize, len);
    let asked = if environment::is_worker() && !address.is_null() && len <= 128 {
        // SAFETY: the program vouches for `len` bytes at `address`.
        SockAddr::decode(unsafe { core::slice::from_raw_parts(address.cast(), len as usize) })
    } else {
        None
    };
    answer(match asked {
        Some(asked) => binding::bind(fd, &asked, native),
        None => native(),
    }) as c_int
}

/// listen(2).
#[unsafe(no_mangle)]
pub extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    let ours = binding::listen(fd, backlog);
    let native = || forward(nr::LISTEN, [fd as usize, backlog as usize, 0, 0, 0, 0]);
    answer(ours.unwrap_or_else(native)) as c_int
}

/// shutdown(2).
#[unsafe(no_mangle)]
pub extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    let known = table::is_connection(table::get(fd));
    let ours = if known {
        None
    } else {
        binding::shutdown(fd, how)
    };
    let native = || forward(nr::SHUTDOWN, [fd as usize, how as usize, 0, 0, 0, 0]);
    answer(ours.unwrap_or_else(native)) as c_int
}

/// accept(2).
///
/// # Safety
/// As accept(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(fd: c_int, address: *mut c_void, len: *mut c_uint) -> c_int {
    type Accept = unsafe extern "C" fn(c_int, *mut c_void, *mut c_uint) -> c_int;
    let native = || {
        // SAFETY: the C library's accept.
        match unsafe { next::ACCEPT.get::<Accept>() } {
            // SAFETY: the program's own arguments.
            Some(function) => unsafe { function(fd, address, len) },
            None => {
                let arguments = [fd as usize, address as usize, len as usize, 0, 0, 0];
                answer(forward(nr::ACCEPT, arguments)) as c_int
            }
        }
    };
    let out = Out {
        address: address.cast(),
        len,
    };
    // SAFETY: passed on from the program.
    unsafe { accept_or(fd, out, 0, native) }
}

/// accept4(2).
///
/// # Safety
/// As accept4(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    fd: c_int,
    address: *mut c_void,
    len: *mut c_uint,
    flags: c_int,
) -> c_int {
    type Accept4 = unsafe extern "C" fn(c_int, *mut c_void, *mut c_uint, c_int) -> c_int;
    let native = || {
        // SAFETY: the C library's accept4.
        match unsafe { next::ACCEPT4.get::<Accept4>() } {
            // SAFETY: the program's own arguments.
            Some(function) => unsafe { function(fd, address, len, flags) },
            None => {
                let (at, len) = (address as usize, len as usize);
                let arguments = [fd as usize, at, len, flags as usize, 0, 0];
                answer(forward(nr::ACCEPT4, arguments)) as c_int
            }
        }
    };
    let out = Out {
        address: address.cast(),
        len,
    };
    // SAFETY: passed on from the program.
    unsafe { accept_or(fd, out, flags, native) }
}

/// Accepts from the channel if `fd` is one, else as `native` does.
///
/// # Safety
/// `out` must be good as for accept(2).
#[inline(always)]
unsafe fn accept_or(fd: c_int, out: Out, flags: c_int, native: impl Fn() -> c_int) -> c_int {
    let mut index = table::listener_of(table::get(fd));
    if index.is_none() {
        let made = native();
        // What a channel says to accept(2): it may be one that this process does not know yet. It never
        // blocks there, so a listener of the server's own costs nothing.
        if made >= 0 || Errno(errno()) != EINVAL || !environment::is_worker() {
            return made;
        }
        index = listeners::of(fd).map(|(index, _)| index);
        if index.is_none() {
            next::set_errno(EINVAL.0);
            return made;
        }
    }
    let Some(index) = index else { return -1 };
    if listeners::is_socket(index) {
        return accept::count(native(), index);
    }
    // SAFETY: the caller's promise.
    match unsafe { accept::accept(fd, index, out, flags) } {
        Ok(connection) => connection,
        Err(Refusal::Errno(Errno(code))) => {
            next::set_errno(code);
            -1
        }
        Err(Refusal::NotOurs) => native(),
    }
}

/// getsockname(2).
///
/// # Safety
/// As getsockname(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockname(fd: c_int, address: *mut c_void, len: *mut c_uint) -> c_int {
    let out = Out {
        address: address.cast(),
        len,
    };
    // SAFETY: passed on from the program.
    answer(unsafe { names::getsockname(fd, out) }) as c_int
}

/// getpeername(2).
///
/// # Safety
/// As getpeername(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getpeername(fd: c_int, address: *mut c_void, len: *mut c_uint) -> c_int {
    let out = Out {
        address: address.cast(),
        len,
    };
    // SAFETY: passed on from the program.
    answer(unsafe { names::getpeername(fd, out) }) as c_int
}

/// getsockopt(2).
///
/// # Safety
/// As getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut c_uint,
) -> c_int {
    // SAFETY: passed on from the program.
    answer(unsafe { names::getsockopt(fd, level, name, value.cast(), len) }) as c_int
}

/// setsockopt(2).
///
/// # Safety
/// As setsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: c_uint,
) -> c_int {
    // SAFETY: passed on from the program.
    answer(unsafe { names::setsockopt(fd, level, name, value.cast(), len) }) as c_int
}

/// close(2).
#[unsafe(no_mangle)]
pub extern "C" fn close(fd: c_int) -> c_int {
    answer(descriptors::close(fd)) as c_int
}

/// close_range(2).
#[unsafe(no_mangle)]
pub extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    answer(descriptors::close_range(first, last, flags as u32)) as c_int
}

/// closefrom(3).
#[unsafe(no_mangle)]
pub extern "C" fn closefrom(first: c_int) {
    let first = first.max(0);
    if descriptors::close_range(first as u32, u32::MAX, 0) == Err(ENOSYS) {
        let limit = crate::sys::open_files_limit().unwrap_or(0).min(1 << 20) as c_int;
        for fd in first..limit {
            let _ = descriptors::close(fd);
        }
    }
}

/// dup(2).
#[unsafe(no_mangle)]
pub extern "C" fn dup(old: c_int) -> c_int {
    let made = answer(forward(nr::DUP, [old as usize, 0, 0, 0, 0, 0])) as c_int;
    descriptors::note_copy(old, made);
    made
}

/// fcntl(2), the third argument of which may be anything.
///
/// # Safety
/// As fcntl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    type Fcntl = unsafe extern "C" fn(c_int, c_int, ...) -> c_int;
    // SAFETY: the C library's fcntl, which waits for locks.
    let made = match unsafe { next::FCNTL.get::<Fcntl>() } {
        // SAFETY: the program's own arguments.
        Some(function) => unsafe { function(fd, command, argument) },
        None => {
            let arguments = [fd as usize, command as usize, argument, 0, 0, 0];
            answer(forward(nr::FCNTL, arguments)) as c_int
        }
    };
    if matches!(command, F_DUPFD | F_DUPFD_CLOEXEC) {
        descriptors::note_copy(fd, made);
    }
    made
}

/// What glibc has programs with 64-bit file offsets call instead of fcntl(2); the same here.
///
/// # Safety
/// As fcntl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: passed on from the program.
    unsafe { fcntl(fd, command, argument) }
}

/// dup2(2).
#[unsafe(no_mangle)]
pub extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    answer(descriptors::dup2(old, new)) as c_int
}

/// dup3(2).
#[unsafe(no_mangle)]
pub extern "C" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    answer(descriptors::dup3(old, new, flags)) as c_int
}

/// epoll_create(2).
#[unsafe(no_mangle)]
pub extern "C" fn epoll_create(size: c_int) -> c_int {
    if size <= 0 {
        next::set_errno(EINVAL.0);
        return -1;
    }
    epoll_create1(0)
}

/// epoll_create1(2).
#[unsafe(no_mangle)]
pub extern "C" fn epoll_create1(flags: c_int) -> c_int {
    let made = forward(nr::EPOLL_CREATE1, [flags as usize, 0, 0, 0, 0, 0]);
    answer(descriptors::note_epoll(made)) as c_int
}

/// fork(2).
#[unsafe(no_mangle)]
pub extern "C" fn fork() -> c_int {
    let child = next::fork();
    if child == 0 {
        process::begin();
    }
    child
}

/// syscall(2), by which libuv closes descriptors.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    let native = || answer(forward(number as usize, [a, b, c, d, e, f])) as c_long;
    let out = Out {
        address: b as *mut u8,
        len: c as *mut u32,
    };
    match number as usize {
        nr::CLOSE => answer(descriptors::close(a as i32)) as c_long,
        nr::CLOSE_RANGE => answer(descriptors::close_range(a as u32, b as u32, c as u32)) as c_long,
        nr::DUP => dup(a as c_int).into(),
        nr::FCNTL => {
            let made = native();
            if matches!(b as i32, F_DUPFD | F_DUPFD_CLOEXEC) {
                descriptors::note_copy(a as i32, made as i32);
            }
            made
        }
        nr::DUP3 => answer(descriptors::dup3(a as i32, b as i32, c as i32)) as c_long,
        #[cfg(target_arch = "x86_64")]
        nr::DUP2 => answer(descriptors::dup2(a as i32, b as i32)) as c_long,
        #[cfg(target_arch = "x86_64")]
        nr::EPOLL_CREATE => epoll_create(a as c_int).into(),
        nr::EPOLL_CREATE1 => epoll_create1(a as c_int).into(),
        // SAFETY: the program's own arguments.
        nr::ACCEPT => unsafe { accept_or(a as i32, out, 0, || native() as c_int) }.into(),
        nr::ACCEPT4 => {
            // SAFETY: the program's own arguments.
            unsafe { accept_or(a as i32, out, d as c_int, || native() as c_int) }.into()
        }
        // SAFETY: the program's own arguments.
        nr::BIND => unsafe { bind(a as c_int, b as *const c_void, c as c_uint) }.into(),
        nr::LISTEN => listen(a as c_int, b as c_int).into(),
        nr::SHUTDOWN => shutdown(a as c_int, b as c_int).into(),
        // SAFETY: the program's own arguments.
        nr::GETSOCKNAME => answer(unsafe { names::getsockname(a as i32, out) }) as c_long,
        // SAFETY: the program's own arguments.
        nr::GETPEERNAME => answer(unsafe { names::getpeername(a as i32, out) }) as c_long,
        nr::GETSOCKOPT => {
            let (fd, level, name) = (a as i32, b as i32, c as i32);
            // SAFETY: the program's own arguments.
            answer(unsafe { names::getsockopt(fd, level, name, d as *mut u8, e as *mut u32) }) as c_long
        }
        _ => native(),
    }
}
