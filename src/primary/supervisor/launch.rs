//! How a worker is launched: what the process layer needs to know to start one.

use nix::sys::signal::Signal;

use super::Supervisor;
use crate::config::Orphans;
use crate::policy::ids::{SlotId, WorkerId};
use crate::primary::app::release::Release;
use crate::primary::workers::environment::{Place, environment};
use crate::sys::limits;
use crate::sys::process::{Credentials, Launch};

impl Supervisor {
    /// The launch of worker `id` in `slot`, from `release`.
    pub(super) fn launch(&self, release: &Release, slot: SlotId, id: WorkerId) -> Launch {
        let config = &release.config;
        let place = Place {
            slot,
            worker: id,
            generation: release.generation,
            rendezvous: self.run_dir.rendezvous_path(),
            shim: self.run_dir.shim_path(),
        };
        let identity = config.identity.as_ref();
        Launch {
            program: release.program.clone(),
            args: config.command.clone(),
            env: environment(std::env::vars_os(), config, &place),
            cwd: release.cwd.clone(),
            identity: identity.map(|identity| Credentials {
                uid: identity.uid,
                gid: identity.gid,
                groups: identity.groups.clone(),
            }),
            nofile: Some(self.open_files.original),
            cpu: if config.speed.pin {
                of_slot(slot, &limits::own_cpus())
            } else {
                None
            },
            death_signal: Some(match config.orphans {
                Orphans::Drain => Signal::SIGTERM,
                Orphans::Kill => Signal::SIGKILL,
            }),
        }
    }
}

/// The CPU of a slot, in turn of those that we may use now: the next worker of the slot has it too.
fn of_slot(slot: SlotId, cpus: &[usize]) -> Option<usize> {
    let turn = slot.index().checked_rem(cpus.len())?;
    cpus.get(turn).copied()
}
