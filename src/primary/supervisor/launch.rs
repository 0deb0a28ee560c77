//! How a worker is launched: what the process layer needs to know to start one.

use nix::sys::signal::Signal;

use super::Supervisor;
use crate::config::Orphans;
use crate::policy::ids::{SlotId, WorkerId};
use crate::primary::workers::environment::{Place, environment};
use crate::sys::process::{Credentials, Launch};

impl Supervisor {
    /// The launch of worker `id` in `slot`.
    pub(super) fn launch(&self, slot: SlotId, id: WorkerId) -> Launch {
        let place = Place {
            slot,
            worker: id,
            generation: 1,
            rendezvous: self.run_dir.rendezvous_path(),
            shim: self.run_dir.shim_path(),
        };
        let identity = self.app.identity.as_ref();
        Launch {
            program: self.program.clone(),
            args: self.app.command.clone(),
            env: environment(std::env::vars_os(), &self.app, &place),
            cwd: self.app.cwd.clone(),
            identity: identity.map(|identity| Credentials {
                uid: identity.uid,
                gid: identity.gid,
                groups: identity.groups.clone(),
            }),
            nofile: Some(self.open_files.original),
            death_signal: Some(match self.app.orphans {
                Orphans::Drain => Signal::SIGTERM,
                Orphans::Kill => Signal::SIGKILL,
            }),
        }
    }
}
