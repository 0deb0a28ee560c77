//! A directory of one test, what is compiled in it, and the look at a program.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use forkfront::primary::preflight::{Program, resolve};

/// Listens on the port given, then waits for its end.
pub const LISTENER_C: &str = r#"
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc > 1) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1)) return 1;
    }
    for (;;) pause();
}
"#;

pub const LISTENER_GO: &str = r#"
package main
import ("net"; "os"; "time")
func main() {
    if _, err := net.Listen("tcp", "127.0.0.1:" + os.Args[1]); err != nil { os.Exit(1) }
    time.Sleep(time.Hour)
}
"#;

/// A directory of one test.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("forkfront-preflight-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Compiles the C listener.
    pub fn gcc(&self, name: &str, options: &[&str]) -> PathBuf {
        let source = self.file(&format!("{name}.c"), LISTENER_C, 0o644);
        let program = self.0.join(name);
        let done = Command::new("gcc")
            .args(options)
            .arg("-o")
            .args([&program, &source])
            .status();
        assert!(done.unwrap().success(), "gcc {options:?}");
        program
    }

    pub fn go(&self, name: &str, options: &[&str]) -> PathBuf {
        let source = self.file(&format!("{name}.go"), LISTENER_GO, 0o644);
        let program = self.0.join(name);
        let done = Command::new("go")
            .args(["build"])
            .args(options)
            .arg("-o")
            .args([&program, &source])
            .env("GO111MODULE", "off")
            .env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go"))
            .status();
        assert!(done.unwrap().success(), "go build {options:?}");
        program
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn words(words: &[&OsStr]) -> Vec<OsString> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub fn look(program: impl AsRef<OsStr>) -> Result<Program, String> {
    resolve(
        &words(&[program.as_ref()]),
        None,
        Some(OsStr::new("/usr/bin:/bin")),
        None,
    )
    .map_err(|error| error.to_string())
}

#[track_caller]
pub fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
}
