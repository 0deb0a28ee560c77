//! Where a real primary keeps its sockets and the shim: as root and not, on file systems that refuse to execute,
//! under names that are too long or odd, after a death without a word (scenarios H4, K3, K5).

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::*;
use nix::sys::signal::Signal;

/// Nobody can run our binary and the node that runs the fixture.
fn nobody_can_run() -> bool {
    nobody_can_use(env!("CARGO_BIN_EXE_forkfront"), &server("http.js"))
        && nobody_can_use("node", "/dev/null")
}

/// A primary of another user, with `--name` only: it chooses the directory itself.
struct Other<'a> {
    site: &'a Site,
    runtime: Option<PathBuf>,
}

impl<'a> Other<'a> {
    fn with_runtime(site: &'a Site, directory: &Path) -> Self {
        let runtime = Some(directory.to_owned());
        Self { site, runtime }
    }

    fn command(&self, words: &[&str]) -> Command {
        let words = [&[env!("CARGO_BIN_EXE_forkfront")], words].concat();
        let mut command = as_nobody(&words);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("XDG_RUNTIME_DIR")
            .envs(self.site.environment());
        if let Some(runtime) = &self.runtime {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        command
    }

    fn start(&self, name: &str) -> Child {
        let server = server("http.js");
        let words = ["run", "--name", name, "-n", "1", "--", "node", &server];
        let child = self.command(&words).spawn().expect("started");
        eventually("it answers", || {
            let (code, said) = self.ask(&["status", "--json", "--name", name]);
            (code == Some(0) && said.contains("\"ready\"")).then_some(())
        });
        child
    }

    /// Exit code, and what was said on both streams.
    fn ask(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(words).output().expect("started");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    #[track_caller]
    fn stop(&self, name: &str, mut child: Child) {
        let (code, said) = self.ask(&["stop", "--name", name]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(child.wait().expect("ended").code(), Some(0));
    }
}

/// A directory that belongs to nobody, below the site's.
fn owned_by_nobody(site: &Site, name: &str) -> PathBuf {
    let path = site.file(name);
    std::fs::create_dir(&path).expect("made");
    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("given away");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("mode");
    path
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("there").count() == 0
}

#[test]
fn another_user_has_a_directory_of_its_own() {
    if !nobody_can_run() {
        return;
    }
    let site = Site::new();
    let name = format!("test-{}", site.mark);
    // An odd name does no harm: the shim goes where LD_PRELOAD can name it.
    for directory in ["runtime", "run: time"] {
        let runtime = owned_by_nobody(&site, directory);
        let other = Other::with_runtime(&site, &runtime);
        let child = other.start(&name);
        assert!(
            runtime
                .join("forkfront")
                .join(format!("{name}.sock"))
                .exists()
        );
        Crowd::gather(site.to(), 0..5).answers().all_answered(5);
        other.stop(&name, child);
        assert!(is_empty(&runtime), "left behind in {}", runtime.display());
    }
    // Without one, or with one that is somebody else's.
    let fallback = PathBuf::from(format!("/tmp/forkfront-{NOBODY}"));
    let foreign = site.file("foreign");
    std::fs::create_dir(&foreign).expect("made");
    for other in [
        Other {
            site: &site,
            runtime: None,
        },
        Other::with_runtime(&site, &foreign),
    ] {
        let child = other.start(&name);
        assert!(fallback.join(format!("{name}.sock")).exists());
        other.stop(&name, child);
        assert!(!fallback.join(format!("{name}.sock")).exists());
    }
}

#[test]
fn a_directory_too_deep_for_a_socket_is_one_sentence() {
    if !nobody_can_run() {
        return;
    }
    let site = Site::new();
    let deep = owned_by_nobody(&site, &"x".repeat(100));
    let other = Other::with_runtime(&site, &deep);
    let (code, said) = other.ask(&["run", "--", "node", &server("http.js")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("107") && said.contains("XDG_RUNTIME_DIR"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(is_empty(&deep));
}

#[test]
fn a_file_system_that_refuses_to_execute_is_gone_around() {
    if !nobody_can_run() {
        return;
    }
    let site = Site::new();
    let runtime = owned_by_nobody(&site, "noexec");
    let mount = |words: &[&str]| {
        let done = Command::new(words[0]).args(&words[1..]).output();
        done.is_ok_and(|done| done.status.success())
    };
    let path = runtime.display().to_string();
    let options = format!("noexec,nosuid,mode=700,uid={NOBODY}");
    if !mount(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &path]) {
        return;
    }
    let name = format!("test-{}", site.mark);
    let other = Other::with_runtime(&site, &runtime);
    let child = other.start(&name);
    let elsewhere = std::env::temp_dir().join(format!("forkfront-shim-{NOBODY}-{}", child.id()));
    let found = elsewhere.exists();
    Crowd::gather(site.to(), 0..5).answers().all_answered(5);
    other.stop(&name, child);
    let empty = is_empty(&runtime);
    assert!(mount(&["umount", &path]));
    assert!(found && !elsewhere.exists() && empty);
}

#[test]
fn workers_of_another_user_join() {
    if !nobody_can_run() {
        return;
    }
    let site = Site::new();
    let server = server("http.js");
    let words = ["run", "--user", "nobody", "-n", "2", "--", "node", &server];
    let balancer = Balancer::start(&site, &words);
    for pid in balancer.workers() {
        let owner = std::fs::metadata(format!("/proc/{pid}")).expect("alive");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), NOBODY);
    }
    Crowd::gather(site.to(), 0..20)
        .answers()
        .all_answered(20)
        .even(2, 10);
    balancer.finish();
}

#[test]
fn what_a_killed_primary_left_is_swept_by_the_next() {
    if !nobody_can_run() {
        return;
    }
    let site = Site::new();
    let runtime = owned_by_nobody(&site, "runtime");
    let base = runtime.join("forkfront");
    let other = Other::with_runtime(&site, &runtime);
    let mut killed = other.start("first");
    let instance = base.join(format!("w.{}", killed.id()));
    send(killed.id(), Signal::SIGKILL);
    killed.wait().expect("ended");
    assert!(instance.exists() && base.join("first.sock").exists());
    let (code, said) = other.ask(&["status", "--name", "first"]);
    assert_eq!(code, Some(3), "{said}");
    // The port is free as soon as the orphans have gone.
    eventually("the workers go", || {
        std::net::TcpListener::bind(site.to()).ok().map(drop)
    });
    let child = other.start("second");
    assert!(!instance.exists() && !base.join("first.sock").exists());
    other.stop("second", child);
    assert!(is_empty(&runtime));
}
