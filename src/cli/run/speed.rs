//! The words of `forkfront run` that have to do with speed alone.

use std::time::Duration;

use crate::config::{self, AppConfig, Speed, Spelling};
use crate::error::{Error, Result};

/// How fast, and at whose cost.
#[derive(Debug, clap::Args)]
pub struct SpeedWords {
    /// Let connections that come densely gather for so long, at most; 0: never [default: 600us]
    ///
    /// Each worker is then woken once for several of them. Where connections come sparsely nobody ever waits,
    /// whatever is said here. At most 50ms.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::gather_max, help_heading = "Speed")]
    gather_max: Option<Duration>,

    /// Have the kernel keep a connection until its client has sent something, for TIME at most [default: 1s]
    ///
    /// One wake-up less per connection. Only for protocols in which the client speaks first, as in HTTP and TLS;
    /// with others (SMTP, FTP, SSH, MySQL) each connection stands still for that time. A client that says nothing
    /// comes to a worker when its time is over, as without this. In seconds, which the kernel rounds up to 1, 3, 7, 15, 31, ...;
    /// a server that sets TCP_DEFER_ACCEPT itself has its way.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1s", allow_negative_numbers = true, value_parser = config::defer_accept, help_heading = "Speed")]
    defer_accept: Option<Duration>,

    /// Bind each worker to one CPU of those that we may use, by its slot: slot 0 to the first, and so on
    ///
    /// With more slots than CPUs it begins again with the first. For servers with one busy thread; one with several
    /// has them all on that CPU.
    #[arg(long, help_heading = "Speed")]
    pin: bool,
}

impl SpeedWords {
    /// Writes these words into `app`, whose other words are there already.
    pub fn apply(self, app: &mut AppConfig) -> Result<()> {
        let given = self.gather_max.is_some();
        app.speed = Speed {
            gather_max: self.gather_max.unwrap_or(Speed::default().gather_max),
            defer_accept: self.defer_accept,
            pin: self.pin,
        };
        let misfit = app.speed_misfits(Spelling::Options, |key| key == "gather-max" && given);
        misfit.map_or(Ok(()), |misfit| Err(Error::usage(misfit.sentence)))
    }
}
