//! The thread that asks for the addresses of names again and again, with a few others that wait for name servers: so
//! neither the supervisor nor the checks ever do, and a name that takes long keeps no other waiting.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::{Own, resolve};
use crate::config::proxy::Backend;
use crate::policy::backends::item::Resolved;

/// So many names are asked for at one time, each by a thread of its own.
const AT_ONCE: usize = 8;
/// So many of these threads are kept for names that somebody waits for.
const KEPT: usize = 2;
/// And so many of those that took long the last time are asked for at one time: the others always find a thread.
const SLOW_AT_ONCE: usize = AT_ONCE / 2;
/// What takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// Descriptors that one resolver has open at a time: for each question a socket of ours or of the system's resolver,
/// and a file that it reads.
pub const DESCRIPTORS: usize = 2 * AT_ONCE;

/// What the system's resolver may need, with whatever modules it loads (nsswitch.conf(5)).
const STACK: usize = 1024 * 1024;

/// How soon a name is asked for again of which not all is known, at the latest.
const AGAIN: Duration = Duration::from_secs(5);

/// When nothing is ever due.
const FAR: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests;

/// What has become of a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The backend as it is written.
    pub backend: Backend,
    /// Where it leads now, or why that is not known.
    pub found: Result<Resolved, String>,
}

/// The thread, while this lives; then it ends as soon as it waits for nobody.
#[derive(Debug)]
pub struct Resolver {
    orders: Sender<Order>,
}

#[derive(Debug)]
struct Order {
    names: Vec<Backend>,
    /// Those of them that somebody waits for.
    awaited: Vec<Backend>,
    every: Duration,
    own: Own,
}

type Ask = dyn Fn(&Backend) -> Result<Resolved, String> + Send + Sync;

/// By what a name is resolved, and how soon again where that fails.
#[derive(Clone)]
struct Means {
    ask: Arc<Ask>,
    again: Duration,
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").finish_non_exhaustive()
    }
}

impl Resolver {
    /// Starts it; `tell` hears each answer that is not the same as the last one, in that thread.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(tell: impl FnMut(Answer) + Send + 'static) -> io::Result<Self> {
        let ask = Arc::new(resolve);
        Self::by(Means { ask, again: AGAIN }, tell)
    }

    fn by(means: Means, tell: impl FnMut(Answer) + Send + 'static) -> io::Result<Self> {
        let (orders, taken) = crossbeam_channel::unbounded();
        let follower = Follower {
            orders: taken,
            tell,
            means,
            order: Order {
                names: Vec::new(),
                awaited: Vec::new(),
                every: Duration::MAX,
                own: Own::default(),
            },
            names: Vec::new(),
            asking: Vec::new(),
            answers: crossbeam_channel::unbounded(),
        };
        // Never joined: nobody can say how long a name server takes.
        std::thread::Builder::new()
            .name("resolver".into())
            .stack_size(STACK)
            .spawn(move || follower.run())?;
        Ok(Self { orders })
    }

    /// From now on these are followed: those that are new at once, and those first that somebody waits for, the others
    /// when they are due. What leads to one of our `own` listeners is left out.
    pub fn ask(&self, names: Vec<Backend>, awaited: Vec<Backend>, every: Duration, own: Own) {
        let order = Order {
            names,
            awaited,
            every,
            own,
        };
        // It ends only after us.
        let _ = self.orders.send(order);
    }
}

struct Follower<T> {
    orders: Receiver<Order>,
    tell: T,
    means: Means,
    order: Order,
    names: Vec<Followed>,
    /// Those that a thread asks for now, and whether it will take long.
    asking: Vec<(Backend, bool)>,
    answers: (Sender<Asked>, Receiver<Asked>),
}

struct Followed {
    backend: Backend,
    /// When it was last asked for.
    asked: Option<Instant>,
    is_slow: bool,
    last: Option<Result<Resolved, String>>,
}

/// What a thread has found.
struct Asked {
    backend: Backend,
    found: Result<Resolved, String>,
    took: Duration,
}

impl<T: FnMut(Answer)> Follower<T> {
    fn run(mut self) {
        loop {
            let due = self.begin();
            let wait = due.map_or(FAR, |due| due.saturating_duration_since(Instant::now()));
            select! {
                recv(self.orders) -> order => match order {
                    Ok(order) => self.take(order),
                    Err(_) => return,
                },
                recv(self.answers.1) -> asked => {
                    if let Ok(asked) = asked {
                        self.hear(asked);
                    }
                }
                default(wait) => {}
            }
        }
    }

    /// Asks for all that are due, as far as there are threads; when the next one is.
    fn begin(&mut self) -> Option<Instant> {
        loop {
            let (at, due) = self.next()?;
            if due > Instant::now() {
                return Some(due);
            }
            let (backend, is_slow) = self.names.get(at).map(Followed::question)?;
            let (ask, tell) = (Arc::clone(&self.means.ask), self.answers.0.clone());
            let asked = backend.clone();
            let thread = std::thread::Builder::new().name("resolve".into());
            let started = thread.stack_size(STACK).spawn(move || {
                let begun = Instant::now();
                let found = ask(&asked);
                let took = begun.elapsed();
                // Nobody may be there any more.
                let _ = tell.send(Asked {
                    backend: asked,
                    found,
                    took,
                });
            });
            match started {
                Ok(_) => self.asking.push((backend, is_slow)),
                // Those that run may have ended then.
                Err(_) => return Some(Instant::now() + SLOW),
            }
        }
    }

    /// Which one is asked for next, and when. One that never was comes first, and of those the one that somebody waits
    /// for. `None`: nobody, until there is an answer or another order.
    fn next(&self) -> Option<(usize, Instant)> {
        let awaited =
            |one: &Followed| one.asked.is_none() && self.order.awaited.contains(&one.backend);
        let room = AT_ONCE.saturating_sub(self.asking.len());
        let slow = self.asking.iter().filter(|(_, is_slow)| *is_slow).count();
        let all = self.names.iter().enumerate();
        let may = all.filter(|(_, one)| {
            let is_asked = self.asking.iter().any(|(asked, _)| *asked == one.backend);
            let room = room > KEPT || room > 0 && awaited(one);
            room && !is_asked && (!one.is_slow || slow < SLOW_AT_ONCE)
        });
        let now = Instant::now();
        let due = |one: &Followed| match one.asked {
            None => now,
            Some(asked) => {
                let every = match one.is_whole() {
                    true => self.order.every,
                    false => self.order.every.min(self.means.again),
                };
                asked.checked_add(every).unwrap_or(now + FAR)
            }
        };
        may.map(|(at, one)| (one.asked.is_some(), !awaited(one), due(one), at))
            .min()
            .map(|(_, _, due, at)| (at, due))
    }

    fn take(&mut self, order: Order) {
        let mut known = std::mem::take(&mut self.names);
        let own_changed = order.own != self.order.own;
        let names = order.names.iter().map(|backend| {
            let known_at = known.iter().position(|one| one.backend == *backend);
            let mut followed = match known_at {
                Some(at) => known.swap_remove(at),
                None => Followed::new(backend.clone()),
            };
            if own_changed {
                followed.asked = None;
            }
            followed
        });
        self.names = names.collect();
        self.order = order;
    }

    fn hear(&mut self, asked: Asked) {
        let Asked {
            backend,
            found,
            took,
        } = asked;
        self.asking.retain(|(one, _)| *one != backend);
        let mut names = self.names.iter_mut();
        let Some(one) = names.find(|one| one.backend == backend) else {
            return;
        };
        let own = &self.order.own;
        let found = found.and_then(|found| own.strip(&backend.host, found));
        (one.asked, one.is_slow) = (Some(Instant::now()), took >= SLOW);
        if one.last.as_ref() != Some(&found) {
            one.last = Some(found.clone());
            (self.tell)(Answer { backend, found });
        }
    }
}

impl Followed {
    fn new(backend: Backend) -> Self {
        Self {
            backend,
            asked: None,
            is_slow: false,
            last: None,
        }
    }

    fn question(&self) -> (Backend, bool) {
        (self.backend.clone(), self.is_slow)
    }

    /// All of it is known.
    fn is_whole(&self) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|last| last.as_ref().is_ok_and(|found| found.missing.is_empty()))
    }
}
