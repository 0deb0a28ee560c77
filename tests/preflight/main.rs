//! What `preflight` finds in real program files and in real processes. Needs gcc (with a static libc), go and
//! python3.
#![allow(clippy::unwrap_used)]

mod files;
mod habits;
mod place;
mod processes;
