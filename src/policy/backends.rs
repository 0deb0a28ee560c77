//! How the backends of a proxy are doing, and what each gets for it.
//!
//! [`table`] holds all of them: which there are ([`list`], [`item`]), what checks and sessions have found out about each
//! ([`member`]), and what follows from that for all together: weights, backups, failing open. [`schedule`] says who is
//! checked when; [`news`] is what is to be told to people, [`Deed`] what is to be done on the board.
//!
//! A backend counts as well until its first check says otherwise: a proxy that starts serves at once, and one bad
//! check is enough then. Later it takes `fall` bad ones in a row to be down and `rise` good ones to be up.
//!
//! Checks and sessions are believed independently. A backend that is down by its checks stays so until they are good;
//! one that was ejected since sessions could not connect comes back by time, first on trial: with a small part of its
//! weight, until one session has connected, or has not.

pub mod changes;
pub mod item;
pub mod list;
pub mod member;
pub mod news;
pub mod schedule;
pub mod table;
#[cfg(test)]
mod tests;

pub use member::{Checked, Member, Passive};
pub use news::News;
pub use table::Table;

/// What the board says of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Sessions that are open or connecting.
    pub open: u32,
    /// Connects that failed since the last that did not.
    pub failing: u32,
    /// The errno of the last that failed.
    pub last_error: u32,
    /// Connects that came about.
    pub connects: u64,
}

/// What is to be done on the board at a place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Another backend begins there: all its counts.
    Clear(usize),
    /// The failures in a row count no more.
    Forgive(usize),
    /// Its sessions are to be ended.
    Cut(usize),
}
