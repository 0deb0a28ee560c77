//! The backends of proxies: what their workers and people ask about them.

use log::warn;

use super::Supervisor;
use super::join::{Reply, errno};
use crate::policy::ids::WorkerId;
use crate::primary::control::ClientId;
use crate::protocol::BackendChange;
use crate::wire::{Answer, Outcome};

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

    /// Does what `forkfront backend` asks for.
    pub(super) fn change_backend(
        &mut self,
        client: ClientId,
        app: Option<&str>,
        change: &BackendChange,
    ) {
        let done = self.app_named(app).and_then(|app| {
            let backends = self.apps[app].backends.as_ref();
            let backends =
                backends.ok_or_else(|| "it has no backends: it is no proxy".to_owned())?;
            backends.change(change)
        });
        self.commands.answer(client, done);
    }
}
