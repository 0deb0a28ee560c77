//! What somebody is told who tries it for the first time and gets something wrong: what is the matter, and what to
//! do about it.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::*;

/// Runs `forkfront run WORDS`, which must end by itself with a sentence that has all these parts.
#[track_caller]
fn ends_with(site: &Site, words: &[&str], parts: &[&str]) {
    let words = [&["run", "-n", "2", "--ready-timeout", "2s"], words].concat();
    let mut balancer = Balancer::spawn(site, &words);
    assert_eq!(balancer.wait(), Some(1));
    let output = eventually("the sentence", || {
        let output = balancer.output();
        let last = output
            .lines()
            .rfind(|line| line.starts_with("forkfront: "))?;
        last.contains(parts[0]).then(|| last.to_owned())
    });
    for part in parts {
        assert!(output.contains(part), "no {part:?} in: {output}");
    }
    balancer.nothing_left();
}

#[test]
fn a_slip_of_the_pen_is_seen() {
    let site = Site::new();
    let parts = ["cannot start 'pyhton3'", "did you mean python3?"];
    ends_with(&site, &["--", "pyhton3", "app.py"], &parts);
    let parts = ["no such file", "as words of their own"];
    ends_with(&site, &["--", "node /srv/server.js"], &parts);
}

#[test]
fn what_ends_at_once_is_no_server() {
    let site = Site::new();
    let parts = [
        "ended with exit code 0 before it listened",
        "a server stays",
    ];
    ends_with(&site, &["--", "true"], &parts);
    let script = site.file("script");
    fs::write(&script, "exit 3\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("changed");
    let parts = ["exit code 3", "it has no #! line"];
    ends_with(&site, &["--", script.to_str().expect("text")], &parts);
}

#[test]
fn what_listens_where_nothing_can_be_shared_is_told_where() {
    let site = Site::new();
    let python = python();
    let path = site.file("app.sock").display().to_string();
    let listen = format!(
        "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('{path}'); s.listen(); time.sleep(60)"
    );
    let parts = [
        "listens on the Unix socket",
        &path,
        "let it listen on a TCP port",
    ];
    ends_with(&site, &["--", &python, "-c", &listen], &parts);
    let listen = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(60)";
    let parts = ["left to the kernel to choose", "give it a fixed port"];
    ends_with(&site, &["--", &python, "-c", listen], &parts);
}

#[test]
fn a_port_in_use_says_how_to_find_its_owner() {
    let site = Site::new();
    let _taken = std::net::TcpListener::bind(site.to()).expect("free");
    let parts = ["Address already in use", "ss -ltnp"];
    ends_with(&site, &["--", "node", &server("http.js")], &parts);
}
