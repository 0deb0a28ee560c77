//! The kernel, made safe: the only place (with the shim) where `unsafe` is written. One file per facility;
//! everything returns `io::Result` or a small enum of the weather that the caller must match.

pub mod address;
pub mod bell;
pub mod board;
pub mod channel;
pub mod clock;
pub mod diag;
pub mod directory;
pub mod exec;
pub mod fdpass;
pub mod footprint;
pub mod handover;
pub mod inherited;
pub mod limits;
pub mod memfd;
pub mod notify;
pub mod privileges;
pub mod process;
pub mod rights;
pub mod scheduler;
pub mod signals;
pub mod socket;
pub mod sockopt;
pub mod splice;
