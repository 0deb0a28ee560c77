//! The words of the commands that change a running primary: each is one request, and waits for its end.

use std::path::PathBuf;

use super::Asking;
use crate::config;
use crate::error::{Error, Result};
use crate::protocol::{Request, Setting, Size, SlotRef};

/// What holds for all of them.
const WAITS: &str = "\
The command waits until that is done, and says how it goes on. Ctrl-C ends the command only: what was begun \
goes on, and `status` shows it. One such change is made at a time, and the next one waits; a stop does not.

Exit codes: 0 done; 1 not done, with the reason; 2 not asked properly; 3 no running primary found.";

/// One of the commands, with its words.
#[derive(Debug, clap::Subcommand)]
pub enum Change {
    /// Renew the workers, slot by slot; old ones finish what they have
    #[command(long_about = format!("{RELOAD}\n\n{WAITS}"), after_help = "\
Examples:
  forkfront reload                    after a deploy
  forkfront reload --app web          only this app of several
  forkfront reload --changes-only     after an edit of the configuration file")]
    Reload {
        /// Renew only this app, of several
        #[arg(long, value_name = "NAME", value_parser = config::name)]
        app: Option<String>,

        /// Apply the configuration file, and renew only the apps that need it
        #[arg(long)]
        changes_only: bool,

        #[command(flatten)]
        asking: Asking,
    },
    /// Renew the worker of one slot; the old one finishes what it has
    #[command(long_about = format!("{RESTART}\n\n{WAITS}"), after_help = "\
Examples:
  forkfront restart 2
  forkfront restart web:2             slot 2 of the app 'web', of several apps")]
    Restart {
        /// Number of the slot, as in `status`; where several apps run, behind the app's name: web:2
        #[arg(allow_negative_numbers = true)]
        slot: SlotRef,
        #[command(flatten)]
        asking: Asking,
    },
    /// Change the number of workers
    #[command(long_about = format!("{SCALE}\n\n{WAITS}"), after_help = "\
Examples:
  forkfront scale 4
  forkfront scale +2
  forkfront scale -1 --app web        one less in the app 'web', of several apps")]
    Scale {
        /// So many, or so many more or less: 4, +2, -1
        #[arg(value_name = "N", allow_negative_numbers = true)]
        to: Size,

        /// The app that is meant, of several
        #[arg(long, value_name = "NAME", value_parser = config::name)]
        app: Option<String>,

        #[command(flatten)]
        asking: Asking,
    },
    /// Deal nothing more to a slot, and wait until nothing is open there
    #[command(long_about = format!("{DRAIN}\n\n{WAITS}"), after_help = "\
Examples:
  forkfront drain 2 && gdb -p $(forkfront status --json | jq '.slots[2].pid')
  forkfront resume 2")]
    Drain {
        /// Number of the slot, as in `status`; where several apps run, behind the app's name: web:2
        #[arg(allow_negative_numbers = true)]
        slot: SlotRef,
        #[command(flatten)]
        asking: Asking,
    },
    /// Deal to a drained slot again
    #[command(long_about = format!("{RESUME}\n\n{WAITS}"), after_help = "\
Examples:
  forkfront resume 2
  forkfront resume web:2              slot 2 of the app 'web', of several apps")]
    Resume {
        /// Number of the slot, as in `status`; where several apps run, behind the app's name: web:2
        #[arg(allow_negative_numbers = true)]
        slot: SlotRef,
        #[command(flatten)]
        asking: Asking,
    },
    /// Change a setting: balance, sticky, weight or log-level
    #[command(long_about = format!("{SET}\n\n{WAITS}"), after_help = "\
Examples:
  forkfront set balance least-connections
  forkfront set sticky cookie:session
  forkfront set sticky off
  forkfront set weight 2=50           slot 2 gets half of what the others get
  forkfront set weight web:2=50       slot 2 of the app 'web', of several apps
  forkfront set log-level debug")]
    Set {
        /// What
        #[arg(value_parser = Setting::KEYS.map(|(key, _)| key))]
        key: String,

        /// To what: the value as it is written behind the option of `run`; SLOT=N for a weight
        #[arg(allow_hyphen_values = true)]
        value: String,

        /// The app that is meant, of several
        #[arg(long, value_name = "NAME", value_parser = config::name)]
        app: Option<String>,

        #[command(flatten)]
        asking: Asking,
    },
    /// Replace the primary by a new version of it; no connection is lost
    #[command(long_about = format!("{UPGRADE}\n\n{WAITS}"), after_help = "\
Examples:
  forkfront upgrade                               after the installed file was replaced
  forkfront upgrade --binary ./target/release/forkfront")]
    Upgrade {
        /// The new executable [default: what is now at the path that the primary was started from]
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,

        #[command(flatten)]
        asking: Asking,
    },
}

const RELOAD: &str = "\
Renew the workers, slot by slot; old ones finish what they have.

The configuration file, if there is one, is read again first; one with a mistake in it changes nothing. Then, \
for each slot (--reload-parallel of `run`: for so many at a time):

  1. a new worker is started beside the old one, which goes on serving
  2. when the new one listens, the slot deals to it
  3. what the old one was dealt and had not taken is dealt again
  4. the old one finishes what is open (--drain-timeout), gets SIGTERM, and after --grace SIGKILL

If a new worker ends or does not listen in time (--ready-timeout), the reload ends there: the new worker is \
removed, the old ones that are left go on, and you are told which slot it was, why, and what it printed last.

It is done when new workers serve all slots. Old ones may still be finishing: `status` shows them.

The signals HUP and USR2 do the same; USR2 does not read the file.";

const RESTART: &str = "\
Renew the worker of one slot; the old one finishes what it has.

A new worker is started beside the one that serves. When it listens, the slot deals to it, what the former \
one had not taken is dealt again, and that one finishes what is open and ends. If the new one ends or does \
not listen in time, the former one goes on. A slot whose worker has failed for good is tried again.";

const SCALE: &str = "\
Change the number of workers.

More: new slots get the next numbers, and it is done when their workers listen. If one ends or does not \
listen in time, you are told why; those that listen stay.

Less: the slots with the highest numbers get nothing more, what their workers had not taken is dealt to \
others, and these finish what is open (--drain-timeout of `run`), get SIGTERM, and after --grace SIGKILL.

With one app, the signals TTIN and TTOU are one more and one less. The next start begins with -n or the file again.";

const DRAIN: &str = "\
Deal nothing more to a slot, and wait until nothing is open there.

The slot's worker lives on and finishes what it has; what it was dealt and had not taken is dealt to others. \
With nothing open, or after the --drain-timeout of `run` with the number of those still open (exit code 1), \
the command ends. The slot stays drained, whoever its worker is, until `resume`.";

const RESUME: &str = "\
Deal to a drained slot again.";

const SET: &str = "\
Change a setting of the running primary, for all that comes from now on: no worker is restarted.

  balance POLICY      as --balance of `run`; to or from kernel takes a restart
  sticky KEY          as --sticky of `run`; off: none. With another KEY clients change their slots;
                      --steal-after follows with its usual value, unless it was given another
  weight SLOT=N       1 to 1000; 100 is usual, 50 gets half of that
  log-level LEVEL     error, warn, info, debug or trace

It holds until the next start, or until a reload finds that the configuration file says otherwise than it \
did; a log level until a reload reads the file.";

const UPGRADE: &str = "\
Replace the primary by a new version of it; no connection is lost.

  1. the new executable, started on the side, must say that it understands the state of this primary
  2. the primary becomes the new executable (execve) and keeps its pid, listening sockets, workers, control \
socket and counters
  3. this command is answered by the new version

If the new executable cannot be started or does not understand the state, nothing is changed and you are \
told why. Workers are not touched; `reload` renews them.";

impl Change {
    /// What is asked, and of whom.
    pub fn into_request(self) -> Result<(Asking, Request)> {
        Ok(match self {
            Self::Reload {
                app,
                changes_only,
                asking,
            } => (asking, Request::Reload { app, changes_only }),
            Self::Restart { slot, asking } => (asking, Request::Restart { slot }),
            Self::Scale { to, app, asking } => (asking, Request::Scale { app, to }),
            Self::Drain { slot, asking } => (asking, Request::Drain { slot }),
            Self::Resume { slot, asking } => (asking, Request::Resume { slot }),
            Self::Set {
                key,
                value,
                app,
                asking,
            } => (asking, set(&key, &value, app)?),
            Self::Upgrade { binary, asking } => {
                let binary = binary.map(|path| absolute(&path)).transpose()?;
                (asking, Request::Upgrade { binary })
            }
        })
    }
}

/// The setting, with its app where it belongs.
fn set(key: &str, value: &str, app: Option<String>) -> Result<Request> {
    let usage = |sentence: String| Error::usage(format!("{sentence} (see 'forkfront set --help')"));
    let setting = Setting::read(key, value)
        .map_err(|why| usage(format!("'{value}' cannot be given to '{key}': {why}")))?;
    match (setting, app) {
        (Setting::LogLevel(_), Some(_)) => Err(usage(
            "--app has no place here: the log level is one for the whole primary".into(),
        )),
        (Setting::Weight { slot, weight }, Some(app)) => {
            if slot.app.as_ref().is_some_and(|other| *other != app) {
                return Err(usage(format!("'{slot}' is no slot of --app {app}")));
            }
            let slot = SlotRef {
                app: Some(app),
                ..slot
            };
            let setting = Setting::Weight { slot, weight };
            Ok(Request::Set { app: None, setting })
        }
        (setting, app) => Ok(Request::Set { app, setting }),
    }
}

/// The primary has a working directory of its own.
fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    let shown = path.display();
    let path = std::path::absolute(path)
        .map_err(|error| Error::io(format!("cannot find '{shown}'"), &error))?;
    if path.to_str().is_none() {
        return Err(Error::usage(format!("the path '{shown}' is no UTF-8 text")));
    }
    Ok(path)
}
