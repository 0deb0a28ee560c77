//! The command line: words to values, and the sentences for words that cannot be meant.
//!
//! It starts nothing and talks to nobody; what it looks at beyond its words is the number of CPUs (`-n auto`)
//! and the user database (`--user`). `main` calls [`parse`] and acts on the [`Action`].

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{FromArgMatches, Parser};

use crate::client::Target;
use crate::config::{self, Config};
use crate::error::Result;
use crate::protocol::Request;

mod backend;
mod change;
pub mod completions;
mod demo;
mod groups;
mod help;
mod logs;
pub mod man;
mod proxy;
mod run;
mod text;
mod top;
mod topics;
mod usage;
mod values;

/// What the words ask for.
#[derive(Debug)]
pub enum Action {
    /// Run a server.
    Run(Box<Config>),
    /// Run the built-in server.
    Demo(Box<Config>),
    /// Be a worker of the built-in server.
    DemoWorker(SocketAddr),
    /// Run the built-in proxy.
    Proxy(Box<Config>),
    /// Be a worker of the built-in proxy.
    ProxyWorker(SocketAddr),
    /// Show the state of the running primary.
    Status {
        /// Which one.
        target: Target,
        /// The object as it is.
        json: bool,
    },
    /// Show it live.
    Top {
        /// Which one.
        target: Target,
        /// From one look to the next.
        interval: Duration,
        /// One frame as text.
        once: bool,
    },
    /// Show lines of the running primary's log.
    Logs {
        /// Which one.
        target: Target,
        /// Which lines.
        request: Request,
        /// Objects as they are.
        json: bool,
    },
    /// Show what Prometheus would scrape of the running primary.
    Metrics(Target),
    /// Have the running primary change something, or stop.
    Change {
        /// Which one.
        target: Target,
        /// What.
        request: Request,
        /// How it goes on as JSON, one object per line.
        json: bool,
    },
    /// Say whether a configuration file could be run.
    Check {
        /// The file.
        file: PathBuf,
        /// One JSON object, for programs.
        json: bool,
    },
    /// Help or version, asked for: to be printed.
    Help(clap::Error),
    /// A text, asked for: to be printed.
    Show(StyledStr),
    /// Write the man pages, below this directory or where they usually are.
    Man(Option<PathBuf>),
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which one")]
struct TargetWords {
    /// The primary of this name, when several run
    #[arg(long, value_name = "NAME", value_parser = config::name)]
    name: Option<String>,

    /// The primary whose control socket is here
    #[arg(long, value_name = "PATH", conflicts_with = "name", value_parser = values::socket_path())]
    control: Option<PathBuf>,
}

/// Whom a command asks to change something, and how it tells what comes of it.
#[derive(Debug, clap::Args)]
struct Asking {
    /// How it goes on as JSON for programs, one object per line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: TargetWords,
}

impl Asking {
    fn that(self, request: Request) -> Action {
        Action::Change {
            target: self.target.into(),
            request,
            json: self.json,
        }
    }
}

impl From<TargetWords> for Target {
    fn from(words: TargetWords) -> Self {
        match (words.name, words.control) {
            (Some(name), _) => Self::Named(name),
            (_, Some(path)) => Self::At(path),
            (None, None) => Self::Only,
        }
    }
}

const ABOUT: &str = "\
Puts an existing server on every core, behind one port, without changing it.

One process, the primary, accepts connections and hands each one to the next of N copies of the server; \
the connection then belongs to that copy alone.";

const BRIEF: &str = "\
Examples:
  forkfront run -- node server.js      one copy per core, on its own port
  forkfront status                     what runs, and how it is doing
  forkfront reload                     new copies for old, no connection lost
  forkfront stop                       finish what is open, then end

More: forkfront --help, forkfront help TOPIC";

const EXAMPLES: &str = "\
Examples:
  forkfront run -- node server.js           one copy per core, on its own port
  forkfront run -n 4 -- python3 app.py      four copies
  forkfront run -l 80=8080 -- ruby app.rb   clients use 80, the server 8080
  forkfront proxy -l 80 --to 10.0.0.1:80    to a server elsewhere
  forkfront status                          what runs, and how it is doing
  forkfront logs -f                         what the copies print
  forkfront reload                          new copies for old, nothing lost
  forkfront stop                            finish what is open, then end

Exit codes: 0 done, 1 failed, 2 not asked properly, 3 no running primary found.";

#[derive(Debug, Parser)]
#[command(
    name = "forkfront",
    version,
    about = "Puts an existing server on every core, behind one port, without changing it",
    long_about = ABOUT,
    after_help = BRIEF,
    after_long_help = EXAMPLES,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_required = true
)]
struct Words {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Run a server on every core, behind one port
    #[command(long_about = run::LONG, after_help = run::EXAMPLES)]
    Run(Box<run::RunWords>),
    /// Run a built-in server, whose page shows which worker served it
    #[command(long_about = demo::LONG)]
    Demo(demo::DemoWords),
    /// Lead connections on to servers elsewhere
    #[command(long_about = proxy::LONG, after_help = proxy::EXAMPLES)]
    Proxy(Box<proxy::ProxyWords>),
    #[command(name = proxy::WORKER, hide = true)]
    ProxyWorker { address: SocketAddr },
    #[command(name = demo::WORKER, hide = true)]
    DemoWorker { address: SocketAddr },
    /// Show what runs and how it is doing
    #[command(after_help = "\
Examples:
  forkfront status
  forkfront status --name 8080
  forkfront status --json | jq '.slots[].dealt'")]
    Status {
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetWords,
    },
    /// Show it live, and act on it with a key
    #[command(long_about = top::LONG, after_help = top::EXAMPLES)]
    Top(top::TopWords),
    /// Show what the workers and the primary have printed
    #[command(long_about = logs::LONG, after_help = logs::EXAMPLES)]
    Logs(logs::LogsWords),
    /// Show what Prometheus scrapes: all that is counted, as text
    #[command(after_help = "\
The same text is served over HTTP with 'forkfront run --metrics 9100', at http://127.0.0.1:9100/metrics.

Examples:
  forkfront metrics
  forkfront metrics --name 8080 | grep queue_wait")]
    Metrics {
        #[command(flatten)]
        target: TargetWords,
    },
    /// Say whether a configuration file could be run, or what is wrong
    #[command(long_about = "\
Say whether a configuration file could be run, and what is wrong with it.

It reads the file as `run --config` and a reload would, and looks whether its users, directories and \
programs are there; it starts nothing and listens nowhere. What is wrong is said with its place, \
FILE:LINE:COLUMN, and the exit code is 1.")]
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Change(change::Change),
    /// Change the backends of a running proxy
    #[command(long_about = backend::LONG, after_help = backend::EXAMPLES)]
    Backend(backend::BackendWords),
    /// Take nothing new, finish what is open, end the workers
    #[command(long_about = "\
Take nothing new, finish what is open, end the workers.

It waits until all is done and says how it goes on. Open connections have the --drain-timeout of `run` \
to end, then the workers get SIGTERM, and after --grace SIGKILL.")]
    Stop {
        #[command(flatten)]
        asking: Asking,
    },
    /// Tell about a command, an option or a topic
    #[command(long_about = help::LONG, after_help = "\
Examples:
  forkfront help
  forkfront help sticky
  forkfront help run
  forkfront help --max-memory")]
    Help(help::HelpWords),
    /// Print a script by which a shell completes commands and values
    #[command(alias = "completion", long_about = completions::LONG, after_help = completions::EXAMPLES)]
    Completions {
        /// The shell
        shell: completions::Shell,
    },
    /// Write the man pages
    #[command(long_about = man::LONG, after_help = man::EXAMPLES)]
    Man {
        /// Where to
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// Reads the words of a command line, program name first.
///
/// # Errors
/// Usage: words that cannot be meant. Failed: a user that does not exist, or no right to become it.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Action> {
    let words: Vec<OsString> = words.into_iter().collect();
    let verb = words.get(1).and_then(|verb| verb.to_str());
    let is_brief = !words.iter().any(|word| word == "--help");
    let words = groups::shown()
        .try_get_matches_from(&words)
        .and_then(|matches| Words::from_arg_matches(&matches));
    let words = match words {
        Ok(words) => words,
        Err(error) if error.kind() == ErrorKind::DisplayHelp && is_brief => {
            let brief = verb.and_then(groups::brief);
            return Ok(brief.map_or(Action::Help(error), Action::Show));
        }
        Err(error) if !error.use_stderr() => return Ok(Action::Help(error)),
        Err(error) => return Err(usage::sentence(&error, verb)),
    };
    Ok(match words.verb {
        Verb::Run(words) => Action::Run(Box::new(words.into_config()?)),
        Verb::Demo(words) => Action::Demo(Box::new(words.into_config()?)),
        Verb::Proxy(words) => Action::Proxy(Box::new(words.into_config()?)),
        Verb::ProxyWorker { address } => Action::ProxyWorker(address),
        Verb::DemoWorker { address } => Action::DemoWorker(address),
        Verb::Status { json, target } => Action::Status {
            target: target.into(),
            json,
        },
        Verb::Top(words) => Action::Top {
            target: words.target.into(),
            interval: words.interval,
            once: words.once,
        },
        Verb::Logs(words) => {
            let (target, request, json) = words.into_request();
            Action::Logs {
                target,
                request,
                json,
            }
        }
        Verb::Metrics { target } => Action::Metrics(target.into()),
        Verb::Check { file, json } => Action::Check { file, json },
        Verb::Change(change) => {
            let (asking, request) = change.into_request()?;
            asking.that(request)
        }
        Verb::Backend(words) => words.into_action(),
        Verb::Stop { asking } => asking.that(Request::Stop),
        Verb::Help(words) => Action::Show(words.text()?),
        Verb::Completions { shell } => Action::Show(completions::script(shell)?.into()),
        Verb::Man { directory } => Action::Man(directory),
    })
}
