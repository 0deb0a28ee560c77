//! The primary: the one process that listens, accepts and deals, and that looks after the workers.

pub mod control;
pub mod dispatcher;
pub mod join;
pub mod listeners;
pub mod logs;
pub mod messages;
pub mod preflight;
pub mod rendezvous;
pub mod rundir;
pub mod socket_file;
pub mod supervisor;
pub mod verbs;
pub mod workers;
