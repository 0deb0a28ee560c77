//! Workers that run and do not join.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forkfront::config::Listen;
use forkfront::primary::preflight::{diagnose, diagnose_early};
use forkfront::sys::process::{Child, Launch, session_members, signal_group, try_wait};
use forkfront::sys::signals::Signal;

use crate::place::{Place, assert_has, look};

/// A worker, ended with its group when it goes out of scope.
struct Worker(Child);

impl Worker {
    fn start(words: &[&OsStr], preload: Option<&Path>) -> Self {
        let mut env: Vec<(OsString, OsString)> = vec![("PATH".into(), "/usr/bin:/bin".into())];
        env.extend(preload.map(|shim| ("LD_PRELOAD".into(), shim.into())));
        let launch = Launch {
            program: words[0].into(),
            args: words.iter().map(|&word| word.to_owned()).collect(),
            env,
            cwd: None,
            identity: None,
            nofile: None,
            cpu: None,
            death_signal: None,
        };
        Self(launch.start().unwrap())
    }

    /// The first answer that `ask` gives about it.
    #[track_caller]
    fn ask(&self, ask: impl Fn(u32) -> Option<String>) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(answer) = ask(self.0.pid) {
                return answer;
            }
            assert!(Instant::now() < deadline, "no answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = signal_group(self.0.pid, Signal::SIGKILL);
        while try_wait(self.0.pidfd.as_fd()).is_ok_and(|exit| exit.is_none()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A port below those that the kernel gives out, free just now, and no other test's.
fn fixed_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (turn % 22_000) as u16;
        if std::net::TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

fn listen(words: &str) -> Vec<Listen> {
    vec![words.parse().unwrap()]
}

/// A library under the shim's name, which does nothing.
fn idle_shim(place: &Place) -> PathBuf {
    let source = place.file("idle.c", "int forkfront_idle;\n", 0o644);
    let library = place.0.join("shim-0123456789abcdef.so");
    let done = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(done.unwrap().success());
    library
}

#[test]
fn a_server_on_another_port_is_told_what_to_say() {
    let place = Place::new();
    let (shim, program) = (idle_shim(&place), place.gcc("server", &[]));
    let port = fixed_port();
    let worker = Worker::start(
        &[program.as_os_str(), OsStr::new(&port.to_string())],
        Some(&shim),
    );
    let text = worker.ask(|pid| diagnose(pid, &listen("9")).filter(|text| text.contains("itself")));
    let pid = worker.0.pid;
    assert_eq!(
        text,
        format!(
            "server (pid {pid}) listens on port {port} by itself, but -l shares port 9: say -l 9={port}"
        )
    );
    assert_has(
        &diagnose(pid, &listen("127.0.0.1:80=9")).unwrap(),
        &[
            "-l 127.0.0.1:80=9 shares its port 9",
            &format!("say -l 127.0.0.1:80={port}"),
        ],
    );
    // It may yet bind the port of the -l.
    assert_eq!(diagnose_early(pid, &listen("9")), None);
    // On the shared port itself, it has gone past the library.
    let shared = listen(&port.to_string());
    for text in [diagnose_early(pid, &shared), diagnose_early(pid, &[])] {
        assert_has(
            &text.unwrap(),
            &["outside forkfront's control", "C library"],
        );
    }
}

#[test]
fn static_and_go_servers_are_named_once_they_listen() {
    let place = Place::new();
    let programs = [
        (place.gcc("fixed", &["-static"]), "linked statically"),
        (place.go("go", &[]), "Go program"),
    ];
    for (program, why) in &programs {
        let port = fixed_port().to_string();
        let worker = Worker::start(&[program.as_os_str(), OsStr::new(&port)], None);
        let text = worker.ask(|pid| diagnose_early(pid, &listen("9")));
        assert_has(&text, &["cannot be a worker", why]);
        let suspicion = look(program).unwrap().suspicion.unwrap();
        assert!(suspicion.holds(worker.0.pid));
    }
}

#[test]
fn a_suspicion_falls_when_a_program_without_one_runs() {
    let place = Place::new();
    let (shim, fixed) = (idle_shim(&place), place.gcc("fixed", &["-static"]));
    let program = place.gcc("server", &[]);
    let suspicion = look(&fixed).unwrap().suspicion.unwrap();
    let script = format!("{} & exec {}", program.display(), program.display());
    let words = ["/bin/sh", "-c", &script].map(OsStr::new);
    let worker = Worker::start(&words, Some(&shim));
    worker.ask(|pid| (session_members(pid).len() == 2).then(String::new));
    worker.ask(|pid| (!suspicion.holds(pid)).then(String::new));
    let text = worker.ask(|pid| {
        diagnose(pid, &listen("9")).filter(|text| text.matches("server (pid").count() == 2)
    });
    assert_has(&text, &["has not listened on port 9"]);
    assert_has(
        &diagnose(worker.0.pid, &[]).unwrap(),
        &["has not listened on any fixed TCP port"],
    );
}

#[test]
fn a_lost_preload_is_named() {
    let place = Place::new();
    let (shim, program) = (idle_shim(&place), place.gcc("server", &[]));
    let words = [
        OsStr::new("/usr/bin/env"),
        OsStr::new("-i"),
        program.as_os_str(),
    ];
    let worker = Worker::start(&words, Some(&shim));
    let text = worker.ask(|pid| diagnose(pid, &[]).filter(|text| text.starts_with("server")));
    assert_has(&text, &["without forkfront's library", "env -i"]);
    let pid = worker.0.pid;
    drop(worker);
    assert_eq!(diagnose(pid, &[]), None);
}

#[test]
fn a_set_user_id_server_is_named_though_it_has_changed_its_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let program = place.gcc("server", &[]);
    chown(&program, Some(65_534), None).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let port = fixed_port().to_string();
    let shim = idle_shim(&place);
    let worker = Worker::start(&[program.as_os_str(), OsStr::new(&port)], Some(&shim));
    let text = worker.ask(|pid| diagnose_early(pid, &[]));
    assert_has(
        &text,
        &["cannot be a worker", "set-uid (it runs as user 65534)"],
    );
    assert!(
        look(&program)
            .unwrap()
            .suspicion
            .unwrap()
            .holds(worker.0.pid)
    );
}
