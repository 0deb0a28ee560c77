//! The preload shim: makes an unmodified server take its connections from the primary.
//!
//! A server that is started by forkfront has this library in `LD_PRELOAD`. When it binds a TCP address that
//! is to be shared, its socket is replaced by a channel, a Unix socket over which the primary sends
//! connections; `accept` receives from it. Everything else the server does with that descriptor answers as
//! if it were the listening socket it asked for, and every other descriptor is left alone.
//!
//! | module | what it is |
//! |---|---|
//! | `interpose`, `waits` | the functions that the program calls |
//! | `bind`, `accept`, `room`, `names`, `descriptors` | what they mean for a channel |
//! | `listeners`, `table`, `sources`, `process`, `epoll`, `options` | what the shim knows |
//! | `rendezvous`, `received`, `address`, `environment` | talking to the primary |
//! | `sys`, `next`, `arch` | the kernel, the C library, machine code |
//!
//! No `std`, no allocation, no lock: a call may come from a signal handler, from any thread, between fork
//! and exec. One object serves glibc and musl of any age, so the only symbols it needs are ones that both
//! have, without version.

#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

mod accept;
mod address;
mod arch;
mod bind;
mod descriptors;
mod environment;
mod epoll;
mod interpose;
mod listeners;
mod names;
mod next;
mod options;
mod process;
mod received;
mod rendezvous;
mod room;
mod sources;
mod sys;
mod table;
mod waits;

#[allow(dead_code)]
#[path = "../scoreboard.rs"]
mod scoreboard;
#[allow(dead_code, unused_imports)]
#[path = "../wire/mod.rs"]
mod wire;

/// Runs before the program's `main`.
extern "C" fn start() {
    next::resolve();
    environment::read();
}

/// Runs at exit(3).
extern "C" fn end() {
    process::leave();
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;

/// A panic here is a bug of the shim's; the process dies at once and visibly.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    const SIGABRT: i32 = 6;
    let _ = sys::write(2, b"forkfront shim: internal error\n");
    loop {
        let _ = sys::kill(sys::getpid(), SIGABRT);
    }
}
