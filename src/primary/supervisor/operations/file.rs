//! The configuration file, read again while everything runs.

use super::super::Supervisor;
use crate::policy::ids::AppId;

/// What came of it.
#[derive(Debug)]
pub struct Applied {
    /// What was changed, in words.
    pub words: String,
    /// Apps that must have new workers for what has changed.
    pub renew: Vec<AppId>,
}

impl Supervisor {
    pub(super) fn read_file_again(&mut self) -> Result<Applied, String> {
        Ok(Applied {
            words: String::new(),
            renew: Vec::new(),
        })
    }
}
