//! The words of `forkfront proxy` by which it is found out whether a backend is well, and what follows.

use std::time::Duration;

use crate::config;
use crate::config::proxy::{self, Check, CheckWhat, Eject, OnDown, OrOff, Proxy};

/// How backends are asked.
#[derive(Debug, clap::Args)]
pub struct CheckWords {
    /// Ask each backend regularly: tcp (does it take a connection), or http:/path (200 to 399 is well) [default: off]
    ///
    /// One that is down gets nothing new. When all are down, all get connections again as if nothing had been asked:
    /// better a try than none.
    #[arg(
        long,
        value_name = "tcp|http:PATH|off",
        value_parser = proxy::check,
        help_heading = "Whether backends are well"
    )]
    check: Option<OrOff<CheckWhat>>,

    /// From one question to the next, give or take a tenth [default: 2s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Whether backends are well")]
    check_interval: Option<Duration>,

    /// Time for the answer [default: 2s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Whether backends are well")]
    check_timeout: Option<Duration>,

    /// So many good answers in a row, and a backend that was down is up [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = proxy::answers, help_heading = "Whether backends are well")]
    rise: Option<u32>,

    /// So many bad answers in a row, and a backend that was up is down [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = proxy::answers, help_heading = "Whether backends are well")]
    fall: Option<u32>,

    /// What becomes of the sessions of a backend that checks find to be down
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value_t,
        help_heading = "Whether backends are well"
    )]
    on_down: OnDown,

    /// Let a backend that is back come to its whole share little by little, over so long; 0: at once
    #[arg(long, value_name = "TIME", default_value = "0", allow_negative_numbers = true, value_parser = config::duration, help_heading = "Whether backends are well")]
    slow_start: Duration,
}

/// What becomes of those that sessions cannot connect to.
#[derive(Debug, clap::Args)]
pub struct EjectWords {
    /// So many connects in a row that fail, and a backend gets nothing for a while; 0: never [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = proxy::eject_after, help_heading = "Backends that cannot be connected to")]
    eject_after: Option<u32>,

    /// The first such while; each further one is twice as long [default: 5s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Backends that cannot be connected to")]
    eject_time: Option<Duration>,

    /// And never longer than this [default: 5m]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Backends that cannot be connected to")]
    eject_max: Option<Duration>,

    /// At most this part of the backends is out for that at one time, percent; 0: none [default: 50]
    ///
    /// With more than 0 it is one at least, where there are two or more.
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, value_parser = proxy::share, help_heading = "Backends that cannot be connected to")]
    eject_share: Option<u8>,

    /// How often a session tries again when a backend cannot be connected to; 0: its client is let go at once
    ///
    /// At another backend, and at once, as long as there is one that it has not tried. Then, or where there is only
    /// one, all over again a second later (a quarter of --connect-timeout if that is less) and until
    /// --connect-timeout after its first try, so that no client sees a backend that is restarted meanwhile.
    ///
    /// Only connecting is tried again. Once a backend has taken the connection, its end is the session's end.
    #[arg(long, value_name = "N", default_value = "3", allow_negative_numbers = true, value_parser = proxy::retries, help_heading = "Backends that cannot be connected to")]
    retries: u32,
}

impl CheckWords {
    /// Those of these words that were given, of which it matters.
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            ("check", self.check.is_some()),
            ("check-interval", self.check_interval.is_some()),
            ("check-timeout", self.check_timeout.is_some()),
            ("rise", self.rise.is_some()),
            ("fall", self.fall.is_some()),
        ];
        given(&all)
    }

    /// Writes these words into `proxy`.
    pub fn apply(self, proxy: &mut Proxy) {
        let Self {
            check,
            check_interval,
            check_timeout,
            rise,
            fall,
            on_down,
            slow_start,
        } = self;
        proxy.check = check.and_then(|check| check.0).map(|what| {
            let usual = Check::new(what);
            Check {
                interval: check_interval.unwrap_or(usual.interval),
                timeout: check_timeout.unwrap_or(usual.timeout),
                rise: rise.unwrap_or(usual.rise),
                fall: fall.unwrap_or(usual.fall),
                what: usual.what,
            }
        });
        proxy.on_down = on_down;
        proxy.slow_start = slow_start;
    }
}

impl EjectWords {
    /// Those of these words that were given, of which it matters.
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            ("eject-time", self.eject_time.is_some()),
            ("eject-max", self.eject_max.is_some()),
            ("eject-share", self.eject_share.is_some()),
        ];
        given(&all)
    }

    /// Writes these words into `proxy`.
    pub fn apply(self, proxy: &mut Proxy) {
        let usual = Eject::default();
        proxy.eject = Eject {
            after: self.eject_after.unwrap_or(usual.after),
            time: self.eject_time.unwrap_or(usual.time),
            longest: self.eject_max.unwrap_or(usual.longest),
            share: self.eject_share.unwrap_or(usual.share),
        };
        proxy.retries = self.retries;
    }
}

/// The names of those that are.
pub fn given(all: &[(&'static str, bool)]) -> Vec<&'static str> {
    let given = all.iter().filter(|(_, given)| *given);
    given.map(|(name, _)| *name).collect()
}
