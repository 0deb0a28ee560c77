//! `set`: rules that change while everything runs.

use std::sync::Arc;

use super::super::Supervisor;
use super::Begun;
use crate::config::{AppConfig, Balance, Sticky};
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
                let id = self.app_named(app)?;
                let sticky = self.apps[id].config.sticky;
                self.set_policy(id, balance, sticky)?;
            }
            Setting::Sticky(sticky) => {
                let id = self.app_named(app)?;
                let balance = self.apps[id].config.balance;
                self.set_policy(id, balance, sticky)?;
            }
        }
        Ok(Begun::Done(said))
    }

    /// Who gets the next connection, from now on.
    pub(super) fn set_policy(
        &mut self,
        id: AppId,
        balance: Balance,
        sticky: Option<Sticky>,
    ) -> Result<(), String> {
        let app = &mut self.apps[id];
        let kernel = |balance| balance == Balance::Kernel;
        if kernel(balance) != kernel(app.config.balance) {
            return Err(
                "--balance kernel shares the listening socket itself, which workers that run cannot change: \
                 stop, and start with the other policy"
                    .to_owned(),
            );
        }
        if kernel(balance) && sticky.is_some() {
            return Err(
                "with --balance kernel the kernel chooses, so nothing can be sticky".to_owned(),
            );
        }
        app.config = Arc::new(AppConfig {
            balance,
            sticky,
            ..(*app.config).clone()
        });
        app.dispatcher.send(Command::SetPolicy { balance, sticky });
        Ok(())
    }
}
