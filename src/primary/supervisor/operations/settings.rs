//! `set`: rules that change while everything runs.

use std::sync::Arc;

use super::super::Supervisor;
use super::Begun;
use crate::config::{AppConfig, Balance, Routing};
use crate::policy::ids::AppId;
use crate::primary::logs;
use crate::primary::messages::Command;
use crate::protocol::Setting;

impl Supervisor {
    pub(super) fn set(&mut self, app: Option<&str>, setting: Setting) -> Result<Begun, String> {
        let said = format!("set {setting}");
        match setting {
            Setting::LogLevel(level) => {
                logs::set_level(level)?;
                self.config.log_level = level;
            }
            Setting::Weight { slot, weight } => {
                let (id, slot) = self.dealt_slot_named(&slot)?;
                let app = &mut self.apps[id];
                app.dispatcher.send(Command::Weight { slot, weight });
            }
            Setting::Balance(balance) => {
                let id = self.server_named(app)?;
                let routing = Routing {
                    balance,
                    ..self.apps[id].config.routing.clone()
                };
                self.set_routing(id, routing)?;
            }
            Setting::Sticky(sticky) => {
                let id = self.server_named(app)?;
                let routing = &self.apps[id].config.routing;
                if sticky.is_none() && routing.websocket_sticky {
                    return Err(
                        "with --websocket-sticky there is always a key: 'set sticky ip' is its usual one".to_owned(),
                    );
                }
                let routing = Routing {
                    sticky,
                    ..routing.clone()
                };
                let follows =
                    self.apps[id].config.steal_after == self.apps[id].config.routing.steal_after();
                self.set_routing(id, routing)?;
                if follows {
                    self.usual_steal_after(id);
                }
            }
        }
        Ok(Begun::Done(said))
    }

    /// An app whose slots have a choice of their own: with a proxy it is that of backends.
    fn server_named(&self, app: Option<&str>) -> Result<AppId, String> {
        let id = self.app_named(app)?;
        if self.apps[id].backends.is_some() {
            return Err(
                "this is a proxy: who gets its sessions is changed in its file, by a reload, or by the weights of \
                 'forkfront backend'"
                    .to_owned(),
            );
        }
        Ok(id)
    }

    /// What is queued is dealt again at the age that is usual for what is sticky now.
    fn usual_steal_after(&mut self, id: AppId) {
        let app = &mut self.apps[id];
        let steal_after = app.config.routing.steal_after();
        app.config = Arc::new(AppConfig {
            steal_after,
            ..(*app.config).clone()
        });
        app.dispatcher.send(Command::SetLimits {
            max_held: app.config.max_held,
            steal_after,
            room: None,
        });
    }

    /// Where connections go, from now on.
    pub(super) fn set_routing(&mut self, id: AppId, routing: Routing) -> Result<(), String> {
        let app = &mut self.apps[id];
        let kernel = |routing: &Routing| routing.balance == Balance::Kernel;
        if kernel(&routing) != kernel(&app.config.routing) {
            return Err(
                "--balance kernel shares the listening socket itself, which workers that run cannot change: \
                 stop, and start with the other policy"
                    .to_owned(),
            );
        }
        // What only has nothing to act on comes to act when the next setting is made.
        if let Some(sentence) = routing.contradiction() {
            return Err(sentence);
        }
        app.config = Arc::new(AppConfig {
            routing: routing.clone(),
            ..(*app.config).clone()
        });
        app.dispatcher.send(Command::Route(routing));
        Ok(())
    }
}
