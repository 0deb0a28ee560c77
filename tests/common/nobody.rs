//! Another user, for what only another user can try.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// The uid and gid of `nobody`.
pub const NOBODY: u32 = 65534;

/// A command that runs as nobody, in `/`, by `setpriv`: for tests that run as root.
pub fn as_nobody<W: AsRef<OsStr>>(words: &[W]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            format!("--reuid={NOBODY}"),
            format!("--regid={NOBODY}"),
            "--clear-groups".to_owned(),
            "--".to_owned(),
        ])
        .args(words)
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Whether this test can be another user who runs `program` and reads `file`: it is root, and the way there is
/// open to all.
pub fn nobody_can_use(program: &str, file: &str) -> bool {
    let script = "command -v \"$0\" && test -r \"$1\"";
    nix::unistd::geteuid().is_root()
        && as_nobody(&["sh", "-c", script, program, file])
            .output()
            .is_ok_and(|done| done.status.success())
}
