//! The upgrade: another program takes this primary's place by execve(2), and nothing is lost on the way.
//!
//! Each owner of something describes itself as plain values, with tickets for its descriptors
//! ([`crate::sys::handover`]), and can be made from those again.
