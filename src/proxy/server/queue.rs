//! Sessions that wait for room at a backend: first come, first served.

use super::Server;
use crate::backend_board::TurnedAway;
use crate::proxy::session::{Session, Step};
use crate::proxy::source::Id;

/// So many sessions at the head of the queue that wait for some backends only do not keep those behind them.
const CHOOSY: usize = 32;

impl Server {
    /// Lets those that wait for room look for it, first come, first served.
    pub(super) fn serve_queue(&mut self) {
        if !std::mem::take(&mut self.site.room) {
            return;
        }
        self.looked_at = self.site.now;
        let mut choosy = Vec::new();
        while let Some(id) = self.queue.pop_front() {
            if self.turn(id, Session::try_again) != Some(Step::Queue) {
                continue;
            }
            choosy.push(id);
            // It waits for some backends only: there may be room for others at the rest.
            if !self.is_choosy(id) || choosy.len() == CHOOSY {
                break;
            }
        }
        choosy
            .into_iter()
            .rev()
            .for_each(|id| self.queue.push_front(id));
    }

    fn is_choosy(&self, id: Id) -> bool {
        let session = self.sessions.get(id.place);
        session.is_some_and(|one| one.age == id.age && one.is_choosy())
    }

    /// The session waits from now on, unless too many do.
    pub(super) fn enqueue(&mut self, id: Id) {
        if self.site.queued > self.site.view.proxy().max_queue {
            self.turn(id, |session, _, site| {
                session.refuse(TurnedAway::QueueFull, site)
            });
            return;
        }
        self.queue.push_back(id);
        // Where nobody else waits for the same there may be room since it was looked for.
        let first = self.queue.front().copied();
        self.site.room |= self.site.queued == 1 || first.is_some_and(|first| self.is_choosy(first));
    }
}
