//! What `forkfront backend` asks for: done at once, or begun and looked after by whoever asked.

use serde::{Deserialize, Serialize};

use super::Backends;
use super::keeper::facts;
use crate::config::proxy::Backend;
use crate::policy::backends::Table;
use crate::protocol::BackendChange;

/// What came of a change.
#[derive(Debug)]
pub enum Begun {
    /// It is done: a sentence.
    Done(String),
    /// It goes on.
    Waits(Waiting),
}

/// A change whose end is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// This backend is to have no session.
    Drained(String),
    /// This name is to be resolved.
    Resolved(String),
}

/// How far it is.
#[derive(Debug)]
pub enum Progress {
    /// Not at its end; what it waits for, to be told.
    Waits(String),
    /// At its end.
    Done(Result<String, String>),
}

impl Backends {
    /// Does what `forkfront backend` asks for.
    ///
    /// # Errors
    /// A sentence.
    pub fn change(&mut self, change: &BackendChange) -> Result<Begun, String> {
        if let BackendChange::Add { backend } = change {
            // Asks the file system, which may take its time.
            self.refuse_own(backend)?;
        }
        let done = self.keeper.turn(|state, now| {
            let table = &mut state.table;
            match change {
                BackendChange::Add { backend } => {
                    let backend: Backend = backend.parse()?;
                    let name = backend.host.to_string();
                    table.add(backend, now)?;
                    Ok(match resolved(table, &name) {
                        true => Begun::Done(format!("backend {name} gets sessions")),
                        false => Begun::Waits(Waiting::Resolved(name)),
                    })
                }
                BackendChange::Remove { backend } => {
                    let name = table.remove(backend, now)?;
                    let says = "it gets nothing new, and its sessions go on until they end";
                    Ok(Begun::Done(format!(
                        "backend {name} is out of the list: {says}"
                    )))
                }
                BackendChange::Drain { backend } => {
                    let name = table.drain(backend, now)?;
                    Ok(Begun::Waits(Waiting::Drained(name)))
                }
                BackendChange::Resume { backend } => {
                    let (name, was) = table.resume(backend, now)?;
                    Ok(Begun::Done(match was {
                        true => format!("backend {name} gets sessions again"),
                        false => format!("backend {name} was not drained"),
                    }))
                }
                BackendChange::Weight { backend, weight } => {
                    let name = table.weigh(backend, *weight, now)?;
                    Ok(Begun::Done(format!(
                        "backend {name} has the weight {weight}"
                    )))
                }
            }
        });
        // Nothing is begun here any more: the next image goes on with it.
        let done = done.ok_or_else(|| "this primary is being upgraded: ask again".to_owned())?;
        self.keeper.nudge();
        self.follow();
        done
    }

    /// How far a change is.
    pub fn progress(&mut self, waiting: &Waiting) -> Progress {
        match waiting {
            Waiting::Drained(name) => self.drained(name),
            Waiting::Resolved(name) => self.resolved(name),
        }
    }

    /// Nobody waits for its end any more: what is true then.
    pub fn overdue(&mut self, waiting: &Waiting) -> String {
        match waiting {
            Waiting::Drained(name) => {
                let (_, open) = self.open_at(name).unwrap_or_default();
                format!(
                    "backend {name} still has {} after --drain-timeout; it gets no new ones",
                    sessions(open)
                )
            }
            Waiting::Resolved(name) => {
                self.give_up(name);
                format!("backend {name} could not be resolved in time, and is not added")
            }
        }
    }

    fn drained(&self, name: &str) -> Progress {
        let gone = || format!("backend {name} was resumed, or is there no more");
        match self.open_at(name) {
            Err(_) | Ok((false, _)) => Progress::Done(Err(gone())),
            Ok((true, 0)) => Progress::Done(Ok(format!(
                "backend {name} is drained; forkfront backend resume gives it sessions again"
            ))),
            Ok((true, open)) => {
                Progress::Waits(format!("backend {name}: waiting for {}", sessions(open)))
            }
        }
    }

    /// Whether it gets nothing new, and its sessions.
    fn open_at(&self, name: &str) -> Result<(bool, u64), String> {
        let state = self.keeper.state();
        let places = state.table.places(name)?;
        let is_drained = |at: &usize| state.table.member(*at).is_some_and(|one| one.drained);
        let open = |at: &usize| u64::from(facts(&self.keeper.board, *at).open);
        Ok((places.iter().all(is_drained), places.iter().map(open).sum()))
    }

    fn resolved(&mut self, name: &str) -> Progress {
        let trouble = {
            let state = self.keeper.state();
            let mut items = state.table.items().iter();
            let item = items.find(|item| item.name() == name);
            match item {
                None => {
                    return Progress::Done(Err(format!("backend {name} was removed meanwhile")));
                }
                Some(item) if item.leads.is_empty() => match &item.trouble {
                    Some(trouble) => Some(trouble.clone()),
                    None => return Progress::Waits(format!("resolving {name}")),
                },
                Some(_) => state.table.no_use(name),
            }
        };
        Progress::Done(match trouble {
            None => Ok(format!("backend {name} gets sessions")),
            Some(trouble) => {
                self.give_up(name);
                Err(format!("{trouble}; it is not added"))
            }
        })
    }

    /// A backend that is where we listen ourselves would be led back to.
    fn refuse_own(&self, backend: &str) -> Result<(), String> {
        let backend: Backend = backend.parse()?;
        let target = backend.host.target();
        let why = target.and_then(|target| self.own.refusal(&target));
        why.map_or(Ok(()), Err)
    }

    fn give_up(&mut self, name: &str) {
        self.keeper
            .turn(|state, now| state.table.give_up(name, now));
        self.follow();
    }
}

fn resolved(table: &Table, name: &str) -> bool {
    let mut items = table.items().iter();
    items.any(|item| item.name() == name && !item.leads.is_empty())
}

fn sessions(open: u64) -> String {
    match open {
        1 => "1 session".to_owned(),
        open => format!("{open} sessions"),
    }
}
