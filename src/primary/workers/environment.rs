//! The environment of a worker: ours, less what was meant for us alone, plus what tells it who it is.
//!
//! Pure: it is given the environment and returns the new one. The launch of a worker calls it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::{AppConfig, Identity};
use crate::policy::ids::{SlotId, WorkerId};
use crate::wire::{ENV_PRIMARY, ENV_RENDEZVOUS, ENV_WORKER};

/// A variable.
pub type Variable = (OsString, OsString);

/// Addressed to the primary by its own supervisor: a worker that saw them would believe itself to be socket
/// activated, or would report ready in our name (I6).
const OURS_ALONE: [&str; 6] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// What one worker is told.
#[derive(Debug)]
pub struct Place<'a> {
    /// Its slot.
    pub slot: SlotId,
    /// Its id.
    pub worker: WorkerId,
    /// The generation it belongs to.
    pub generation: u32,
    /// Where it joins.
    pub rendezvous: &'a Path,
    /// The shim.
    pub shim: &'a Path,
}

/// The complete environment of the worker at `place`, made from `inherited`.
pub fn environment(
    inherited: impl Iterator<Item = Variable>,
    config: &AppConfig,
    place: &Place<'_>,
) -> Vec<Variable> {
    let mut variables = plain(inherited, config);
    if get(&variables, "PORT").is_none()
        && let Some(port) = config.listen.iter().find_map(|listen| listen.shared_port())
    {
        put(&mut variables, "PORT", port.to_string());
    }
    for (name, value) in [
        ("FORKFRONT_SLOT", place.slot.to_string()),
        ("FORKFRONT_WORKERS", config.workers.to_string()),
        ("FORKFRONT_GENERATION", place.generation.to_string()),
        (ENV_WORKER, place.worker.to_string()),
        (ENV_PRIMARY, std::process::id().to_string()),
    ] {
        put(&mut variables, name, value);
    }
    put(&mut variables, ENV_RENDEZVOUS, place.rendezvous);
    if config.proxy.is_some() {
        // Our own worker needs no shim between itself and each of its system calls.
        return variables;
    }
    let mut preload = get(&variables, "LD_PRELOAD").cloned().unwrap_or_default();
    if !preload.is_empty() {
        preload.push(":");
    }
    preload.push(place.shim);
    put(&mut variables, "LD_PRELOAD", preload);
    variables
}

/// The complete environment of a health check's command, which asks the worker `pid` of `slot`: the workers' own,
/// less what makes a worker.
pub fn of_probe(
    inherited: impl Iterator<Item = Variable>,
    config: &AppConfig,
    (slot, pid): (SlotId, u32),
) -> Vec<Variable> {
    let mut variables = plain(inherited, config);
    put(&mut variables, "FORKFRONT_SLOT", slot.to_string());
    put(&mut variables, "FORKFRONT_WORKER_PID", pid.to_string());
    variables
}

/// What is inherited and meant for others than us, and what the user adds.
fn plain(inherited: impl Iterator<Item = Variable>, config: &AppConfig) -> Vec<Variable> {
    let kept = |name: &OsStr| !OURS_ALONE.iter().any(|ours| name == *ours) && !is_forkfronts(name);
    let mut variables: Vec<Variable> = inherited.filter(|(name, _)| kept(name)).collect();
    if let Some(identity) = &config.identity {
        put_identity(&mut variables, identity);
    }
    for (name, value) in &config.env {
        put(&mut variables, name, value.clone());
    }
    variables
}

/// Ours by name: those of a primary further up would lead the worker to it.
fn is_forkfronts(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"FORKFRONT_")
}

fn put_identity(variables: &mut Vec<Variable>, identity: &Identity) {
    if let Some(user) = &identity.user {
        put(variables, "USER", user);
        put(variables, "LOGNAME", user);
    }
    if let Some(home) = &identity.home {
        put(variables, "HOME", home);
    }
}

fn get<'a>(variables: &'a [Variable], name: &str) -> Option<&'a OsString> {
    let found = variables.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value)
}

fn put(variables: &mut Vec<Variable>, name: impl AsRef<OsStr>, value: impl Into<OsString>) {
    let name = name.as_ref();
    variables.retain(|(known, _)| known != name);
    variables.push((name.to_owned(), value.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(inherited: &[(&str, &str)], config: &AppConfig) -> Vec<Variable> {
        let inherited = inherited
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let place = Place {
            slot: SlotId(3),
            worker: WorkerId(9),
            generation: 1,
            rendezvous: Path::new("/run/join.sock"),
            shim: Path::new("/run/shim.so"),
        };
        environment(inherited, config, &place)
    }

    fn value(variables: &[Variable], name: &str) -> Option<String> {
        let found: Vec<_> = variables
            .iter()
            .filter(|(known, _)| known == name)
            .collect();
        assert!(found.len() <= 1, "{name} is there twice");
        found
            .first()
            .map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_was_meant_for_the_primary_stays_there() {
        let inherited = [
            ("PATH", "/bin"),
            ("NOTIFY_SOCKET", "/n"),
            ("LISTEN_FDS", "2"),
            ("FORKFRONT_RENDEZVOUS", "/of/another/primary"),
            ("FORKFRONT_NAME", "x"),
        ];
        let made = made(&inherited, &AppConfig::new(vec!["server".into()]));
        assert_eq!(value(&made, "PATH").as_deref(), Some("/bin"));
        assert_eq!(value(&made, "NOTIFY_SOCKET"), None);
        assert_eq!(value(&made, "LISTEN_FDS"), None);
        assert_eq!(value(&made, "FORKFRONT_NAME"), None);
        assert_eq!(
            value(&made, ENV_RENDEZVOUS).as_deref(),
            Some("/run/join.sock")
        );
        assert_eq!(value(&made, "FORKFRONT_SLOT").as_deref(), Some("3"));
        assert_eq!(value(&made, "PORT"), None);
    }

    #[test]
    fn a_preload_of_the_users_stays_first() {
        let config = AppConfig {
            env: vec![("PORT".into(), "1".into())],
            listen: vec!["80=8080".parse().unwrap()],
            ..AppConfig::new(vec!["server".into()])
        };
        let made_with = made(&[("LD_PRELOAD", "/lib/jemalloc.so")], &config);
        let preload = value(&made_with, "LD_PRELOAD");
        assert_eq!(preload.as_deref(), Some("/lib/jemalloc.so:/run/shim.so"));
        assert_eq!(value(&made_with, "PORT").as_deref(), Some("1"));
        let config = AppConfig {
            env: Vec::new(),
            ..config
        };
        assert_eq!(value(&made(&[], &config), "PORT").as_deref(), Some("8080"));
    }
}
