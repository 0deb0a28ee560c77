//! Sessions that wait for room at a backend: first come, first served.

use std::collections::VecDeque;

use mio::Interest;

use super::Server;
use crate::backend_board::TurnedAway;
use crate::proxy::session::{Session, Step};
use crate::proxy::source::Id;

/// So many sessions at the head of the queue that wait for some backends only do not keep those behind them.
const CHOOSY: usize = 32;
/// So many that wait no more may be in the queue, besides as many as wait.
const STALE: usize = 64;

/// Those that wait, and some that do no more.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<(u64, Id)>);

impl Queue {
    /// One more, which has waited since then: behind all that have for longer. `waiting`: all that do, this one too;
    /// `waits`: whether this one does.
    fn insert(&mut self, since: u64, id: Id, waiting: usize, waits: impl Fn(Id) -> bool) {
        if self.0.len() > 2 * waiting + STALE {
            self.0.retain(|(_, id)| waits(*id));
        }
        let place = self.0.partition_point(|(other, _)| *other <= since);
        self.0.insert(place, (since, id));
    }
}

impl Server {
    /// Lets those that wait for room look for it, first come, first served.
    pub(super) fn serve_queue(&mut self) {
        if !std::mem::take(&mut self.site.room) {
            return;
        }
        self.looked_at = self.site.now;
        let mut choosy = Vec::new();
        while let Some((since, id)) = self.queue.0.pop_front() {
            if self.turn(id, Session::try_again) != Some(Step::Queue) {
                continue;
            }
            choosy.push((since, id));
            // It waits for some backends only: there may be room for others at the rest.
            if !self.is_choosy(id) || choosy.len() == CHOOSY {
                break;
            }
        }
        choosy
            .into_iter()
            .rev()
            .for_each(|one| self.queue.0.push_front(one));
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
        // It may go away meanwhile, or have gone before.
        let watch = |session: &mut Session, id, site: &mut _| {
            session.watch_client(id, Interest::READABLE, site)
        };
        if self.turn(id, watch) == Some(Step::Over) {
            return;
        }
        let sessions = &self.sessions;
        let session = |id: Id| sessions.get(id.place).filter(|one| one.age == id.age);
        let since = session(id).map_or(0, Session::queued_since);
        self.queue.insert(since, id, self.site.queued, |id| {
            session(id).is_some_and(Session::is_queued)
        });
        // Where nobody else waits for the same there may be room since it was looked for.
        let first = self.queue.0.front().copied();
        self.site.room |=
            self.site.queued == 1 || first.is_some_and(|(_, first)| self.is_choosy(first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_for_longer_goes_before_and_who_has_left_is_forgotten() {
        let mut queue = Queue::default();
        let id = |place| Id { place, age: 0 };
        let order = |queue: &Queue| queue.0.iter().map(|(_, id)| id.place).collect::<Vec<_>>();
        for (place, since) in [(0, 5), (1, 5), (2, 8), (3, 5), (4, 7)] {
            queue.insert(since, id(place), 5, |_| true);
        }
        assert_eq!(order(&queue), [0, 1, 3, 4, 2]);
        // One stays, and any number come and go behind it.
        for place in 5..100_000 {
            queue.insert(9, id(place), 2, |one| [0, place].contains(&one.place));
            assert!(queue.0.len() <= 2 * 2 + STALE + 1);
            assert_eq!(queue.0[0].1.place, 0);
        }
    }
}
