//! In a container: PID 1, a root that is read-only, nothing writable that programs may be loaded from, a user
//! without a name. `tests/programs/contain` makes what an engine would make.

mod common;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use common::{
    Load, Outcome, Site, ask, children_in_state_z, eventually, marked, members_of, send, server,
};
use nix::sys::signal::Signal;

/// Whoever is not root, or may not make namespaces, can contain nobody: said, since nothing is tested then.
fn can_contain() -> bool {
    let tried = Command::new("unshare")
        .args([
            "--mount", "--pid", "--uts", "--ipc", "--fork", "mount", "-t", "tmpfs", "t", "/mnt",
        ])
        .output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!(
            "not root, or namespaces are forbidden: nothing can be contained here, so nothing is tested"
        );
    }
    can
}

/// A program in a container of its own, killed when dropped.
struct Container<'a> {
    site: &'a Site,
    engine: Child,
}

impl<'a> Container<'a> {
    /// `how` as `contain` takes it; then the program, which is PID 1, and its words.
    #[track_caller]
    fn run(site: &'a Site, how: &[&str], program: &[&str]) -> Self {
        let files = site.file("app");
        std::fs::create_dir_all(&files).expect("made");
        std::fs::copy(env!("CARGO_BIN_EXE_forkfront"), files.join("forkfront")).expect("copied");
        std::fs::copy(server("http.js"), files.join("http.js")).expect("copied");
        for path in [
            files.clone(),
            files.join("forkfront"),
            files.join("http.js"),
        ] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
        let script = format!("{}/tests/programs/contain", env!("CARGO_MANIFEST_DIR"));
        let engine = Command::new("bash")
            .arg(script)
            .args(how)
            .arg(files)
            .arg("env")
            .args(
                site.environment()
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .args(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash");
        Self { site, engine }
    }

    /// `n` nodes; `before` is what the shell of each does first.
    #[track_caller]
    fn nodes(site: &'a Site, how: &[&str], before: &str) -> Self {
        let script = format!("{before} exec node /app/http.js");
        let this = Self::run(
            site,
            how,
            &["forkfront", "run", "-n", "2", "--", "sh", "-c", &script],
        );
        eventually("it serves", || answers(site, 1).then_some(()));
        this
    }

    /// PID 1, as we see it: the child of unshare.
    #[track_caller]
    fn pid_1(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.engine.id());
        let children = std::fs::read_to_string(path).expect("children");
        children.trim().parse().expect("one child")
    }

    /// Runs a program in there, as the same user.
    fn inside(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &self.pid_1().to_string(),
            "-m",
            "-p",
            "-r",
            "-S",
            "12345",
            "-G",
            "12345",
        ]);
        command
            .args(["env", "-i", "PATH=/app:/usr/bin:/bin"])
            .args(words);
        command.output().expect("nsenter")
    }

    /// Waits for its end: the exit code and what it has said.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        let status = eventually("it ends", || self.engine.try_wait().expect("wait"));
        let mut text = String::new();
        for from in [
            self.engine
                .stdout
                .take()
                .map(|from| Box::new(from) as Box<dyn Read>),
            self.engine
                .stderr
                .take()
                .map(|from| Box::new(from) as Box<dyn Read>),
        ] {
            let _ = from.expect("piped").read_to_string(&mut text);
        }
        eventually("nothing is left of it", || {
            marked(&self.site.mark).is_empty().then_some(())
        });
        (status.code(), text)
    }

    #[track_caller]
    fn stop(self) -> String {
        send(self.pid_1(), Signal::SIGTERM);
        let (code, text) = self.end();
        assert_eq!(code, Some(0), "{text}");
        text
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.engine.kill();
        let _ = self.engine.wait();
    }
}

fn answers(site: &Site, id: u64) -> bool {
    matches!(ask(site.to(), id), Outcome::Ok(_))
}

#[test]
fn as_pid_1_it_serves_is_healthy_reaps_and_ends_with_0() {
    if !can_contain() {
        return;
    }
    let site = Site::new();
    // Each worker leaves children behind whose parent has gone: PID 1's to collect.
    let container = Container::nodes(&site, &["--tmp"], "(sleep 0.1 & true); (true & true);");
    let pid_1 = container.pid_1();
    let healthy = container.inside(&["forkfront", "status"]);
    assert!(healthy.status.success(), "{healthy:?}");
    let load = Load::start(site.to(), 4, 100, common::DEADLINE);
    load.proceed(100);
    let reloaded = container.inside(&["forkfront", "reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    load.proceed(100);
    load.stop().clean();
    eventually("all orphans are collected", || {
        children_in_state_z(pid_1).is_empty().then_some(())
    });
    let text = container.stop();
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn where_nothing_is_writable_the_shim_is_in_memory() {
    if !can_contain() {
        return;
    }
    let site = Site::new();
    let container = Container::nodes(&site, &[], "");
    let healthy = container.inside(&["forkfront", "status"]);
    assert!(healthy.status.success(), "found in /dev/shm: {healthy:?}");
    // One more image of the primary has it too.
    for verb in ["upgrade", "reload"] {
        let done = container.inside(&["forkfront", verb]);
        assert!(done.status.success(), "{verb}: {done:?}");
        assert!(answers(&site, 2));
    }
    let first = members_of(container.pid_1());
    let text = container.stop();
    assert!(!text.contains("cannot be preloaded"), "{first:?}: {text}");
}

#[test]
fn a_command_that_cannot_work_ends_it_with_1_and_says_why() {
    if !can_contain() {
        return;
    }
    let site = Site::new();
    let failing = [
        "forkfront",
        "run",
        "--",
        "sh",
        "-c",
        "echo no database; exit 7",
    ];
    let (code, text) = Container::run(&site, &["--tmp"], &failing).end();
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("exit code 7") && text.contains("no database"),
        "{text}"
    );
    let (code, text) =
        Container::run(&site, &["--tmp"], &["forkfront", "run", "--", "nowhere"]).end();
    assert_eq!(code, Some(1), "{text}");
    let (code, _) =
        Container::run(&site, &["--tmp"], &["forkfront", "run", "--no-such-option"]).end();
    assert_eq!(code, Some(2));
}
