//! What `preflight` finds in real program files and in real processes. Needs gcc (with a static libc) and go.
#![allow(clippy::unwrap_used)]

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forkfront::config::Listen;
use forkfront::primary::preflight::{Program, diagnose, diagnose_early, resolve};
use forkfront::sys::process::{Child, Launch, session_members, signal_group, try_wait};
use forkfront::sys::signals::Signal;

/// Listens on the port given, then waits for its end.
const LISTENER_C: &str = r#"
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

const LISTENER_GO: &str = r#"
package main
import ("net"; "os"; "time")
func main() {
    if _, err := net.Listen("tcp", "127.0.0.1:" + os.Args[1]); err != nil { os.Exit(1) }
    time.Sleep(time.Hour)
}
"#;

/// A directory of one test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("forkfront-preflight-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Compiles the C listener.
    fn gcc(&self, name: &str, options: &[&str]) -> PathBuf {
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

    fn go(&self, name: &str, options: &[&str]) -> PathBuf {
        let source = self.file(&format!("{name}.go"), LISTENER_GO, 0o644);
        let program = self.0.join(name);
        let done = Command::new("go")
            .args(["build"])
            .args(options)
            .arg("-o")
            .args([&program, &source])
            .env("GO111MODULE", "off")
            .env("GOCACHE", std::env::temp_dir().join("forkfront-go-cache"))
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

fn words(words: &[&OsStr]) -> Vec<OsString> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn look(program: impl AsRef<OsStr>) -> Result<Program, String> {
    resolve(
        &words(&[program.as_ref()]),
        None,
        Some(OsStr::new("/usr/bin:/bin")),
        None,
    )
    .map_err(|error| error.to_string())
}

#[track_caller]
fn suspicion(program: impl AsRef<OsStr>) -> String {
    look(program).unwrap().suspicion.unwrap().to_string()
}

#[track_caller]
fn refusal(program: impl AsRef<OsStr>) -> String {
    look(program).unwrap_err()
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
}

#[test]
fn ordinary_programs_and_scripts_are_found_free_of_suspicion() {
    let place = Place::new();
    let sh = look("sh").unwrap();
    assert_eq!(sh.path, Path::new("/usr/bin/sh"));
    assert_eq!(sh.suspicion, None);
    let inner = place.file("inner", "#!/bin/sh\n", 0o755);
    for (name, text) in [
        ("plain", "#!/bin/sh\n".to_owned()),
        ("env", "#!/usr/bin/env sh\n".to_owned()),
        ("split", "#!/usr/bin/env -S A=1 sh -e\n".to_owned()),
        ("chain", format!("#! {} -x\n", inner.display())),
        ("shell-text", "echo without a first line\n".to_owned()),
    ] {
        let script = place.file(name, text, 0o755);
        let found = look(&script).unwrap();
        assert_eq!((found.path, found.suspicion), (script, None), "{name}");
    }
    // Interpreters that run themselves end somewhere.
    let circle = place.0.join("circle");
    place.file("circle", format!("#!{}\n", circle.display()), 0o755);
    assert_eq!(look(&circle).unwrap().suspicion, None);
    // To be executed, not to be read; root may read all.
    let secret = place.gcc("secret", &[]);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o111)).unwrap();
    assert_eq!(look(&secret).unwrap().suspicion, None);
}

#[test]
fn what_cannot_start_is_refused_in_one_sentence() {
    let place = Place::new();
    let script = |name: &str, line: &str| place.file(name, format!("#!{line}\n"), 0o755);
    assert_has(&refusal("no-such-server"), &["'no-such-server'", "PATH"]);
    assert_has(&refusal("node server.js"), &["words of their own"]);
    assert_has(&refusal("/no/such/server"), &["no such file"]);
    assert_has(&refusal(&place.0), &["is a directory"]);
    assert_has(
        &refusal(place.file("data", "", 0o644)),
        &["not executable", "chmod +x"],
    );
    assert_has(
        &refusal(script("lost", "/no/such/ruby -w")),
        &["lost", "interpreter /no/such/ruby,", "does not exist"],
    );
    assert_has(
        &refusal(script("lost-env", "/usr/bin/env no-such-python")),
        &["'no-such-python'", "not in PATH"],
    );
    assert_has(&refusal(script("dos", "/bin/sh\r")), &["carriage return"]);
    let musl = place.gcc("musl", &["-Wl,--dynamic-linker=/no/such/ld-musl.so.1"]);
    assert_has(
        &refusal(musl),
        &["loader /no/such/ld-musl.so.1", "C library"],
    );
    let usage = resolve(&[], None, None, None).unwrap_err();
    assert_eq!(usage.exit_code(), 2);
    assert_eq!(
        resolve(&words(&[OsStr::new("/no")]), None, None, None)
            .unwrap_err()
            .exit_code(),
        1
    );
}

#[test]
fn the_search_starts_in_the_workers_directory() {
    let place = Place::new();
    place.file("serve", "#!/bin/sh\n", 0o755);
    let find = |name: &str, path: &str| {
        resolve(
            &words(&[OsStr::new(name)]),
            Some(&place.0),
            Some(OsStr::new(path)),
            None,
        )
        .map(|found| found.path)
        .map_err(|error| error.to_string())
    };
    assert_eq!(find("./serve", "/bin"), Ok(PathBuf::from("./serve")));
    assert_eq!(find("serve", "/bin:"), Ok(PathBuf::from("./serve")));
    assert_has(
        &find("serve", "/bin").unwrap_err(),
        &["PATH", "working directory is './serve'"],
    );
    assert_has(
        &find("./other", "/bin").unwrap_err(),
        &["no such file in the working directory"],
    );
    let gone = resolve(
        &words(&[OsStr::new("sh")]),
        Some(Path::new("/no/such")),
        None,
        None,
    );
    assert_has(
        &gone.unwrap_err().to_string(),
        &["'/no/such' does not exist"],
    );
}

#[test]
fn programs_that_take_no_library_are_named() {
    let place = Place::new();
    let fixed = place.gcc("fixed", &["-static"]);
    assert_has(
        &suspicion(&fixed),
        &["fixed' is linked statically", "forkfront::worker"],
    );
    assert_has(
        &suspicion(place.gcc("pie", &["-static-pie"])),
        &["statically"],
    );
    let script = format!("#!{}\n", fixed.display());
    assert_has(
        &suspicion(place.file("script", script, 0o755)),
        &["fixed' is linked statically"],
    );
    assert_has(&suspicion(place.go("go", &[])), &["is a Go program"]);
    assert_has(
        &suspicion(place.go("stripped", &["-ldflags=-s -w"])),
        &["is a Go program"],
    );
    let mut foreign = fs::read(&fixed).unwrap();
    foreign[4] = 1;
    foreign[18] = 3;
    assert_has(
        &suspicion(place.file("foreign", foreign, 0o755)),
        &["a program for 32-bit x86"],
    );
}

#[test]
fn files_that_give_rights_are_named_unless_they_give_none() {
    let place = Place::new();
    let program = place.gcc("server", &[]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    // Our own user and group: nothing is gained, the loader preloads.
    assert_eq!(look(&program).unwrap().suspicion, None);
    let as_nobody = |program: &Path| {
        let command = words(&[program.as_os_str()]);
        let found = resolve(&command, None, None, Some((65_534, 65_534))).unwrap();
        found.suspicion.map(|found| found.to_string())
    };
    assert_has(
        &as_nobody(&program).unwrap(),
        &["set-user-ID", "LD_PRELOAD"],
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755)).unwrap();
    assert_has(&as_nobody(&program).unwrap(), &["set-group-ID"]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2745)).unwrap();
    assert_eq!(as_nobody(&program), None);
    if nix::unistd::geteuid().is_root() {
        chown(&program, Some(65_534), Some(65_534)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        assert_has(&suspicion(&program), &["set-user-ID (to user 65534)"]);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        give_capabilities(&program);
        let other = resolve(&words(&[program.as_os_str()]), None, None, Some((1, 1)));
        let found = other.unwrap().suspicion.unwrap().to_string();
        assert_has(&found, &["file capabilities"]);
        // Root gains nothing by them.
        assert_eq!(look(&program).unwrap().suspicion, None);
    }
}

/// cap_net_bind_service=ep, as setcap(8) would write it (capabilities(7), VFS_CAP_REVISION_2).
fn give_capabilities(program: &Path) {
    let mut value = [0_u8; 20];
    value[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
    value[4..8].copy_from_slice(&(1_u32 << 10).to_le_bytes());
    let path = CString::new(program.as_os_str().as_bytes()).unwrap();
    // SAFETY: two NUL-terminated strings and a value of the length given.
    let set = unsafe {
        libc::setxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    assert_eq!(set, 0);
}

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
