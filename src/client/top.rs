//! `forkfront top`: a running primary, live, with a key for each change that one would make while watching.
//!
//! | part | what it is |
//! |---|---|
//! | [`model`], [`keys`], [`rates`], [`sort`], [`messages`] | what is known and chosen; pure, told the time |
//! | [`draw`] | the model as a picture of any size, or as text; pure |
//! | [`sources`] | threads that look, read keys and signals, and have changes made |
//! | [`screen`] | the terminal: taken, given back, come what may |
//! | [`live`] | the loop |
//!
//! Nothing waits for anything else: a primary that does not answer, or a change that takes minutes, leaves the keys
//! and the picture as they are.

mod draw;
mod keys;
mod live;
mod messages;
mod model;
mod rates;
mod screen;
mod sort;
mod sources;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::Target;
use crate::error::Result;
use draw::Theme;
use model::Model;

/// Columns of a frame of text where nobody says another number.
const TEXT_WIDTH: u16 = 80;

/// Whether stdout is a terminal that can show a picture.
pub fn can_show_live() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stdout().is_terminal() && !dumb
}

/// What happens within one `interval`, as text: 80 columns, or as many as `COLUMNS` says.
///
/// # Errors
/// No primary there, several, or no proper answer.
pub fn one_frame(target: &Target, interval: Duration) -> Result<String> {
    let mut watched = sources::Watched::new(target.clone());
    let mut model = Model::new(watched.look()?, interval, Instant::now());
    std::thread::sleep(interval);
    model.look(watched.look()?);
    let columns = std::env::var("COLUMNS").ok();
    let width = columns.and_then(|columns| columns.parse().ok());
    let width = width.unwrap_or(TEXT_WIDTH).max(20);
    Ok(draw::text(&mut model, Theme::plain(true), width))
}

/// Shows it until its user ends it.
///
/// # Errors
/// No primary there at the start, several, or no proper answer; or the terminal cannot be used.
pub fn top(target: &Target, interval: Duration) -> Result<()> {
    // Whoever starts it where there is nothing gets a sentence, and an untouched terminal.
    let mut watched = sources::Watched::new(target.clone());
    let status = watched.look()?;
    live::run(watched, status, interval)
}

#[cfg(test)]
mod tests;
