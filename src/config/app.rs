//! One app: a command, its slots, its listeners, and the rules for them. A primary runs one or several.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Health, Identity, Limits, Listen, Orphans, Proxy, Restart, Routing, STEAL_AFTER, Speed,
};
use crate::sys::handover;

/// What one app is to be.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default = "usual")]
pub struct AppConfig {
    /// Unique in its primary. Said where several run, as in `web:0`.
    pub name: String,
    /// Listeners that the user named. Empty: the server's own `bind` makes them.
    pub listen: Vec<Listen>,
    /// Number of slots, 1..=[`MAX_WORKERS`](super::MAX_WORKERS).
    pub workers: usize,
    /// Where connections go.
    pub routing: Routing,
    /// What has to do with speed alone.
    pub speed: Speed,
    /// Listen backlog; default: what the server asks for, or the system's maximum.
    pub backlog: Option<i32>,
    /// Most connections held in the primary while no worker can take them.
    pub max_held: usize,
    /// How long a worker may take from its start to its `listen`.
    pub ready_timeout: Duration,
    /// Age at which a queue that does not move is read back and dealt again.
    pub steal_after: Duration,
    /// How long a worker that is to go, or a stop, waits for open connections to end before SIGTERM.
    pub drain_timeout: Duration,
    /// How long a worker has from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// How many slots a reload renews at one time, 1 at least.
    pub reload_parallel: usize,
    /// How many generations of old workers may finish their connections at one time, 1 at least.
    pub max_old: usize,
    /// When a slot gets a next worker.
    pub restart: Restart,
    /// What a worker may use before it is replaced.
    pub limits: Limits,
    /// How it is found out that a worker is well, beside its own listening.
    pub health: Option<Health>,
    /// What the kernel sends to a worker whose primary has died.
    pub orphans: Orphans,
    /// Environment added for the workers.
    pub env: Vec<(OsString, OsString)>,
    /// The workers' working directory.
    #[serde(with = "handover::path_if_any")]
    pub cwd: Option<PathBuf>,
    /// User and group of the workers.
    pub identity: Option<Identity>,
    /// What it leads to, if it is a proxy: then the command is our own proxy worker.
    pub proxy: Option<Proxy>,
    /// The server: program and arguments.
    #[serde(with = "handover::words")]
    pub command: Vec<OsString>,
}

fn usual() -> AppConfig {
    AppConfig::new(Vec::new())
}

/// Name of the only app of a primary that was given its words on the command line.
pub const ONLY: &str = "app";

impl AppConfig {
    /// What `forkfront run -- COMMAND` means when nothing else is said, with one worker.
    pub fn new(command: Vec<OsString>) -> Self {
        Self {
            name: ONLY.to_owned(),
            listen: Vec::new(),
            workers: 1,
            routing: Routing::default(),
            speed: Speed::default(),
            backlog: None,
            max_held: 1024,
            ready_timeout: Duration::from_secs(30),
            steal_after: STEAL_AFTER,
            drain_timeout: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            reload_parallel: 1,
            max_old: 2,
            restart: Restart::default(),
            limits: Limits::default(),
            health: None,
            orphans: Orphans::default(),
            env: Vec::new(),
            cwd: None,
            identity: None,
            proxy: None,
            command,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn crosses_an_upgrade_between_versions_that_know_more_and_less() {
        let odd = OsString::from_vec(b"\xff odd".to_vec());
        let config = AppConfig {
            listen: vec!["80=8080".parse().unwrap(), "unix:/a b".parse().unwrap()],
            routing: Routing {
                sticky: Some("ip/24".parse().unwrap()),
                trusted_proxies: "10.0.0.0/8,unix".parse().unwrap(),
                ..Routing::default()
            },
            env: vec![("KEY".into(), odd.clone())],
            cwd: Some(odd.clone().into()),
            health: Some(Health::new("http:/well".parse().unwrap())),
            max_old: AppConfig::new(Vec::new()).max_old,
            ..AppConfig::new(vec!["server".into(), odd])
        };
        let mut state = serde_json::to_value(&config).unwrap();
        let fields = state.as_object_mut().unwrap();
        fields.remove("max_old").unwrap();
        fields.insert("of_a_later_version".to_owned(), true.into());
        fields["speed"]
            .as_object_mut()
            .unwrap()
            .remove("gather_max")
            .unwrap();
        let routing = fields["routing"].as_object_mut().unwrap();
        routing.remove("max_peeked").unwrap();
        routing.insert("of_a_later_version".to_owned(), 1.into());
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<AppConfig>(&text).unwrap(), config);
    }
}
