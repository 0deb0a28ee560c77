//! C6, `--header-complete`: a worker that serves one at a time is given only whole requests.

use std::time::Duration;

use super::*;

/// One worker that serves one connection after the other.
#[track_caller]
fn blocking<'a>(site: &'a Site, flags: &[&str]) -> Balancer<'a> {
    let server = server("blocking.py");
    // Python asks for a queue of five.
    let mut words = vec!["run", "-n", "1", "--header-complete", "--backlog", "4096"];
    words.extend(flags);
    words.extend(["--", "python3", &server]);
    Balancer::start(site, &words)
}

const HALF: &[u8] = b"GET /7 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";

#[test]
fn a_thousand_silent_clients_do_not_occupy_one_blocking_worker() {
    let site = Site::new();
    let balancer = blocking(&site, &["--peek-timeout", "1h"]);
    many_connections();
    let mut silent: Vec<Raw> = (0..1000)
        .map(|n| Raw::connect(client(n), site.to()))
        .collect();
    silent.iter_mut().step_by(3).for_each(|one| one.send(HALF));
    balancer.reads(1000);
    // None of them would ever end by itself: one that was dealt would keep the worker for ever.
    Crowd::gather(site.to(), 0..100).answers().all_answered(100);
    balancer.reads(1000);
    assert!(silent.iter_mut().all(Raw::is_silent));
    let finished = silent.iter_mut().step_by(3);
    for one in finished {
        one.send(b"\r\n");
        assert_eq!(one.slot(), 0);
    }
    balancer.reads(666);
    drop(silent);
    let status = balancer.until("none is read", |status| status.held == 0);
    assert_eq!(
        (status.dealt + status.client_gone, status.closed_by_policy),
        (1100, 0)
    );
    balancer.finish();
}

#[test]
fn who_does_not_finish_in_time_is_closed() {
    let site = Site::new();
    let balancer = blocking(&site, &["--peek-timeout", "500ms"]);
    let mut late: Vec<Raw> = (0..60)
        .map(|n| Raw::connect(client(n), site.to()))
        .collect();
    late.iter_mut().step_by(2).for_each(|one| one.send(HALF));
    for one in &mut late {
        assert_eq!(one.rest(), b"");
    }
    let status = balancer.status();
    assert_eq!(
        (status.closed_by_policy, status.held, status.dealt),
        (60, 0, 0)
    );
    assert_eq!(balancer.keys().number("/refused"), 60);
    Crowd::gather(site.to(), 0..20).answers().all_answered(20);
    balancer.finish();
}

#[test]
fn the_oldest_is_closed_when_too_many_are_not_finished() {
    let site = Site::new();
    let balancer = blocking(&site, &["--peek-timeout", "1h", "--max-peeked", "10"]);
    let mut clients: Vec<Raw> = (0..30)
        .map(|n| Raw::sending(client(n), site.to(), HALF))
        .collect();
    for one in &mut clients[..20] {
        assert_eq!(one.rest(), b"");
    }
    for one in &mut clients[20..] {
        one.send(b"\r\n");
        assert_eq!(one.slot(), 0);
    }
    assert_eq!(balancer.status().closed_by_policy, 20);
    balancer.finish();
}

#[test]
fn only_the_head_is_waited_for_and_only_once() {
    // A body may come later, and so may what follows on a connection that is kept: those are the server's.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--header-complete", "--peek-timeout", "1s"]);
    let head = b"POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n";
    let mut kept: Vec<Raw> = (0..20)
        .map(|_| Raw::sending(client(1), site.to(), head))
        .collect();
    let mut slots: Vec<u16> = kept.iter_mut().map(Raw::slot).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots, [0, 1], "by the policy, not the address");
    // Longer than the time for a head.
    std::thread::sleep(Duration::from_millis(1500));
    for one in &mut kept {
        one.send(b"0123456789");
        one.send(&user("kept"));
        one.slot();
    }
    let status = balancer.status();
    assert_eq!((status.accepted, status.closed_by_policy), (20, 0));
    balancer.finish();
}

#[test]
fn what_will_never_be_a_head_is_not_waited_for() {
    let site = Site::new();
    let balancer = echoes(&site, 2, &["--header-complete", "--peek-timeout", "1h"]);
    let long = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 20_000]].concat();
    let hello = tls_hello();
    for sent in [&b"\0\x01\x02\x03"[..], b"SSH-2.0-x\r\n", &long, &hello] {
        let (_, back) = Raw::connect(client(1), site.to()).echo(sent);
        assert!(back == sent);
    }
    // A ClientHello is whole or not, as a head is.
    let mut part = Raw::sending(client(2), site.to(), &hello[..100]);
    balancer.reads(1);
    part.send(&hello[100..]);
    part.greeted_by();
    assert_eq!(balancer.status().closed_by_policy, 0);
    drop(part);
    // Half a head and its end: nothing to wait for either, whatever becomes of it.
    let mut ended = Raw::sending(client(3), site.to(), HALF);
    ended.finish_sending();
    ended.rest();
    balancer.reads(0);
    balancer.finish();
}

#[test]
fn a_key_and_a_whole_head() {
    // The key is there early, the head is not: both are waited for.
    let site = Site::new();
    let balancer = Balancer::nodes(
        &site,
        4,
        &[
            "--header-complete",
            "--sticky",
            "query:u",
            "--peek-timeout",
            "1h",
        ],
    );
    let begun = |n: u32| {
        let sent = format!("GET /1?u={} HTTP/1.1\r\nHost: test\r\n", n % 5);
        Raw::sending(client(n), site.to(), sent.as_bytes())
    };
    let mut clients: Vec<Raw> = (0..40).map(begun).collect();
    balancer.reads(40);
    clients
        .iter_mut()
        .for_each(|one| one.send(b"Connection: close\r\n\r\n"));
    let slots: Vec<u16> = clients.iter_mut().map(Raw::slot).collect();
    assert!(slots[5..].iter().eq(&slots[..35]), "{slots:?}");
    assert_eq!(balancer.keys().found("query"), 40);
    balancer.finish();
}

/// A ClientHello as OpenSSL makes it: what it sends to somebody who only listens.
fn tls_hello() -> Vec<u8> {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("bound").to_string();
    let mut client = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &to, "-servername", "shop.example"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl");
    let (mut stream, _) = listener.accept().expect("a client");
    let mut header = [0; 5];
    stream
        .read_exact(&mut header)
        .expect("the header of a record");
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let mut hello = vec![0; length];
    stream.read_exact(&mut hello).expect("the record");
    drop(stream);
    let _ = client.wait();
    [&header[..], &hello].concat()
}
