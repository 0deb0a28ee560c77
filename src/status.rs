//! What `forkfront status --json` prints: one object, written by the primary, read by the client and by
//! programs. Field names are a contract; new fields may come, none goes.

use serde::{Deserialize, Serialize};

use crate::config::{Balance, StickyDown, WEIGHT};

mod backend;
mod keys;

pub use backend::{BackendState, BackendStatus, ProxyStatus, TurnedAwayStatus};
pub use keys::{Keys, KeysFound, KeysMissing};

/// The state of one primary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The primary's name.
    pub name: String,
    /// The primary's pid.
    pub pid: u32,
    /// Version of the running binary.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// Raised by each reload; 1 at start. Like all up to `command`, that of the first app: `apps` has them all.
    pub generation: u32,
    /// The policy.
    pub balance: Balance,
    /// The sticky key, if any: `ip`, `ip/24,56`, `cookie:session`.
    pub sticky: Option<String>,
    /// Only WebSockets and engine.io polling are sticky.
    #[serde(default)]
    pub websocket_sticky: bool,
    /// By what connections were dealt, where anything is sticky or their first bytes are read.
    #[serde(default)]
    pub keys: Option<Keys>,
    /// The busiest slot's connections against its fair share by weight, since either last changed; 1.0 is even.
    #[serde(default)]
    pub evenness: Option<f64>,
    /// What is run.
    pub command: Vec<String>,
    /// A graceful stop is under way.
    pub stopping: bool,
    /// What else is under way, in words: a reload, a change of the number of workers.
    #[serde(default)]
    pub operation: Option<String>,
    /// The same for programs; a start has it too.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// Where this can be read over HTTP, if anywhere: `http://127.0.0.1:9100/`, `unix:/path`.
    #[serde(default)]
    pub metrics: Option<String>,
    /// What the primary itself uses.
    #[serde(default)]
    pub primary: PrimaryStatus,
    /// Lines of the workers and of the primary that were dropped, since nobody read them in time.
    #[serde(default)]
    pub lines_dropped: u64,
    /// Lines that the workers have printed.
    #[serde(default)]
    pub lines_printed: u64,
    /// The `--log-file`.
    #[serde(default)]
    pub log_file: Option<String>,
    /// What is run, in the order of the configuration.
    #[serde(default)]
    pub apps: Vec<AppStatus>,
    /// Listeners, in the order in which they were made.
    pub listeners: Vec<ListenerStatus>,
    /// Accepted, not yet dealt.
    pub held: u64,
    /// Accepted by all listeners.
    pub accepted: u64,
    /// Handed to a worker and not read back since.
    pub dealt: u64,
    /// Closed by a rule of ours.
    pub closed_by_policy: u64,
    /// Given up because the client had gone while the connection was held.
    pub client_gone: u64,
    /// What the proxies among the apps lead to.
    #[serde(default)]
    pub backends: Vec<BackendStatus>,
    /// Slots, by app and number.
    pub slots: Vec<SlotStatus>,
    /// Workers that serve no slot any more and finish what they have.
    #[serde(default)]
    pub leaving: Vec<LeavingStatus>,
}

/// One app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// What is run.
    pub command: Vec<String>,
    /// The policy.
    pub balance: Balance,
    /// The sticky key, if any.
    pub sticky: Option<String>,
    /// Only WebSockets and engine.io polling are sticky.
    #[serde(default)]
    pub websocket_sticky: bool,
    /// By what connections were dealt, where anything is sticky or their first bytes are read.
    #[serde(default)]
    pub keys: Option<Keys>,
    /// The busiest slot's connections against its fair share by weight, since either last changed; 1.0 is even.
    #[serde(default)]
    pub evenness: Option<f64>,
    /// How many connections that is told of.
    #[serde(default)]
    pub evenness_of: u64,
    /// What becomes of the clients of a slot that is down, where anything is sticky.
    #[serde(default)]
    pub sticky_down: Option<StickyDown>,
    /// How much of its share a slot may have before its clients spill, if there is such a bound: 1.25.
    #[serde(default)]
    pub sticky_bound: Option<f64>,
    /// PROXY headers of trusted proxies are taken off.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Nothing is dealt before its request head has come.
    #[serde(default)]
    pub header_complete: bool,
    /// Age at which what a worker has not taken is dealt again, milliseconds.
    #[serde(default)]
    pub steal_after_ms: u64,
    /// Most connections that are held while no worker can take them.
    #[serde(default)]
    pub max_held: u64,
    /// How it leads connections on, if it is a proxy.
    #[serde(default)]
    pub proxy: Option<ProxyStatus>,
    /// Raised by each reload of the app; 1 at start.
    pub generation: u32,
    /// Slots that it has.
    pub workers: usize,
    /// Its part of the totals, which add up in the same way.
    #[serde(default)]
    pub ledger: Ledger,
}

/// What has become of the connections of one app: `accepted = dealt + held + closed_by_policy + client_gone`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Accepted by all listeners that it has had.
    pub accepted: u64,
    /// Handed to a worker and not read back since; slots that are gone included.
    pub dealt: u64,
    /// Read back from a worker, however often.
    pub read_back: u64,
    /// Accepted, not yet dealt.
    pub held: u64,
    /// Closed by a rule of ours.
    pub closed_by_policy: u64,
    /// Given up because the client had gone while the connection was held.
    pub client_gone: u64,
}

/// How far something is that takes its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// `start`, `reload`, `restart of slot 2`, `scale to 8`, `upgrade`.
    pub what: String,
    /// Workers that are ready, or slots that are renewed.
    pub done: u64,
    /// Of so many.
    pub of: u64,
    /// Seconds since it began.
    pub for_s: f64,
    /// Slots whose next worker is waited for now.
    pub awaited: Vec<Awaited>,
    /// Changes that wait until this one is done.
    pub waiting: u64,
}

/// A slot whose next worker is not there yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Awaited {
    /// The app whose it is.
    pub app: String,
    /// Its number.
    pub slot: u16,
    /// What its next worker is doing.
    pub state: AwaitedState,
    /// That worker, if it has been started.
    pub pid: Option<u32>,
    /// Seconds since that start.
    pub for_s: f64,
}

/// What a worker that is waited for is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AwaitedState {
    /// Its start has not begun: others are starting, or the last one failed.
    Waiting,
    /// It does not listen yet.
    Starting,
    /// It listens, and has yet to show that it goes on to.
    Settling,
}

/// What the primary itself uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrimaryStatus {
    /// Processor time of all its threads so far, seconds; an upgrade does not begin anew.
    pub cpu_s: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Open descriptors.
    pub fds: u64,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The app whose it is.
    #[serde(default)]
    pub app: String,
    /// `0.0.0.0:80`, `[::]:80`, `unix:/path`.
    pub address: String,
    /// The port of the server that is answered with this listener.
    pub app_port: Option<u16>,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections waiting in the kernel's accept queue now.
    pub backlog: u32,
    /// Its limit.
    pub backlog_limit: u32,
    /// Connections that the kernel turned away because the queue was full (whole network namespace).
    pub overflows: u64,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// The app whose it is.
    #[serde(default)]
    pub app: String,
    /// Number, from 0.
    pub slot: u16,
    /// Pid of its worker, if there is one.
    pub pid: Option<u32>,
    /// In one word.
    pub state: SlotState,
    /// Why it is not ready, in a sentence, if it is not.
    pub why: Option<String>,
    /// What it gets compared with others.
    #[serde(default = "usual_weight")]
    pub weight: u16,
    /// `drain` took it out of the deal, and nothing has put it back.
    #[serde(default)]
    pub drained: bool,
    /// Generation of its worker.
    pub generation: u32,
    /// Seconds since its worker was started.
    pub uptime_s: f64,
    /// Workers started in this slot beyond the first, for whatever reason.
    pub restarts: u64,
    /// Workers of this slot that ended unasked, never got ready, or had to be ended since they did not react.
    #[serde(default)]
    pub crashes: u64,
    /// Connections dealt to the slot, less those read back.
    pub dealt: u64,
    /// Connections that its workers have taken.
    pub accepted: u64,
    /// Connections that its worker holds open.
    pub open: u64,
    /// Dealt and not yet taken.
    pub queued: u64,
    /// Connections read back from this slot.
    pub read_back: u64,
    /// Resident memory of all processes of its worker, bytes.
    pub rss_bytes: u64,
    /// CPU time of all processes of its worker over the last second or since the last look, percent of a core.
    pub cpu_percent: f64,
    /// CPU time of all living processes of its worker so far, seconds: of two looks of one's own the difference.
    #[serde(default)]
    pub cpu_s: f64,
    /// Wait from the primary's accept to the worker's.
    pub queue_wait_us: QueueWait,
}

fn usual_weight() -> u16 {
    WEIGHT
}

/// A worker that serves no slot any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeavingStatus {
    /// The app whose it is.
    pub app: String,
    /// The slot that it served.
    pub slot: u16,
    /// Its pid.
    pub pid: u32,
    /// Its generation.
    pub generation: u32,
    /// `draining`, `leaving` or `killing`.
    pub state: SlotState,
    /// Why it goes, in a few words.
    pub why: String,
    /// Connections that it holds open.
    pub open: u64,
    /// Seconds until it gets the next signal.
    pub left_s: f64,
}

/// State of a slot, or of a worker that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// Started, not listening yet.
    Starting,
    /// Takes connections.
    Ready,
    /// Has closed its listener and lives on.
    Paused,
    /// Gets nothing new, finishes what is open.
    Draining,
    /// `drain` took it out of the deal; its worker lives on.
    Drained,
    /// Was told to end.
    Leaving,
    /// Was killed.
    Killing,
    /// Waits for its next start.
    Waiting,
    /// Gets no next worker by itself: it may not be restarted, or was too often.
    Failed,
    /// Stopped for good.
    Stopped,
}

impl std::fmt::Display for SlotState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Quantiles of the queue wait, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueWait {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}
