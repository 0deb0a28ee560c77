//! forkfront: existing single-threaded servers on every core, behind one port, unchanged.
//!
//! The map, from the ground up; a floor never imports a higher one:
//!
//! | floor | modules | what it is |
//! |---|---|---|
//! | 0 | [`wire`], [`scoreboard`], [`backend_board`], [`shim_image`], [`error`], [`sys`] | bytes shared with the shim and among proxy workers, the shim itself, errors, the kernel made safe |
//! | 1 | [`policy`], [`config`], [`status`], [`protocol`] | the rules, pure; plain values |
//! | 2 | [`primary`], [`worker`], [`proxy`], [`client`] | the process that deals, the library for those who take, the built-in proxy on it, the command client |
//! | 3 | `cli`, `main` | words |
//!
//! The preload shim under `src/shim/` is a crate of its own, compiled by `build.rs` and embedded.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod backend_board;
pub mod cli;
pub mod client;
pub mod config;
pub mod error;
pub mod policy;
pub mod primary;
pub mod protocol;
pub mod proxy;
#[cfg(test)]
mod random;
pub mod scoreboard;
pub mod shim_image;
pub mod status;
pub mod sys;
pub mod wire;
pub mod worker;
