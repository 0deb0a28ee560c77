//! What the command client and the primary say to each other over the control socket: one JSON line asks,
//! JSON lines answer, the last of them is `ok` or `error`.
//!
//! ```text
//! > {"verb":"scale","to":"+2"}
//! < {"progress":"4 of 6 workers ready"}
//! < {"ok":{"message":"6 workers are ready"}}
//! ```

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

mod backend;
pub mod line;
mod logs;
mod setting;
mod size;
mod slot;
mod words;

pub use backend::BackendChange;
pub use logs::{LogAnswer, LogLine, LogsOf};
pub use setting::Setting;
pub use size::Size;
pub use slot::SlotRef;

/// The longest line that asks, in bytes, newline included.
pub const REQUEST_MAX: usize = 4096;

/// The longest line that answers: the status of as many slots as there can be, with room to spare.
pub const REPLY_MAX: usize = 16 * 1024 * 1024;

/// What is asked. An `app` that is not named is all of them, or the only one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Request {
    /// The [`Status`](crate::status::Status), as it is now. All others are answered with [`Done`], `stop`
    /// with null.
    Status,
    /// The text for Prometheus, as one string.
    Metrics,
    /// Read the configuration again and renew the workers.
    Reload {
        /// Only this app.
        #[serde(default)]
        app: Option<String>,
        /// Only the apps that must have new workers for what has changed.
        #[serde(default)]
        changes_only: bool,
    },
    /// Renew the worker of one slot.
    Restart {
        /// Which one.
        slot: SlotRef,
    },
    /// Change the number of slots.
    Scale {
        /// Of which app.
        #[serde(default)]
        app: Option<String>,
        /// To how many.
        to: Size,
    },
    /// Deal nothing more to a slot; `ok` comes when nothing is open there.
    Drain {
        /// Which one.
        slot: SlotRef,
    },
    /// Deal to a drained slot again.
    Resume {
        /// Which one.
        slot: SlotRef,
    },
    /// Change a setting until the next start or reload.
    Set {
        /// Of which app.
        #[serde(default)]
        app: Option<String>,
        /// What, and to what.
        #[serde(flatten)]
        setting: Setting,
    },
    /// Change the backends of a proxy until the next start or reload.
    Backend {
        /// Of which app.
        #[serde(default)]
        app: Option<String>,
        /// What.
        #[serde(flatten)]
        change: BackendChange,
    },
    /// Go on as another binary, or as the one at the same path anew.
    Upgrade {
        /// An absolute path.
        #[serde(default)]
        binary: Option<PathBuf>,
    },
    /// Lines of the log. Answered with [`LogAnswer`]s.
    Logs {
        /// Whose lines; all, if not said.
        #[serde(default)]
        of: Option<LogsOf>,
        /// Only what was printed since then, ms since 1970.
        #[serde(default)]
        since: Option<i64>,
        /// Only the last of them.
        #[serde(default)]
        lines: Option<usize>,
        /// And what is printed from now on, without end.
        #[serde(default)]
        follow: bool,
    },
    /// A graceful stop. `ok` comes when all workers have gone.
    Stop,
}

impl Request {
    /// Its name, as on the command line.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Metrics => "metrics",
            Self::Reload { .. } => "reload",
            Self::Restart { .. } => "restart",
            Self::Scale { .. } => "scale",
            Self::Drain { .. } => "drain",
            Self::Resume { .. } => "resume",
            Self::Set { .. } => "set",
            Self::Backend { .. } => "backend",
            Self::Upgrade { .. } => "upgrade",
            Self::Logs { .. } => "logs",
            Self::Stop => "stop",
        }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// One line for people.
    pub message: String,
}

impl Done {
    /// Says so.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// One line of the answer; `T` is what was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply<T = serde_json::Value> {
    /// How it goes on, for people; any number of them, none the last.
    Progress(String),
    /// Done; with the object that was asked for, or null.
    Ok(T),
    /// Not done, in one sentence; indented lines behind it tell more.
    Error(String),
}

/// In a run directory, the directory of one primary: this, then its pid.
pub const INSTANCE_PREFIX: &str = "w.";

/// In that directory, the control socket of a primary that has no name yet, since no port is known.
pub const UNNAMED_SOCKET: &str = "control.sock";

/// Directories in which a primary of this user and environment has its control socket, `NAME.sock`: the
/// usual one first, then those for where that cannot be made.
pub fn run_directories() -> Vec<PathBuf> {
    let uid = geteuid();
    // The last is writable in most containers whose root is not.
    let fallbacks = ["/tmp", "/dev/shm"].map(|at| Path::new(at).join(format!("forkfront-{uid}")));
    let named = |name| {
        let directory = std::env::var_os(name).map(PathBuf::from);
        directory.filter(|directory| directory.is_absolute())
    };
    // Root has no use for the runtime directory: it may be another user's, kept by su or sudo.
    let usual = if uid.is_root() {
        Some(PathBuf::from("/run/forkfront"))
    } else {
        let of_user = named("XDG_RUNTIME_DIR").map(|directory| directory.join("forkfront"));
        // A service has none of these, but may have one of its own: RuntimeDirectory= of systemd.exec(5).
        let first = |path: PathBuf| std::env::split_paths(&path).next();
        of_user.or_else(|| named("RUNTIME_DIRECTORY").and_then(first))
    };
    usual.into_iter().chain(fallbacks).collect()
}

/// Whether `name` can be a primary's: it becomes a file name.
pub fn is_valid_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(fits) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_promised() {
        let app = || Some("web".to_owned());
        let slot = |words: &str| words.parse().unwrap();
        let table = [
            (Request::Status, r#"{"verb":"status"}"#),
            (Request::Metrics, r#"{"verb":"metrics"}"#),
            (Request::Stop, r#"{"verb":"stop"}"#),
            (
                Request::Reload {
                    app: None,
                    changes_only: true,
                },
                r#"{"verb":"reload","app":null,"changes_only":true}"#,
            ),
            (
                Request::Restart { slot: slot("2") },
                r#"{"verb":"restart","slot":"2"}"#,
            ),
            (
                Request::Drain {
                    slot: slot("web:2"),
                },
                r#"{"verb":"drain","slot":"web:2"}"#,
            ),
            (
                Request::Scale {
                    app: app(),
                    to: Size::More(2),
                },
                r#"{"verb":"scale","app":"web","to":"+2"}"#,
            ),
            (
                Request::Set {
                    app: app(),
                    setting: Setting::Sticky(None),
                },
                r#"{"verb":"set","app":"web","key":"sticky","value":"off"}"#,
            ),
            (
                Request::Upgrade {
                    binary: Some("/new".into()),
                },
                r#"{"verb":"upgrade","binary":"/new"}"#,
            ),
        ];
        for (request, line) in table {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            let verb = format!(r#""verb":"{}""#, request.verb());
            assert!(line.contains(&verb), "{line}");
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        }
    }

    #[test]
    fn what_may_be_left_out() {
        let ask = |text| serde_json::from_str::<Request>(text).ok();
        let reload = Request::Reload {
            app: None,
            changes_only: false,
        };
        assert_eq!(ask(r#"{"verb":"reload"}"#), Some(reload));
        let upgrade = Request::Upgrade { binary: None };
        assert_eq!(ask(r#"{"verb":"upgrade"}"#), Some(upgrade));
        for garbage in [
            "",
            "{}",
            "stop",
            r#"{"verb":"STOP"}"#,
            r#"{"verb":null}"#,
            r#"{"verb":"scale"}"#,
            r#"{"verb":"scale","to":4}"#,
            r#"{"verb":"drain","slot":"-1"}"#,
            r#"{"verb":"set","key":"balance"}"#,
            r#"{"verb":"set","key":"balance","value":"random"}"#,
        ] {
            assert_eq!(ask(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn replies_are_as_promised() {
        let line = |value: &Reply| serde_json::to_string(value).unwrap();
        assert_eq!(line(&Reply::Progress("x".into())), r#"{"progress":"x"}"#);
        assert_eq!(line(&Reply::Ok(().into())), r#"{"ok":null}"#);
        assert_eq!(line(&Reply::Error("no".into())), r#"{"error":"no"}"#);
        let done = Reply::Ok(Done::new("6 workers are ready"));
        assert_eq!(
            serde_json::to_string(&done).unwrap(),
            r#"{"ok":{"message":"6 workers are ready"}}"#
        );
    }

    #[test]
    fn a_name_is_a_plain_file_name() {
        let longest = "x".repeat(64);
        for good in ["8080", "web", "a.b-c_1", "w.1", &longest] {
            assert!(is_valid_name(good), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", "a/b", "-n", "a b", "\u{e4}", "a\0", &long] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
