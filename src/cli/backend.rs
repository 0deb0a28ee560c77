//! The words of `forkfront backend`: what can be changed about the backends of a proxy while it runs.

use super::{Action, Asking};
use crate::config;
use crate::protocol::{BackendChange, Request};

/// What it is.
pub const LONG: &str = "\
Change the backends of a running proxy, until its next reload or start.

A backend is named as `status` shows it, or by one of its addresses.";

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  forkfront backend add 10.0.0.3:5432@2
  forkfront backend drain 10.0.0.1:5432      nothing new, and wait until it has no session
  forkfront backend resume 10.0.0.1:5432
  forkfront backend weight 10.0.0.1:5432 3
  forkfront backend remove 10.0.0.1:5432     nothing new; its sessions go on until they end";

/// The words after `forkfront backend`.
#[derive(Debug, clap::Args)]
pub struct BackendWords {
    #[command(subcommand)]
    change: ChangeWords,

    /// The app that is meant, of several
    #[arg(long, value_name = "NAME", value_parser = config::name)]
    app: Option<String>,

    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Subcommand)]
enum ChangeWords {
    /// One more
    Add {
        /// As it is written behind --to
        backend: String,
    },
    /// One less: nothing new, its sessions go on until they end
    Remove {
        /// Which one
        backend: String,
    },
    /// Nothing new, and wait until it has no session
    Drain {
        /// Which one
        backend: String,
    },
    /// Sessions again
    Resume {
        /// Which one
        backend: String,
    },
    /// What it gets compared with others
    Weight {
        /// Which one
        backend: String,
        /// 1 to 1000
        #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
        weight: u16,
    },
}

impl BackendWords {
    /// What they ask for.
    pub fn into_action(self) -> Action {
        let change = match self.change {
            ChangeWords::Add { backend } => BackendChange::Add { backend },
            ChangeWords::Remove { backend } => BackendChange::Remove { backend },
            ChangeWords::Drain { backend } => BackendChange::Drain { backend },
            ChangeWords::Resume { backend } => BackendChange::Resume { backend },
            ChangeWords::Weight { backend, weight } => BackendChange::Weight { backend, weight },
        };
        self.asking.that(Request::Backend {
            app: self.app,
            change,
        })
    }
}
