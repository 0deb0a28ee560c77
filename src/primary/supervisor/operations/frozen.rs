//! The operations for the next image: what waits for its turn there, and who waits for what.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::backends::BackendWatch;
use super::Operations;
use super::slots::Watch;
use super::upgrade::Passage;
use crate::primary::verbs::Audience;

/// All operations for the next image. None is under way but the upgrade that leads there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenOperations {
    /// Orders that another version does not know are left out.
    waiting: Vec<Value>,
    watches: Vec<(Watch, Audience)>,
    #[serde(default)]
    backends: Vec<BackendWatch>,
    passage: Option<Passage>,
}

impl Operations {
    /// What the next image needs.
    pub fn freeze(&self) -> FrozenOperations {
        let waiting = self.waiting.iter();
        FrozenOperations {
            waiting: waiting
                .filter_map(|asked| serde_json::to_value(asked).ok())
                .collect(),
            watches: self.watches.clone(),
            backends: self.backends.clone(),
            passage: self.passage.clone(),
        }
    }

    /// As another image left them.
    pub fn thaw(frozen: FrozenOperations) -> Self {
        let waiting = frozen.waiting.into_iter();
        Self {
            waiting: waiting
                .filter_map(|asked| serde_json::from_value(asked).ok())
                .collect(),
            current: None,
            watches: frozen.watches,
            backends: frozen.backends,
            passage: frozen.passage,
        }
    }
}
