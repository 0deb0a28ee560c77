//! The words of `forkfront run` that are about the log.

use std::path::PathBuf;

use crate::config::{self, LOG_KEEP, LogFile, LogFormat, LogTime, Logs, Spelling};
use crate::error::{Error, Result};
use crate::sys::directory;

/// How the log looks and where it goes.
#[derive(Debug, clap::Args)]
pub struct LogWords {
    /// What a line of the log is: time, slot and pid in front of the text, or a JSON object
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        help_heading = "Log"
    )]
    log_format: LogFormat,

    /// The time in front of a line; auto: local time, and none in the journal, which has its own
    #[arg(
        long,
        value_enum,
        value_name = "TIME",
        default_value_t,
        help_heading = "Log"
    )]
    log_time: LogTime,

    /// Write what the workers print to this file, and not to stdout and stderr
    ///
    /// In its name, %s is the slot and %a the app: app-%s.log is a file for each slot. Our own messages go there too
    /// (in place of a slot stands "primary"), and still to stderr. A new file has the permissions 0640; a symbolic
    /// link is not followed. SIGUSR1 opens it anew, for logrotate.
    #[arg(long, value_name = "PATH", value_parser = config::log_file, help_heading = "Log")]
    log_file: Option<PathBuf>,

    /// Rotate a log file before it is longer than this: 100M, 1G [default: never]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = config::size, help_heading = "Log")]
    log_max_size: Option<u64>,

    /// Rotated files that are kept, as PATH.1, PATH.2, ... [default: 5]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = config::log_keep, help_heading = "Log")]
    log_keep: Option<u32>,
}

impl LogWords {
    /// What the words mean together.
    pub fn read(self) -> Result<Logs> {
        let file = self.log_file.map(|path| {
            let shown = path.display().to_string();
            let path = directory::absolute(&path).map_err(|error| {
                Error::io(format!("cannot find the place of '{shown}'"), &error)
            })?;
            Ok(LogFile {
                path,
                max_size: self.log_max_size,
                keep: self.log_keep.unwrap_or(LOG_KEEP),
            })
        });
        let logs = Logs {
            format: self.log_format,
            time: self.log_time,
            file: file.transpose()?,
        };
        let given = |key: &str| match key {
            "log-max-size" => self.log_max_size.is_some(),
            "log-keep" => self.log_keep.is_some(),
            _ => false,
        };
        match logs.misfits(Spelling::Options, given).into_iter().next() {
            Some(misfit) => Err(Error::usage(misfit.sentence)),
            None => Ok(logs),
        }
    }
}
