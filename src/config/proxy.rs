//! What `forkfront proxy` is to do: the backends, who gets a session, how it is found out whether they are well,
//! how long a session may take, how bytes are moved.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Sticky;

mod backend;
mod misfits;
mod plan;
mod same;
mod started;
mod words;

pub use backend::{Backend, Host, MOST_WEIGHT};
pub use plan::{Plan, Planned, Target};
pub use same::{canonical, duplicate};
pub use started::{APP_PORT, WORKER, app, listens};
pub use words::{
    OrOff, answers, check, eject_after, keepalive, max_queue, retries, share, source, time_or_off,
};

/// How long open sessions have when a worker of a proxy is to go, or all stop. More than `run` gives its requests,
/// since a session may be a database's, which is at its end when its client has seen it: most of those that are
/// busy end or go idle in half a minute, and who deploys waits no longer.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// All of it; each app may have one instead of a command of its own.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// The backends, as they were written: one at least.
    pub to: Vec<Backend>,
    /// Our own addresses to connect to them from, in turn; of a family without any the kernel chooses one.
    pub source: Vec<IpAddr>,
    /// Who gets the next session.
    pub balance: ProxyBalance,
    /// The consistent hash over backends in front of it.
    pub sticky: Option<Sticky>,
    /// How often names are asked for their addresses again.
    pub resolve_every: Duration,
    /// How it is found out that a backend is well; `None`: by the sessions alone.
    pub check: Option<Check>,
    /// What becomes of a backend that sessions cannot connect to.
    pub eject: Eject,
    /// How long a backend that has come back takes until it gets its whole share.
    pub slow_start: Duration,
    /// What becomes of the sessions of a backend that is found to be down.
    pub on_down: OnDown,
    /// How the client's address is told to the backend.
    pub send_proxy: Option<SendProxy>,
    /// How long each thing may take.
    pub timeouts: Timeouts,
    /// How many more connects are tried where one does not come about: to other backends, then to the same ones again.
    pub retries: u32,
    /// Most sessions of one worker that wait for room at a backend.
    pub max_queue: usize,
    /// After which idle time the kernel asks whether the other end is still there; `None`: never.
    pub keepalive: Option<Duration>,
    /// How bytes are moved.
    pub splice: Splice,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            to: Vec::new(),
            source: Vec::new(),
            balance: ProxyBalance::default(),
            sticky: None,
            resolve_every: Duration::from_secs(30),
            check: None,
            eject: Eject::default(),
            slow_start: Duration::ZERO,
            on_down: OnDown::default(),
            send_proxy: None,
            timeouts: Timeouts::default(),
            retries: 3,
            max_queue: 1024,
            keepalive: Some(Duration::from_secs(60)),
            splice: Splice::default(),
        }
    }
}

/// Who gets the next session, of the backends that are well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyBalance {
    /// In turn, by weight, over all proxy workers.
    #[default]
    RoundRobin,
    /// Fewest sessions for its weight, over all proxy workers; ties in turn.
    LeastConnections,
    /// The one with fewer sessions of two picked at random.
    RandomTwo,
    /// The first that has room, in the order in which they were given: packs sessions onto few.
    First,
}

impl std::fmt::Display for ProxyBalance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// How a backend is asked how it is.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// What is asked.
    pub what: CheckWhat,
    /// From one question to the next, give or take a tenth.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// So many good answers in a row, and a backend that was down is up.
    pub rise: u32,
    /// So many bad answers in a row, and a backend that was up is down.
    pub fall: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self::new(CheckWhat::Tcp)
    }
}

impl Check {
    /// This question, asked as often as is usual.
    pub fn new(what: CheckWhat) -> Self {
        Self {
            what,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}

/// What a backend is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckWhat {
    /// Whether a connection comes about.
    Tcp,
    /// This path over HTTP/1.1: 200 to 399 is good.
    Http(String),
}

/// What becomes of a backend that sessions cannot connect to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Eject {
    /// So many failures in a row, and it gets nothing for a while; 0: never.
    pub after: u32,
    /// The first such while; each further one is twice as long.
    pub time: Duration,
    /// And never longer than this.
    pub longest: Duration,
    /// At most this part of the backends is out at a time for that reason, percent.
    pub share: u8,
}

impl Default for Eject {
    fn default() -> Self {
        Self {
            after: 3,
            time: Duration::from_secs(5),
            longest: Duration::from_secs(300),
            share: 50,
        }
    }
}

/// What becomes of the sessions of a backend that is found to be down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnDown {
    /// They go on as long as they can.
    #[default]
    Keep,
    /// They are reset, so that clients come again and are served by another.
    Kill,
}

/// How the client's address is told to the backend, before the client's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SendProxy {
    /// The PROXY protocol's line of text.
    V1,
    /// Its binary form.
    V2,
}

/// How long each thing may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// Each connect to a backend.
    pub connect: Duration,
    /// A wait for room at a backend.
    pub queue: Duration,
    /// No byte in either direction; `None`: for ever.
    pub idle: Option<Duration>,
    /// No byte after one side has said that it sends no more; `None`: as `idle`.
    pub half_closed: Option<Duration>,
    /// The whole session; `None`: for ever.
    pub lifetime: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            queue: Duration::from_secs(10),
            idle: Some(Duration::from_secs(3600)),
            half_closed: None,
            lifetime: None,
        }
    }
}

/// How bytes are moved from one socket to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Splice {
    /// Small exchanges are copied, streams are spliced.
    #[default]
    Auto,
    /// All is spliced, as far as there are pipes.
    On,
    /// All is copied.
    Off,
}
