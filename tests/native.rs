//! Native workers behind the real binary: `tests/native/threads.rs` (the library as a program uses it) and the
//! demo (an event loop).

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::*;
use nix::sys::signal::Signal;
use serde_json::Value;
use tungstenite::{Message, WebSocket};

/// The example program, which cargo builds with the tests.
fn threads() -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_forkfront"));
    let program = binary.with_file_name("examples").join("threads");
    assert!(program.exists(), "cargo build --examples makes {program:?}");
    program.display().to_string()
}

fn run_threads<'a>(site: &'a Site, n: &str, flags: &[&str]) -> Balancer<'a> {
    let (program, address) = (threads(), site.bind());
    let mut words = vec!["run", "-n", n];
    words.extend(flags);
    words.extend(["--", &program, &address]);
    Balancer::start(site, &words)
}

/// The demo's worker as `forkfront demo` runs it, with the harness's own flags.
fn run_demo<'a>(site: &'a Site, n: &str) -> Balancer<'a> {
    let (program, address) = (env!("CARGO_BIN_EXE_forkfront"), site.bind());
    let words = ["run", "-n", n, "--", program, "demo-worker", &address];
    Balancer::start(site, &words)
}

/// One request on a connection of its own: status line and body.
fn get(site: &Site, head: &str) -> (String, String) {
    let mut stream = TcpStream::connect(site.to()).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
    write!(stream, "{head}\r\nHost: test\r\n\r\n").expect("sent");
    read_answer(&mut BufReader::new(stream))
}

fn read_answer(from: &mut impl BufRead) -> (String, String) {
    let mut status = String::new();
    from.read_line(&mut status).expect("a status line");
    let (mut field, mut length) = (String::new(), 0);
    while from.read_line(&mut field).expect("a field") > 2 {
        if let Some(value) = field.strip_prefix("Content-Length: ") {
            length = value.trim().parse().expect("a length");
        }
        field.clear();
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).expect("a body");
    (
        status.trim_end().to_owned(),
        String::from_utf8(body).expect("text"),
    )
}

fn who(site: &Site) -> Value {
    let (status, body) = get(site, "GET /api/who HTTP/1.1");
    assert_eq!(status, "HTTP/1.1 200 OK");
    serde_json::from_str(&body).expect("an object")
}

fn websocket(site: &Site) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(site.to()).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
    let uri = format!("ws://{}/ws", site.to());
    tungstenite::client(uri, stream).expect("a handshake").0
}

fn text(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().expect("a message") {
            Message::Text(text) => return serde_json::from_str(&text).expect("an object"),
            Message::Close(_) => panic!("closed"),
            _ => {}
        }
    }
}

#[test]
fn a_native_worker_takes_its_turn_and_is_counted() {
    let site = Site::new();
    let balancer = run_threads(&site, "2", &[]);
    in_turn(&slots(&balancer, site.to()));
    Crowd::gather(site.to(), 0..200).answers().all_answered(200);
    balancer.until("every connection taken and closed", |status| {
        status
            .slots
            .iter()
            .all(|slot| slot.open == 0 && slot.accepted == slot.dealt)
    });
    balancer.says("balanced: true");
    balancer.finish();
}

#[test]
fn native_workers_are_renewed_under_load() {
    let site = Site::new();
    let balancer = run_threads(&site, "2", &[]);
    renewed(&balancer, site.to());
    balancer.finish();
}

#[test]
fn a_native_worker_alone_is_a_plain_server() {
    let site = Site::new();
    let mut alone = std::process::Command::new(threads())
        .arg(site.bind())
        .spawn()
        .expect("started");
    eventually("it listens", || TcpStream::connect(site.to()).ok());
    assert!(matches!(
        ask(site.to(), 7),
        Outcome::Ok(Answer { slot: None, .. })
    ));
    send(alone.id(), Signal::SIGTERM);
    assert!(alone.wait().expect("ended").success());
}

#[test]
fn what_a_killed_native_worker_had_not_taken_is_answered() {
    // A1: both workers stop, clients queue, both die.
    let site = Site::new();
    let balancer = run_threads(&site, "2", &[]);
    let workers = balancer.workers();
    workers.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
    let crowd = Crowd::gather(site.to(), 0..100);
    workers.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    crowd.answers().all_answered(100);
    balancer.finish();
}

#[test]
fn a_graceful_stop_finishes_what_is_open() {
    let site = Site::new();
    let mut balancer = run_threads(&site, "2", &[]);
    let held = Client::asking(site.to(), 1, "hold");
    balancer.until("it is taken", |status| {
        status.slots.iter().any(|slot| slot.open == 1)
    });
    balancer.signal(Signal::SIGTERM);
    let answer = held.body().expect("an answer");
    assert!(answer.ends_with("hold\n"), "{answer}");
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn native_workers_share_the_socket_when_the_kernel_balances() {
    let site = Site::new();
    let balancer = run_threads(&site, "2", &["--balance", "kernel"]);
    Crowd::gather(site.to(), 0..100).answers().all_answered(100);
    balancer.finish();
}

#[test]
fn native_workers_leave_when_their_primary_is_killed() {
    let site = Site::new();
    let mut balancer = run_threads(&site, "2", &[]);
    balancer.signal(Signal::SIGKILL);
    balancer.wait();
    balancer.workers_gone(Duration::from_secs(5));
}

#[test]
fn forkfront_demo_needs_nothing_else() {
    let site = Site::new();
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_forkfront"))
        .args(["demo", "-q", "-n", "2", "-l", &site.bind()])
        .spawn()
        .expect("started");
    let seen = eventually("both slots answer", || {
        TcpStream::connect(site.to()).ok()?;
        let (one, two) = (who(&site), who(&site));
        (one["slot"] != two["slot"]).then_some(one)
    });
    assert_eq!(
        (&seen["workers"], &seen["balanced"]),
        (&2.into(), &true.into())
    );
    send(demo.id(), Signal::SIGTERM);
    assert!(demo.wait().expect("ended").success());
}

#[test]
fn the_demo_answers_in_turn_and_says_who() {
    let site = Site::new();
    let balancer = run_demo(&site, "2");
    let answers: Vec<Value> = (0..10).map(|_| who(&site)).collect();
    let slots: Vec<u16> = answers
        .iter()
        .map(|answer| answer["slot"].as_u64().expect("a slot") as u16)
        .collect();
    in_turn(&slots);
    let workers = balancer.workers();
    for answer in &answers {
        let slot = answer["slot"].as_u64().expect("a slot") as usize;
        assert_eq!(answer["pid"], workers[slot], "{answer}");
        assert_eq!(answer["workers"], 2, "{answer}");
    }
    let (status, page) = get(&site, "GET / HTTP/1.1");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(page.starts_with("<!doctype html>"));
    balancer.finish();
}

#[test]
fn the_demo_keeps_connections_and_takes_requests_ahead() {
    let site = Site::new();
    let balancer = run_demo(&site, "1");
    let mut stream = TcpStream::connect(site.to()).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
    let post = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde";
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream
        .write_all(format!("{post}{post}{last}").as_bytes())
        .expect("sent");
    let mut answers = BufReader::new(stream);
    assert_eq!(read_answer(&mut answers).0, "HTTP/1.1 404 Not Found");
    assert_eq!(read_answer(&mut answers).0, "HTTP/1.1 404 Not Found");
    assert_eq!(
        read_answer(&mut answers).0,
        "HTTP/1.1 405 Method Not Allowed"
    );
    assert_eq!(answers.read(&mut [0]).expect("the end"), 0);

    let mut stream = TcpStream::connect(site.to()).expect("connected");
    let closing = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(closing.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the head");
    assert!(
        text.ends_with("\r\n\r\n") && text.contains("Content-Length: "),
        "{text}"
    );
    balancer.finish();
}

#[test]
fn the_demo_refuses_garbage_and_goes_on() {
    let site = Site::new();
    let balancer = run_demo(&site, "1");
    let worker = balancer.workers()[0];
    let mut random = Random::seeded();
    for round in 0..100 {
        let mut stream = TcpStream::connect(site.to()).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        let garbage: Vec<u8> = (0..round * 40).map(|_| random.below(256) as u8).collect();
        // The demo may have refused and closed before all of it is sent.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{answer:?}"
        );
    }
    let long = format!("GET /{} HTTP/1.1", "a".repeat(40_000));
    assert_eq!(
        get(&site, &long).0,
        "HTTP/1.1 431 Request Header Fields Too Large"
    );
    assert_eq!(who(&site)["pid"], worker);
    balancer.finish();
}

#[test]
fn the_demo_speaks_websocket() {
    let site = Site::new();
    let balancer = run_demo(&site, "2");
    let (mut one, mut two) = (websocket(&site), websocket(&site));
    one.send(Message::text("hi ☺")).expect("sent");
    two.send(Message::text("ho")).expect("sent");
    let echo = |socket: &mut WebSocket<TcpStream>| {
        eventually("an echo", || {
            Some(text(socket)).filter(|it| it["type"] == "echo")
        })
    };
    let (from_one, from_two) = (echo(&mut one), echo(&mut two));
    assert_eq!(
        (&from_one["text"], &from_two["text"]),
        (&"hi ☺".into(), &"ho".into())
    );
    assert_ne!(from_one["slot"], from_two["slot"]);
    let counters = eventually("counters", || {
        Some(text(&mut one)).filter(|it| it["type"] == "counters")
    });
    assert_eq!(counters["websockets"], 1, "{counters}");
    for mut socket in [one, two] {
        socket.close(None).expect("closing");
        while socket.read().is_ok() {}
    }
    balancer.finish();
}

#[test]
fn a_leaving_demo_worker_says_so_to_its_websockets() {
    let site = Site::new();
    let mut balancer = run_demo(&site, "1");
    let mut socket = websocket(&site);
    text(&mut socket);
    balancer.signal(Signal::SIGTERM);
    eventually("it says that it leaves", || {
        Some(text(&mut socket)).filter(|it| it["type"] == "leaving")
    });
    while socket.read().is_ok() {}
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn a_crash_on_demand_costs_no_other_connection() {
    let site = Site::new();
    let mut balancer = run_demo(&site, "2");
    let before = balancer.workers();
    assert_eq!(
        get(&site, "POST /api/crash HTTP/1.1").0,
        "HTTP/1.1 403 Forbidden"
    );
    let crash = "POST /api/crash HTTP/1.1\r\nX-Forkfront: crash";
    let (status, body) = get(&site, crash);
    assert_eq!(status, "HTTP/1.1 202 Accepted");
    let crashed: Value = serde_json::from_str(&body).expect("an object");
    (0..50).for_each(|_| drop(who(&site)));
    balancer.all_ready();
    let after = balancer.workers();
    for (slot, pid) in before.iter().enumerate() {
        assert_eq!(crashed["pid"] == *pid, after[slot] != *pid, "slot {slot}");
    }
    balancer.finish();
}

#[test]
fn a_demo_worker_at_its_descriptor_limit_loses_nobody() {
    // KF8: more clients than descriptors; each is answered once others have gone.
    let site = Site::new();
    let program = env!("CARGO_BIN_EXE_forkfront");
    let limited = format!("ulimit -n 32; exec {program} demo-worker {}", site.bind());
    let balancer = Balancer::start(&site, &["run", "-n", "2", "--", "sh", "-c", &limited]);
    let mut clients: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(site.to()).expect("connected"))
        .collect();
    balancer.until("both are full", |status| {
        status.slots.iter().all(|slot| slot.open >= 10) && status.accepted == 100
    });
    for client in &mut clients {
        write!(client, "GET /api/who HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    }
    for client in clients {
        client.set_read_timeout(Some(DEADLINE)).expect("time-out");
        assert_eq!(
            read_answer(&mut BufReader::new(client)).0,
            "HTTP/1.1 200 OK"
        );
    }
    balancer.finish();
}
