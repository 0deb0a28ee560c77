//! Compiles the preload shim.
fn main() {}
