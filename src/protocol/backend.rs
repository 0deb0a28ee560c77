//! What can be changed about the backends of a proxy while it runs.

use serde::{Deserialize, Serialize};

/// One change. A backend is named as `status` calls it, or by the address of one of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum BackendChange {
    /// One more, as it is written behind `--to`.
    Add {
        /// With its weight and the like.
        backend: String,
    },
    /// One less: it gets nothing new from now on, its sessions go on until they end.
    Remove {
        /// Which one.
        backend: String,
    },
    /// It gets nothing new until it is resumed; `ok` comes when it has no session.
    Drain {
        /// Which one.
        backend: String,
    },
    /// It gets sessions again.
    Resume {
        /// Which one.
        backend: String,
    },
    /// What it gets compared with others.
    Weight {
        /// Which one.
        backend: String,
        /// 1 to 1000.
        weight: u16,
    },
}
