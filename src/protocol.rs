//! What the command client and the primary say to each other over the control socket: one JSON line asks,
//! JSON lines answer, the last of them is `ok` or `error`.
//!
//! ```text
//! > {"verb":"stop"}
//! < {"progress":"waiting for 3 open connections"}
//! < {"ok":null}
//! ```

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

/// The longest line that asks, in bytes, newline included.
pub const REQUEST_MAX: usize = 4096;

/// The longest line that answers: the status of as many slots as there can be, with room to spare.
pub const REPLY_MAX: usize = 16 * 1024 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The [`Status`](crate::status::Status), as it is now.
    Status,
    /// A graceful stop. `ok` comes when all workers have gone.
    Stop,
}

/// One line of the answer; `T` is what was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply<T = serde_json::Value> {
    /// How it goes on, for people; any number of them, none the last.
    Progress(String),
    /// Done; with the object that was asked for, or null.
    Ok(T),
    /// Not done, in one sentence.
    Error(String),
}

/// In a run directory, the directory of one primary: this, then its pid.
pub const INSTANCE_PREFIX: &str = "w.";

/// In that directory, the control socket of a primary that has no name yet, since no port is known.
pub const UNNAMED_SOCKET: &str = "control.sock";

/// Directories in which a primary of this user and environment has its control socket, `NAME.sock`: the
/// usual one first, then one for where that cannot be made.
pub fn run_directories() -> Vec<PathBuf> {
    let uid = geteuid();
    let fallback = PathBuf::from(format!("/tmp/forkfront-{uid}"));
    // Root has no use for the runtime directory: it may be another user's, kept by su or sudo.
    let usual = if uid.is_root() {
        Some(PathBuf::from("/run/forkfront"))
    } else {
        std::env::var_os("XDG_RUNTIME_DIR")
            .map(|directory| Path::new(&directory).join("forkfront"))
            .filter(|directory| directory.is_absolute())
    };
    usual.into_iter().chain([fallback]).collect()
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
    fn lines_are_as_promised() {
        let line = |value: &Reply| serde_json::to_string(value).unwrap();
        let ask = |text| serde_json::from_str::<Request>(text).ok();
        assert_eq!(
            serde_json::to_string(&Request::Status).unwrap(),
            r#"{"verb":"status"}"#
        );
        assert_eq!(ask(r#"{"verb":"stop"}"#), Some(Request::Stop));
        for garbage in ["", "{}", "stop", r#"{"verb":"STOP"}"#, r#"{"verb":null}"#] {
            assert_eq!(ask(garbage), None, "{garbage}");
        }
        assert_eq!(line(&Reply::Progress("x".into())), r#"{"progress":"x"}"#);
        assert_eq!(line(&Reply::Ok(().into())), r#"{"ok":null}"#);
        assert_eq!(line(&Reply::Error("no".into())), r#"{"error":"no"}"#);
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
