//! How backends are seen: in `status`, in the metrics and `/readyz`, on the page, by the service manager; while they
//! go down and come back, over reloads and upgrades.

mod common;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

use common::*;
use forkfront::status::{BackendState, Status};

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

/// A proxy to these backends that checks them, and can be read at `metrics`.
#[track_caller]
fn checking<'a>(site: &'a Site, to: &str, metrics: &str) -> Balancer<'a> {
    let bind = site.bind();
    let words = [
        "proxy",
        "-l",
        &bind,
        "--to",
        to,
        "-n",
        "2",
        "--metrics",
        metrics,
    ];
    Balancer::start(site, &[&words[..], &CHECKED].concat())
}

#[test]
fn a_backend_that_goes_down_is_seen_everywhere() {
    let site = Site::new();
    let (echoes, dead) = (Echoes::start(&site, 2), nobody_at(&site));
    let metrics = nobody_at(&site).to_string();
    let (bind, to) = (site.bind(), format!("{},{dead}+backup", echoes.to()));
    let balancer = checking(&site, &to, &metrics);
    let said = format!("{bind} leads to 3 backends by 2 workers");
    balancer.says(&said);
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
    let scrape = || scraped(&fetch(&format!("http://{metrics}/metrics")).1);
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
    let (code, ready) = fetch(&format!("http://{metrics}/readyz"));
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
        "--retries",
        "0",
    ];
    let balancer = Balancer::start(&site, &[&words[..], &CHECKED].concat());
    let url = format!("http://{metrics}/readyz");
    let ask = |code| {
        eventually("readyz", || {
            Some(fetch(&url)).filter(|(now, _)| *now == code)
        })
    };
    let why = ask(503).1;
    assert!(
        why.contains(&format!("no backend is up\n  {dead} is down: ")),
        "{why}"
    );
    // Tried all the same, and told of.
    let answer = TcpStream::connect(site.to()).and_then(|mut client| client.read(&mut [0; 8]));
    assert!(!matches!(answer, Ok(1..)));
    balancer.until("counted", |status| {
        let proxy = status.apps[0].proxy.as_ref().expect("a proxy");
        proxy.turned_away.unreachable + proxy.turned_away.no_backend == 1
    });
    let said = balancer.command(&["status"]).done().stdout;
    let part = "\nsessions: turned away: 1 since no";
    assert!(said.contains(part), "{said}");
    eventually("the scrape has it, too", || {
        let all = scraped(&fetch(&format!("http://{metrics}/metrics")).1);
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
    let to = format!("{},{late}", echoes.to());
    let balancer = checking(&site, &to, &metrics);
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
