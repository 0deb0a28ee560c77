//! How it begins and ends, and what becomes of it when the terminal or the primary changes.

use std::process::Command;

use nix::sys::signal::Signal;

use super::*;

#[test]
fn signals_end_it_and_the_terminal_is_given_back() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut screen = top(&balancer, 80, 24);
        screen.shows(&["1 of 1 workers ready"]);
        screen.signal(signal);
        assert_eq!(screen.ended(), Some(0), "{signal}");
    }
    balancer.finish();
}

#[test]
fn it_is_suspended_by_a_shell_and_comes_back() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "--noediting", "-i"]);
    bash.envs(site.environment()).env("PS1", "prompt> ");
    let mut screen = Screen::start(&site, &bash, 80, 24);
    screen.shows(&["prompt>"]);
    let (binary, control) = (env!("CARGO_BIN_EXE_forkfront"), site.control());
    screen.types(&format!(
        "{binary} top --interval 200ms --control {}\n",
        control.display()
    ));
    for round in 0..2 {
        screen.shows(&["1 of 1 workers ready"]);
        assert!(screen.is_taken());
        // Ctrl-Z.
        screen.types("\x1a");
        screen.shows(&["Stopped", "prompt>"]);
        assert!(!screen.is_taken(), "in round {round}");
        screen.types("fg\n");
    }
    screen.shows(&["1 of 1 workers ready"]);
    screen.types("q");
    screen.until("the shell is back", |text| {
        text.trim_end().ends_with("prompt>")
    });
    screen.types("exit\n");
    assert_eq!(screen.ended(), Some(0));
    drop(screen);
    balancer.finish();
}

#[test]
fn the_window_changes_its_size() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let mut screen = top(&balancer, 80, 24);
    screen.shows(&["WAIT p99", "R reload"]);
    screen.resize(40, 12);
    let text = screen.until("a small picture", |text| {
        text.contains("SLOT STATE") && !text.contains("WAIT") && text.contains("q quit")
    });
    assert!(text.lines().count() <= 12, "{text}");
    screen.resize(140, 50);
    screen.shows(&["RESTARTS", "WAIT p99", "jk select"]);
    screen.types("q");
    assert_eq!(screen.ended(), Some(0));
    drop(screen);
    balancer.finish();
}

#[test]
fn a_primary_is_upgraded_goes_and_comes_back() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let mut screen = top(&balancer, 80, 24);
    let pid = format!("pid {}", balancer.pid());
    screen.shows(&["1 of 1 workers ready", &pid]);
    balancer.command(&["upgrade"]).done();
    screen.types("+");
    screen.shows(&["2 of 2 workers ready", &pid]);
    assert!(
        !screen.text().contains("another primary"),
        "{}",
        screen.text()
    );
    balancer.finish_as_it_is();
    screen.shows(&["GONE: no primary", "the primary has gone"]);
    let next = Balancer::nodes(&site, 1, &[]);
    let pid = format!("pid {}", next.pid());
    screen.shows(&["1 of 1 workers ready", "another primary answers now", &pid]);
    screen.hides("GONE");
    screen.types("q");
    assert_eq!(screen.ended(), Some(0));
    drop(screen);
    next.finish();
}

#[test]
fn a_primary_that_does_not_answer_holds_up_no_key() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let mut screen = top(&balancer, 80, 24);
    screen.shows(&["1 of 1 workers ready"]);
    balancer.signal(Signal::SIGSTOP);
    screen.shows(&["NO ANSWER"]);
    screen.types("?");
    screen.shows(&["Keys", "restart the slot"]);
    screen.types("?");
    screen.hides("restart the slot");
    balancer.signal(Signal::SIGCONT);
    screen.hides("NO ANSWER");
    screen.types("q");
    assert_eq!(screen.ended(), Some(0));
    drop(screen);
    balancer.finish();
}

#[test]
fn without_a_primary_the_terminal_is_not_touched() {
    let site = Site::new();
    let control = site.control().display().to_string();
    let mut screen = Screen::of_forkfront(&site, &["top", "--control", &control], 80, 24);
    screen.shows(&["no running primary"]);
    assert_eq!(screen.ended(), Some(3));
    let bytes = screen.bytes();
    assert!(!bytes.contains('\x1b'), "{bytes:?}");
}
