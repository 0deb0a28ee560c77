//! Servers that a proxy leads to: the node fixture, each a process of its own that can be killed, stopped, and come
//! back at the same address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use forkfront::status::{BackendState, BackendStatus, Status};
use nix::sys::signal::Signal;

use super::{Balancer, Outcome, Report, Site, get, send, server};

/// One such server; it ends with this.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    process: Option<Child>,
}

impl Upstream {
    /// One for each of `n` more ports of the site, all listening.
    #[track_caller]
    pub fn start(site: &Site, n: usize) -> Vec<Self> {
        let at = |port| SocketAddr::new(site.host.parse().expect("an address"), port);
        let mut all: Vec<Self> = { site.ports(n).into_iter() }
            .map(|port| Self {
                address: at(port),
                process: None,
            })
            .collect();
        all.iter_mut().for_each(Self::revive);
        all
    }

    /// What `--to` takes for all of them.
    pub fn list(all: &[Self]) -> String {
        let all: Vec<String> = all.iter().map(Self::name).collect();
        all.join(",")
    }

    /// What status calls it.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// It dies at once.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it is our child");
        }
    }

    /// It listens again, as another process.
    #[track_caller]
    pub fn revive(&mut self) {
        self.kill();
        let mut process = Command::new("node")
            .arg(server("http.js"))
            .env("HOST", self.address.ip().to_string())
            .env("PORT", self.address.port().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let stdout = process.stdout.take().expect("a pipe");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("it says that it is up");
        self.process = Some(process);
    }

    /// Its process stands still.
    pub fn stop(&self) {
        send(self.pid(), Signal::SIGSTOP);
    }

    /// Its process goes on.
    pub fn go_on(&self) {
        send(self.pid(), Signal::SIGCONT);
    }

    /// Asks it for `sick` or `well`: what `/health` says from now on.
    #[track_caller]
    pub fn be(&self, how: &str) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(&get(how, "")).expect("sent");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("an answer");
        assert!(said.contains(&format!("{how} true")), "{said}");
    }

    /// What status says of it.
    #[track_caller]
    pub fn seen<'a>(&self, status: &'a Status) -> &'a BackendStatus {
        let name = self.name();
        let mut all = status.backends.iter();
        all.find(|one| one.address == name)
            .unwrap_or_else(|| panic!("{name} is not in {status:#?}"))
    }
}

impl Upstream {
    /// Waits until it is in this state, and gives the reason.
    #[track_caller]
    pub fn becomes(&self, balancer: &Balancer<'_>, state: BackendState) -> String {
        let what = format!("{} becomes {state:?}", self.name());
        let status = balancer.until(&what, |status| self.seen(status).state == state);
        self.seen(&status).why.clone().unwrap_or_default()
    }
}

/// Nothing has failed but what was being answered by those that were killed: one request of each of four clients.
#[track_caller]
pub fn cut_short(report: &Report, kills: usize) {
    assert!(report.failures.len() <= 4 * kills, "{report:#?}");
    for failure in &report.failures {
        let cut = matches!(failure.outcome, Outcome::ResetBefore | Outcome::ResetAfter);
        assert!(cut, "{failure:?}");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kill();
    }
}
