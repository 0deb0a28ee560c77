//! How the workers are: whether one that drains still holds a connection, what they use, whether they react.
//!
//! Looks and keeps what it saw; what is done about it, the supervisor does. Nothing here waits.

pub mod drains;
pub mod looks;
