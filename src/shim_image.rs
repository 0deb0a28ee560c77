//! The preload shim as bytes: compiled by `src/shim/build.rs`, written to disk by the primary at start.

/// The shared object that goes into a worker's `LD_PRELOAD`.
pub static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libforkfront_shim.so"));
