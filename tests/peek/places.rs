//! Where connections come from: several apps of one primary, each with its own key; a configuration that changes;
//! Unix sockets.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use super::*;

/// An app of two workers at a port of its own, with `more` in its table.
fn app(name: &str, file: &str, site: &Site, port: u16, more: &str) -> String {
    let (host, server) = (&site.host, server(file));
    format!(
        "[[app]]\nname = \"{name}\"\ncommand = [\"node\", \"{server}\"]\nlisten = \"{host}:{port}\"\nworkers = 2\n\
         env.PORT = {port}\n{more}\n"
    )
}

#[test]
fn each_app_has_a_key_of_its_own() {
    let site = Site::new();
    let ports = site.ports(3);
    let to = |at: usize| SocketAddr::new(site.to().ip(), ports[at]);
    let tables = [
        app(
            "keyed",
            "echo.js",
            &site,
            ports[0],
            "sticky = \"header:x-user\"\npeek-timeout = \"1h\"",
        ),
        app("plain", "echo.js", &site, ports[1], ""),
        app(
            "shield",
            "echo.js",
            &site,
            ports[2],
            "header-complete = true\npeek-timeout = \"1h\"",
        ),
    ];
    let file = site.file("site.toml");
    fs::write(&file, tables.concat()).expect("written");
    let balancer = Balancer::start(&site, &["run", "--config", &file.display().to_string()]);
    let mut silent: Vec<Raw> = (0..30)
        .map(|n| Raw::connect(client(n), to(n as usize % 3)))
        .collect();
    for one in silent.iter_mut().skip(1).step_by(3) {
        one.greeted_by();
    }
    let printed = balancer.printed();
    let reading = |at: usize| {
        printed
            .pointer(&format!("/apps/{at}/keys/reading"))
            .cloned()
    };
    assert_eq!(
        (reading(0), reading(2)),
        (Some(10.into()), Some(10.into())),
        "{printed:#}"
    );
    assert!(printed["apps"][1]["keys"].is_null(), "{printed:#}");
    for (n, one) in silent.iter_mut().enumerate().filter(|(n, _)| n % 3 != 1) {
        one.send(&user(n % 3));
        one.greeted_by();
    }
    let printed = balancer.printed();
    assert_eq!(printed["apps"][0]["keys"]["found"]["header"], 10);
    drop(silent);
    balancer.finish();
}

#[test]
fn the_file_read_again_changes_the_key_of_what_comes() {
    let site = Site::new();
    let file = site.file("site.toml");
    let write = |more: &str| {
        let text = app("web", "http.js", &site, site.port, more);
        fs::write(&file, text.replace("workers = 2", "workers = 4")).expect("written");
    };
    write("sticky = \"header:x-user\"\npeek-timeout = \"1h\"");
    let balancer = Balancer::start(&site, &["run", "--config", &file.display().to_string()]);
    let begun = |n: u32| Raw::sending(client(n), site.to(), b"GET /1 HTTP/1.1\r\nHost: test\r\n");
    let mut half: Vec<Raw> = (0..20).map(begun).collect();
    balancer.reads(20);
    write("sticky = \"cookie:sid\"\npeek-timeout = \"500ms\"");
    balancer.signal(Signal::SIGHUP);
    eventually("the new key", || {
        (balancer.printed()["sticky"] == "cookie:sid").then_some(())
    });
    // What the first key would have waited an hour for is over, now or after the new time; all are answered.
    for one in &mut half {
        one.send(b"Cookie: sid=a\r\n\r\n");
        one.slot();
    }
    let by = |n: u32, sid: u32| {
        slot(
            &site,
            n,
            &get("1", &format!("X-User: u{n}\r\nCookie: sid=s{sid}\r\n")),
        )
    };
    let slots: BTreeSet<u16> = (0..20).map(|n| by(n, 1)).collect();
    assert_eq!(slots.len(), 1, "{slots:?}");
    let timed_out = || balancer.keys().fallback("timed_out");
    let before = timed_out();
    let mut silent = Raw::connect(client(1), site.to());
    eventually("the new time is over", || {
        (timed_out() > before).then_some(())
    });
    silent.send(&get("1", ""));
    silent.slot();
    balancer.until("the reload is over", |status| status.operation.is_none());
    balancer.finish();
}

#[test]
fn a_unix_socket_has_keys_too() {
    let site = Site::new();
    let path = site.file("a.sock");
    let bound = format!("unix:{}={}", path.display(), site.port);
    let balancer = Balancer::nodes(
        &site,
        4,
        &[
            "-l",
            &bound,
            "--sticky",
            "header:x-user",
            "--peek-timeout",
            "1h",
        ],
    );
    let ask = |name: &str, cut: usize| {
        let request = user(name);
        let mut stream = UnixStream::connect(&path).expect("connected");
        stream.write_all(&request[..cut]).expect("sent");
        if cut < request.len() {
            balancer.reads(1);
            stream.write_all(&request[cut..]).expect("sent");
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split("\r\n\r\n").nth(1).expect("a body").to_string();
        body.split(' ').next().expect("a slot").to_string()
    };
    let mut used = BTreeSet::new();
    for n in 0..16 {
        let name = format!("u{n}");
        let slots = BTreeSet::from([ask(&name, 1), ask(&name, 30), ask(&name, user(&name).len())]);
        assert_eq!(slots.len(), 1, "{name}: {slots:?}");
        used.extend(slots);
    }
    assert!(used.len() > 1);
    assert_eq!(balancer.keys().found("header"), 48);
    // Gone without a word, and half-closed without one: a Unix socket tells them apart in its own way.
    drop(UnixStream::connect(&path).expect("connected"));
    balancer.reads(0);
    balancer.finish();
}
