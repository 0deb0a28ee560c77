//! Each mistake is one clear sentence on standard error and the right exit code; nothing half-started, nothing
//! left behind.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use common::*;

/// Runs `forkfront run --control ... FLAGS -- COMMAND` to its end.
#[track_caller]
fn run(site: &Site, flags: &[&str], command: &[&str]) -> Finished {
    let control = site.control().display().to_string();
    let mut words = vec!["run", "--control", &control];
    words.extend(flags);
    words.push("--");
    words.extend(command);
    run_to_end(site, &words)
}

/// A command that would serve.
fn node() -> [String; 2] {
    ["node".to_string(), server("http.js")]
}

#[track_caller]
fn run_node(site: &Site, flags: &[&str]) -> Finished {
    let [node, file] = node();
    run(site, flags, &[&node, &file])
}

#[test]
fn wrong_words_are_usage_errors() {
    for (flags, part) in [
        (&["--fast"][..], "--fast"),
        (&["--balance", "random"], "random"),
        (&["--sticky", "colour"], "colour"),
        (&["-n", "0"], "0"),
        (&["-n", "10000"], "10000"),
        (&["-n", "many"], "many"),
        (&["-l", "nonsense"], "nonsense"),
        (&["-l", "70000"], "70000"),
        (&["--grace", "soon"], "soon"),
        (&["--env", "NOVALUE"], "NOVALUE"),
    ] {
        let site = Site::new();
        run_node(&site, flags).refused(&site, 2, part);
    }
}

#[test]
fn whom_nobody_knows_may_be_known_soon() {
    for (flag, part) in [
        ("--user", "there is no user 'no-such-one'"),
        ("--group", "there is no group 'no-such-one'"),
    ] {
        let site = Site::new();
        run_node(&site, &[flag, "no-such-one"]).refused(&site, 1, part);
    }
}

#[test]
fn no_command_is_a_usage_error() {
    let site = Site::new();
    run_to_end(&site, &["run", "-n", "2"]).refused(&site, 2, "COMMAND");
}

#[test]
fn a_port_in_use_is_named() {
    let site = Site::new();
    let _taken = TcpListener::bind(site.to()).expect("free until now");
    let bind = site.bind();
    run_node(&site, &["-l", &bind]).refused(&site, 1, "listens there already");
}

#[test]
fn a_port_in_use_is_told_to_the_server_that_asks_for_it() {
    // Without -l the errno belongs to the server's bind(): node itself says EADDRINUSE, and we say that it ended.
    let site = Site::new();
    let _taken = TcpListener::bind(site.to()).expect("free until now");
    let finished = run_node(&site, &["-n", "2"]);
    let ours = format!("it could not have {}: Address already in use", site.to());
    finished.refused(&site, 1, &ours);
    let all = finished.stdout.clone() + &finished.stderr;
    assert!(all.contains("EADDRINUSE"), "{finished}");
}

#[test]
fn an_address_that_is_not_local_is_named() {
    let site = Site::new();
    run_node(&site, &["-l", "192.0.2.1:8080"]).refused(&site, 1, "192.0.2.1:8080");
}

#[test]
fn no_permission_for_a_low_port_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let unprivileged = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if unprivileged.is_ok_and(|start| start.trim().parse().is_ok_and(|start: u16| start <= 99)) {
        return;
    }
    let site = Site::new();
    let binary = site.file("forkfront");
    std::fs::copy(env!("CARGO_BIN_EXE_forkfront"), &binary).expect("copied");
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args([
            "run",
            "-l",
            &format!("{}:99", site.host),
            "--",
            "sleep",
            "5",
        ])
        .env("XDG_RUNTIME_DIR", "/nonexistent")
        .output()
        .expect("setpriv");
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains("CAP_NET_BIND_SERVICE"), "{text}");
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let site = Site::new();
    run(&site, &[], &["no-such-server-anywhere"]).refused(&site, 1, "no-such-server-anywhere");
    let site = Site::new();
    run(&site, &[], &["/etc/hostname"]).refused(&site, 1, "/etc/hostname");
}

#[test]
fn a_command_that_ends_at_once_is_reported() {
    let site = Site::new();
    run(&site, &["-n", "4"], &["false"]).refused(&site, 1, "exit");
    let site = Site::new();
    run(
        &site,
        &["-n", "4"],
        &["sh", "-c", "echo broken config >&2; exit 7"],
    )
    .refused(&site, 1, "7");
}

#[test]
fn a_limit_of_open_files_that_cannot_fit_is_named() {
    let site = Site::new();
    let control = site.control().display().to_string();
    let done = Command::new("prlimit")
        .args([
            "--nofile=64:64",
            env!("CARGO_BIN_EXE_forkfront"),
            "run",
            "--control",
            &control,
            "-n",
            "500",
            "--",
        ])
        .args(node())
        .envs(site.environment())
        .output()
        .expect("prlimit");
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains("64"), "{text}");
}

#[test]
fn commands_without_a_primary_say_so_with_3() {
    let site = Site::new();
    let control = site.control().display().to_string();
    for verb in ["status", "stop"] {
        run_to_end(&site, &[verb, "--control", &control]).refused(&site, 3, "primary");
        run_to_end(&site, &[verb, "--name", "no-such-name"]).refused(&site, 3, "no-such-name");
    }
}

#[test]
fn a_control_path_that_is_a_file_of_ours_to_spare_is_refused() {
    // K5.
    let site = Site::new();
    let precious = site.file("precious");
    std::fs::write(&precious, "data").expect("written");
    let path = precious.display().to_string();
    run_to_end(
        &site,
        &["run", "--control", &path, "--", "node", &server("http.js")],
    )
    .refused(&site, 1, "precious");
    assert_eq!(
        std::fs::read_to_string(&precious).expect("still there"),
        "data"
    );
    let long = format!("{}/{}", site.directory.display(), "x".repeat(120));
    let finished = run_to_end(
        &site,
        &["run", "--control", &long, "--", "node", &server("http.js")],
    );
    assert!(matches!(finished.code, Some(1 | 2)), "{finished}");
}

#[test]
fn a_server_that_listens_elsewhere_is_named() {
    let site = Site::new().env("PORT", 1);
    let other = Site::new();
    let bind = site.bind();
    let shell = format!("PORT={} exec node {}", other.port, server("http.js"));
    let flags = ["-l", &bind, "-n", "1", "--ready-timeout", "2s"];
    let finished = run(&site, &flags, &["sh", "-c", &shell]);
    finished.refused(&site, 1, &other.port.to_string());
}

#[test]
fn a_server_that_never_listens_is_named_at_its_time() {
    let site = Site::new();
    let finished = run(
        &site,
        &["-n", "2", "--ready-timeout", "1s"],
        &["sleep", "60"],
    );
    finished.refused(&site, 1, "1 s");
    assert!(finished.took < Duration::from_secs(5), "{finished}");
}

/// Compiles a C server that binds HOST:PORT from the environment; `flags` for the compiler.
fn compiled(site: &Site, flags: &[&str]) -> String {
    let source = site.file("server.c");
    let text = r#"#include <arpa/inet.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
  inet_pton(AF_INET, getenv("HOST"), &at.sin_addr);
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (void *)&at, sizeof at)) { perror("bind"); return 1; }
  listen(fd, 16);
  pause();
}
"#;
    std::fs::write(&source, text).expect("written");
    let binary = site.file("server").display().to_string();
    let done = Command::new("gcc")
        .args(flags)
        .args(["-o", &binary])
        .arg(&source)
        .status()
        .expect("gcc");
    assert!(done.success());
    binary
}

#[test]
fn a_static_program_is_named() {
    let site = Site::new();
    let binary = compiled(&site, &["-static"]);
    let finished = run(&site, &["-n", "2", "--ready-timeout", "10s"], &[&binary]);
    finished.refused(&site, 1, "static");
    assert!(finished.took < Duration::from_secs(8), "{finished}");
}

#[test]
fn a_go_program_is_named() {
    let site = Site::new();
    let source = site.file("main.go");
    let text = "package main\nimport (\"net/http\"; \"os\")\n\
                func main() { panic(http.ListenAndServe(os.Getenv(\"HOST\")+\":\"+os.Getenv(\"PORT\"), nil)) }\n";
    std::fs::write(&source, text).expect("written");
    let binary = site.file("server").display().to_string();
    let done = Command::new("go")
        .args(["build", "-o", &binary])
        .arg(&source)
        .env("CGO_ENABLED", "0")
        .env("GO111MODULE", "off")
        .env(
            "GOCACHE",
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"),
        )
        .status()
        .expect("go");
    assert!(done.success());
    let finished = run(&site, &["-n", "2", "--ready-timeout", "10s"], &[&binary]);
    finished.refused(&site, 1, "Go");
    assert!(finished.took < Duration::from_secs(8), "{finished}");
}

#[test]
fn a_missing_interpreter_is_named() {
    let site = Site::new();
    let script = site.file("server");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("mode");
    run(&site, &[], &[&script.display().to_string()]).refused(&site, 1, "/no/such/interpreter");
}

#[test]
fn a_program_of_another_machine_is_named() {
    let site = Site::new();
    let mut bytes = std::fs::read(compiled(&site, &[])).expect("an ELF file");
    bytes[4] = 1; // ELFCLASS32
    bytes[18..20].copy_from_slice(&3u16.to_le_bytes()); // EM_386
    let binary = site.file("foreign");
    std::fs::write(&binary, bytes).expect("written");
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).expect("mode");
    run(
        &site,
        &["--ready-timeout", "5s"],
        &[&binary.display().to_string()],
    )
    .refused(&site, 1, "32-bit");
}

#[test]
fn a_set_uid_program_is_named() {
    // glibc drops LD_PRELOAD when the real and the effective user differ.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    let binary = compiled(&site, &[]);
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o4755)).expect("mode");
    let finished = run(
        &site,
        &["--user", "nobody", "--ready-timeout", "3s"],
        &[&binary],
    );
    finished.refused(&site, 1, "set-uid");
}
