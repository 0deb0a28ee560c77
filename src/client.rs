//! Talks to a running primary: finds it, asks, reads the answer. `main` calls it for every command but those
//! that start something.
//!
//! It changes nothing by itself: what is stale it passes over, and what to do is the primary's business.

use std::path::PathBuf;
use std::rc::Rc;

use serde_json::value::RawValue;

use crate::error::Result;
use crate::protocol::{Done, Request};
use crate::status::Status;
use crate::sys::signals::Signals;

mod conversation;
mod display;
mod find;
mod logs;
mod table;
mod terminal;
mod top;

pub use conversation::Listener;
use conversation::{Conversation, Lines};
pub use display::Display;
pub use logs::show as show_logs;
pub use table::table;
pub use top::{can_show_live, one_frame, top};

/// Which running primary is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The only one of this user.
    Only,
    /// The one of this name.
    Named(String),
    /// The one behind this control socket.
    At(PathBuf),
}

/// Names of all running primaries of this user.
pub fn names() -> Vec<String> {
    find::names()
}

/// The state of a primary.
///
/// # Errors
/// No primary there, several, or no proper answer.
pub fn status(target: &Target) -> Result<Status> {
    Conversation::open(target, &Request::Status)?.answer()
}

/// The same, for one who has something else under way, and is not to be waited for once he is interrupted.
fn status_while(target: &Target, interrupts: Option<&Rc<Signals>>) -> Result<Status> {
    Conversation::open_while(target, &Request::Status, interrupts)?.answer()
}

/// The same for people, as a table: with colours if stdout shows them.
///
/// # Errors
/// As [`status`].
pub fn status_table(target: &Target) -> Result<String> {
    let status = status(target)?;
    Ok(match terminal::has_colours() {
        true => table::coloured(&status),
        false => table(&status),
    })
}

/// The same, as the JSON text that the primary wrote.
///
/// # Errors
/// As [`status`].
pub fn status_json(target: &Target) -> Result<String> {
    let text: Box<RawValue> = Conversation::open(target, &Request::Status)?.answer()?;
    Ok(text.get().to_owned())
}

/// What Prometheus would scrape of a primary.
///
/// # Errors
/// As [`status`].
pub fn metrics(target: &Target) -> Result<String> {
    Conversation::open(target, &Request::Metrics)?.answer()
}

/// Has a primary change something, and waits until that is done; `progress` gets its lines as they come.
///
/// SIGINT is an error from now on, and no longer the end of this process: the primary goes on with the change.
///
/// # Errors
/// No primary there, several, or it could not do it; then there may be several lines, the first of them a
/// sentence.
pub fn change(target: &Target, request: &Request, progress: impl FnMut(&str)) -> Result<Done> {
    follow(target, request, &mut Lines(progress)).map(Done::new)
}

/// Stops a primary gracefully; `progress` gets its lines as they come. Returns its name when it has gone.
///
/// # Errors
/// As [`change`].
pub fn stop(target: &Target, progress: impl FnMut(&str)) -> Result<String> {
    stop_and_follow(target, &mut Lines(progress))
}

/// Has a primary change something, or stop, and waits until that is done. Returns what was done, in words.
///
/// # Errors
/// As [`change`].
pub fn follow(target: &Target, request: &Request, listener: &mut impl Listener) -> Result<String> {
    if *request == Request::Stop {
        return stop_and_follow(target, listener).map(|name| format!("{name} has stopped"));
    }
    let done: Done = Conversation::begin(target, request)?.end(listener)?;
    Ok(conversation::plain(&done.message))
}

fn stop_and_follow(target: &Target, listener: &mut impl Listener) -> Result<String> {
    let mut conversation = Conversation::begin(target, &Request::Stop)?;
    conversation.end::<serde_json::Value>(listener)?;
    conversation.wait_for_end()?;
    Ok(conversation.name)
}
