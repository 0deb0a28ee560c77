//! The thread that asks for the addresses of names again and again. It alone waits for name servers, so neither the
//! supervisor nor the checks ever do.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{Own, resolve};
use crate::config::proxy::Backend;
use crate::policy::backends::list::Lead;

/// Descriptors that one resolver has open at a time: a socket of ours, and those of the system's resolver.
pub const DESCRIPTORS: usize = 4;

/// What the system's resolver may need, with whatever modules it loads (nsswitch.conf(5)).
const STACK: usize = 1024 * 1024;

/// What has become of a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The backend as it is written.
    pub backend: Backend,
    /// Where it leads now, or why that is not known.
    pub leads: Result<Vec<Lead>, String>,
}

/// The thread, while this lives; then it ends as soon as it waits for nobody.
#[derive(Debug)]
pub struct Resolver {
    orders: Sender<Order>,
}

struct Order {
    names: Vec<Backend>,
    every: Duration,
    own: Own,
}

impl Resolver {
    /// Starts it; `tell` hears each answer that is not the same as the last one, in that thread.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(tell: impl FnMut(Answer) + Send + 'static) -> io::Result<Self> {
        let (orders, taken) = crossbeam_channel::unbounded();
        let follower = Follower {
            orders: taken,
            tell,
            order: Order {
                names: Vec::new(),
                every: Duration::MAX,
                own: Own::default(),
            },
            names: Vec::new(),
        };
        // Never joined: nobody can say how long a name server takes.
        std::thread::Builder::new()
            .name("resolver".into())
            .stack_size(STACK)
            .spawn(move || follower.run())?;
        Ok(Self { orders })
    }

    /// From now on these are followed: those that are new at once, the others when they are due. What leads to
    /// one of our `own` listeners is left out.
    pub fn ask(&self, names: Vec<Backend>, every: Duration, own: Own) {
        let order = Order { names, every, own };
        // It ends only after us.
        let _ = self.orders.send(order);
    }
}

struct Follower<T> {
    orders: Receiver<Order>,
    tell: T,
    order: Order,
    names: Vec<Followed>,
}

struct Followed {
    backend: Backend,
    asked: Option<Instant>,
    last: Option<Result<Vec<Lead>, String>>,
}

impl<T: FnMut(Answer)> Follower<T> {
    fn run(mut self) {
        loop {
            let due = self.next().map(|(_, due)| due);
            let order = match due {
                None => self
                    .orders
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.orders.recv_deadline(due),
            };
            match order {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((at, _)) = self.next() {
                        self.look(at);
                    }
                }
            }
        }
    }

    /// Which one is asked for next, and when: one that never was comes first.
    fn next(&self) -> Option<(usize, Instant)> {
        let now = Instant::now();
        let due = |one: &Followed| match one.asked {
            None => now,
            Some(asked) => {
                let failed = matches!(one.last, Some(Err(_)));
                let every = if failed {
                    self.order.every.min(AGAIN)
                } else {
                    self.order.every
                };
                asked.checked_add(every).unwrap_or(now + FAR)
            }
        };
        let all = self.names.iter().enumerate();
        all.map(|(at, one)| (at, due(one), one.asked.is_some()))
            .min_by_key(|(_, due, known)| (*known, *due))
            .map(|(at, due, _)| (at, due))
    }

    fn take(&mut self, order: Order) {
        let mut known = std::mem::take(&mut self.names);
        let own_changed = order.own != self.order.own;
        self.names = order
            .names
            .iter()
            .map(|backend| {
                let known_at = known.iter().position(|one| one.backend == *backend);
                let mut followed = match known_at {
                    Some(at) => known.swap_remove(at),
                    None => Followed {
                        backend: backend.clone(),
                        asked: None,
                        last: None,
                    },
                };
                if own_changed {
                    followed.asked = None;
                }
                followed
            })
            .collect();
        self.order = order;
    }

    fn look(&mut self, at: usize) {
        let one = &mut self.names[at];
        let leads = resolve(&one.backend).and_then(|leads| self.order.own.strip(leads));
        one.asked = Some(Instant::now());
        if one.last.as_ref() != Some(&leads) {
            one.last = Some(leads.clone());
            (self.tell)(Answer {
                backend: one.backend.clone(),
                leads,
            });
        }
    }
}

/// How soon a name that had no answer is asked for again, at the latest.
const AGAIN: Duration = Duration::from_secs(5);

/// When nothing is ever due.
const FAR: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_new_is_answered_once_and_what_is_left_out_no_more() {
        let (tell, told) = crossbeam_channel::unbounded();
        let resolver = Resolver::start(move |answer| tell.send(answer).unwrap()).unwrap();
        let names: Vec<Backend> = ["localhost:80", "localhost:81"]
            .map(|words| words.parse().unwrap())
            .into();
        let short = Duration::from_millis(1);
        resolver.ask(names.clone(), short, Own::default());
        let mut both = [0; 2].map(|_| told.recv_timeout(PATIENCE).unwrap());
        both.sort_by_key(|answer| answer.backend.to_string());
        assert_eq!(
            both.each_ref().map(|one| one.backend.clone()).to_vec(),
            names
        );
        assert!(both[0].leads.as_ref().is_ok_and(|leads| !leads.is_empty()));
        // The same again is not told again; another one is, at once.
        let other: Backend = "localhost:82".parse().unwrap();
        let list = vec![names[0].clone(), other.clone()];
        resolver.ask(list, Duration::from_secs(60), Own::default());
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().backend, other);
        drop(resolver);
        // It ends.
        assert!(
            told.recv_timeout(PATIENCE)
                .is_err_and(|error| error.is_disconnected())
        );
    }

    #[test]
    fn what_is_ourselves_is_left_out() {
        let (tell, told) = crossbeam_channel::unbounded();
        let resolver = Resolver::start(move |answer| tell.send(answer).unwrap()).unwrap();
        let own = Own::of_config(&["4711".parse().unwrap()]);
        let names = ["localhost:4711", "localhost:4712"];
        let names = names.map(|words| words.parse().unwrap()).into();
        resolver.ask(names, PATIENCE, own);
        let both = [0; 2].map(|_| told.recv_timeout(PATIENCE).unwrap());
        for one in both {
            let own = one.backend.to_string() == "localhost:4711";
            assert_eq!(one.leads.is_err(), own, "{one:?}");
        }
    }
}
