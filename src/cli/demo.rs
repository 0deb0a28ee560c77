//! The words of `forkfront demo`: our own executable as the server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::run::Loudness;
use crate::config::{self, AppConfig, Config, Listen, ListenAt};
use crate::error::{Error, Result};

/// Where the demo listens unless told otherwise, if it can.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The hidden command that our own executable runs as a worker.
pub const WORKER: &str = "demo-worker";

/// What `demo` is.
pub const LONG: &str = "\
Run the built-in server, with a page that shows live which worker served it.

It needs nothing else to be installed. Open the page, load it a few times, kill a worker, and see.";

/// The words after `forkfront demo`.
#[derive(Debug, clap::Args)]
pub struct DemoWords {
    /// Listen here [default: 127.0.0.1:8080, or another port if that is taken]
    #[arg(short, long, value_name = "ADDR")]
    listen: Option<Listen>,

    /// Workers, 1 to 1024; auto: one per CPU that we may really use
    #[arg(short = 'n', long, allow_negative_numbers = true, value_name = "N", default_value = "auto", value_parser = config::workers)]
    workers: usize,

    /// Show the state over HTTP: a page, /metrics for Prometheus and others; 9100 is 127.0.0.1:9100
    #[arg(long, value_name = "ADDR", value_parser = config::metrics)]
    metrics: Option<ListenAt>,

    #[command(flatten)]
    loudness: Loudness,
}

impl DemoWords {
    /// A primary whose workers are this very program.
    pub fn into_config(self) -> Result<Config> {
        let mut listen = match self.listen {
            Some(listen) => listen,
            None => Listen {
                at: ListenAt::Tcp(free_address(ADDRESS)?),
                app_port: None,
            },
        };
        let bind = bind_address(&listen);
        listen.app_port = Some(bind.port());
        let program = std::env::current_exe()
            .map_err(|error| Error::io("cannot find the path of forkfront itself", &error))?;
        let command = vec![program.into(), WORKER.into(), bind.to_string().into()];
        let invitation = invitation(&listen.at);
        let app = AppConfig {
            name: "demo".to_owned(),
            workers: self.workers,
            listen: vec![listen],
            ..AppConfig::new(command)
        };
        Ok(Config {
            metrics: self.metrics,
            log_level: self.loudness.level(),
            invitation: Some(invitation),
            ..Config::new(app)
        })
    }
}

/// What the demo's worker asks for, so that it is dealt what comes to `listen`.
fn bind_address(listen: &Listen) -> SocketAddr {
    let port = listen.shared_port().unwrap_or(ADDRESS.port());
    let ip = match listen.at {
        ListenAt::AnyAddress(_) => Ipv6Addr::UNSPECIFIED.into(),
        ListenAt::Tcp(address) => address.ip(),
        ListenAt::Unix(_) => ADDRESS.ip(),
    };
    SocketAddr::new(ip, port)
}

/// Where to look, in words that can be copied.
fn invitation(at: &ListenAt) -> String {
    let mut address = match at {
        ListenAt::AnyAddress(port) => SocketAddr::new(ADDRESS.ip(), *port),
        ListenAt::Tcp(address) => *address,
        ListenAt::Unix(path) => {
            let path = path.display();
            return format!("try: curl --unix-socket {path} http://localhost/api/who");
        }
    };
    if address.ip().is_unspecified() {
        let v4 = address.is_ipv4();
        address.set_ip(if v4 {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("open http://{address} in a browser, or: curl http://{address}/api/who")
}

/// The address asked for, or one with another port when that one is taken.
///
/// The port found may be taken by somebody else before it is bound again; then the start fails with a
/// sentence, which for a demo is enough.
fn free_address(wanted: SocketAddr) -> Result<SocketAddr> {
    let probe = match TcpListener::bind(wanted) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::new(wanted.ip(), 0))
        }
        other => other,
    };
    probe
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Error::io(format!("cannot listen on {wanted}"), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_stepped_around() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let held = holder.local_addr().unwrap();
        let found = free_address(held).unwrap();
        assert_eq!(found.ip(), held.ip());
        assert_ne!(found.port(), held.port());
        assert_ne!(found.port(), 0);
    }

    #[test]
    fn the_invitation_leads_there() {
        let table = [
            ("80", "open http://127.0.0.1:80 in"),
            ("0.0.0.0:80", "open http://127.0.0.1:80 in"),
            ("[::]:80", "open http://[::1]:80 in"),
            ("192.0.2.1:80=3000", "open http://192.0.2.1:80 in"),
            ("unix:/run/a.sock", "--unix-socket /run/a.sock"),
        ];
        for (listen, part) in table {
            let listen: Listen = listen.parse().unwrap();
            let said = invitation(&listen.at);
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn the_worker_asks_for_what_is_shared() {
        let table = [
            ("80", "[::]:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80=3000", "[::1]:3000"),
            ("unix:/run/demo.sock", "127.0.0.1:8080"),
        ];
        for (listen, expected) in table {
            let listen = listen.parse().unwrap();
            assert_eq!(bind_address(&listen).to_string(), expected);
        }
    }
}
