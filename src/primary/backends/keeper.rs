//! The table of backends behind a lock, and the board that follows it.
//!
//! The thread that checks, the supervisor and the resolver all change the table by [`Keeper::turn`], which brings the
//! board up to date before anybody else comes. The lock is held over nothing that can block: what is to be told is
//! told afterwards, and a bell is rung without waiting.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::{error, info, warn};

use super::resolve::Answer;
use crate::backend_board::BackendBoard;
use crate::config::proxy::Plan;
use crate::config::{AppConfig, Proxy};
use crate::policy::backends::{Deed, Facts, News, Table};
use crate::policy::deadlines::Moment;
use crate::sys::bell::Bell;
use crate::sys::board;
use crate::sys::clock;

/// Trouble that was not there for so long is new when it comes back.
const QUIET: Duration = Duration::from_secs(60);

/// What all share who have to do with the backends of one app.
#[derive(Debug)]
pub struct Keeper {
    /// Seen by the workers.
    pub board: Arc<board::Backends>,
    /// Rung for the workers.
    pub bell: Bell,
    /// Rung by the workers, and for the thread that checks.
    pub alarm: Bell,
    state: Mutex<State>,
}

/// What is decided.
#[derive(Debug)]
pub struct State {
    /// The app's name, in front of what is said where it is not the usual one.
    pub label: String,
    /// Which backends there are and how they are.
    pub table: Table,
    /// How sessions are treated: the plan without its backends.
    pub plan: Plan,
    /// Why checks could last not be made, and when that was.
    pub unable: Option<(String, Moment)>,
    /// Why the workers could last not be told, if that is so.
    pub untold: Option<String>,
    /// Nothing changes any more: another image goes on with it, or this one later.
    pub still: bool,
}

impl State {
    /// Of backends, and how their sessions are treated.
    pub fn new(table: Table, plan: Plan) -> Self {
        Self {
            label: String::new(),
            table,
            plan,
            unable: None,
            untold: None,
            still: false,
        }
    }
}

fn tell(label: &str, news: &News) {
    if news.is_bad() {
        warn!("{label}{news}");
    } else {
        info!("{label}{news}");
    }
}

/// What is in front of what is said of an app's backends.
pub fn label(app: &str) -> String {
    match app {
        "proxy" => String::new(),
        app => format!("{app}: "),
    }
}

/// The time by which all here is decided; the same in the next image.
pub fn now() -> Moment {
    Moment(Duration::from_nanos(clock::now_ns()))
}

impl Keeper {
    /// Of a board, new or taken over; nothing is on it before the first turn.
    pub fn new(
        app: &str,
        (board, bell, alarm): (board::Backends, Bell, Bell),
        state: State,
    ) -> Self {
        let state = State {
            label: label(app),
            ..state
        };
        Self {
            board: Arc::new(board),
            bell,
            alarm,
            state: Mutex::new(state),
        }
    }

    /// What is decided, for a moment.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked meanwhile left values of which each is good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table, brings the board up to date, and tells what there is to tell. `None`: nothing may be
    /// changed now.
    pub fn turn<T>(&self, act: impl FnOnce(&mut State, Moment) -> T) -> Option<T> {
        let (done, label, news, failed) = {
            let mut state = self.state();
            if state.still {
                return None;
            }
            let now = now();
            let done = act(&mut state, now);
            state.table.look(now, |at| facts(&self.board, at));
            let failed = self.publish(&mut state, now).err();
            let failed = failed.map(|error| error.to_string());
            let is_new = failed != state.untold;
            state.untold.clone_from(&failed);
            let failed = failed.filter(|_| is_new);
            (done, state.label.clone(), state.table.take_news(), failed)
        };
        for one in &news {
            tell(&label, one);
        }
        if let Some(error) = failed {
            error!(
                "{label}the workers go by the backends of before, since they cannot be told of the new ones: {error}"
            );
        }
        Some(done)
    }

    /// What has come of asking for the addresses of a name.
    pub fn resolved(&self, answer: Answer) {
        let Answer { backend, found } = answer;
        self.turn(|state, now| state.table.resolved(&backend.host, found, now));
        self.nudge();
    }

    /// Wakes the thread that checks: it waits for something else now.
    pub fn nudge(&self) {
        self.alarm.ring();
    }

    /// A check could not be made, which says nothing about the backend. Said once for each reason, and again when all
    /// went well for a while in between.
    pub fn say_unable(&self, error: &io::Error) {
        let (words, now) = (error.to_string(), now());
        let label = {
            let mut state = self.state();
            let before = state.unable.replace((words.clone(), now));
            let known = before.is_some_and(|(before, at)| before == words && now.since(at) < QUIET);
            (!known).then(|| state.label.clone())
        };
        if let Some(label) = label {
            warn!("{label}backends cannot be checked: {words}");
        }
    }

    fn publish(&self, state: &mut State, now: Moment) -> io::Result<()> {
        let mut ring = false;
        for deed in state.table.take_deeds() {
            match deed {
                Deed::Clear(at) => clear(&self.board, at),
                Deed::Forgive(at) => self.board.entries[at].failing.store(0, Relaxed),
                Deed::Cut(at) => {
                    self.board.entries[at].cut.fetch_add(1, Relaxed);
                    ring = true;
                }
            }
        }
        let table = &state.table;
        let eject = &table.rules().eject;
        // Only where somebody is: each place is memory that need not be there.
        for (at, member) in table.members() {
            let entry = &self.board.entries[at];
            store(&entry.report_at, member.report_at(eject));
            let weight = table.weight(at, now);
            // Whoever waits for room may find some there.
            ring |= store(&entry.weight, weight) == 0 && weight > 0;
        }
        if state.table.take_replanned() {
            let plan = Plan {
                backends: state.table.planned(),
                ..state.plan.clone()
            };
            let text = serde_json::to_vec(&plan)?;
            let published = self.board.publish(&text);
            published.map_err(|length| {
                // The next turn tries again: places may be others' by then.
                state.table.replan();
                io::Error::other(format!("their list of {length} bytes is too long"))
            })?;
            ring = true;
        }
        if ring {
            self.bell.ring();
        }
        Ok(())
    }
}

/// Stores what is not there yet, and says what was.
fn store(value: &std::sync::atomic::AtomicU32, new: u32) -> u32 {
    let before = value.load(Relaxed);
    if before != new {
        value.store(new, Relaxed);
    }
    before
}

/// What the board says at this place.
pub fn facts(board: &BackendBoard, at: usize) -> Facts {
    let entry = &board.entries[at];
    Facts {
        open: entry.open.load(Relaxed),
        failing: entry.failing.load(Relaxed),
        last_error: entry.last_error.load(Relaxed),
        connects: entry.connects.load(Relaxed),
    }
}

/// Another backend begins at this place. What is open there is the workers' to count.
fn clear(board: &BackendBoard, at: usize) {
    let entry = &board.entries[at];
    for count in [&entry.weight, &entry.failing, &entry.last_error] {
        count.store(0, Relaxed);
    }
    let counts = [
        &entry.connects,
        &entry.failures,
        &entry.retried,
        &entry.bytes_in,
        &entry.bytes_out,
        &entry.connect_time,
        &entry.connect_longest,
    ];
    for count in counts.into_iter().chain(&entry.connect_us) {
        count.store(0, Relaxed);
    }
}

/// How sessions are treated, without the backends.
pub fn plan_of(app: &AppConfig, hash_key: (u64, u64)) -> Plan {
    let peek_timeout = app.routing.peek_timeout.as_millis();
    let proxy = app.proxy.clone().unwrap_or_default();
    Plan {
        proxy: Proxy {
            to: Vec::new(),
            ..proxy
        },
        trusted_proxies: app.routing.trusted_proxies.clone(),
        peek_timeout_ms: u64::try_from(peek_timeout).unwrap_or(u64::MAX),
        hash_key,
        backends: Vec::new(),
    }
}
