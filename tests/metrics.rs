//! `--metrics` of a real primary, read by curl and checked by promtool: what is served, what counts over everything
//! that a primary goes through, and who cannot hurt (J4, J5).

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use common::*;
use forkfront::status::Status;
use nix::sys::signal::Signal;

/// A free address for the metrics.
fn beside(site: &Site) -> String {
    format!("{}:{}", site.host, site.ports(1)[0])
}

/// Every sample, by name and labels. Promtool finds nothing wrong with the text, and the ledger adds up (J5).
#[track_caller]
fn samples(text: &str) -> BTreeMap<String, f64> {
    let all = scraped(text);
    let sum = |name: &str| sum(&all, &format!("forkfront_connections_{name}"));
    let explained =
        sum("handed_over_total") - sum("read_back_total") + sum("held") + sum("closed_total");
    assert_eq!(sum("accepted_total"), explained, "the ledger: {text}");
    all
}

#[test]
fn everything_that_there_is_to_read() {
    let site = Site::new();
    let at = beside(&site);
    let mut balancer = Balancer::nodes(&site, 2, &["--metrics", &at]);
    balancer.says(&format!("http://{at}/"));
    Crowd::gather(site.to(), 1..41).answers().all_answered(40);
    balancer.at_rest();
    let url = |path: &str| format!("http://{at}{path}");
    let (code, text) = fetch(&url("/metrics"));
    let all = samples(&text);
    assert_eq!(code, 200);
    assert_eq!(sum(&all, "forkfront_connections_accepted_total"), 40.0);
    assert_eq!(sum(&all, "forkfront_slot_accepted_total"), 40.0);
    assert_eq!(sum(&all, "forkfront_slot_queue_wait_seconds_count"), 40.0);
    assert!(sum(&all, "forkfront_slot_queue_wait_seconds_sum") > 0.0);
    assert_eq!(
        all["forkfront_slots_in_state{app=\"app\",state=\"ready\"}"],
        2.0
    );
    let printed = balancer.command(&["metrics"]).done().stdout;
    only_up(&all, &samples(&printed));
    let (_, json) = fetch(&url("/status"));
    let status: Status = serde_json::from_str(&json).expect("the object of status --json");
    let own = balancer.status();
    // Overflows are those of the whole machine, on which other tests run.
    let listeners = |status: &Status| {
        let mut listeners = status.listeners.clone();
        listeners.iter_mut().for_each(|one| one.overflows = 0);
        listeners
    };
    assert_eq!(listeners(&status), listeners(&own));
    assert_eq!((status.pid, status.apps), (own.pid, own.apps));
    assert_eq!(status.metrics.as_deref(), Some(url("/").as_str()));
    assert_eq!(fetch(&url("/healthz")), (200, "ok\n".to_owned()));
    assert_eq!(fetch(&url("/readyz")).0, 200);
    let (code, page) = fetch(&url("/"));
    assert!(code == 200 && page.contains("</html>"), "{page}");
    assert_eq!(fetch(&url("/secret")).0, 404);
    let head = curl(&["--head", &url("/metrics")]);
    assert!(
        head.contains("Content-Type: text/plain; version=0.0.4"),
        "{head}"
    );
    let refused = curl(&["--include", "--data", "x", &url("/metrics")]);
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("Allow: GET, HEAD"));
    let stranger = [
        "--write-out",
        "%{http_code}",
        "--header",
        "Host: evil.example",
    ];
    let answer = curl(&[&stranger[..], &[&url("/status")]].concat());
    assert!(answer.ends_with("421"), "{answer}");
    balancer.finish();
}

#[test]
fn ready_means_that_clients_are_served() {
    let site = Site::new();
    let path = site.file("metrics.sock");
    let at = format!("unix:{}", path.display());
    let mut balancer = Balancer::nodes(&site, 2, &["--metrics", &at, "--restart", "never"]);
    let ask = |what: &str| {
        let socket = path.display().to_string();
        let url = format!("http://localhost/{what}");
        let whole = curl(&[
            "--unix-socket",
            &socket,
            "--write-out",
            "%{http_code}",
            &url,
        ]);
        let (body, code) = whole.split_at(whole.len() - 3);
        (code.parse::<u16>().expect("a code"), body.to_owned())
    };
    assert_eq!(
        ask("readyz?min=100%25"),
        (200, "app: 2 of 2 workers ready\n".to_owned())
    );
    send(balancer.workers()[1], Signal::SIGKILL);
    let why = eventually("one is missing", || {
        let (code, body) = ask("readyz?min=2");
        (code == 503 && body.contains("slot 1 is stopped")).then_some(body)
    });
    assert!(
        why.starts_with("app: 1 of 2 workers ready, 2 needed\n"),
        "{why}"
    );
    assert!(why.contains("SIGKILL"), "{why}");
    assert_eq!(ask("readyz").0, 200);
    balancer.command(&["drain", "0"]).done();
    // Whoever asks right after another gets the same answer.
    let why = eventually("not ready", || {
        Some(ask("readyz")).filter(|(code, _)| *code == 503)
    });
    assert!(why.1.contains("slot 0 is drained"), "{}", why.1);
    assert_eq!(ask("healthz").0, 200, "the primary works all the same");
    balancer.signal(Signal::SIGTERM);
    balancer.wait();
    balancer.nothing_left();
    assert!(!path.exists(), "the socket's name goes with the primary");
}

#[test]
fn a_stop_is_seen_by_who_looks() {
    let site = Site::new();
    let at = beside(&site);
    let mut balancer = Balancer::nodes(&site, 1, &["--metrics", &at]);
    let open = TcpStream::connect(site.to()).expect("connected");
    balancer.until("it is open", |status| status.slots[0].open == 1);
    balancer.signal(Signal::SIGTERM);
    let url = format!("http://{at}/readyz");
    let why = eventually("not ready", || {
        Some(fetch(&url)).filter(|(code, _)| *code == 503)
    });
    assert_eq!(why.1, "stopping: nothing new is taken\n");
    assert_eq!(fetch(&format!("http://{at}/healthz")).0, 200);
    samples(&fetch(&format!("http://{at}/metrics")).1);
    drop(open);
    balancer.wait();
    balancer.nothing_left();
}

#[test]
fn nothing_counts_down() {
    let site = Site::new();
    let at = beside(&site);
    let balancer = Balancer::nodes(&site, 2, &["--metrics", &at]);
    let scrape = || samples(&fetch(&format!("http://{at}/metrics")).1);
    let accepted = |all: &_| sum(all, "forkfront_connections_accepted_total");
    let mut id = 1;
    let mut serve = || {
        Crowd::gather(site.to(), id..id + 20)
            .answers()
            .all_answered(20);
        id += 20;
        // Whoever asks right after another gets the same answer: on a busy machine that may be one from before.
        eventually("the scrape has seen them all", || {
            Some(scrape()).filter(|all| accepted(all) == (id - 1) as f64)
        })
    };
    let mut before = serve();
    let killed = balancer.workers();
    send(killed[0], Signal::SIGKILL);
    balancer.until("the next one", |status| {
        status
            .slots
            .iter()
            .all(|slot| slot.pid != Some(killed[0]) && slot.pid.is_some())
    });
    let deeds: [&dyn Fn(); 4] = [
        &|| _ = balancer.replaced(&killed[..1]),
        &|| _ = balancer.reload().done(),
        &|| _ = balancer.command(&["upgrade"]).done(),
        &|| _ = balancer.reload().done(),
    ];
    for deed in deeds {
        deed();
        let after = scrape();
        only_up(&before, &after);
        before = serve();
        only_up(&after, &before);
    }
    assert_eq!(accepted(&before), 100.0);
    assert_eq!(
        sum(&before, "forkfront_slot_queue_wait_seconds_count"),
        100.0
    );
    balancer.finish();
}

#[test]
fn the_address_follows_the_file_and_a_reader_survives_an_upgrade() {
    let site = Site::new();
    let [first, second] = site.ports(2)[..] else {
        panic!("two ports");
    };
    let (first, second) = (
        format!("{}:{first}", site.host),
        format!("{}:{second}", site.host),
    );
    let file = site.file("site.toml");
    let say = |metrics: &str| {
        let (server, listen) = (server("http.js"), site.bind());
        let app = format!(
            "[[app]]\ncommand = [\"node\", \"{server}\"]\nlisten = \"{listen}\"\nworkers = 1\n"
        );
        fs::write(&file, format!("{metrics}\n{app}")).expect("written");
    };
    say(&format!("metrics = \"{first}\""));
    let path = file.display().to_string();
    let balancer = Balancer::start(&site, &["run", "--config", &path]);
    let mut kept = TcpStream::connect(&first).expect("connected");
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {first}\r\n\r\n");
    kept.write_all(&request.as_bytes()[..20]).expect("sent");
    balancer.command(&["upgrade"]).done();
    kept.write_all(&request.as_bytes()[20..]).expect("sent");
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let health = |at: &str| fetch(&format!("http://{at}/healthz")).0;
    say(&format!("metrics = \"{second}\""));
    balancer.reload().done();
    assert_eq!(health(&second), 200);
    assert!(
        TcpStream::connect(&first).is_err(),
        "nobody listens there any more"
    );
    // An address that is taken changes nothing.
    let taken = std::net::TcpListener::bind(&first).expect("free again");
    say(&format!("metrics = \"{first}\""));
    balancer
        .reload()
        .failed(1, &["another process listens there", "--metrics"]);
    assert_eq!(health(&second), 200);
    drop(taken);
    say("");
    balancer.reload().done();
    assert!(TcpStream::connect(&second).is_err(), "none any more");
    balancer.finish_as_it_is();
}

#[test]
fn a_taken_address_is_said_at_the_start() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind((site.host.as_str(), 0)).expect("bound");
    let at = taken.local_addr().expect("bound").to_string();
    let words = ["run", "--metrics", &at, "--", "true"];
    let sentence = format!("cannot listen on {at}: another process listens there already");
    run_to_end(&site, &words).refused(&site, 1, &sentence);
    let same = ["run", "-l", "9100=80", "--metrics", "9100", "--", "true"];
    run_to_end(&site, &same).refused(&site, 2, "would need the same address");
}

#[test]
fn readers_that_never_read_hold_nobody_up() {
    // J4, the small version of the figure.
    let site = Site::new();
    let at = beside(&site);
    let mut balancer = Balancer::nodes(&site, 2, &["--metrics", &at]);
    let before = rss_kib(balancer.pid());
    let load = Load::start(site.to(), 2, 1, DEADLINE);
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let deaf: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut one = TcpStream::connect(&at).expect("connected");
            let _ = one.write_all(request.as_bytes());
            one
        })
        .collect();
    let open = descriptors(balancer.pid()).len();
    assert!(open < 150, "{open} descriptors in the primary");
    eventually("an honest one is answered", || {
        (fetch(&format!("http://{at}/healthz")).0 == 200).then_some(())
    });
    load.proceed(50);
    load.stop().clean();
    let grown = rss_kib(balancer.pid()).saturating_sub(before);
    assert!(grown <= 4096, "the primary has grown by {grown} KiB");
    drop(deaf);
    balancer.at_rest();
    balancer.finish();
}

#[test]
fn a_unix_socket_is_taken_over_only_from_the_dead() {
    let site = Site::new();
    let path = site.file("metrics.sock");
    let held = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let at = format!("unix:{}", path.display());
    let words = ["run", "--metrics", &at, "--", "true"];
    run_to_end(&site, &words).refused(
        &site,
        1,
        "listens there already; stop it, or give --metrics another path",
    );
    drop(held);
    let balancer = Balancer::nodes(&site, 1, &["--metrics", &at]);
    UnixStream::connect(&path).expect("connected");
    balancer.finish();
}
