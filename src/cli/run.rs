//! The words of `forkfront run`, and what they mean together.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use self::logs::LogWords;
use self::routing::RoutingWords;
use self::upkeep::{HealthWords, LimitWords, Succession};
use super::values;
use crate::config::file::Origin;
use crate::config::{self, AppConfig, Config, Listen, ListenAt, Orphans};
use crate::error::{Error, Result};

mod logs;
mod routing;
mod speed;
mod upkeep;

pub use speed::SpeedWords;
pub use upkeep::Renewal;

/// What `run` is.
pub const LONG: &str = "\
Run a server on every core, behind one port.

Without -l, the port (and the address) is the one that the server itself asks for. The server needs no \
change: a preloaded library answers its bind(), listen() and accept(). A program that cannot be preloaded \
(statically linked, Go without libc, set-uid) is named, with the reason.

Each worker sees FORKFRONT_SLOT (0, 1, ...), FORKFRONT_WORKERS, FORKFRONT_GENERATION, and PORT if that was \
not set.";

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  forkfront run -- node server.js
  forkfront run -n 4 --balance idle -- python3 -m http.server 8000
  forkfront run -l 0.0.0.0:80=8080 --user www-data -- ruby app.rb
  forkfront run --websocket-sticky -- node chat.js
  forkfront run -l unix:/run/app.sock=3000 --sticky cookie:session -- npm start
  forkfront run --config shop.toml
  forkfront run --max-memory 512M --health http:/ping -- gunicorn app:app

Signals: TERM, INT stop gracefully (a second INT at once); QUIT stops now; HUP reads the
configuration file again and reloads; USR2 reloads; USR1 opens log files anew; TTIN, TTOU: one
worker more, fewer.";

/// What the short help shows of the options, what most need, and in short what they take.
pub const BRIEF: [(&str, &str); 13] = [
    ("listen", "ADDR"),
    ("workers", "N"),
    ("env", "NAME=VALUE"),
    ("user", "USER"),
    ("balance", "POLICY"),
    ("sticky", "KEY"),
    ("max_memory", "SIZE"),
    ("health", "http:PATH"),
    ("drain_timeout", "TIME"),
    ("log_file", "PATH"),
    ("metrics", "ADDR"),
    ("config", "FILE"),
    ("name", "NAME"),
];

/// What it shows of the examples.
pub const BRIEF_EXAMPLES: &str = "\
Examples:
  forkfront run -- node server.js
  forkfront run -n 4 --balance idle -- python3 -m http.server 8000
  forkfront run -l 0.0.0.0:80=8080 --user www-data -- ruby app.rb
  forkfront run --config shop.toml";

/// The words after `forkfront run`.
#[derive(Debug, clap::Args)]
pub struct RunWords {
    /// Listen here; repeatable [default: where the server itself binds]
    ///
    /// 8080 or :8080 is all addresses, both families; 127.0.0.1:8080, [::1]:8080, unix:PATH are one. A
    /// server that binds another port is named behind it: 0.0.0.0:80=8080. With -l, only the ports named
    /// are shared; other ports of the server stay its own.
    #[arg(short, long, value_name = "ADDR[=APP_PORT]", help_heading = "Where")]
    listen: Vec<Listen>,

    /// Length of the queue of connections that the kernel has not given us yet [default: the server's wish]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = config::backlog, help_heading = "Where")]
    backlog: Option<i32>,

    /// Copies of the server, 1 to 1024; auto: one per CPU that we may really use
    #[arg(short = 'n', long, allow_negative_numbers = true, value_name = "N", default_value = "auto", value_parser = config::workers, help_heading = "Workers")]
    workers: usize,

    /// Set an environment variable for the workers; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::environment(), help_heading = "Workers")]
    env: Vec<(OsString, OsString)>,

    /// Start the workers in this directory
    #[arg(long, value_name = "DIR", help_heading = "Workers")]
    cwd: Option<PathBuf>,

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
    routing: RoutingWords,

    #[command(flatten)]
    renewal: Renewal,

    #[command(flatten)]
    succession: Succession,

    #[command(flatten)]
    limits: LimitWords,

    #[command(flatten)]
    health: HealthWords,

    #[command(flatten)]
    speed: SpeedWords,

    /// Time from a worker's start to its listen()
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = config::positive_duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    ready_timeout: Duration,

    /// Time that open connections have to end, before a worker that is to go gets SIGTERM
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = config::duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    drain_timeout: Duration,

    /// Time that a worker has from SIGTERM to SIGKILL
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = config::duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    grace: Duration,

    /// Do what this TOML file says; only --name, --control, -v and -q can be given beside it
    ///
    /// Every option here is a key of the file, under its long name; it may have several apps. 'forkfront
    /// check FILE' says what is wrong with it, 'forkfront reload' reads it again.
    #[arg(long, value_name = "FILE", help_heading = "Instead of all that")]
    config: Option<PathBuf>,

    #[command(flatten)]
    outside: OutsideWords,

    /// The server and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How a primary meets the world beside its clients: what it is called, what can be read of it, what it says.
#[derive(Debug, clap::Args)]
pub struct OutsideWords {
    #[command(flatten)]
    logs: LogWords,

    /// Name of this primary, for the commands [default: its first port]
    #[arg(long, value_name = "NAME", value_parser = config::name, help_heading = "Commands and messages")]
    name: Option<String>,

    /// Path of the control socket [default: NAME.sock in the run directory]
    #[arg(long, value_name = "PATH", value_parser = values::socket_path(), help_heading = "Commands and messages")]
    control: Option<PathBuf>,

    /// Show the state over HTTP: a page, /metrics for Prometheus, /status, /healthz, /readyz
    ///
    /// 9100 is a port of this machine only, 127.0.0.1:9100; 0.0.0.0:9100, [::1]:9100 and unix:PATH are as they say.
    /// Whoever reaches it can read everything, the commands of the workers too, and change nothing.
    #[arg(long, value_name = "ADDR", value_parser = config::metrics, help_heading = "Commands and messages")]
    metrics: Option<ListenAt>,

    #[command(flatten)]
    loudness: Loudness,
}

impl OutsideWords {
    /// Where the state is to be read over HTTP.
    pub fn metrics(&self) -> Option<&ListenAt> {
        self.metrics.as_ref()
    }

    /// A primary of this app.
    ///
    /// # Errors
    /// Usage: what is said of the log does not go together.
    pub fn into_config(self, app: AppConfig) -> Result<Config> {
        Ok(Config {
            name: self.name,
            control: self.control,
            metrics: self.metrics,
            log_level: self.loudness.level(),
            logs: self.logs.read()?,
            ..Config::new(app)
        })
    }
}

/// How much is said.
#[derive(Debug, clap::Args)]
pub struct Loudness {
    /// Say more; twice: say all
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Commands and messages")]
    verbose: u8,

    /// Say only what went wrong
    #[arg(
        short,
        long,
        conflicts_with = "verbose",
        help_heading = "Commands and messages"
    )]
    quiet: bool,
}

impl Loudness {
    /// The least level that is printed.
    pub fn level(&self) -> LevelFilter {
        self.wish().unwrap_or(LevelFilter::Info)
    }

    /// The same, if anything is said about it.
    fn wish(&self) -> Option<LevelFilter> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(LevelFilter::Warn),
            (_, 0) => None,
            (_, 1) => Some(LevelFilter::Debug),
            _ => Some(LevelFilter::Trace),
        }
    }
}

/// Options that mean something beside `--config`.
const BESIDE_CONFIG: [&str; 5] = ["config", "name", "control", "verbose", "quiet"];

/// `--config` and what the file says instead exclude each other.
pub fn exclude_beside_config(run: clap::Command) -> clap::Command {
    let ids = run.get_arguments().map(clap::Arg::get_id);
    let others: Vec<clap::Id> = ids
        .filter(|id| !BESIDE_CONFIG.contains(&id.as_str()))
        .cloned()
        .collect();
    run.mut_arg("config", |config| config.conflicts_with_all(others))
}

impl RunWords {
    /// What the words mean together.
    pub fn into_config(self) -> Result<Config> {
        if let Some(path) = self.config {
            let origin = Origin {
                path,
                name: self.outside.name,
                control: self.outside.control,
                log_level: self.outside.loudness.wish(),
            };
            return origin.read();
        }
        self.check()?;
        let choice = self.routing.read()?;
        let mut app = AppConfig {
            listen: self.listen,
            workers: self.workers,
            routing: choice.routing,
            backlog: self.backlog,
            max_held: choice.max_held,
            ready_timeout: self.ready_timeout,
            steal_after: choice.steal_after,
            drain_timeout: self.drain_timeout,
            grace: self.grace,
            limits: self.limits.into(),
            health: self.health.into(),
            orphans: self.orphans,
            env: self.env,
            cwd: self.cwd,
            identity: config::identity::resolve(self.user.as_deref(), self.group.as_deref())?,
            ..AppConfig::new(self.command)
        };
        self.renewal.apply(&mut app);
        self.succession.apply(&mut app);
        self.speed.apply(&mut app)?;
        self.outside.into_config(app)
    }

    fn check(&self) -> Result<()> {
        if self
            .command
            .first()
            .is_none_or(|program| program.is_empty())
        {
            return Err(Error::usage(
                "the COMMAND to run is missing: it goes behind --, as in 'forkfront run -n 4 -- node server.js'",
            ));
        }
        check_listeners(&self.listen, self.outside.metrics())?;
        if self.routing.is_kernel() && self.health.is_asked() {
            return Err(Error::usage(
                "--health cannot be asked with --balance kernel, since there no connection can be given to one \
                 certain worker",
            ));
        }
        Ok(())
    }
}

/// What is listened on, for clients and for whoever reads the state, must be different addresses.
pub fn check_listeners(listen: &[Listen], metrics: Option<&ListenAt>) -> Result<()> {
    for (index, one) in listen.iter().enumerate() {
        let mut others = listen[..index].iter();
        if let Some(other) = others.find(|other| other.at.overlaps(&one.at)) {
            let (other, at) = (&other.at, &one.at);
            return Err(Error::usage(if other == at {
                format!("'-l {at}' is given twice")
            } else {
                format!("'-l {other}' and '-l {at}' are the same address: give it once")
            }));
        }
    }
    let misfit = metrics.and_then(|at| config::metrics_misfit(at, listen));
    misfit.map_or(Ok(()), |misfit| Err(Error::usage(misfit)))
}
