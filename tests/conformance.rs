//! A server cannot tell a channel from a listening socket: the same server and client script runs on a real
//! listener and as a worker of the real program, and the two transcripts must be equal, line by line.
//!
//! The scripts are `tests/conformance/*.py`, section by section, and `raw.c` for what only C can do.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use nix::sys::signal::Signal;

/// Runs `command FILE` by itself and as a worker under `flags`; compares what the two runs write.
#[track_caller]
fn compare(site: &Site, command: &[&str], flags: &[&str]) {
    let (native, shared) = (site.file("native"), site.file("shared"));
    let status = Command::new(command[0])
        .args(&command[1..])
        .arg(&native)
        .envs(site.environment())
        .status()
        .expect("the script starts");
    assert!(status.success(), "on a real listener: {status}");

    let shared_file = shared.display().to_string();
    let mut words = vec!["run", "-n", "1", "--drain-timeout", "200ms"];
    words.extend(flags);
    words.push("--");
    words.extend(command);
    words.push(&shared_file);
    let mut balancer = Balancer::spawn(site, &words);
    eventually("the transcript", || shared.exists().then_some(()));
    let status = balancer.status();
    let taken: u64 = status.slots.iter().map(|slot| slot.accepted).sum();
    let served = text(&native).contains("connected");
    assert!(taken > 0 || !served, "nothing came through the primary");
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait(), Some(0), "exit code of a graceful stop");
    balancer.nothing_left();

    same_lines(&text(&native), &text(&shared));
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a transcript")
}

#[track_caller]
fn same_lines(native: &str, shared: &str) {
    let mut differing = Vec::new();
    let longest = native.lines().count().max(shared.lines().count());
    for number in 0..longest {
        let line = |text: &str| text.lines().nth(number).unwrap_or("(nothing)").to_string();
        let (native, shared) = (line(native), line(shared));
        if native != shared {
            differing.push(format!(
                "{number}:\n  real listener  {native}\n  as a worker    {shared}"
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "the server can tell:\n{}",
        differing.join("\n")
    );
    assert!(
        !native.contains("raised:"),
        "the script itself failed:\n{native}"
    );
}

#[track_caller]
fn section(site: &Site, name: &str, flags: &[&str]) {
    let script = format!(
        "{}/tests/conformance/transcript.py",
        env!("CARGO_MANIFEST_DIR")
    );
    compare(site, &["python3", &script, name], flags);
}

/// One test per section, on an IPv4 address of its own.
macro_rules! sections {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                section(&Site::new(), $name, &[]);
            }
        )*
    };
}

sections! {
    names_and_options_of_a_listener: "names.listener",
    what_is_accepted: "names.connection",
    accept_as_c_calls_it: "names.raw_accept",
    options_set_before_bind: "names.options_before_bind",
    options_set_after_bind: "names.options_after_bind",
    options_set_after_listen: "names.options_after_listen",
    clients_that_closed_or_reset: "names.half_closed",
    errors_of_the_calls: "errors.calls",
    other_sockets_are_left_alone: "errors.others_left_alone",
    no_descriptor_left: "errors.no_descriptor_left",
    threads_at_the_limit: "errors.threads_at_the_limit",
    accept_with_a_deadline: "errors.times_out",
    accept_and_signals: "errors.interrupted",
    poll_and_select: "readiness.poll_and_select",
    epoll_level_triggered: "readiness.level_triggered",
    epoll_edge_triggered: "readiness.edge_triggered",
    epoll_one_shot: "readiness.one_shot",
    epoll_registered_early: "readiness.registered_early",
    epoll_and_close: "readiness.closed_while_watched",
    epoll_and_a_helper: "readiness.helper_before_the_listener",
    epoll_in_epoll: "readiness.nested",
    threads_accept_together: "lifetime.threads",
    children_accept_together: "lifetime.forked",
    a_fork_per_connection: "lifetime.fork_per_connection",
    close_and_listen_again: "lifetime.again",
    duplicates: "lifetime.duplicates",
    several_listeners: "lifetime.several",
    shutdown_of_the_listener: "lifetime.shut_down",
    inherited_by_a_program: "lifetime.inherited",
    helpers_have_nothing: "lifetime.helpers",
    vfork_changes_nothing: "lifetime.vforked",
}

#[test]
fn epoll_and_a_helper_of_a_child() {
    let site = Site::new();
    let said = site.file("child").display().to_string();
    let site = site.env("CHILD_SAYS", said);
    section(&site, "readiness.helper_of_a_child", &[]);
}

#[test]
fn every_address_family() {
    for host in ["0.0.0.0", "::", "::1"] {
        for name in ["names.listener", "names.connection", "names.raw_accept"] {
            section(&Site::on(host), name, &[]);
        }
    }
}

#[test]
fn a_listener_of_both_families_for_a_server_of_one() {
    for (host, name) in [
        ("127.0.0.1", "names.connection"),
        ("127.0.0.1", "names.raw_accept"),
        ("127.0.0.1", "names.half_closed"),
        ("0.0.0.0", "names.connection"),
        ("::1", "names.connection"),
    ] {
        let site = Site::on(host);
        let port = site.port.to_string();
        section(&site, name, &["-l", &port]);
    }
}

#[test]
fn the_kernel_as_balancer() {
    for name in [
        "names.connection",
        "readiness.level_triggered",
        "lifetime.threads",
        "lifetime.forked",
        "lifetime.again",
        "lifetime.inherited",
    ] {
        section(&Site::new(), name, &["--balance", "kernel"]);
    }
}

/// Builds `raw.c` into the site's directory.
#[track_caller]
fn built(site: &Site, compiler: &str) -> PathBuf {
    let program = site.file("raw");
    let source = format!("{}/tests/conformance/raw.c", env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(compiler)
        .args(["-O2", "-D_FORTIFY_SOURCE=2", "-pthread", "-o"])
        .arg(&program)
        .arg(source)
        .status()
        .expect("the compiler starts");
    assert!(status.success(), "{compiler}: {status}");
    program
}

#[test]
fn system_calls_cancellation_and_vfork_with_glibc() {
    let site = Site::new().env("LD_BIND_NOW", 1);
    let program = built(&site, "gcc").display().to_string();
    compare(&site, &[&program], &[]);
}

#[test]
fn system_calls_cancellation_and_vfork_with_musl() {
    let site = Site::new();
    let program = built(&site, "musl-gcc").display().to_string();
    compare(&site, &[&program], &[]);
}
