//! What is different between the configuration that runs and the one that is to: what can change at once, what
//! needs new workers, what cannot change. Pure; the supervisor carries it out.

use std::time::Duration;

use log::LevelFilter;

use super::{AppConfig, Config, Listen, ListenAt, Logs, Routing};

mod keys;
mod listeners;
mod proxies;

use keys::{choice, rules};

/// What is to be done, in this order: everything that has to be opened (apps that are new, [`Live::Open`]),
/// which can fail; what changes at once; new workers; what goes.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// How much is said from now on.
    pub log_level: Option<LevelFilter>,
    /// How the log looks and where it goes from now on.
    pub logs: Option<Logs>,
    /// Where the state can be read over HTTP from now on; `Some(None)`: nowhere.
    pub metrics: Option<Option<ListenAt>>,
    /// Apps to start.
    pub added: Vec<AppConfig>,
    /// Apps that stay, in the order in which they run, those that stay as they are left out.
    pub changed: Vec<Change>,
    /// Names of apps to stop: their listeners close as at a stop of the primary.
    pub removed: Vec<String>,
}

/// What is different with one app.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// Its name so far.
    pub app: String,
    /// What it is to be.
    pub to: AppConfig,
    /// Keys whose values differ.
    pub keys: Vec<&'static str>,
    /// What is done without a new worker. What is only looked at when it is needed (times, limits, restart
    /// policy, health check, names) is not here: it is enough that `to` is what the app is from now on.
    pub live: Vec<Live>,
    /// Keys, of `keys`, that workers see only from their start. Not empty: it needs new workers.
    pub renew: Vec<&'static str>,
}

/// Something that is done while the workers run on.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// Listen here too.
    Open(Listen),
    /// Another backlog; `None`: as the servers wish from their next `listen` on.
    Backlog(Option<i32>),
    /// Choose otherwise, in what is different between these.
    Routing {
        /// What was said so far.
        from: Routing,
        /// What is said now.
        to: Routing,
    },
    /// Other bounds.
    Bounds {
        /// Most connections held.
        max_held: usize,
        /// Age at which what is queued is dealt again.
        steal_after: Duration,
    },
    /// Let connections gather for so long at most.
    Gather(Duration),
    /// Have the kernel wait for a client's first bytes for so long, or not.
    DeferAccept(Option<Duration>),
    /// Treat sessions and backends otherwise; with another list of backends, if that differs.
    Backends {
        /// It does.
        list: bool,
    },
    /// So many slots.
    Scale(usize),
    /// Listen here no more, and reset nobody who has come already.
    Close(ListenAt),
}

impl Changes {
    /// What leads from `old`, which runs, to `new`.
    ///
    /// # Errors
    /// A sentence for each thing that cannot change while the primary runs. Nothing is to be changed then.
    pub fn between(old: &Config, new: &Config) -> Result<Self, Vec<String>> {
        let mut fixed = primary_stays(old, new);
        let pairs = pairs(&old.apps, &new.apps);
        let mut changes = Self {
            log_level: Some(new.log_level).filter(|level| *level != old.log_level),
            logs: (new.logs != old.logs).then(|| new.logs.clone()),
            metrics: Some(new.metrics.clone()).filter(|at| *at != old.metrics),
            ..Self::default()
        };
        for app in &old.apps {
            let pair = pairs.iter().find(|(old, _)| old.name == app.name);
            let Some((_, to)) = pair else {
                changes.removed.push(app.name.clone());
                continue;
            };
            match change(app, to) {
                Ok(change) if change.keys.is_empty() => {}
                Ok(change) => changes.changed.push(change),
                Err(sentences) => fixed.extend(sentences),
            }
        }
        let is_new = |app: &&AppConfig| pairs.iter().all(|(_, kept)| kept.name != app.name);
        changes.added = new.apps.iter().filter(is_new).cloned().collect();
        fixed.extend(listeners::handed_over(old, &changes));
        fixed.extend(strangers(old, new));
        if fixed.is_empty() {
            Ok(changes)
        } else {
            Err(fixed)
        }
    }

    /// Nothing is different.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is different, one line for each app, for people.
    pub fn lines(&self) -> Vec<String> {
        let level = self.log_level.iter();
        let level = level.map(|level| format!("log-level {}", level.as_str().to_ascii_lowercase()));
        let logs = self
            .logs
            .iter()
            .map(|_| "how and where is logged".to_owned());
        let metrics = self.metrics.iter().map(|at| match at {
            Some(at) => format!("metrics at {at}"),
            None => "no metrics any more".to_owned(),
        });
        let added = self
            .added
            .iter()
            .map(|app| format!("app '{}' is new", app.name));
        let removed = self.removed.iter().map(|app| format!("app '{app}' goes"));
        level
            .chain(logs)
            .chain(metrics)
            .chain(added)
            .chain(self.changed.iter().map(Change::line))
            .chain(removed)
            .collect()
    }
}

impl Change {
    fn line(&self) -> String {
        let (app, keys) = (&self.app, self.keys.join(", "));
        let renew = match self.renew.as_slice() {
            [] => String::new(),
            keys => format!(" ({} by new workers)", keys.join(", ")),
        };
        format!("app '{app}': {keys}{renew}")
    }
}

/// What is the primary's own has been given out to others: the name to those who look for it, the control
/// socket's path to those who talk to it.
fn primary_stays(old: &Config, new: &Config) -> Vec<String> {
    let Config {
        name,
        control,
        metrics,
        log_level: _,
        logs: _,
        invitation: _,
        file: _,
        apps: _,
    } = new;
    let mut fixed = Vec::new();
    let stays =
        "cannot change while the primary runs: stop it and start it again, or leave it as it was";
    if *name != old.name {
        fixed.push(format!("the primary's 'name' {stays}"));
    }
    if let (Some(from), Some(to)) = (&old.metrics, metrics)
        && from != to
        && from.overlaps(to)
    {
        fixed.push(format!(
            "'metrics' cannot go from {from} to {to} at once, since one is part of the other: leave it out, reload, \
             then give it"
        ));
    }
    if *control != old.control {
        fixed.push(format!("'control' {stays}"));
    }
    fixed
}

/// The primary's run directory was opened at its start to the users that its workers were to have: nobody else
/// reaches the rendezvous there.
fn strangers(old: &Config, new: &Config) -> Vec<String> {
    let uid = |app: &AppConfig| app.identity.as_ref().map(|who| who.uid);
    let known: Vec<u32> = old.apps.iter().filter_map(uid).collect();
    // Root reaches everything.
    let is_known = |uid: u32| uid == 0 || known.contains(&uid);
    let strange = |app: &&AppConfig| uid(app).is_some_and(|uid| !is_known(uid));
    let sentence = |app: &AppConfig| {
        format!(
            "app '{}': 'user' can only be one that an app of the primary has had since its start: stop it and start \
             it again",
            app.name
        )
    };
    new.apps.iter().filter(strange).map(sentence).collect()
}

/// Apps that are the same one, by their names; or, of those that are left, by their listeners, or by the
/// command if they have none: such an app was only given another name.
fn pairs<'a>(old: &'a [AppConfig], new: &'a [AppConfig]) -> Vec<(&'a AppConfig, &'a AppConfig)> {
    let mut pairs: Vec<(&AppConfig, &AppConfig)> = Vec::new();
    let same: [fn(&AppConfig, &AppConfig) -> bool; 2] = [
        |one, other| one.name == other.name,
        |one, other| {
            one.listen == other.listen && (!one.listen.is_empty() || one.command == other.command)
        },
    ];
    for same in same {
        for app in old {
            let free = |to: &&AppConfig| {
                pairs
                    .iter()
                    .all(|(from, kept)| from.name != app.name && kept.name != to.name)
            };
            if let Some(to) = new.iter().filter(free).find(|to| same(app, to)) {
                pairs.push((app, to));
            }
        }
    }
    pairs
}

/// What is different between `old`, which runs, and `to`.
fn change(old: &AppConfig, to: &AppConfig) -> Result<Change, Vec<String>> {
    let mut found = Found::default();
    // All fields by name: a new one has to be given its place here.
    let AppConfig {
        name: _,
        listen,
        workers,
        routing: _,
        speed: _,
        backlog,
        max_held: _,
        ready_timeout: _,
        steal_after: _,
        drain_timeout: _,
        grace: _,
        reload_parallel: _,
        max_old: _,
        restart: _,
        limits: _,
        health: _,
        orphans,
        env,
        cwd,
        identity,
        proxy: _,
        command,
    } = to;
    rules(old, to, &mut found);
    // What a process gets at its start, it keeps.
    found.renew("command", *command != old.command);
    found.renew("env", *env != old.env);
    found.renew("cwd", *cwd != old.cwd);
    found.renew("user", *identity != old.identity);
    found.renew("orphans", *orphans != old.orphans);
    listeners::compare(old, listen, &mut found);
    let queue = Live::Backlog(*backlog);
    found.live("backlog", *backlog != old.backlog, queue);
    choice(old, to, &mut found);
    proxies::compare(old, to, &mut found);
    let slots = Live::Scale(*workers);
    found.live("workers", *workers != old.workers, slots);
    found.live.append(&mut found.last);
    if !found.fixed.is_empty() {
        let of = |sentence: String| format!("app '{}': {sentence}", old.name);
        return Err(found.fixed.into_iter().map(of).collect());
    }
    Ok(Change {
        app: old.name.clone(),
        to: to.clone(),
        keys: found.keys,
        live: found.live,
        renew: found.renew,
    })
}

/// What was found different so far.
#[derive(Debug, Default)]
struct Found {
    keys: Vec<&'static str>,
    live: Vec<Live>,
    /// What is to be done behind everything else.
    last: Vec<Live>,
    renew: Vec<&'static str>,
    fixed: Vec<String>,
}

impl Found {
    fn rule(&mut self, key: &'static str, differs: bool) {
        if differs && !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    fn renew(&mut self, key: &'static str, differs: bool) {
        self.rule(key, differs);
        if differs && !self.renew.contains(&key) {
            self.renew.push(key);
        }
    }

    fn live(&mut self, key: &'static str, differs: bool, what: Live) {
        self.rule(key, differs);
        if differs && !self.live.contains(&what) {
            self.live.push(what);
        }
    }
}

#[cfg(test)]
mod tests;
