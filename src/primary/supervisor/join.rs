//! Answers what a worker's processes ask at the rendezvous: may I bind, I listen, I closed, what is this.
//!
//! The transport has decoded the request and knows who calls by the kernel's word; here it is checked that
//! the caller belongs to the worker it claims to be. A worker can only ever reach its own channels.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use log::{debug, warn};
use nix::unistd::{Pid, getsid};

use super::Supervisor;
use super::words::advice;
use crate::config::Balance;
use crate::policy::ids::{AppId, ListenerId, WorkerId};
use crate::policy::lifecycle::{Event, State};
use crate::primary::listeners::BindDecision;
use crate::primary::messages::{Command, Seat};
use crate::primary::rendezvous::Joining;
use crate::primary::workers::Worker;
use crate::primary::workers::binding::{Binding, Ends};
use crate::scoreboard;
use crate::sys::address::from_wire;
use crate::sys::process;
use crate::wire::{Address, Answer, Outcome, Request, Verb};

/// How far up a caller's ancestors are searched for its worker: wrappers in wrappers end somewhere.
const ANCESTORS: usize = 64;

/// An answer and the descriptors that go with it.
pub(super) type Reply = (Answer, Vec<OwnedFd>);

impl Supervisor {
    /// Answers all who have asked.
    pub(super) fn hear_workers(&mut self) {
        for call in self.rendezvous.ready(Instant::now()) {
            let Some((answer, fds)) = self.answer(&call) else {
                continue;
            };
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if let Err(error) = call.connection.reply(&answer, &fds) {
                debug!("process {} did not wait for its answer: {error}", call.pid);
            }
        }
    }

    /// Does what `call` asks. `None`: no answer is expected.
    fn answer(&mut self, call: &Joining) -> Option<Reply> {
        let request = &call.request;
        let id = WorkerId(request.worker);
        let known = self.workers.get(id);
        if !known.is_some_and(|worker| worker.exit.is_none() && belongs(call.pid, worker)) {
            debug!("process {} is none of worker {id}: refused", call.pid);
            return Some(errno(libc::EACCES));
        }
        match request.verb {
            Verb::Bind => Some(self.bind(id, call)),
            Verb::Listen => Some(self.listen(id, call)),
            Verb::Recognise => Some(self.recognise(id, request.inode)),
            Verb::Options => Some(self.set_options(id, call)),
            Verb::Backends => Some(self.backends_for(id)),
            Verb::Closed => {
                self.closed(id, request.inode, call.pid);
                None
            }
            Verb::Wake => {
                self.wake(id, request.inode, request.number);
                None
            }
        }
    }

    fn bind(&mut self, id: WorkerId, call: &Joining) -> Reply {
        let Request {
            address,
            v6only,
            reuse_port,
            native,
            ..
        } = call.request;
        let Some(app) = self.app_of(id) else {
            return errno(libc::EACCES);
        };
        if !self.apps[app].phase.is_serving() {
            return errno(libc::EADDRNOTAVAIL);
        }
        let decision =
            self.apps[app]
                .listeners
                .for_bind(&address, v6only, reuse_port, &call.options);
        let listener = match decision {
            BindDecision::PassThrough => return (Answer::plain(Outcome::PassThrough), Vec::new()),
            BindDecision::Errno(error) => {
                self.note_refusal(id, &address, error);
                return errno(error);
            }
            BindDecision::Share(listener) => listener,
        };
        self.tell_families(app, listener);
        let Some(worker) = self.workers.get_mut(id) else {
            return errno(libc::EACCES);
        };
        worker.joined = true;
        worker.native |= native;
        let known = worker
            .bindings
            .iter()
            .position(|binding| binding.listener == listener && !binding.released);
        let made = match known {
            Some(index) => {
                let same_family = worker.bindings[index].asked.family == address.family;
                if same_family && !reuse_port && worker.holds(&worker.bindings[index]) {
                    return errno(libc::EADDRINUSE);
                }
                Ok(index)
            }
            None => self.new_binding(id, listener, &call.request),
        };
        made.and_then(|index| self.with_channel(id, index))
            .unwrap_or_else(|error| {
                warn!("worker {id} cannot have a channel: {error}");
                errno(error.raw_os_error().unwrap_or(libc::ENOBUFS))
            })
    }

    pub(super) fn app_of(&self, id: WorkerId) -> Option<AppId> {
        self.workers.get(id).map(|worker| worker.app)
    }

    /// Should the server end over it, this is what its last words are about.
    fn note_refusal(&mut self, id: WorkerId, asked: &Address, error: i32) {
        if let (Some(worker), Some(at)) = (self.workers.get_mut(id), from_wire(asked)) {
            let reason = nix::errno::Errno::from_raw(error).desc();
            let advice = advice(error, at.port());
            worker.refused = Some(format!("it could not have {at}: {reason}{advice}"));
        }
    }

    /// Gives the worker its part in `listener`; returns its index.
    fn new_binding(
        &mut self,
        id: WorkerId,
        listener: ListenerId,
        request: &Request,
    ) -> io::Result<usize> {
        let (asked, v6only) = (request.address, request.v6only);
        let worker = self.workers.get_mut(id).ok_or(io::ErrorKind::NotFound)?;
        let app = &self.apps[worker.app];
        let binding = if app.config.routing.balance == Balance::Kernel {
            let socket = app.listeners.socket_for_worker(listener)?;
            Binding::over_socket(listener, asked, v6only, socket)?
        } else {
            Binding::over_channel(listener, asked, v6only, app.queue_cap)?
        };
        if worker.bindings.len() >= scoreboard::CHANNELS {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        worker.bindings.push(binding);
        Ok(worker.bindings.len() - 1)
    }

    /// The answer that hands out the channel (or the socket) and the scoreboard.
    fn with_channel(&self, id: WorkerId, index: usize) -> io::Result<Reply> {
        let worker = self.workers.get(id).ok_or(io::ErrorKind::NotFound)?;
        let binding = &worker.bindings[index];
        let fds = vec![
            binding.end().try_clone_to_owned()?,
            worker.board.as_fd().try_clone_to_owned()?,
        ];
        Ok((describe(self.outcome(worker.app), binding, index), fds))
    }

    /// What a worker's end is.
    fn outcome(&self, app: AppId) -> Outcome {
        if self.apps[app].config.routing.balance == Balance::Kernel {
            Outcome::Listener
        } else {
            Outcome::Channel
        }
    }

    fn listen(&mut self, id: WorkerId, call: &Joining) -> Reply {
        let request = &call.request;
        let Some((index, binding)) = self
            .workers
            .get_mut(id)
            .and_then(|worker| worker.binding(request.inode))
        else {
            return errno(libc::EINVAL);
        };
        let (listener, first) = (binding.listener, !binding.listening);
        let Some(app) = self.app_of(id) else {
            return errno(libc::EINVAL);
        };
        if let Err(error) = self.apps[app]
            .listeners
            .listen(listener, request.number, &call.options)
            .and_then(|_| self.open_listener(app, listener))
        {
            return errno(error.raw_os_error().unwrap_or(libc::EADDRINUSE));
        }
        if first {
            self.seat(id, index);
        }
        self.happen(id, Event::ReadyReport);
        errno(0)
    }

    /// Gives the listener's sockets to the dispatcher, the first time that any server listens on it.
    fn open_listener(&mut self, app: AppId, id: ListenerId) -> io::Result<()> {
        let app = &mut self.apps[app];
        if app.config.routing.balance == Balance::Kernel || app.dealt.contains(&id) {
            return Ok(());
        }
        for (socket, local) in app.listeners.sockets(id)? {
            app.dispatcher
                .send(Command::AddListener { id, socket, local });
        }
        app.dealt.insert(id);
        Ok(())
    }

    /// The worker's server listens on this binding: deal to it.
    fn seat(&mut self, id: WorkerId, index: usize) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let app = &self.apps[worker.app];
        let binding = &mut worker.bindings[index];
        binding.listening = true;
        let listener = binding.listener;
        // One that was told to go gets nothing more, whatever its server does on its way out.
        let wanted = matches!(worker.state, State::Starting { .. } | State::Ready);
        if app.config.routing.balance == Balance::Kernel || !wanted {
            return;
        }
        app.dispatcher.send(match binding.take_ends() {
            Some(Ends { ours, kept }) => Command::Admit(Seat {
                slot: worker.slot,
                worker: id,
                listener,
                channel: index,
                ours,
                kept,
                board: worker.board.clone(),
                native: worker.native,
            }),
            None => Command::Resume {
                worker: id,
                listener,
            },
        });
        let app = app.id;
        self.tell_families(app, listener);
    }

    /// A server that has bound IPv4 only may bind IPv6 as well later (redis).
    fn tell_families(&self, app: AppId, listener: ListenerId) {
        let app = &self.apps[app];
        if app.dealt.contains(&listener) {
            let only = app.listeners.ipv4_only(listener);
            app.dispatcher.send(Command::Ipv4Only(listener, only));
        }
    }

    fn recognise(&self, id: WorkerId, inode: u64) -> Reply {
        let found = self.workers.get(id).and_then(|worker| {
            let numbered = worker.bindings.iter().enumerate();
            let (index, binding) = numbered.into_iter().find(|(_, one)| one.inode == inode)?;
            let board = worker.board.as_fd().try_clone_to_owned().ok()?;
            Some((
                describe(self.outcome(worker.app), binding, index),
                vec![board],
            ))
        });
        found.unwrap_or_else(|| errno(libc::EINVAL))
    }

    fn set_options(&mut self, id: WorkerId, call: &Joining) -> Reply {
        let Some((_, binding)) = self
            .workers
            .get_mut(id)
            .and_then(|worker| worker.binding(call.request.inode))
        else {
            return errno(libc::EINVAL);
        };
        let listener = binding.listener;
        let Some(app) = self.app_of(id) else {
            return errno(libc::EINVAL);
        };
        let listeners = &mut self.apps[app].listeners;
        let set = listeners.set_options(listener, &call.options);
        errno(set.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EINVAL), |()| 0))
    }

    /// A process closed its listening socket.
    fn closed(&mut self, id: WorkerId, inode: u64, caller: u32) {
        debug!("process {caller} of worker {id} closed a listener");
        let numbered = self.workers.get_mut(id).and_then(|one| one.binding(inode));
        if let Some((index, _)) = numbered {
            self.pause_if_left(id, index);
        }
    }

    /// If no process of the worker has this binding's end any more, nothing is dealt to it (A14), until one
    /// listens again. True if that was news.
    pub(super) fn pause_if_left(&mut self, id: WorkerId, index: usize) -> bool {
        let Some(worker) = self.workers.get_mut(id) else {
            return false;
        };
        let app = worker.app;
        // While it stops, nobody is dealt anything new, and all close their listeners at once.
        if !self.apps[app].phase.is_serving() {
            return false;
        }
        if worker.holds(&worker.bindings[index]) {
            return false;
        }
        let binding = &mut worker.bindings[index];
        let listener = binding.listener;
        if !std::mem::replace(&mut binding.listening, false) {
            self.give_back(app, listener);
            return false;
        }
        self.apps[app].dispatcher.send(Command::Evict {
            worker: id,
            listener: Some(listener),
        });
        true
    }

    /// A server looked whether it could have an address, and left it. Unless some server listens there, or is
    /// about to, the address is free for others again.
    fn give_back(&mut self, app: AppId, listener: ListenerId) {
        let wanted = |worker: &Worker| {
            let mut bindings = worker.bindings.iter();
            bindings.any(|one| one.listener == listener && worker.holds(one))
        };
        let listeners = &mut self.apps[app].listeners;
        if !listeners.is_listening(listener)
            && !self.workers.of_app(app).any(wanted)
            && listeners.release(listener)
        {
            debug!("listener {listener} was bound and left again");
            self.workers.forget_listener(app, listener);
        }
    }

    fn wake(&mut self, id: WorkerId, inode: u64, count: i32) {
        let Some((_, binding)) = self
            .workers
            .get_mut(id)
            .and_then(|worker| worker.binding(inode))
        else {
            return;
        };
        let listener = binding.listener;
        let Some(app) = self.app_of(id) else {
            return;
        };
        self.apps[app].dispatcher.send(Command::Wake {
            worker: id,
            listener,
            count: count.clamp(0, i32::from(u8::MAX)).unsigned_abs(),
        });
    }
}

/// Whether `caller` is a process of `worker`: in its session, or started by it.
fn belongs(caller: u32, worker: &Worker) -> bool {
    let session = i32::try_from(caller)
        .ok()
        .and_then(|pid| getsid(Some(Pid::from_raw(pid))).ok());
    if session.is_some_and(|session| session.as_raw().unsigned_abs() == worker.pid) {
        return true;
    }
    let mut ancestors = std::iter::successors(Some(caller), |pid| process::parent_of(*pid));
    ancestors
        .by_ref()
        .take(ANCESTORS)
        .take_while(|pid| *pid > 1)
        .any(|pid| pid == worker.pid)
}

pub(super) fn errno(number: i32) -> Reply {
    (Answer::errno(number), Vec::new())
}

fn describe(outcome: Outcome, binding: &Binding, index: usize) -> Answer {
    Answer {
        listener: binding.listener.0,
        // Bounded by scoreboard::CHANNELS.
        channel: index as u16,
        listening: binding.listening,
        v6only: binding.v6only,
        asked: binding.asked,
        ..Answer::plain(outcome)
    }
}
