//! How backends are seen: in `status`, in the metrics and `/readyz`, on the page, by the service manager; while they
//! go down and come back, over reloads and upgrades.

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use common::*;
use forkfront::status::{BackendState, Status};

/// Status code and body of a GET.
#[track_caller]
fn get(url: &str) -> (u16, String) {
    let words = ["--silent", "--show-error", "--max-time", "20"];
    let more = ["--write-out", "\n%{http_code}", url];
    let output = Command::new("curl").args(words).args(more).output();
    let whole = String::from_utf8(output.expect("curl runs").stdout).expect("text");
    let (body, code) = whole.rsplit_once('\n').expect("a code");
    (code.parse().expect("a number"), body.to_owned())
}

/// Every sample of a text in which promtool finds nothing wrong.
#[track_caller]
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs: scripts/test installs it");
    let mut input = promtool.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("written");
    drop(input);
    let said = promtool.wait_with_output().expect("promtool ends");
    let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && complaint.is_empty(), "{complaint}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(sample).collect()
}

fn sum(all: &BTreeMap<String, f64>, family: &str) -> f64 {
    let of = |name: &&String| name.split('{').next() == Some(family);
    all.keys().filter(of).map(|name| all[name]).sum()
}

/// No counter of `before` is less in `after`.
#[track_caller]
fn only_up(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    for (name, value) in before {
        let family = name.split('{').next().unwrap_or_default();
        let counts = ["_total", "_bucket", "_sum", "_count"];
        if counts.iter().any(|end| family.ends_with(end)) {
            let now = after.get(name).copied().unwrap_or(-1.0);
            assert!(now >= *value, "{name} was {value} and is {now}");
        }
    }
}

/// An address at which nobody listens until somebody is asked to.
fn nobody_at(site: &Site) -> SocketAddr {
    SocketAddr::new(site.to().ip(), site.ports(1)[0])
}

fn states(status: &Status) -> Vec<BackendState> {
    status.backends.iter().map(|one| one.state).collect()
}

/// Backends that let go of whoever comes, at addresses that were refused before.
fn listen(at: SocketAddr) {
    let listener = TcpListener::bind(at).expect("free");
    std::thread::spawn(move || listener.incoming().for_each(drop));
}

/// Checked ten times a second.
const CHECKED: [&str; 6] = ["--check", "tcp", "--check-interval", "100ms", "--fall", "2"];

#[test]
fn a_backend_that_goes_down_is_seen_everywhere() {
    let site = Site::new();
    let (echoes, dead) = (Echoes::start(&site, 2), nobody_at(&site));
    let metrics = nobody_at(&site).to_string();
    let (bind, to) = (site.bind(), format!("{},{dead}+backup", echoes.to()));
    let words = [
        "proxy",
        "-l",
        &bind,
        "--to",
        &to,
        "-n",
        "2",
        "--metrics",
        &metrics,
    ];
    let balancer = Balancer::start(&site, &[&words[..], &CHECKED].concat());
    let said = format!("{bind} leads to 3 backends by 2 workers");
    assert!(balancer.output().contains(&said), "{}", balancer.output());
    balancer.until("the dead one is known", |status| {
        states(status) == [BackendState::Up, BackendState::Up, BackendState::Down]
    });
    let rush = Rush::start(site.to(), 2);
    rush.proceed(100);
    let mut long = Session::open_many(site.to(), 3);
    assert!(rush.stop().failed.is_empty());
    balancer.until("only the long ones", |status| {
        status.backends.iter().map(|one| one.open).sum::<u64>() == 3
    });
    let text = balancer.command(&["status"]).done().stdout;
    for part in [
        ": proxy to 3 backends\n",
        "2 of 3 backends up, round-robin",
        "\nBACKEND  ",
        " down ",
        &format!("\n{dead}: "),
        &format!("\n{dead}: backup, gets sessions only while no other can\n"),
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains("proxy-worker"), "{text}");
    let long_line = text.lines().find(|line| line.chars().count() > 80);
    assert_eq!(long_line, None);
    // Over a reload and an upgrade nothing that counts goes down.
    let scrape = || samples(&get(&format!("http://{metrics}/metrics")).1);
    let mut before = scrape();
    let up = |all: &_| sum(all, "forkfront_backend_up");
    assert_eq!(
        (up(&before), sum(&before, "forkfront_backend_open_sessions")),
        (2.0, 3.0)
    );
    let connects = "forkfront_backend_connect_seconds_count";
    assert!(sum(&before, connects) >= 103.0);
    assert!(sum(&before, "forkfront_backend_connect_seconds_sum") > 0.0);
    assert!(sum(&before, "forkfront_backend_checks_total") > 3.0);
    let short = 12.0 * 100.0;
    assert!(sum(&before, "forkfront_backend_bytes_total") >= 2.0 * short);
    for deed in ["reload", "upgrade"] {
        balancer.command(&[deed]).done();
        let after = scrape();
        only_up(&before, &after);
        before = after;
    }
    assert!(long.iter_mut().all(Session::is_alive));
    let (code, ready) = get(&format!("http://{metrics}/readyz"));
    assert_eq!(
        (code, ready.contains("2 of 3 backends up")),
        (200, true),
        "{ready}"
    );
    drop(long);
    balancer.left();
    balancer.finish();
}

#[test]
fn without_a_backend_nobody_is_to_be_sent_here() {
    let site = Site::new();
    let dead = nobody_at(&site);
    let metrics = nobody_at(&site).to_string();
    let (bind, to) = (site.bind(), dead.to_string());
    let words = [
        "proxy",
        "-l",
        &bind,
        "--to",
        &to,
        "-n",
        "1",
        "--metrics",
        &metrics,
    ];
    let balancer = Balancer::start(&site, &[&words[..], &CHECKED].concat());
    let url = format!("http://{metrics}/readyz");
    let ask = |code| eventually("readyz", || Some(get(&url)).filter(|(now, _)| *now == code));
    let why = ask(503).1;
    assert!(
        why.contains(&format!("no backend is up\n  {dead} is down: ")),
        "{why}"
    );
    // Tried all the same, and told of.
    let mut client = TcpStream::connect(site.to()).expect("taken");
    assert!(!matches!(client.read(&mut [0; 8]), Ok(1..)));
    balancer.until("counted", |status| {
        let proxy = status.apps[0].proxy.as_ref().expect("a proxy");
        proxy.turned_away.unreachable + proxy.turned_away.no_backend == 1
    });
    let said = balancer.command(&["status"]).done().stdout;
    let part = "\nsessions: turned away: 1 since no";
    assert!(said.contains(part), "{said}");
    eventually("the scrape has it, too", || {
        let all = samples(&get(&format!("http://{metrics}/metrics")).1);
        (sum(&all, "forkfront_sessions_turned_away_total") == 1.0).then_some(())
    });
    listen(dead);
    ask(200);
    balancer.finish_as_it_is();
}

#[test]
fn the_page_shows_backends() {
    let site = Site::new();
    let (echoes, late) = (Echoes::start(&site, 2), nobody_at(&site));
    let metrics = nobody_at(&site).to_string();
    let (bind, to) = (site.bind(), format!("{},{late}", echoes.to()));
    let words = [
        "proxy",
        "-l",
        &bind,
        "--to",
        &to,
        "-n",
        "2",
        "--metrics",
        &metrics,
    ];
    let balancer = Balancer::start(&site, &[&words[..], &CHECKED].concat());
    let mut page = Browser::open(&site, &format!("http://{metrics}/"));
    page.until("document.documentElement?.dataset.looks >= 1");
    page.until("$('words').textContent === '1 of 3 backends is not up'");
    let about = page.value("$('about').textContent");
    assert!(
        about
            .as_str()
            .is_some_and(|text| text.starts_with("proxy to 3 backends · "))
    );
    let rush = Rush::start(site.to(), 2);
    page.until("[...document.querySelectorAll('#backends tbody tr')].filter((row) => parseFloat(row.children[2].textContent) > 0).length === 2");
    let text = page.value("$('backends').textContent");
    let text = text.as_str().unwrap_or_default();
    assert!(
        text.contains(&late.to_string()) && text.contains("down"),
        "{text}"
    );
    for (size, dark) in [
        ((1280, 900), false),
        ((360, 740), true),
        ((320, 600), false),
    ] {
        page.looks(size, dark);
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(page.value(wide), 0, "at {size:?}");
    }
    rush.stop();
    listen(late);
    page.until("$('words').textContent === 'Both workers are ready, all 3 backends are up'");
    assert_eq!(page.complaints, [""; 0]);
    drop(page);
    balancer.finish_as_it_is();
}
