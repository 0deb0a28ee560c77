//! The words of `forkfront run` that are about the life of workers: how they are renewed, when a slot gets a
//! next one, what one may use, and how it is found out that one is well.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{self, AppConfig, Health, Limits, Probe, Restart, RestartWhen};

/// How new workers take the place of old ones.
#[derive(Debug, clap::Args)]
pub struct Renewal {
    /// Slots that a reload renews at one time
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = config::reload_parallel, help_heading = "New workers for old")]
    reload_parallel: usize,

    /// Generations of old workers, and old workers of one slot, that may finish at one time; a reload waits for
    /// the oldest, and hurries it
    #[arg(long, value_name = "N", default_value = "2", allow_negative_numbers = true, value_parser = config::max_old, help_heading = "New workers for old")]
    max_old: usize,
}

/// When a slot whose worker has ended gets a next one.
#[derive(Debug, clap::Args)]
pub struct Succession {
    /// When a slot whose worker has ended gets a next one
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "New workers for old"
    )]
    restart: RestartWhen,

    /// Exit codes after which it gets none, as in 0,78
    #[arg(long, value_name = "CODES", allow_hyphen_values = true, value_parser = config::exit_codes, help_heading = "New workers for old")]
    stop_exit_codes: Option<BTreeSet<i32>>,

    /// A slot that takes more restarts has failed: 10/1m, or 10 for so many in a minute [default: any number]
    #[arg(long, value_name = "N[/TIME]", allow_hyphen_values = true, value_parser = config::max_restarts, help_heading = "New workers for old")]
    max_restarts: Option<(u32, Duration)>,
}

/// What a worker may use; it is replaced, as by a reload, when it is over it.
#[derive(Debug, clap::Args)]
pub struct LimitWords {
    /// Memory of a worker and all its processes: 512M, 2G; at half as much again it is killed
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = config::size, help_heading = "Limits, beyond which a worker is replaced [default: none]")]
    max_memory: Option<u64>,

    /// Time since it was ready, less or more a tenth, so that not all are replaced at once
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Limits, beyond which a worker is replaced [default: none]")]
    max_age: Option<Duration>,

    /// Connections taken, less or more a tenth
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = config::max_connections, help_heading = "Limits, beyond which a worker is replaced [default: none]")]
    max_connections: Option<u64>,

    /// Time that it leaves its queue alone, or stays in one callback of its loop; then it gets SIGABRT
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Limits, beyond which a worker is replaced [default: none]")]
    hang_timeout: Option<Duration>,
}

/// How it is found out that a worker is well.
#[derive(Debug, clap::Args)]
pub struct HealthWords {
    /// Ask each worker regularly: http:/path, or a command that talks to it over its stdin and stdout
    ///
    /// http:/health is GET /health over a connection of its own to that very worker; 2xx and 3xx are well. A
    /// command is its words, quoted as for a shell, though none runs it: 'nc -z "a b"'; exit code 0 is well.
    #[arg(
        long,
        value_name = "http:PATH|COMMAND",
        allow_hyphen_values = true,
        help_heading = "Health"
    )]
    health: Option<Probe>,

    /// From one question to the next
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "health", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Health")]
    health_interval: Duration,

    /// Time for the answer
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "health", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Health")]
    health_timeout: Duration,

    /// So many wrong or missing answers in a row, and the worker is replaced
    #[arg(long, value_name = "N", default_value = "3", requires = "health", allow_negative_numbers = true, value_parser = config::health_failures, help_heading = "Health")]
    health_failures: u32,
}

impl Renewal {
    /// Writes these words into `app`.
    pub fn apply(self, app: &mut AppConfig) {
        app.reload_parallel = self.reload_parallel;
        app.max_old = self.max_old;
    }
}

impl Succession {
    /// Writes these words into `app`.
    pub fn apply(self, app: &mut AppConfig) {
        app.restart = Restart {
            when: self.restart,
            stop_exit_codes: self.stop_exit_codes.unwrap_or_default(),
            most: self.max_restarts,
        };
    }
}

impl From<LimitWords> for Limits {
    fn from(words: LimitWords) -> Self {
        Self {
            max_memory: words.max_memory,
            max_age: words.max_age,
            max_connections: words.max_connections,
            hang_timeout: words.hang_timeout,
        }
    }
}

impl HealthWords {
    /// Whether the workers are to be asked at all.
    pub fn is_asked(&self) -> bool {
        self.health.is_some()
    }
}

impl From<HealthWords> for Option<Health> {
    fn from(words: HealthWords) -> Self {
        words.health.map(|probe| Health {
            probe,
            interval: words.health_interval,
            timeout: words.health_timeout,
            failures: words.health_failures,
        })
    }
}
