//! The words of `forkfront proxy`: our own executable as the server, which leads connections on.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::run::Loudness;
use super::values;
use crate::config::proxy::{Backend, Proxy, ProxyBalance, Splice};
use crate::config::{self, AppConfig, Config, Listen, ListenAt};
use crate::error::{Error, Result};

/// The hidden command that our own executable runs as a worker.
pub const WORKER: &str = "proxy-worker";

/// What it is.
pub const LONG: &str = "\
Lead connections on to servers elsewhere: on other machines, in containers, static or written in Go.

The workers are forkfront itself, one per core.";

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  forkfront proxy -l 5432 --to 10.0.0.1:5432,10.0.0.2:5432";

/// The words after `forkfront proxy`.
#[derive(Debug, clap::Args)]
pub struct ProxyWords {
    /// Listen here; repeatable
    #[arg(short, long, value_name = "ADDR", required = true)]
    listen: Vec<Listen>,

    /// Where connections lead
    #[arg(
        long,
        value_name = "ADDR[,ADDR...]",
        value_delimiter = ',',
        required = true
    )]
    to: Vec<Backend>,

    /// Who gets the next session
    #[arg(long, value_enum, value_name = "POLICY", default_value_t)]
    balance: ProxyBalance,

    /// How bytes are moved
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    splice: Splice,

    /// Workers, 1 to 1024; auto: one per CPU that we may really use
    #[arg(short = 'n', long, allow_negative_numbers = true, value_name = "N", default_value = "auto", value_parser = config::workers)]
    workers: usize,

    /// Show the state over HTTP: a page, /metrics for Prometheus and others; 9100 is 127.0.0.1:9100
    #[arg(long, value_name = "ADDR", value_parser = config::metrics)]
    metrics: Option<ListenAt>,

    /// Name of this primary, for the commands [default: its first port]
    #[arg(long, value_name = "NAME", value_parser = config::name)]
    name: Option<String>,

    /// Path of the control socket [default: NAME.sock in the run directory]
    #[arg(long, value_name = "PATH", value_parser = values::socket_path())]
    control: Option<PathBuf>,

    #[command(flatten)]
    loudness: Loudness,
}

impl ProxyWords {
    /// A primary whose workers are this very program.
    pub fn into_config(self) -> Result<Config> {
        let mut listen = self.listen;
        let port = listen.iter().find_map(|listen| listen.at.port());
        // What the workers ask for; all listeners are answered with it.
        let bind = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port.unwrap_or(1));
        for listen in &mut listen {
            listen.app_port = Some(bind.port());
        }
        let program = std::env::current_exe()
            .map_err(|error| Error::io("cannot find the path of forkfront itself", &error))?;
        let command = vec![program.into(), WORKER.into(), bind.to_string().into()];
        let app = AppConfig {
            name: "proxy".to_owned(),
            workers: self.workers,
            listen,
            proxy: Some(Proxy {
                to: self.to,
                balance: self.balance,
                splice: self.splice,
                ..Proxy::default()
            }),
            ..AppConfig::new(command)
        };
        Ok(Config {
            name: self.name,
            control: self.control,
            metrics: self.metrics,
            log_level: self.loudness.level(),
            ..Config::new(app)
        })
    }
}
