//! How the workers are: whether one that drains still holds a connection, what they use, whether they react.
//!
//! Looks and keeps what it saw; what is done about it, the supervisor does. Nothing here waits.

pub mod drains;
pub mod exchange;
pub mod looks;
pub mod memory;
pub mod pair;
pub mod probes;
pub mod probing;

use serde::{Deserialize, Serialize};

use crate::policy::deadlines::Moment;
use crate::policy::ids::{AppId, WorkerId};
use crate::sys::process;
use crate::sys::process::connections::Local;
use crate::sys::signals::Signal;
use drains::Drains;
use looks::Looks;
use memory::Memory;
use probes::Probes;

/// What is known of the health of all workers.
#[derive(Debug, Default)]
pub struct Health {
    /// Whether workers that drain hold anything any more.
    pub drains: Drains,
    /// What workers that are limited use, and whether they react.
    pub looks: Looks,
    /// The next look is planned.
    pub looking: bool,
    /// What workers say when they are asked how they are.
    pub probes: Probes,
    /// Whether the kernel kills for lack of memory.
    pub memory: Memory,
    /// Why they could last not be asked.
    pub unable: Option<String>,
}

/// What of it cannot be found out anew. Who seemed to hang, or failed a check, is judged afresh.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FrozenHealth {
    locals: Vec<Local>,
    blind: bool,
    since: Vec<(AppId, WorkerId, Moment)>,
    given: Vec<(WorkerId, u64)>,
    /// Commands that ask, and whose end nobody waits for any more.
    #[serde(default)]
    helpers: Vec<u32>,
}

impl Health {
    /// What the next image needs.
    pub fn freeze(&self) -> FrozenHealth {
        FrozenHealth {
            locals: self.drains.locals.iter().cloned().collect(),
            blind: self.drains.blind,
            since: self.looks.since().collect(),
            given: self.probes.all_given().collect(),
            helpers: self.probes.helpers().collect(),
        }
    }

    /// As another image left it.
    pub fn thaw(frozen: FrozenHealth) -> Self {
        let mut this = Self::default();
        this.drains.locals = frozen.locals.into_iter().collect();
        this.drains.blind = frozen.blind;
        this.looks.remember(frozen.since);
        this.probes.remember(frozen.given);
        for helper in frozen.helpers {
            // Our child still, and not reaped: the number is nobody else's.
            let _ = process::signal_group(helper, Signal::SIGKILL);
        }
        this
    }
}
