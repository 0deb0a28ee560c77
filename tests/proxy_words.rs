//! What is said to a proxy: on the command line, in a file, by a HUP while it works, and by names whose addresses
//! change.

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use common::*;

/// Words behind `forkfront proxy`, and what is said of them, in part, by exit code 2.
const WRONG: &[(&str, &str)] = &[
    (
        "",
        "--listen and --to are missing, as in 'forkfront proxy -l 5432",
    ),
    ("-l 1", "--to is missing"),
    ("--to a:1", "--listen is missing"),
    (
        "-l 1 --to a",
        "the port is missing: it is written as a:5432",
    ),
    ("-l 1 --to a:0", "no server has port 0"),
    ("-l 1 --to a:1,,b:1", "no backend is named here"),
    ("-l 1 --to a:1@0", "'0' is no weight"),
    ("-l 1 --to a:1@1001", "from 1 to 1000"),
    ("-l 1 --to a:1+bakup", "did you mean +backup?"),
    ("-l 1 --to a:1+max=0", "+max takes 1 or more"),
    ("-l 1 --to ::1:80", "an IPv6 address goes in brackets"),
    ("-l 1 --to unix:a.sock", "begins with a slash"),
    ("-l 1 --to srv:_x._tcp.a:1", "say the port themselves"),
    ("-l 1 --to a:1,b:1,a:1", "the backend a:1 is given twice"),
    (
        "-l 1 --to 10.0.0.1:1,[::ffff:10.0.0.1]:1",
        "are the same one",
    ),
    (
        "-l 80=81 --to a:1",
        "a proxy has no port of a server behind its own",
    ),
    ("-l 1 -l 1 --to a:1", "'-l 1' is given twice"),
    (
        "-l 1 --to a:1 --rise 2",
        "--rise means nothing without --check",
    ),
    (
        "-l 1 --to a:1 --check https:/",
        "backends are not asked over TLS",
    ),
    (
        "-l 1 --to a:1 --on-down kill",
        "--on-down kill means nothing without --check",
    ),
    ("-l 1 --to a:80@3@4", "more than one @ in 'a:80@3@4'"),
    ("-l 1 --to unix:/run/@3", "/run/ is a directory"),
    (
        "-l 1 --to unix:/run/c++.sock",
        "has a + in it cannot be written",
    ),
    ("-l 1 --to a:1 --idle-timeout never", "or it is off"),
    (
        "-l 1 --to a:1 --proxy-protocol",
        "--proxy-protocol needs --trusted-proxies",
    ),
    (
        "-l 1 --to a:1 --config x",
        "run by 'forkfront run --config FILE'",
    ),
    ("-l 1 --to a:1 -- node x", "has no place here"),
    ("-l 1 --to a:1 --balance idle", "which takes round-robin,"),
];

#[test]
fn every_mistake_has_its_sentence() {
    let site = Site::new();
    for (words, part) in WRONG {
        let mut all = vec!["proxy"];
        all.extend(words.split_whitespace());
        let done = run_to_end(&site, &all).failed(2, &[part]);
        assert_eq!(done.stderr.lines().count(), 1, "{words}: {}", done.stderr);
    }
}

#[test]
fn what_cannot_be_led_to_is_refused_at_the_start() {
    let site = Site::new();
    let at = site.to().to_string();
    let port = site.to().port();
    let file = format!("unix:{}", site.file("own.sock").display());
    let any = format!("{}:{port}", site.host);
    for (listen, to, part) in [
        (at.as_str(), at.as_str(), "this proxy itself listens"),
        (&file, &file, "this proxy itself listens"),
        (&at, &any, "this proxy itself listens"),
        (
            &at,
            "there.is.none.invalid:80",
            "cannot resolve there.is.none.invalid:80",
        ),
    ] {
        run_to_end(&site, &["proxy", "-l", listen, "--to", to]).failed(1, &[part]);
    }
}

/// A file with one proxy, and what is `more` of it.
fn file(site: &Site, to: &[SocketAddr], more: &str) -> String {
    let to: Vec<String> = to.iter().map(|one| format!("\"{one}\"")).collect();
    let text = format!(
        "[[app]]\nlisten = \"{}\"\nto = [{}]\nworkers = 2\n{more}\n",
        site.bind(),
        to.join(", ")
    );
    let path = site.file("proxy.toml");
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn a_file_is_checked_with_its_names() {
    let site = Site::new();
    let path = file(
        &site,
        &["10.0.0.1:1".parse().expect("an address")],
        "check = \"tcp\"",
    );
    let done = run_to_end(&site, &["check", &path]).done();
    let line = format!("app: 2 workers on {}: to 10.0.0.1:1", site.bind());
    assert!(done.stdout.contains(&line), "{}", done.stdout);
    let text = format!(
        "[[app]]\nlisten = \"{at}\"\nto = [\"10.0.0.1:1\", \"{at}\", \"there.is.none.invalid:80\"]\n",
        at = site.bind()
    );
    let path = site.file("wrong.toml");
    fs::write(&path, text).expect("a file");
    let path = path.display().to_string();
    let said = run_to_end(&site, &["check", &path]).failed(1, &["2 things are wrong"]);
    for part in [
        ":3:21: ",
        "itself listens",
        "cannot resolve there.is.none.invalid:80",
    ] {
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
}

/// A file with two proxies on two ports of the site, each with its backends.
fn two(site: &Site, ports: &[u16], to: [&str; 2]) -> String {
    let app = |name, port, to| {
        format!(
            "[[app]]\nname = \"{name}\"\nlisten = \"{}:{port}\"\nto = [{to}]\nworkers = 1\n",
            site.host
        )
    };
    let text = app("one", ports[0], to[0]) + &app("two", ports[1], to[1]);
    let path = site.file("two.toml");
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn two_that_would_lead_to_each_other_are_refused() {
    let site = Site::new();
    let ports = site.ports(3);
    let [one, two_at, other] =
        [ports[0], ports[1], ports[2]].map(|port| format!("{}:{port}", site.host));
    let quoted = |words: &str| format!("\"{words}\"");
    let path = two(&site, &ports, [&quoted(&two_at), &quoted(&one)]);
    let circle = ["is where the app two listens", "which leads back here"];
    run_to_end(&site, &["check", &path]).failed(1, &circle);
    run_to_end(&site, &["run", "--config", &path]).failed(1, &circle);
    // One behind the other is none, until it is made one by hand or by the file.
    let path = two(&site, &ports, [&quoted(&two_at), &quoted(&other)]);
    let balancer = Balancer::start(&site, &["run", "--config", &path]);
    let circle = ["is where the app one listens", "which leads back here"];
    let add = |balancer: &Balancer<'_>, what: &str| {
        balancer.command(&["backend", "add", what, "--app", "two"])
    };
    add(&balancer, &one).failed(1, &circle);
    two(&site, &ports, [&quoted(&two_at), &quoted(&one)]);
    balancer.reload().failed(1, &["which leads back here"]);
    // Where the first leads elsewhere there is none; what was added then goes when it would be.
    let own = format!("\"{other}\"");
    two(&site, &ports, [&own, &own]);
    balancer.reload().done();
    add(&balancer, &one).done();
    assert_eq!(balancer.status().backends.len(), 3);
    balancer.command(&["upgrade"]).done();
    two(&site, &ports, [&quoted(&two_at), &own]);
    balancer.reload().done();
    balancer.until("it is taken out", |status| status.backends.len() == 2);
    balancer.says("a backend that was added is taken out");
    balancer.finish();
}

#[test]
fn a_hup_changes_backends_and_settings_and_no_session_or_worker_notices() {
    let site = Site::new();
    let echoes = Echoes::start(&site, 3);
    let [a, b, c] = echoes.addresses[..] else {
        panic!("three");
    };
    let path = file(&site, &[a, b], "");
    let mut balancer = Balancer::start(&site, &["run", "--config", &path]);
    let before = balancer.all_ready();
    let workers = balancer.workers();
    assert_eq!(before.backends.len(), 2);
    let rush = Rush::start(site.to(), 4);
    file(
        &site,
        &[b, c],
        "balance = \"least-connections\"\ncheck = \"tcp\"\nidle-timeout = \"5m\"",
    );
    rush.proceed(50);
    balancer.reload().done();
    let names = |status: &forkfront::status::Status| {
        let mut names: Vec<String> = status
            .backends
            .iter()
            .map(|one| one.backend.clone())
            .collect();
        names.sort();
        names
    };
    let mut expected = [b, c].map(|one| one.to_string());
    expected.sort();
    balancer.until("b and c are left", |status| names(status) == expected);
    rush.proceed(50);
    let ended = rush.stop();
    assert!(ended.failed.is_empty(), "{ended:?}");
    assert_eq!(balancer.workers(), workers, "no worker is new");
    // A backend that would be ourselves, and a name that is none: nothing changes.
    file(&site, &[b, site.to()], "");
    balancer.reload().failed(1, &["itself listens"]);
    assert_eq!(names(&balancer.status()), expected);
    balancer
        .command(&["set", "balance", "idle"])
        .failed(1, &["this is a proxy"]);
    balancer.finish();
}

/// Runs a script in mount and network namespaces of its own, where /etc/hosts and /etc/resolv.conf are its own.
fn alone(script: &str, words: &[&Path]) -> (bool, String) {
    let out = Command::new("unshare")
        .args(["--mount", "--net", "python3", script])
        .args(words)
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&out.stderr);
    (out.status.success(), said)
}

#[test]
fn names_and_srv_records_are_followed() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: a name server of our own cannot be had");
        return;
    }
    let site = Site::new();
    let (good, said) = alone(
        &server("names.py"),
        &[Path::new(env!("CARGO_BIN_EXE_forkfront")), &site.directory],
    );
    assert!(good, "{said}");
}
