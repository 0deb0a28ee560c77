//! What can be asked for, and how it is called while it is under way.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::protocol::{Setting, Size, SlotRef};
use crate::sys::handover;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Renew all workers of one app, or of all.
    Reload {
        /// Only this app.
        app: Option<String>,
        /// Read the configuration again before.
        reread: bool,
        /// Only apps that must have new workers for what has changed.
        changes_only: bool,
    },
    /// Renew one worker.
    Restart(SlotRef),
    /// Change the number of slots.
    Scale(Option<String>, Size),
    /// Deal nothing more to a slot.
    Drain(SlotRef),
    /// Deal to it again.
    Resume(SlotRef),
    /// Change a rule.
    Set(Option<String>, Setting),
    /// Go on as this program, or as the one at the same path anew.
    Upgrade(#[serde(with = "handover::path_if_any")] Option<PathBuf>),
}

impl Order {
    /// Whether this one, while it waits, does what `other` asks for too, if need be by reading the configuration
    /// again: signals by the hundred are one reload.
    pub fn takes_in(&mut self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Reload {
                    app,
                    reread,
                    changes_only,
                },
                Self::Reload {
                    app: of,
                    reread: again,
                    changes_only: only,
                },
            ) if app == of && changes_only == only => {
                *reread |= again;
                true
            }
            _ => false,
        }
    }

    /// What is under way while it is.
    pub fn words(&self) -> String {
        match self {
            Self::Reload { app: None, .. } => "reload".to_owned(),
            Self::Reload { app: Some(app), .. } => format!("reload of {app}"),
            Self::Restart(slot) => format!("restart of slot {slot}"),
            Self::Scale(None, to) => format!("scale to {to}"),
            Self::Scale(Some(app), to) => format!("scale of {app} to {to}"),
            Self::Drain(slot) => format!("drain of slot {slot}"),
            Self::Resume(slot) => format!("resume of slot {slot}"),
            Self::Set(_, setting) => format!("set {setting}"),
            Self::Upgrade(_) => "upgrade".to_owned(),
        }
    }
}
