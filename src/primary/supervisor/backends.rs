//! The backends of proxies: what their workers and people ask about them.

use std::time::Duration;

use log::{info, warn};
use serde::{Deserialize, Serialize};

use super::join::{Reply, errno};
use super::{Supervisor, Timer};
use crate::policy::deadlines::Moment;
use crate::policy::ids::{AppId, WorkerId};
use crate::primary::backends::{Begun, Progress, Waiting};
use crate::primary::control::ClientId;
use crate::primary::verbs::Audience;
use crate::protocol::{BackendChange, Done};
use crate::wire::{Answer, Outcome};

/// How often a backend that is drained is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a name that is added may take to be resolved.
const RESOLVED: Duration = Duration::from_secs(20);

/// A change of a backend whose end somebody waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendWatch {
    app: AppId,
    /// When it is given up.
    until: Moment,
    waiting: Waiting,
    /// How far it was when that was last said.
    said: Option<String>,
    audience: Audience,
}

impl BackendWatch {
    /// Who waits.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Nobody waits any more.
    pub fn into_audience(self) -> Audience {
        self.audience
    }
}

impl Supervisor {
    /// What a proxy worker needs of its app's backends.
    pub(super) fn backends_for(&self, id: WorkerId) -> Reply {
        let app = self.app_of(id).and_then(|app| self.apps.get(app));
        let Some(backends) = app.and_then(|app| app.backends.as_ref()) else {
            return errno(libc::EINVAL);
        };
        match backends.for_worker() {
            Ok(fds) => (Answer::plain(Outcome::Backends), fds.into()),
            Err(error) => {
                warn!("worker {id} cannot have its backends: {error}");
                errno(error.raw_os_error().unwrap_or(libc::ENFILE))
            }
        }
    }

    /// Does what `forkfront backend` asks for. What takes its time keeps no operation waiting, nor waits for one.
    pub(super) fn change_backend(
        &mut self,
        client: ClientId,
        app: Option<&str>,
        change: &BackendChange,
    ) {
        let begun = self.app_named(app).and_then(|app| {
            let backends = self.apps[app].backends.as_mut();
            let backends =
                backends.ok_or_else(|| "it has no backends: it is no proxy".to_owned())?;
            Ok((app, backends.change(change)?))
        });
        self.apps.find_circles();
        match begun {
            Err(sentence) => self.commands.answer::<Done>(client, Err(sentence)),
            Ok((_, Begun::Done(sentence))) => {
                info!("{sentence}");
                self.commands.answer(client, Ok(Done::new(sentence)));
            }
            Ok((app, Begun::Waits(waiting))) => {
                let patience = match waiting {
                    Waiting::Drained(_) => self.apps[app].config.drain_timeout,
                    Waiting::Resolved(_) => RESOLVED,
                };
                self.operations.backends.push(BackendWatch {
                    app,
                    until: self.now() + patience,
                    waiting,
                    said: None,
                    audience: Audience::of(client),
                });
                self.look_at_backends();
            }
        }
    }

    /// Answers those whose change has come to its end, or whose patience is over.
    pub(super) fn look_at_backends(&mut self) {
        let now = self.now();
        let watches = std::mem::take(&mut self.operations.backends);
        for mut watch in watches {
            let app = self.apps.get_mut(watch.app);
            let backends = app.and_then(|app| app.backends.as_mut());
            let progress = backends.map(|backends| match backends.progress(&watch.waiting) {
                Progress::Waits(_) if now >= watch.until => {
                    Progress::Done(Err(backends.overdue(&watch.waiting)))
                }
                progress => progress,
            });
            let outcome = match progress {
                None => Err("the app was stopped meanwhile".to_owned()),
                Some(Progress::Done(outcome)) => outcome,
                Some(Progress::Waits(line)) => {
                    if watch.said.as_ref() != Some(&line) {
                        self.commands.tell(&mut watch.audience, &line);
                        watch.said = Some(line);
                    }
                    self.operations.backends.push(watch);
                    continue;
                }
            };
            let words = match watch.waiting {
                Waiting::Drained(_) => "drain of a backend",
                Waiting::Resolved(_) => "backend add",
            };
            self.answer_all(words, watch.audience, outcome);
        }
        if self.operations.backends.is_empty() {
            self.deadlines.clear(Timer::Backends);
        } else {
            self.deadlines.set(Timer::Backends, now + LOOK);
        }
    }
}
