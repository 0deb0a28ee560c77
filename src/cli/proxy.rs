//! The words of `forkfront proxy`, and what they mean together: our own executable as the server, which leads
//! connections on.

use std::net::IpAddr;
use std::time::Duration;

use self::health::{CheckWords, EjectWords};
use self::sessions::{SessionWords, TimeWords};
use super::run::{OutsideWords, Renewal, SpeedWords, check_listeners};
use crate::config::proxy::{self, Backend, Proxy, Splice};
use crate::config::{self, AppConfig, Config, Listen, Orphans, Spelling};
use crate::error::{Error, Result};

mod health;
mod sessions;

pub use crate::config::proxy::WORKER;

/// What it is.
pub const LONG: &str = "\
Lead connections on to servers elsewhere: on other machines, in containers, static or written in Go.

What arrives at -l is passed on, byte for byte, to one of the backends behind --to. The workers are forkfront \
itself, one per core; everything else is as with `run`: status, reload, upgrade, stop. What the backends do can be \
changed while it runs, by `forkfront backend`. More: forkfront help backends.";

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  forkfront proxy -l 5432 --to 10.0.0.1:5432,10.0.0.2:5432
  forkfront proxy -l 80 --to app-1:8080@3,app-2:8080 --check http:/health
  forkfront proxy -l 6379 --to 10.0.0.1:6379 --to 10.0.0.2:6379+backup
  forkfront proxy -l 443 --to srv:_https._tcp.example --sticky sni
  forkfront proxy -l 127.0.0.1:3306 --to unix:/run/mysqld/mysqld.sock+max=100
  forkfront proxy -l 25 --to 10.0.0.1:25,10.0.0.2:25 --send-proxy v2
  forkfront backend drain 10.0.0.1:5432

A file with 'to' in an [[app]] does the same, and can be read again: forkfront help config.
Signals are those of `run`.";

/// What the short help shows of the options, and in short what they take.
pub const BRIEF: [(&str, &str); 12] = [
    ("listen", "ADDR"),
    ("to", "BACKEND[,...]"),
    ("workers", "N"),
    ("balance", "POLICY"),
    ("sticky", "KEY"),
    ("check", "tcp|http:PATH"),
    ("send_proxy", "v1|v2"),
    ("connect_timeout", "TIME"),
    ("idle_timeout", "TIME"),
    ("drain_timeout", "TIME"),
    ("metrics", "ADDR"),
    ("name", "NAME"),
];

/// What it shows of the examples.
pub const BRIEF_EXAMPLES: &str = "\
Examples:
  forkfront proxy -l 5432 --to 10.0.0.1:5432,10.0.0.2:5432
  forkfront proxy -l 80 --to app-1:8080@3,app-2:8080 --check http:/health
  forkfront proxy -l 6379 --to 10.0.0.1:6379 --to 10.0.0.2:6379+backup";

/// The words after `forkfront proxy`.
#[derive(Debug, clap::Args)]
pub struct ProxyWords {
    /// Listen here; repeatable
    ///
    /// 5432 or :5432 is all addresses, both families; 127.0.0.1:5432, [::1]:5432, unix:PATH are one.
    #[arg(short, long, value_name = "ADDR", required = true, value_parser = proxy::listens, help_heading = "From where to where")]
    listen: Vec<Listen>,

    /// Lead connections to these backends; repeatable
    ///
    ///   10.0.0.1:5432          an address; [2001:db8::1]:5432 is one of IPv6
    ///   db.example:5432        all addresses of a name, asked for again and again
    ///   srv:_pg._tcp.example   all that SRV records name: hosts, ports and weights
    ///   unix:/run/app.sock     a Unix socket
    ///
    /// Behind each, in this order, if it needs that:
    ///
    ///   @3                     so many times the share of one with @1 (1 to 1000)
    ///   +backup                gets something only while no other can
    ///   +max=100               most sessions at one time; the others wait for room
    ///
    /// Of a name, all this holds for each of its addresses; localhost may have two, 127.0.0.1 and ::1.
    #[arg(
        long,
        value_name = "BACKEND[,BACKEND...]",
        value_delimiter = ',',
        required = true,
        verbatim_doc_comment,
        help_heading = "From where to where"
    )]
    to: Vec<Backend>,

    /// How often names are asked for their addresses again
    ///
    /// A name without an address is an error at the start. Later, its last addresses are kept while it has no answer,
    /// and status says so; it is asked again after 5s then, if that is sooner.
    #[arg(long, value_name = "TIME", default_value = "30s", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "From where to where")]
    resolve_every: Duration,

    /// Connect to backends from these addresses of this machine, in turn [default: the kernel chooses one]
    ///
    /// From each, a backend can have as many sessions as there are ports: some 28,000
    /// (net.ipv4.ip_local_port_range). Where there is none of a backend's family the kernel chooses. Checks come from
    /// them, too.
    #[arg(long, value_name = "ADDR[,ADDR...]", value_delimiter = ',', value_parser = proxy::source, help_heading = "From where to where")]
    source: Vec<IpAddr>,

    /// Length of the queue of connections that the kernel has not given us yet [default: the system's maximum]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = config::backlog, help_heading = "From where to where")]
    backlog: Option<i32>,

    /// Connections to hold while no worker can take them; beyond it they wait in the kernel
    #[arg(long, value_name = "N", default_value = "1024", allow_negative_numbers = true, value_parser = config::max_held, help_heading = "From where to where")]
    max_held: usize,

    /// Workers, 1 to 1024; auto: one per CPU that we may really use
    #[arg(short = 'n', long, allow_negative_numbers = true, value_name = "N", default_value = "auto", value_parser = config::workers, help_heading = "Workers")]
    workers: usize,

    /// Run the workers as this user, name or number, with its groups; needs root
    #[arg(long, value_name = "USER", help_heading = "Workers")]
    user: Option<String>,

    /// Run the workers with this group, name or number; needs root
    #[arg(long, value_name = "GROUP", help_heading = "Workers")]
    group: Option<String>,

    /// What happens to the workers should the primary be killed
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value_t,
        help_heading = "Workers"
    )]
    orphans: Orphans,

    #[command(flatten)]
    sessions: SessionWords,

    #[command(flatten)]
    checks: CheckWords,

    #[command(flatten)]
    ejection: EjectWords,

    #[command(flatten)]
    times: TimeWords,

    #[command(flatten)]
    renewal: Renewal,

    /// How bytes are moved
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value_t,
        help_heading = "Speed"
    )]
    splice: Splice,

    #[command(flatten)]
    speed: SpeedWords,

    #[command(flatten)]
    outside: OutsideWords,
}

impl ProxyWords {
    /// A primary whose workers are this very program.
    pub fn into_config(self) -> Result<Config> {
        check_listeners(&self.listen, self.outside.metrics())?;
        if let Some((_, twice)) = proxy::duplicate(&self.to) {
            return Err(Error::usage(twice));
        }
        let mut given = self.sessions.given();
        given.extend(self.checks.given());
        given.extend(self.ejection.given());
        let mut proxy = Proxy {
            to: self.to,
            source: self.source,
            resolve_every: self.resolve_every,
            splice: self.splice,
            ..Proxy::default()
        };
        let (drain_timeout, grace) = self.times.apply(&mut proxy);
        self.checks.apply(&mut proxy);
        self.ejection.apply(&mut proxy);
        let routing = self.sessions.apply(&mut proxy);
        let misfits = proxy.misfits(&routing, Spelling::Options, |key| given.contains(&key));
        if let Some(misfit) = misfits.into_iter().next() {
            return Err(Error::usage(misfit.sentence));
        }
        let mut app = AppConfig {
            workers: self.workers,
            backlog: self.backlog,
            max_held: self.max_held,
            routing,
            drain_timeout,
            grace,
            orphans: self.orphans,
            identity: config::identity::resolve(self.user.as_deref(), self.group.as_deref())?,
            ..proxy::app(proxy, self.listen)
        };
        self.renewal.apply(&mut app);
        self.speed.apply(&mut app)?;
        self.outside.into_config(app)
    }
}
