//! The kernel, typed: raw system calls that never touch `errno` and never go through the C library, so
//! that nothing here can be interposed, cancelled or made to recurse.
//!
//! A failure is the errno as an [`Errno`]. Everything is async-signal-safe.

use core::ffi::c_void;

use crate::arch::{number as nr, syscall};

/// An errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

pub const EINTR: Errno = Errno(4);
pub const EBADF: Errno = Errno(9);
pub const EAGAIN: Errno = Errno(11);
pub const EFAULT: Errno = Errno(14);
pub const EINVAL: Errno = Errno(22);
pub const EMFILE: Errno = Errno(24);
pub const EPROTO: Errno = Errno(71);
pub const ENOTSOCK: Errno = Errno(88);
pub const EOPNOTSUPP: Errno = Errno(95);
pub const ECONNRESET: Errno = Errno(104);
pub const ENOTCONN: Errno = Errno(107);
pub const ETIMEDOUT: Errno = Errno(110);
pub const ECONNREFUSED: Errno = Errno(111);
pub const ESRCH: Errno = Errno(3);
pub const ENOSYS: Errno = Errno(38);

pub const AF_UNIX: i32 = 1;
pub const AF_INET: i32 = 2;
pub const AF_INET6: i32 = 10;
pub const SOCK_STREAM: i32 = 1;
pub const SOCK_SEQPACKET: i32 = 5;
pub const SOCK_NONBLOCK: i32 = 0o4000;
pub const SOCK_CLOEXEC: i32 = 0o2_000_000;
pub const O_NONBLOCK: usize = 0o4000;
pub const O_CLOEXEC: usize = 0o2_000_000;

pub const SOL_SOCKET: i32 = 1;
pub const IPPROTO_IP: i32 = 0;
pub const IPPROTO_TCP: i32 = 6;
pub const IPPROTO_IPV6: i32 = 41;
pub const IPPROTO_MPTCP: i32 = 262;
pub const SO_TYPE: i32 = 3;
pub const SO_REUSEPORT: i32 = 15;
pub const SO_PEERCRED: i32 = 17;
pub const SO_RCVTIMEO: i32 = 20;
pub const SO_SNDTIMEO: i32 = 21;
pub const SO_PEERNAME: i32 = 28;
pub const SO_ACCEPTCONN: i32 = 30;
pub const SO_PROTOCOL: i32 = 38;
pub const SO_DOMAIN: i32 = 39;
pub const IPV6_ADDRFORM: i32 = 1;
pub const IPV6_V6ONLY: i32 = 26;

pub const MSG_PEEK: i32 = 0x2;
pub const MSG_CTRUNC: i32 = 0x8;
pub const MSG_DONTWAIT: i32 = 0x40;
pub const MSG_NOSIGNAL: i32 = 0x4000;
pub const MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;

pub const F_DUPFD: i32 = 0;
const F_GETFD: usize = 1;
const F_GETFL: usize = 3;
pub const F_DUPFD_CLOEXEC: i32 = 1030;
const FIONBIO: usize = 0x5421;
const RLIMIT_NOFILE: usize = 7;
const AT_FDCWD: usize = -100_isize as usize;
const MADV_WIPEONFORK: usize = 18;
const CLOCK_MONOTONIC: usize = 1;
const EPOLL_CTL_ADD: usize = 1;
const EPOLL_CTL_DEL: usize = 2;

/// `struct iovec`.
#[repr(C)]
pub struct IoVec {
    pub base: *mut c_void,
    pub len: usize,
}

/// `struct msghdr` as the 64-bit kernel has it.
#[repr(C)]
pub struct MsgHdr {
    pub name: *mut c_void,
    pub name_len: u32,
    pub iov: *mut IoVec,
    pub iov_len: usize,
    pub control: *mut c_void,
    pub control_len: usize,
    pub flags: i32,
}

/// `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct TimeSpec {
    pub sec: i64,
    pub nsec: i64,
}

/// `struct epoll_event`: packed on x86-64 only.
#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
pub struct EpollEvent {
    pub events: u32,
    pub data: u64,
}

/// What the kernel returned, as a result.
#[inline(always)]
pub fn check(result: isize) -> Result<usize, Errno> {
    if result < 0 {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

/// A call without pointers: wrong values are answered by an errno.
#[inline(always)]
fn plain(number: usize, a: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: callers in this file pass only integers, or pointers to live locals of the right size.
    check(unsafe { syscall(number, a) })
}

/// A call whose arguments come from the program as they are; bad pointers are the kernel's to refuse.
#[inline(always)]
pub fn forward(number: usize, a: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: exactly the call that the program asked for, with the program's own arguments.
    check(unsafe { syscall(number, a) })
}

/// close(2).
pub fn close(fd: i32) -> Result<usize, Errno> {
    plain(nr::CLOSE, [fd as usize, 0, 0, 0, 0, 0])
}

/// getpid(2), never cached.
pub fn getpid() -> u32 {
    plain(nr::GETPID, [0; 6]).map_or(0, |pid| pid as u32)
}

/// getppid(2).
pub fn getppid() -> u32 {
    plain(nr::GETPPID, [0; 6]).map_or(0, |pid| pid as u32)
}

/// nanosleep(2), cut short by a signal.
pub fn sleep(nanoseconds: i64) {
    let time = TimeSpec {
        sec: 0,
        nsec: nanoseconds,
    };
    let _ = plain(nr::NANOSLEEP, [&raw const time as usize, 0, 0, 0, 0, 0]);
}

/// kill(2).
pub fn kill(pid: u32, signal: i32) -> Result<usize, Errno> {
    plain(nr::KILL, [pid as usize, signal as usize, 0, 0, 0, 0])
}

/// `F_GETFD`.
pub fn descriptor_flags(fd: i32) -> Result<usize, Errno> {
    plain(nr::FCNTL, [fd as usize, F_GETFD, 0, 0, 0, 0])
}

/// `F_GETFL`.
pub fn status_flags(fd: i32) -> Result<usize, Errno> {
    plain(nr::FCNTL, [fd as usize, F_GETFL, 0, 0, 0, 0])
}

/// Sets or clears `O_NONBLOCK` in one call.
pub fn set_nonblocking(fd: i32, on: bool) -> Result<usize, Errno> {
    let value = i32::from(on);
    plain(
        nr::IOCTL,
        [fd as usize, FIONBIO, &raw const value as usize, 0, 0, 0],
    )
}

/// A close-on-exec duplicate, numbered `least` or above.
pub fn duplicate(fd: i32, least: i32) -> Result<i32, Errno> {
    let made = plain(
        nr::FCNTL,
        [
            fd as usize,
            F_DUPFD_CLOEXEC as usize,
            least as usize,
            0,
            0,
            0,
        ],
    )?;
    Ok(made as i32)
}

/// dup3(2); `flags` is 0 or `O_CLOEXEC`.
pub fn dup3(old: i32, new: i32, flags: usize) -> Result<usize, Errno> {
    plain(nr::DUP3, [old as usize, new as usize, flags, 0, 0, 0])
}

/// socket(2), close-on-exec.
pub fn socket(domain: i32, kind: i32, protocol: i32) -> Result<i32, Errno> {
    let kind = (kind | SOCK_CLOEXEC) as usize;
    let made = plain(
        nr::SOCKET,
        [domain as usize, kind, protocol as usize, 0, 0, 0],
    )?;
    Ok(made as i32)
}

/// A connected `SOCK_SEQPACKET` pair, close-on-exec.
pub fn socket_pair() -> Result<[i32; 2], Errno> {
    let mut pair = [-1; 2];
    let kind = (SOCK_SEQPACKET | SOCK_CLOEXEC) as usize;
    let out = pair.as_mut_ptr() as usize;
    plain(nr::SOCKETPAIR, [AF_UNIX as usize, kind, 0, out, 0, 0])?;
    Ok(pair)
}

/// connect(2) to the address in `address`.
pub fn connect(fd: i32, address: &[u8]) -> Result<usize, Errno> {
    let (at, len) = (address.as_ptr() as usize, address.len());
    plain(nr::CONNECT, [fd as usize, at, len, 0, 0, 0])
}

/// send(2) without `SIGPIPE`.
pub fn send(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    let (at, len) = (bytes.as_ptr() as usize, bytes.len());
    plain(
        nr::SENDTO,
        [fd as usize, at, len, MSG_NOSIGNAL as usize, 0, 0],
    )
}

/// recvmsg(2).
///
/// # Safety
/// Every pointer in `message` must be good for its length.
pub unsafe fn recvmsg(fd: i32, message: &mut MsgHdr, flags: i32) -> Result<usize, Errno> {
    let at = &raw mut *message as usize;
    plain(nr::RECVMSG, [fd as usize, at, flags as usize, 0, 0, 0])
}

/// getsockopt(2) into `value`; the length the kernel wrote.
pub fn option_bytes(fd: i32, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
    let mut len = value.len() as u32;
    let at = value.as_mut_ptr() as usize;
    plain(
        nr::GETSOCKOPT,
        [
            fd as usize,
            level as usize,
            name as usize,
            at,
            &raw mut len as usize,
            0,
        ],
    )?;
    Ok((len as usize).min(value.len()))
}

/// getsockopt(2) of an `int`.
pub fn option(fd: i32, level: i32, name: i32) -> Result<i32, Errno> {
    let mut value = [0; 4];
    option_bytes(fd, level, name, &mut value)?;
    Ok(i32::from_ne_bytes(value))
}

/// setsockopt(2).
pub fn set_option(fd: i32, level: i32, name: i32, value: &[u8]) -> Result<usize, Errno> {
    let (at, len) = (value.as_ptr() as usize, value.len());
    plain(
        nr::SETSOCKOPT,
        [fd as usize, level as usize, name as usize, at, len, 0],
    )
}

/// getsockname(2) into `out`; the full length of the address.
pub fn local_address(fd: i32, out: &mut [u8; 128]) -> Result<usize, Errno> {
    address_of(nr::GETSOCKNAME, fd, out)
}

/// getpeername(2) into `out`; the full length of the address.
pub fn peer_address(fd: i32, out: &mut [u8; 128]) -> Result<usize, Errno> {
    address_of(nr::GETPEERNAME, fd, out)
}

fn address_of(number: usize, fd: i32, out: &mut [u8; 128]) -> Result<usize, Errno> {
    let mut len = out.len() as u32;
    let at = out.as_mut_ptr() as usize;
    plain(number, [fd as usize, at, &raw mut len as usize, 0, 0, 0])?;
    Ok(len as usize)
}

/// `st_ino`; together with the kind of the file it names a socket for good.
pub fn inode(fd: i32) -> Result<u64, Errno> {
    // `struct stat` is 144 bytes on x86-64, 128 on AArch64; `st_ino` is its second word on both.
    let mut stat = [0_u64; 18];
    let at = stat.as_mut_ptr() as usize;
    plain(nr::FSTAT, [fd as usize, at, 0, 0, 0, 0])?;
    Ok(stat[1])
}

/// The soft limit on open files.
pub fn open_files_limit() -> Result<u64, Errno> {
    let mut limits = [0_u64; 2];
    let at = limits.as_mut_ptr() as usize;
    plain(nr::PRLIMIT64, [0, RLIMIT_NOFILE, 0, at, 0, 0])?;
    Ok(limits[0])
}

/// Opens a file for reading, close-on-exec. `path` ends with a zero byte.
pub fn open(path: &[u8]) -> Result<i32, Errno> {
    debug_assert!(path.last() == Some(&0));
    let at = path.as_ptr() as usize;
    let made = plain(nr::OPENAT, [AT_FDCWD, at, O_CLOEXEC, 0, 0, 0])?;
    Ok(made as i32)
}

/// read(2).
pub fn read(fd: i32, out: &mut [u8]) -> Result<usize, Errno> {
    let (at, len) = (out.as_mut_ptr() as usize, out.len());
    plain(nr::READ, [fd as usize, at, len, 0, 0, 0])
}

/// write(2).
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    let (at, len) = (bytes.as_ptr() as usize, bytes.len());
    plain(nr::WRITE, [fd as usize, at, len, 0, 0, 0])
}

/// A fresh mapping of `size` bytes: of `fd`, shared, or anonymous and private for -1.
pub fn map(fd: i32, size: usize) -> Result<*mut c_void, Errno> {
    const READ_WRITE: usize = 3;
    const SHARED: usize = 1;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    let kind = if fd < 0 { PRIVATE_ANONYMOUS } else { SHARED };
    let at = plain(nr::MMAP, [0, size, READ_WRITE, kind, fd as usize, 0])?;
    Ok(at as *mut c_void)
}

/// Undoes [`map`].
///
/// # Safety
/// Nobody may use the mapping any more.
pub unsafe fn unmap(at: *mut c_void, size: usize) -> Result<usize, Errno> {
    plain(nr::MUNMAP, [at as usize, size, 0, 0, 0, 0])
}

/// Makes `page` read as zeroes in every child of a fork.
pub fn wipe_on_fork(page: *mut c_void, size: usize) -> Result<usize, Errno> {
    plain(nr::MADVISE, [page as usize, size, MADV_WIPEONFORK, 0, 0, 0])
}

/// `CLOCK_MONOTONIC`, by system call.
pub fn monotonic() -> TimeSpec {
    let mut now = TimeSpec::default();
    let at = &raw mut now as usize;
    let _ = plain(nr::CLOCK_GETTIME, [CLOCK_MONOTONIC, at, 0, 0, 0, 0]);
    now
}

/// `EPOLL_CTL_ADD`.
pub fn epoll_add(epoll: i32, fd: i32, event: &EpollEvent) -> Result<usize, Errno> {
    let at = &raw const *event as usize;
    plain(
        nr::EPOLL_CTL,
        [epoll as usize, EPOLL_CTL_ADD, fd as usize, at, 0, 0],
    )
}

/// `EPOLL_CTL_DEL`.
pub fn epoll_remove(epoll: i32, fd: i32) -> Result<usize, Errno> {
    plain(
        nr::EPOLL_CTL,
        [epoll as usize, EPOLL_CTL_DEL, fd as usize, 0, 0, 0],
    )
}
