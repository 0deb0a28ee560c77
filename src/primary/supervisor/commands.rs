//! What people ask over the control socket, and the answers.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use super::Supervisor;
use crate::error::Error;

/// The clients.
#[derive(Debug)]
pub struct Clients {
    listener: OwnedFd,
}

impl Clients {
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        Ok(Self { listener })
    }

    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    pub fn stopped(&mut self, _failure: Option<&Error>) {}
}

impl AsRawFd for Clients {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl Supervisor {
    pub(super) fn hear_commands(&mut self) {}

    pub(super) fn progress(&mut self, line: &str) {
        log::debug!("{line}");
    }
}
