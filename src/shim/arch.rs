//! The only machine code of the shim: raw system calls, weak symbols, the thread pointer.
//!
//! Two instruction sets; another one fails the build here. Called by [`crate::sys`] and [`crate::next`].

use core::arch::asm;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the preload shim knows x86_64 and aarch64 only");

/// A raw system call. Returns what the kernel returns: a negative errno for a failure.
///
/// # Safety
/// As for the call itself: every pointer among the arguments must be good for what the call does with it,
/// or the call must be one that answers a bad pointer with `EFAULT`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the x86-64 system call convention; rcx and r11 are clobbered, the red zone is not touched.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A raw system call. Returns what the kernel returns: a negative errno for a failure.
///
/// # Safety
/// As for the call itself: every pointer among the arguments must be good for what the call does with it,
/// or the call must be one that answers a bad pointer with `EFAULT`.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the AArch64 Linux convention: number in x8, arguments and result from x0 on.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] as isize => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    result
}

/// The calling thread's pointer: its identity, for no system call.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn thread() -> usize {
    let pointer: usize;
    // SAFETY: the psABI puts the thread pointer itself at fs:0; glibc and musl both do.
    unsafe {
        asm!("mov {}, qword ptr fs:[0]", out(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    pointer
}

/// The calling thread's pointer: its identity, for no system call.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub fn thread() -> usize {
    let pointer: usize;
    // SAFETY: reading tpidr_el0 has no effect.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags));
    }
    pointer
}

/// The address of a symbol that the process may or may not have; 0 if not. (`extern_weak` is unstable.)
#[cfg(target_arch = "x86_64")]
macro_rules! weak {
    ($name:literal) => {{
        let address: usize;
        // SAFETY: reads the GOT entry that the loader has filled, with 0 for an absent weak symbol.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $name),
                concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                out(reg) address,
                options(nostack, readonly, preserves_flags),
            );
        }
        address
    }};
}

/// The address of a symbol that the process may or may not have; 0 if not. (`extern_weak` is unstable.)
#[cfg(target_arch = "aarch64")]
macro_rules! weak {
    ($name:literal) => {{
        let address: usize;
        // SAFETY: reads the GOT entry that the loader has filled, with 0 for an absent weak symbol.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $name),
                concat!("adrp {0}, :got:", $name),
                concat!("ldr {0}, [{0}, :got_lo12:", $name, "]"),
                out(reg) address,
                options(nostack, readonly, preserves_flags),
            );
        }
        address
    }};
}

pub(crate) use weak;

/// System call numbers.
#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const FSTAT: usize = 5;
    pub const MMAP: usize = 9;
    pub const MUNMAP: usize = 11;
    pub const IOCTL: usize = 16;
    pub const MADVISE: usize = 28;
    pub const DUP: usize = 32;
    pub const DUP2: usize = 33;
    pub const NANOSLEEP: usize = 35;
    pub const GETPID: usize = 39;
    pub const SOCKET: usize = 41;
    pub const CONNECT: usize = 42;
    pub const ACCEPT: usize = 43;
    pub const SENDTO: usize = 44;
    pub const RECVMSG: usize = 47;
    pub const SHUTDOWN: usize = 48;
    pub const BIND: usize = 49;
    pub const LISTEN: usize = 50;
    pub const GETSOCKNAME: usize = 51;
    pub const GETPEERNAME: usize = 52;
    pub const SOCKETPAIR: usize = 53;
    pub const SETSOCKOPT: usize = 54;
    pub const GETSOCKOPT: usize = 55;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const GETPPID: usize = 110;
    pub const EPOLL_CREATE: usize = 213;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EPOLL_CTL: usize = 233;
    pub const OPENAT: usize = 257;
    pub const PSELECT6: usize = 270;
    pub const PPOLL: usize = 271;
    pub const EPOLL_PWAIT: usize = 281;
    pub const ACCEPT4: usize = 288;
    pub const EPOLL_CREATE1: usize = 291;
    pub const DUP3: usize = 292;
    pub const PRLIMIT64: usize = 302;
    pub const CLOSE_RANGE: usize = 436;
    pub const EPOLL_PWAIT2: usize = 441;
}

/// System call numbers.
#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const EPOLL_CREATE1: usize = 20;
    pub const EPOLL_CTL: usize = 21;
    pub const EPOLL_PWAIT: usize = 22;
    pub const DUP: usize = 23;
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PSELECT6: usize = 72;
    pub const PPOLL: usize = 73;
    pub const FSTAT: usize = 80;
    pub const NANOSLEEP: usize = 101;
    pub const CLOCK_GETTIME: usize = 113;
    pub const KILL: usize = 129;
    pub const GETPID: usize = 172;
    pub const GETPPID: usize = 173;
    pub const SOCKET: usize = 198;
    pub const SOCKETPAIR: usize = 199;
    pub const BIND: usize = 200;
    pub const LISTEN: usize = 201;
    pub const ACCEPT: usize = 202;
    pub const CONNECT: usize = 203;
    pub const GETSOCKNAME: usize = 204;
    pub const GETPEERNAME: usize = 205;
    pub const SENDTO: usize = 206;
    pub const SETSOCKOPT: usize = 208;
    pub const GETSOCKOPT: usize = 209;
    pub const SHUTDOWN: usize = 210;
    pub const RECVMSG: usize = 212;
    pub const MUNMAP: usize = 215;
    pub const MMAP: usize = 222;
    pub const MADVISE: usize = 233;
    pub const ACCEPT4: usize = 242;
    pub const PRLIMIT64: usize = 261;
    pub const CLOSE_RANGE: usize = 436;
    pub const EPOLL_PWAIT2: usize = 441;
}
