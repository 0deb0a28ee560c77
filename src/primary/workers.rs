//! The worker processes: what the supervisor knows of each, from its start until nothing of it is left.
//!
//! A worker stays in the table after its first process has died for as long as something that it started
//! still lives. Until then the dead process is not reaped: its pid, which names the session and the group,
//! cannot become anybody else's (B5). Decides nothing; the supervisor does.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::policy::deadlines::Moment;
use crate::policy::ids::{AppId, ListenerId, SlotId, WorkerId};
use crate::policy::lifecycle::{State, Why};
use crate::primary::app::release::Release;
use crate::sys::board::Board;
use crate::sys::process::{self, Exit};

pub mod binding;
pub mod census;
pub mod environment;
mod frozen;

use binding::Binding;
use census::Census;
pub use frozen::FrozenWorkers;

/// One worker.
#[derive(Debug)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// Its app.
    pub app: AppId,
    /// Its slot.
    pub slot: SlotId,
    /// Its first process, leader of its session and group.
    pub pid: u32,
    /// Where that process is in its life.
    pub state: State,
    /// What it was started from.
    pub release: Rc<Release>,
    /// When it was started.
    pub started: Instant,
    /// What it says of itself.
    pub board: Arc<Board>,
    /// Its part in each listener it has bound.
    pub bindings: Vec<Binding>,
    /// Some process of it has called `bind` on an address that is shared, so the shim is at work.
    pub joined: bool,
    /// The last `bind` of its server that failed: where, and why.
    pub refused: Option<String>,
    /// Built on `forkfront::worker`.
    pub native: bool,
    /// All connections that it has received and ever will: known once it is evicted and its queue is read back.
    pub received: Option<u64>,
    /// Since when it serves no slot any more.
    pub leaving_since: Option<Moment>,
    /// How the first process ended, once it has; from then until `mourned_until` the rest may finish.
    pub exit: Option<Exit>,
    /// When what is left of a dead worker gets SIGKILL.
    pub mourned_until: Moment,
    /// How soon what is left of a dead worker is looked for again.
    pub mourning_step: Duration,
    /// Does not die of SIGKILL: nothing waits for it any more.
    pub abandoned: bool,
    pidfd: OwnedFd,
}

impl Worker {
    /// A worker that has just been started.
    pub fn new(
        id: WorkerId,
        (app, slot): (AppId, SlotId),
        (pid, pidfd): (u32, OwnedFd),
        state: State,
        board: Arc<Board>,
        release: Rc<Release>,
    ) -> Self {
        Self {
            id,
            app,
            slot,
            pid,
            state,
            release,
            started: Instant::now(),
            board,
            bindings: Vec::new(),
            joined: false,
            refused: None,
            native: false,
            received: None,
            leaving_since: None,
            exit: None,
            mourned_until: Moment::default(),
            mourning_step: Duration::ZERO,
            abandoned: false,
            pidfd,
        }
    }

    /// For signals and waits.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// It has said that it is ready, and was not told to go.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Connections that its living processes hold, by their own word. Those of a process that died without
    /// closing them are struck from the scoreboard.
    pub fn open(&self) -> u64 {
        for process in &self.board.processes {
            let pid = process.pid.load(Relaxed);
            if pid != 0 && process::session_of(pid).is_none() {
                self.board.strike(process, pid);
            }
        }
        self.board.open()
    }

    /// It gets nothing new, has counted all that it got, and holds nothing of it.
    pub fn is_idle(&self) -> bool {
        let counted = self.board.taken_in_all();
        self.received.is_some_and(|received| counted >= received) && self.open() == 0
    }

    /// It goes because its channel cannot be used any more.
    pub fn is_broken(&self) -> bool {
        matches!(
            self.state,
            State::Draining {
                why: Why::Broken,
                ..
            }
        )
    }

    /// It was ready and has closed all its listeners since.
    pub fn is_paused(&self) -> bool {
        self.state == State::Ready && !self.bindings.iter().any(|binding| binding.listening)
    }

    /// The binding whose end has this inode.
    pub fn binding(&mut self, inode: u64) -> Option<(usize, &mut Binding)> {
        let mut numbered = self.bindings.iter_mut().enumerate();
        numbered.find(|(_, binding)| binding.inode == inode)
    }

    /// Whether some process of it still has the end of this binding open.
    pub fn holds(&self, binding: &Binding) -> bool {
        let holds = |pid: &u32| process::holds_inode(*pid, binding.inode);
        // Almost always its first, which is looked at whatever else can be, or in its session; a wrapper like setsid(1)
        // may have put the server into another one.
        let lives = matches!(process::peek_exit(self.pidfd()), Ok(None));
        lives && holds(&self.pid)
            || process::session_members(self.pid).iter().any(holds)
            || process::living().any(|one| census::is_of(one.pid, self) && holds(&one.pid))
    }
}

/// All workers, in the order of their starts.
#[derive(Debug, Default)]
pub struct Workers {
    known: BTreeMap<WorkerId, Worker>,
    started: u64,
}

impl Workers {
    /// An id for the next worker.
    pub fn next_id(&mut self) -> WorkerId {
        self.started += 1;
        WorkerId(self.started)
    }

    /// Takes a worker in.
    pub fn insert(&mut self, worker: Worker) {
        self.known.insert(worker.id, worker);
    }

    /// Forgets a worker of which nothing is left.
    pub fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        self.known.remove(&id)
    }

    /// The worker of this id.
    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.known.get(&id)
    }

    /// The worker of this id.
    pub fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.known.get_mut(&id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.known.values()
    }

    /// Those of one app.
    pub fn of_app(&self, app: AppId) -> impl Iterator<Item = &Worker> {
        self.iter().filter(move |worker| worker.app == app)
    }

    /// The ids of those of one app.
    pub fn ids_of(&self, app: AppId) -> Vec<WorkerId> {
        self.of_app(app).map(|worker| worker.id).collect()
    }

    /// The ids of all of them.
    pub fn ids(&self) -> Vec<WorkerId> {
        self.known.keys().copied().collect()
    }

    /// The latest worker of a slot whose first process lives.
    pub fn of_slot(&self, app: AppId, slot: SlotId) -> Option<&Worker> {
        let alive =
            |worker: &&Worker| (worker.app, worker.slot) == (app, slot) && worker.exit.is_none();
        self.known.values().rev().find(alive)
    }

    /// A listener of this app is no more.
    pub fn forget_listener(&mut self, app: AppId, listener: ListenerId) {
        let workers = self.known.values_mut().filter(|one| one.app == app);
        let bindings = workers.flat_map(|one| &mut one.bindings);
        for binding in bindings.filter(|binding| binding.listener == listener) {
            binding.released = true;
        }
    }

    /// Nothing is left of any.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What lives now of all workers.
    pub fn census(&self) -> Census {
        Census::take(self.known.values().map(|worker| worker.pid).collect())
    }

    /// Whether `pid` is the first process of a worker: not to be reaped as a stray.
    pub fn is_leader(&self, pid: u32) -> bool {
        self.known.values().any(|worker| worker.pid == pid)
    }
}
