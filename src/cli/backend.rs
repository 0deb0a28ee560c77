//! The words of `forkfront backend`: what can be changed about the backends of a proxy while it runs.

use super::{Action, Asking};
use crate::config;
use crate::config::proxy::{Backend, MOST_WEIGHT};
use crate::protocol::{BackendChange, Request};

/// What it is.
pub const LONG: &str = "\
Change the backends of a running proxy.

A backend is named as `status` shows it, or by one of its addresses. What is changed so holds over reloads and \
upgrades, until the file that the primary was started by says something else about its backends, or until the next \
start.";

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  forkfront backend add 10.0.0.3:5432@2
  forkfront backend drain 10.0.0.1:5432      nothing new, and wait until it has no session
  forkfront backend resume 10.0.0.1:5432
  forkfront backend weight 10.0.0.1:5432 3
  forkfront backend remove 10.0.0.1:5432     nothing new; its sessions go on until they end

What they are and how they do: forkfront status";

/// The words after `forkfront backend`.
#[derive(Debug, clap::Args)]
pub struct BackendWords {
    #[command(subcommand)]
    change: ChangeWords,
}

#[derive(Debug, clap::Subcommand)]
enum ChangeWords {
    /// One more
    Add {
        /// As it is written behind --to: HOST:PORT, with @WEIGHT, +backup and +max=N
        #[arg(value_name = "BACKEND", value_parser = written)]
        new: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// One less: it gets nothing new, its sessions go on until they end
    Remove {
        /// Which one
        backend: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// It gets nothing new; wait until it has no session
    #[command(long_about = "\
It gets nothing new; wait until it has no session.

It waits for --drain-timeout of `proxy` at most. Sessions that are open then go on.")]
    Drain {
        /// Which one
        backend: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// It gets sessions again
    Resume {
        /// Which one
        backend: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// What it gets compared with others
    Weight {
        /// Which one
        backend: String,
        /// 1 to 1000; of one that was given no weight it is 1
        #[arg(allow_negative_numbers = true, value_parser = weight)]
        weight: u16,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Whose backends.
#[derive(Debug, clap::Args)]
struct Whose {
    /// The app that is meant, of several
    #[arg(long, value_name = "NAME", value_parser = config::name)]
    app: Option<String>,

    #[command(flatten)]
    asking: Asking,
}

/// A backend that is written as one is; what it leads to is for the primary to find out.
fn written(words: &str) -> Result<String, String> {
    words.parse::<Backend>().map(|_| words.to_owned())
}

fn weight(words: &str) -> Result<u16, String> {
    let weight = words.parse().ok();
    let weight = weight.filter(|weight| (1..=MOST_WEIGHT).contains(weight));
    weight.ok_or_else(|| format!("it takes 1 to {MOST_WEIGHT}"))
}

impl BackendWords {
    /// What they ask for.
    pub fn into_action(self) -> Action {
        let (change, whose) = match self.change {
            ChangeWords::Add { new, whose } => (BackendChange::Add { backend: new }, whose),
            ChangeWords::Remove { backend, whose } => (BackendChange::Remove { backend }, whose),
            ChangeWords::Drain { backend, whose } => (BackendChange::Drain { backend }, whose),
            ChangeWords::Resume { backend, whose } => (BackendChange::Resume { backend }, whose),
            ChangeWords::Weight {
                backend,
                weight,
                whose,
            } => (BackendChange::Weight { backend, weight }, whose),
        };
        whose.asking.that(Request::Backend {
            app: whose.app,
            change,
        })
    }
}
