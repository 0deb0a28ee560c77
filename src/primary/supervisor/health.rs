//! What is done about workers that use too much, hang, or fail their health checks. Judged elsewhere:
//! [`health`](crate::primary::health) looks, [`policy::limits`](crate::policy::limits) decides.

use std::collections::HashSet;

use log::{error, info, warn};

use super::{Supervisor, Timer};
use crate::policy::fleet::Cause;
use crate::policy::ids::{AppId, WorkerId};
use crate::policy::lifecycle::{Event, Why};
use crate::policy::limits::Verdict;
use crate::primary::health::looks::{self, Looks};

impl Supervisor {
    /// Sets the timer of the next look, if any app is looked at. Without one, nothing wakes the primary up.
    pub(super) fn plan_look(&mut self) {
        match Looks::period(&self.apps) {
            Some(_) if self.health.looking => {}
            Some(period) => {
                self.health.looking = true;
                let at = self.now() + period;
                self.deadlines.set(Timer::Look, at);
            }
            None => {
                self.health.looking = false;
                self.deadlines.clear(Timer::Look);
            }
        }
    }

    /// Looks at all workers that are limited, and does what comes of it.
    pub(super) fn look_at_workers(&mut self) {
        self.health.looking = false;
        let now = self.now();
        let secret = self.means.hash_key.0;
        let seen = (&self.apps, &self.workers);
        let probes = |worker| self.health.probes.given(worker);
        let verdicts = self.health.looks.look(now, seen, secret, probes);
        let mut renewing = HashSet::new();
        for (worker, verdict) in verdicts {
            self.carry_out(worker, verdict, &mut renewing);
        }
    }

    /// `renewing` are the apps of which one slot is being renewed for a limit.
    fn carry_out(&mut self, id: WorkerId, verdict: Verdict, renewing: &mut HashSet<AppId>) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let app = worker.app;
        let who = format!("{}: worker {}", self.place(app, worker.slot), worker.pid);
        match verdict {
            Verdict::Warn(reason) => warn!("{who} {reason}: {}", looks::activity(worker)),
            Verdict::Replace(reason) => {
                if !renewing.contains(&app) && self.renew(id) {
                    renewing.insert(app);
                    info!("{who} {reason}; it is replaced");
                }
            }
            Verdict::Abort(reason) => {
                let activity = looks::activity(worker);
                error!("{who} {reason}: {activity}; it is replaced and gets SIGABRT");
                self.renew(id);
                self.happen(id, Event::Abort);
            }
            Verdict::Kill(reason) => {
                error!("{who} {reason} by half and more; it is replaced and gets SIGKILL");
                self.renew(id);
                self.happen(id, Event::KillNow(Why::Replaced));
            }
        }
    }

    /// Asks for a successor of this worker.
    pub(super) fn renew(&mut self, id: WorkerId) -> bool {
        let now = self.now();
        let Some(worker) = self.workers.get(id) else {
            return false;
        };
        let fleet = &mut self.apps[worker.app].fleet;
        let its_slot = fleet.worker(worker.slot) == Some(id);
        its_slot && fleet.replace(worker.slot, Cause::Limit, now)
    }
}
