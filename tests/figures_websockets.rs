//! The figures of WebSockets, full size: ignored by `cargo test`, run and printed by `scripts/figures`. Each has a
//! small version among the scenarios.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::*;
use serde_json::{Value, json};

/// How many clients there are, and how often each case is tried.
const CLIENTS: usize = 60;
const ROUNDS: usize = 5;

/// A case of [`sixty_socketio_clients`].
struct Case {
    what: &'static str,
    flags: &'static [&'static str],
    options: Value,
    /// The server's session ids end in its slot.
    route: u8,
}

#[test]
#[ignore = "figure"]
fn sixty_socketio_clients() {
    let cases = [
        Case {
            what: "60 addresses, no flag, one try",
            flags: &[],
            options: json!({ "one": true }),
            route: 0,
        },
        Case {
            what: "60 addresses, no flag, 10 s of tries",
            flags: &[],
            options: json!({}),
            route: 0,
        },
        Case {
            what: "60 addresses, --websocket-sticky, one try",
            flags: &["--websocket-sticky"],
            options: json!({ "one": true }),
            route: 0,
        },
        Case {
            what: "one address, --websocket-sticky, one try",
            flags: &["--websocket-sticky"],
            options: json!({ "one": true, "from": "one" }),
            route: 0,
        },
        Case {
            what: "one address, --sticky route:sid, one try",
            flags: &["--sticky", "route:sid"],
            options: json!({ "one": true, "from": "one" }),
            route: 1,
        },
    ];
    for case in &cases {
        for _ in 0..ROUNDS {
            round(case);
        }
    }
}

/// One round of `case`, on a fresh balancer with four workers; prints what came of it.
fn round(case: &Case) {
    let site = Site::new();
    let journal = site.file("journal");
    let site = site
        .env("NODE_PATH", node_modules())
        .env("JOURNAL", journal.display())
        .env("ROUTE", case.route);
    let server = server("socketio.js");
    let words = [&["run", "-n", "4"], case.flags, &["--", "node", &server]].concat();
    let balancer = Balancer::start(&site, &words);
    let mut clients = Sockets::io(site.to(), CLIENTS, &case.options);
    let seen = clients.tell("settle 10000");
    let is = |one: &Seen, transport| one.connected && one.transport.as_deref() == Some(transport);
    let count = |transport| seen.iter().filter(|one| is(one, transport)).count();
    let slots: Vec<u16> = seen.iter().filter_map(|one| one.slot).collect();
    clients.leave();
    let astray = std::fs::read_to_string(journal).map_or(0, |text| text.lines().count());
    println!(
        "{}: {} of {CLIENTS} connected by WebSocket, {} by polling only; per slot {:?}; {astray} requests astray",
        case.what,
        count("websocket"),
        count("polling"),
        spread(&slots, 4),
    );
    balancer.finish();
}

/// Chromium loads a page of the balanced server, whose script connects by socket.io to the same server: does it,
/// though a browser uses the connections that it has kept for whatever comes next?
#[test]
#[ignore = "figure"]
fn a_page_in_a_real_browser() {
    browse("no flag", &[], "", false);
    browse("--sticky ip", &["--sticky", "ip"], "", false);
    let flag = ["--websocket-sticky"];
    browse("--websocket-sticky", &flag, "", false);
    let what = "--websocket-sticky, pages end their connection";
    browse(what, &flag, "PAGES=close", false);
    let what = "--websocket-sticky, a port of its own for socket.io";
    browse(what, &flag, "", true);
    browse(
        "--sticky route:sid",
        &["--sticky", "route:sid"],
        "ROUTE=1",
        false,
    );
    let what = "--sticky route:sid, a port of its own for socket.io";
    browse(what, &["--sticky", "route:sid"], "ROUTE=1", true);
    let what = "--sticky route:slot, a cookie of the page";
    browse(what, &["--sticky", "route:slot"], "PAGES=cookie", false);
}

/// `ROUNDS` browsers, each with a profile of its own, one after the other; prints what came of each. `env`: for the
/// server. `apart`: socket.io by another port than the page.
fn browse(what: &str, flags: &[&str], env: &str, apart: bool) {
    let mut site = Site::new().env("NODE_PATH", node_modules());
    for pair in env.split_whitespace() {
        let (key, value) = pair.split_once('=').expect("KEY=VALUE");
        site = site.env(key, value);
    }
    let server = server("socketio.js");
    let other = format!("{}:{}", site.host, site.ports(1)[0]);
    let (page, ports) = (site.bind(), format!("{other}={}", site.port));
    let listen = ["run", "-n", "4", "-l", &page, "-l", &ports];
    let words = [&listen, flags, &["--", "node", &server]].concat();
    let to = if apart {
        format!("&to=http://{other}")
    } else {
        String::new()
    };
    let balancer = Balancer::start(&site, &words);
    for load in 0..ROUNDS {
        let mut browser = chromium(&site, &format!("http://{page}/?load={load}{to}"));
        let mark = format!("told ?load={load}&");
        let start = std::time::Instant::now();
        let told = loop {
            let output = balancer.output();
            let told = output.lines().rev().find(|line| line.contains(&mark));
            let last = told.map(|line| line.split(&mark).last().unwrap_or_default().to_owned());
            let upgraded = last
                .as_ref()
                .is_some_and(|told| told.ends_with("=websocket"));
            if upgraded || start.elapsed() > Duration::from_secs(10) {
                break last;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let took = start.elapsed().as_secs_f64();
        let told = told.unwrap_or_else(|| "never connected".into());
        println!("{what}: {told} ({took:.1} s)");
        browser.kill().expect("killed");
        browser.wait().expect("ended");
    }
    balancer.finish();
}

/// Chromium without a window, with a new profile, at `url`.
fn chromium(site: &Site, url: &str) -> Child {
    let profile = site.file("profile");
    let _ = std::fs::remove_dir_all(&profile);
    Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking"])
        .args(["--disable-component-update", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromium starts: this figure needs Debian's package of that name")
}
