//! The configuration file, read again while everything runs: wholly checked and opened first, then applied.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use log::info;

use super::super::Supervisor;
use super::super::boot::users;
use crate::config::changes::{Change, Changes, Live};
use crate::config::{AppConfig, Config, ListenAt};
use crate::policy::ids::AppId;
use crate::primary::app::Prepared;
use crate::primary::app::room::{Beside, Room};
use crate::primary::check;
use crate::primary::listeners::live::{Closing, Newcomer};
use crate::primary::logs;
use crate::primary::messages::Command;
use crate::primary::metrics::{self, Readers};

/// What came of it.
#[derive(Debug, Default)]
pub struct Applied {
    /// What was changed, in words; nothing, if that is nothing.
    pub words: String,
    /// Apps that must have new workers for what has changed.
    pub renew: Vec<AppId>,
    /// Proxies of which only such things have changed as their workers follow: new ones would cost open sessions, and
    /// gain nothing.
    pub follow: Vec<AppId>,
    /// Slots that there were not before, in apps new and old.
    pub grown: Vec<(AppId, Range<usize>)>,
}

/// Everything that can fail has been done.
struct Opened {
    logs: Option<logs::Prepared>,
    added: Vec<Prepared>,
    doors: Vec<(AppId, Newcomer)>,
    /// Where the state can be read from now on, if that changes.
    readers: Option<Option<Readers>>,
}

impl Supervisor {
    /// Reads the file again and does what has changed in it. What was changed by hand since it was last read
    /// stays as it is unless the file says otherwise than it did.
    ///
    /// # Errors
    /// What is wrong with it. Nothing has changed then.
    pub(super) fn read_file_again(&mut self) -> Result<Applied, String> {
        let Some(origin) = self.config.file.clone() else {
            return Ok(Applied::default());
        };
        let inspected = origin.inspect().map_err(|findings| findings.to_string())?;
        check::all_is_there(&inspected).map_err(|findings| findings.to_string())?;
        let new = inspected.config;
        let changes =
            Changes::between(&self.as_last_read(), &new).map_err(|all| all.join("\n  "))?;
        let opened = self.open_changes(&changes, &new)?;
        let words = changes.lines().join("; ");
        let (renew, rest): (Vec<&Change>, Vec<&Change>) = changes
            .changed
            .iter()
            .partition(|one| !one.renew.is_empty());
        let name = |change: &Change| change.to.name.clone();
        let renew: Vec<String> = renew.into_iter().map(name).collect();
        let follow = rest.into_iter().filter(|one| one.to.proxy.is_some());
        let follow: Vec<String> = follow.map(name).collect();
        let before: HashMap<AppId, usize> = self.slots_by_app().collect();
        self.apply(changes, opened)?;
        let grown = self.slots_by_app().filter_map(|(app, slots)| {
            let new = before.get(&app).copied().unwrap_or(0)..slots;
            (!new.is_empty()).then_some((app, new))
        });
        let grown = grown.collect();
        self.config = Config {
            invitation: self.config.invitation.take(),
            ..new
        };
        let ids = |names: Vec<String>| {
            let apps = names.iter().filter_map(|name| self.apps.named(name));
            apps.map(|app| app.id).collect()
        };
        Ok(Applied {
            words,
            renew: ids(renew),
            follow: ids(follow),
            grown,
        })
    }

    pub(super) fn slots_by_app(&self) -> impl Iterator<Item = (AppId, usize)> {
        let serving = self.apps.iter().filter(|app| app.phase.is_serving());
        serving.map(|app| (app.id, app.config.workers))
    }

    fn open_changes(&self, changes: &Changes, new: &Config) -> Result<Opened, String> {
        let said = |error: crate::error::Error| error.to_string();
        let apps: Vec<&AppConfig> = new.apps.iter().collect();
        let beside = Beside {
            inherited: 0,
            metrics: metrics::descriptors(new.metrics.as_ref()),
        };
        Room::of(&apps, beside, self.open_files.now).map_err(said)?;
        let known = users(&self.config);
        if users(new).iter().any(|user| !known.contains(user)) {
            // The run directory lets in whom it was made for.
            return Err(
                "workers cannot become those of a user whom no app had so far while the primary runs: stop it and \
                 start it again"
                    .to_owned(),
            );
        }
        let home = self.home.as_deref();
        let mut doors = Vec::new();
        for change in &changes.changed {
            let id = self.app_named(Some(&change.app))?;
            for live in &change.live {
                if let Live::Open(listen) = live {
                    let newcomer = self.apps[id].listeners.open_one(listen);
                    doors.push((id, newcomer.map_err(said)?));
                }
            }
        }
        let logs = changes.logs.as_ref().map(logs::Prepared::new);
        let readers = changes.metrics.as_ref();
        let readers = readers.map(|at| at.as_ref().map(metrics::open).transpose());
        let added = changes.added.iter();
        let added = added.map(|app| Prepared::new(app.clone(), Vec::new(), home));
        Ok(Opened {
            logs: logs.transpose()?,
            added: added.collect::<Result<_, _>>().map_err(said)?,
            doors,
            readers: readers.transpose().map_err(said)?,
        })
    }

    fn apply(&mut self, changes: Changes, opened: Opened) -> Result<(), String> {
        let mut added = Vec::new();
        // The last that can fail, for want of descriptors or threads.
        for prepared in opened.added {
            match self.apps.add(prepared, &self.means) {
                Ok(id) => added.push(id),
                Err(error) => {
                    added.into_iter().for_each(|id| self.close(id));
                    return Err(format!("cannot start the dispatcher of a new app: {error}"));
                }
            }
        }
        let said = changes.log_level.map_or(Ok(()), logs::set_level);
        if let Err(why) = said {
            info!("log-level stays as it is: {why}");
        }
        if let Some(Err(error)) = opened.logs.map(|logs| self.logs.change(logs)) {
            info!("the log stays as it is: {error}");
        }
        if let Some(readers) = opened.readers {
            self.metrics.move_to(readers);
            self.watch_readers();
        }
        for (app, newcomer) in opened.doors {
            self.take_in(app, newcomer);
        }
        for change in changes.changed {
            self.apply_to_app(change);
        }
        for name in changes.removed {
            if let Ok(app) = self.app_named(Some(&name)) {
                self.stop_app(app);
            }
        }
        self.apps.find_circles();
        self.share_room();
        Ok(())
    }

    /// What the file said last, but for what workers see only at their start: there it is what they have seen,
    /// since a reload that failed is to be tried again by the next.
    fn as_last_read(&self) -> Config {
        let mut config = self.config.clone();
        for app in &mut config.apps {
            if let Some(running) = self.apps.named(&app.name) {
                let seen = &running.release.config;
                app.command = seen.command.clone();
                app.env = seen.env.clone();
                app.cwd = seen.cwd.clone();
                app.identity = seen.identity.clone();
                app.orphans = seen.orphans;
                app.speed.pin = seen.speed.pin;
            }
        }
        config
    }

    fn apply_to_app(&mut self, change: Change) {
        let Ok(id) = self.app_named(Some(&change.app)) else {
            return;
        };
        let app = &mut self.apps[id];
        let AppConfig {
            workers,
            ref routing,
            ..
        } = *app.config;
        let routing = routing.clone();
        // These change by commands of their own below, and stay if the file has not changed in them.
        app.config = Arc::new(AppConfig {
            workers,
            routing,
            ..change.to
        });
        app.fleet.set_restart(app.config.restart.clone());
        for live in change.live {
            if let Err(sentence) = self.apply_live(id, live) {
                log::error!("{}{sentence}", self.label(&self.apps[id]));
            }
        }
    }

    fn apply_live(&mut self, id: AppId, live: Live) -> Result<(), String> {
        let app = &mut self.apps[id];
        match live {
            // Done first, with all that can fail.
            Live::Open(_) => {}
            Live::Backlog(backlog) => app.listeners.set_backlog(backlog),
            Live::Routing { from, to } => {
                let routing = app.config.routing.changed(&from, &to);
                self.set_routing(id, routing)?;
            }
            Live::Bounds {
                max_held,
                steal_after,
            } => app.dispatcher.send(Command::SetLimits {
                max_held,
                steal_after,
                room: None,
            }),
            Live::Gather(most) => app.dispatcher.send(Command::Gather(most)),
            Live::DeferAccept(most) => app.listeners.set_defer_accept(most),
            Live::Backends { list } => {
                if let Some(backends) = &mut app.backends {
                    backends.settle(&app.config, list);
                }
            }
            Live::Scale(workers) => self.scale_app(id, workers)?,
            Live::Close(at) => self.close_listener(id, &at),
        }
        Ok(())
    }

    /// One more address of an app. If its server has bound the port that it leads to, it is dealt from at once.
    fn take_in(&mut self, id: AppId, newcomer: Newcomer) {
        let app = &mut self.apps[id];
        let (listener, (socket, local)) = app.listeners.take_in(newcomer);
        if app.dealt.contains(&listener) {
            app.dispatcher.send(Command::AddListener {
                id: listener,
                socket,
                local,
            });
        }
    }

    /// One address less. Who has come by it already is still dealt to the workers.
    fn close_listener(&mut self, id: AppId, at: &ListenAt) {
        let app = &mut self.apps[id];
        // Those who have come by it are still looked for among the open connections.
        self.health.drains.note(&app.listeners);
        match app.listeners.close_at(at) {
            Ok(Some(Closing::Listener(listener))) => {
                if app.dealt.remove(&listener) {
                    app.dispatcher.send(Command::RemoveListener(listener));
                }
                self.workers.forget_listener(id, listener);
            }
            Ok(Some(Closing::Socket(listener, inode))) => {
                app.dispatcher
                    .send(Command::RemoveSocket { listener, inode });
            }
            Ok(None) => {}
            Err(error) => log::error!("cannot close {at}: {error}"),
        }
    }
}
