//! The words of `forkfront top`.

use std::time::Duration;

use super::TargetWords;
use crate::config;

/// How often it looks when nothing is said.
const INTERVAL: &str = "1s";
/// More often than this nobody can read, and each look costs the primary something.
const SHORTEST: Duration = Duration::from_millis(100);

pub const LONG: &str = "\
Show live what runs: per slot its state, connections a second, open and queued connections, CPU, memory, \
restarts and how long connections wait; per backend of a proxy its state and why, sessions and bytes a second, open \
sessions, connects that failed and how long they take; and act on it with a key.

Keys: arrows or j and k select a slot or a backend, Tab goes from the ones to the others; r restarts the slot, d \
drains it or the backend, u resumes it; + and - change the number of workers; R reloads; s sorts, a shows one app of \
several, m what was said so far, ? help, q quits. Backends that are not well come first. What takes a worker or a \
backend away is asked for once more. The view goes on while a change is made, and leaving it ends no change.

Where stdout is no terminal, or with --once, it prints one frame as text: what happened within one interval.";

pub const EXAMPLES: &str = "\
Examples:
  forkfront top
  forkfront top --name 8080 --interval 5s
  forkfront top --once | head -5";

#[derive(Debug, clap::Args)]
pub struct TopWords {
    /// Time from one look to the next
    #[arg(long, value_name = "TIME", default_value = INTERVAL, value_parser = interval)]
    pub interval: Duration,

    /// One frame as text, as where stdout is no terminal
    #[arg(long)]
    pub once: bool,

    #[command(flatten)]
    pub target: TargetWords,
}

fn interval(words: &str) -> Result<Duration, String> {
    match config::duration(words)? {
        length if length < SHORTEST => Err("it must be 100ms at least".into()),
        length => Ok(length),
    }
}
