//! The rules: pure values and functions. No fd, no clock, no log: every decision is given `now` and
//! returns what to do, so that each rule can be tested with a fake clock and a seeded random walk.

pub mod affinity;
pub mod backends;
pub mod backoff;
pub mod courtesy;
pub mod deadlines;
pub mod delay;
pub mod fleet;
pub mod gather;
pub mod hang;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod rollout;
pub mod rotation;
pub mod sniff;
pub mod stall;
pub mod upstream;
pub mod weights;
pub mod wheel;
pub mod words;
