//! The proxy's event loop: one thread, one poll, any number of sessions. Takes connections while there is room for
//! them, gives every session its turn, and when the worker is to leave finishes what is open.

mod accept;
mod queue;

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use slab::Slab;

use accept::{Accepting, Capacity};
use queue::Queue;

use super::patience::NEVER;
use super::session::{Session, Step};
use super::site::Site;
use super::source::{Id, Source};
use super::view::View;
use crate::policy::courtesy::Courtesy;
use crate::policy::wheel::Wheel;
use crate::sys::footprint;
use crate::sys::scheduler::{SchedStat, let_wakers_finish};
use crate::worker::join::ProxyMeans;
use crate::worker::{End, Listener, Stopper};

/// Events taken in one go.
const EVENTS: usize = 512;
/// How often sessions that wait for room look for it though no bell was rung: a backend may have got up, ms.
const QUEUE_LOOK: u64 = 100;
/// How often means of moving bytes that nobody needs are given back, while there are any, ms.
const TIDY: u64 = 10_000;
/// After the one that made it leave, ms: the kernel sends the one for the primary's death when the thread goes that has
/// started us, and again when one goes that was left over then (prctl(2)).
const SAME_SIGNAL: u64 = 1_000;

/// The server's state.
pub struct Server {
    poll: Poll,
    /// Gone once the worker leaves.
    listener: Option<Listener>,
    stopper: Stopper,
    /// A signal that comes before says no more than that it is to leave; later ones end what is open.
    passes_until: u64,
    accepting: Accepting,
    bell_rang: bool,
    sessions: Slab<Session>,
    /// Sessions that want another turn.
    again: Vec<Id>,
    /// Sessions that wait for room at a backend, in the order in which they came.
    queue: Queue,
    /// When that was looked for last.
    looked_at: u64,
    /// When sessions are to be looked at.
    wheel: Wheel,
    tidy_at: u64,
    courtesy: Courtesy,
    /// Without, it is never given up.
    scheduled: Option<SchedStat>,
    capacity: Capacity,
    next_age: u32,
    site: Site,
}

impl Server {
    /// A server on `listener`, which it says to be ready.
    pub fn new(mut listener: Listener, stopper: Stopper, means: ProxyMeans) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut listener, Source::Listener.token(), Interest::READABLE)?;
        let view = View::new(means)?;
        let bell = view.bell().as_raw_fd();
        registry.register(
            &mut SourceFd(&bell),
            Source::Bell.token(),
            Interest::READABLE,
        )?;
        let site = Site::new(registry.try_clone()?, view);
        listener.ready()?;
        footprint::forget_the_start();
        Ok(Self {
            poll,
            listener: Some(listener),
            stopper,
            passes_until: 0,
            accepting: Accepting::Now,
            bell_rang: false,
            sessions: Slab::new(),
            again: Vec::new(),
            queue: Queue::default(),
            looked_at: 0,
            wheel: Wheel::default(),
            tidy_at: NEVER,
            courtesy: Courtesy::default(),
            scheduled: SchedStat::open().ok(),
            capacity: Capacity::new()?,
            next_age: 0,
            site,
        })
    }

    /// Serves until the worker is to leave and its sessions have ended.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while self.listener.is_some() || !self.sessions.is_empty() {
            self.wait(&mut events)?;
            self.site.wake_up();
            self.behave();
            for event in &events {
                self.told(event);
            }
            // Sessions that go to another backend for it are not taken for connected by what was told of the former one.
            if std::mem::take(&mut self.bell_rang) {
                self.heed_the_bell();
            }
            for id in std::mem::take(&mut self.again) {
                self.turn(id, |session, id, site| {
                    session.in_again = false;
                    session.advance(id, site)
                });
            }
            // What has come in time is not late, however long we slept.
            self.look_at_the_clock();
            // Who came before goes before.
            self.serve_queue();
            self.accept()?;
            self.serve_queue();
            self.site.view.tell();
        }
        Ok(())
    }

    /// Where strangers keep the cores, it asks for one as others do.
    fn behave(&mut self) {
        let now = self.site.now.saturating_mul(1_000_000);
        let waits = || self.scheduled.as_ref()?.waits();
        if let Some(courteous) = self.courtesy.judge(now, waits) {
            let_wakers_finish(courteous);
        }
    }

    fn told(&mut self, event: &Event) {
        match Source::of(event.token()) {
            Source::Listener => self.accepting = Accepting::Now,
            Source::Bell => self.bell_rang = true,
            Source::Stopper => self.signalled(),
            Source::Session(id, side) => {
                self.turn(id, |session, id, site| session.told(id, side, event, site));
            }
        }
    }

    /// There is another plan, backends were cut, or there is room at one.
    fn heed_the_bell(&mut self) {
        self.site.room = true;
        match self.site.view.reread() {
            Ok(false) => {}
            Ok(true) => self.for_all(|_| true, |_, _, _| Step::Waiting),
            Err(error) => {
                let what = format_args!("a plan of the backends cannot be read: {error}");
                self.site.complain(what);
            }
        }
        let cut = self.site.view.cut();
        if !cut.is_empty() {
            let is_cut = |session: &Session| session.at.is_some_and(|at| cut.contains(&at));
            self.for_all(is_cut, Session::cut);
        }
    }

    fn for_all(
        &mut self,
        concerned: impl Fn(&Session) -> bool,
        mut visit: impl FnMut(&mut Session, Id, &mut Site) -> Step,
    ) {
        let all = self.sessions.iter().filter(|(_, one)| concerned(one));
        let all: Vec<Id> = all
            .map(|(place, one)| Id {
                place,
                age: one.age,
            })
            .collect();
        for id in all {
            self.turn(id, &mut visit);
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let at_once = !self.again.is_empty()
            || self.site.room && self.site.queued != 0
            || self.accepting == Accepting::Now && self.has_room();
        let timeout = if at_once {
            Some(Duration::ZERO)
        } else {
            self.patience()
        };
        let listener = self.listener.as_ref();
        let _sleeping = listener.filter(|_| !at_once).map(Listener::sleeping);
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// How long nothing has to be done though nothing comes.
    fn patience(&self) -> Option<Duration> {
        let mut next = self.wheel.next().unwrap_or(NEVER).min(self.tidy_at);
        if let Accepting::At(time) = self.accepting {
            next = next.min(time);
        }
        if self.site.queued != 0 {
            next = next.min(self.site.now + QUEUE_LOOK);
        }
        // Less what this turn has taken: a few µs, where milliseconds matter.
        (next != NEVER).then(|| Duration::from_millis(next.saturating_sub(self.site.now)))
    }

    fn look_at_the_clock(&mut self) {
        let now = self.site.now;
        while let Some(place) = self.wheel.due(now) {
            let Some(session) = self.sessions.get_mut(place) else {
                continue;
            };
            session.armed = NEVER;
            let age = session.age;
            self.turn(Id { place, age }, Session::late);
        }
        if now >= self.tidy_at {
            self.tidy_at = NEVER;
            self.site.tools.tidy();
        }
        if self.tidy_at == NEVER && self.site.tools.has_spares() {
            self.tidy_at = now.saturating_add(TIDY);
        }
        self.site.room |= self.site.queued != 0 && now >= self.looked_at + QUEUE_LOOK;
        if let Accepting::At(time) = self.accepting
            && now >= time
        {
            self.accepting = Accepting::Now;
        }
    }

    /// Lets one session go on, if it is still there.
    fn turn(
        &mut self,
        id: Id,
        go_on: impl FnOnce(&mut Session, Id, &mut Site) -> Step,
    ) -> Option<Step> {
        let session = self.sessions.get_mut(id.place);
        let session = session.filter(|it| it.age == id.age)?;
        let was_queued = session.is_queued();
        let step = go_on(session, id, &mut self.site);
        let is_queued = session.is_queued() && step != Step::Over;
        if was_queued && !is_queued {
            self.site.end_waiting();
        }
        if step == Step::Over {
            self.remove(id);
            return Some(step);
        }
        let due = session.due(&self.site.view.patience);
        if due < session.armed {
            session.armed = due;
            self.wheel.set(id.place, due);
        }
        if step == Step::Again && !std::mem::replace(&mut session.in_again, true) {
            self.again.push(id);
        }
        if is_queued && !was_queued {
            self.site.begin_waiting();
            self.enqueue(id);
        }
        Some(step)
    }

    fn remove(&mut self, id: Id) {
        // Closing the sockets takes them out of the poll; only then the session counts no more.
        let session = self.sessions.remove(id.place);
        let at = session.at;
        drop(session);
        self.wheel.clear(id.place);
        if let Some(at) = at {
            self.site.leave(usize::from(at));
        }
        if let Accepting::At(_) = self.accepting {
            self.accepting = Accepting::Now;
        }
    }

    /// The worker leaves: nothing new.
    fn finish(&mut self) -> io::Result<()> {
        self.accepting = Accepting::OnEvent;
        let Some(mut listener) = self.listener.take() else {
            return Ok(());
        };
        let registry = self.poll.registry();
        // Closing it is not enough: the primary holds a copy of the channel, so the poll would go on telling of it
        // (KF19).
        registry.deregister(&mut listener)?;
        // Who is drained hears SIGTERM when it has nothing left, or when it has had its time. Otherwise it was a signal
        // that has ended the listener, or one comes for the primary's death.
        if listener.ended() != Some(End::Drained) {
            self.passes_until = self.site.now.saturating_add(SAME_SIGNAL);
            // What has come by now is not to be read later than that, should we be stopped meanwhile.
            while self.stopper.take_signal() {}
        }
        let token = Source::Stopper.token();
        registry.register(&mut self.stopper, token, Interest::READABLE)
    }

    /// SIGTERM or SIGINT has come, as far as the switch that is watched with them can tell.
    fn signalled(&mut self) {
        while self.stopper.take_signal() {
            if self.site.now >= self.passes_until {
                self.cut_short();
            }
        }
    }

    /// The time to drain is over. What is open is reset rather than closed, since nobody can know whether it was at
    /// its end.
    fn cut_short(&mut self) {
        self.for_all(
            |_| true,
            |session, _, _| {
                session.reset();
                Step::Over
            },
        );
    }
}
