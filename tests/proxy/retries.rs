//! How often a session tries to connect, where, and for how long.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_restart_of_the_only_backend_is_seen_by_no_client() {
    let site = Site::new();
    let to = nowhere(&site);
    let balancer = behind(&site, &to, &[]);
    let mut clients: Vec<Raw> = (0..6).map(|n| come(&site, n)).collect();
    clients[1].send(b"spoke");
    clients[2].finish_sending();
    // One that is gone by then is led nowhere.
    clients.remove(5).reset();
    balancer.until("all have tried", |status| status.backends[0].failures >= 5);
    let backend = std::net::TcpListener::bind(&to).expect("it was free");
    let served = std::thread::spawn(move || {
        for stream in backend.incoming().take(5) {
            backends::serve_alone(stream.expect("a client"), 3);
        }
    });
    for client in &mut clients {
        assert_eq!(client.greeted_by(), 3);
    }
    assert_eq!(clients[1].exactly(5), b"spoke");
    assert_eq!(clients[2].rest(), b"bye\n");
    let status = balancer.status();
    let seen = &status.backends[0];
    assert_eq!((seen.connects, seen.retried), (5, seen.failures));
    drop(clients);
    served.join().expect("served");
    balancer.finish();
}

#[test]
fn it_is_tried_as_often_as_it_may_and_no_longer_than_one_connect() {
    // The pause is a quarter of the time for a connect.
    for (retries, within, tries, pauses) in [
        ("0", 400, 1..=1, 0),
        ("2", 4_000, 3..=3, 2),
        // A slow machine has time for fewer.
        ("9", 400, 2..=4, 3),
    ] {
        let site = Site::new();
        let to = nowhere(&site);
        let timeout = format!("{within}ms");
        let flags = ["--connect-timeout", &timeout, "--retries", retries];
        let balancer = behind(&site, &to, &flags);
        let start = Instant::now();
        assert!(come(&site, 1).rest().is_empty());
        let took = start.elapsed();
        let pause = Duration::from_millis(within / 4 - 2);
        assert!(took >= pause * pauses, "{took:?}");
        let status = balancer.until("it is counted", |status| {
            let proxy = status.apps[0].proxy.as_ref();
            proxy.is_some_and(|proxy| proxy.turned_away.unreachable == 1)
        });
        let failures = status.backends[0].failures;
        assert!(tries.contains(&failures), "{failures} of {tries:?}");
        balancer.finish();
    }
}

#[test]
fn who_waits_for_one_backend_finds_another_that_is_there_again() {
    let site = Site::new();
    let (full, to) = (Backends::tcp(&site, 1), nowhere(&site));
    let both = format!("{},{to}", full.to("+max=1"));
    let (listen, more) = (
        site.bind(),
        ["--connect-timeout", "20s", "--queue-timeout", "25s"],
    );
    let words = [
        "proxy",
        "-l",
        &listen,
        "--to",
        &both,
        "-n",
        "1",
        "--max-queue",
        "1",
    ];
    let balancer = Balancer::start(&site, &[&words[..], &ALONE, &more].concat());
    let mut stayed = stay(&site, 1);
    let mut waits = come(&site, 1);
    balancer.until("it waits", |status| {
        let proxy = status.apps[0].proxy.as_ref();
        proxy.is_some_and(|proxy| proxy.waiting == 1)
    });
    let again = std::net::TcpListener::bind(&to).expect("it was free");
    let served = std::thread::spawn(move || {
        for stream in again.incoming().take(2) {
            backends::serve_alone(stream.expect("a client"), 3);
        }
    });
    // No more may wait, but it need not.
    assert_eq!(come(&site, 2).greeted_by(), 3);
    assert_eq!(waits.greeted_by(), 3);
    stayed[0].0.send(b"still");
    assert_eq!(stayed[0].0.exactly(5), b"still");
    drop((stayed, waits));
    served.join().expect("served");
    balancer.finish();
}

#[test]
fn one_client_alone_ejects_nobody() {
    let site = Site::new();
    let (listen, to) = (site.bind(), nowhere(&site));
    let words = [
        "proxy", "-l", &listen, "--to", &to, "-n", "1", "--check", "off",
    ];
    let flags = [
        "--connect-timeout",
        "2s",
        "--eject-after",
        "2",
        "--retries",
        "1",
    ];
    let balancer = Balancer::start(&site, &[&words[..], &flags].concat());
    let ejects = || balancer.output().contains("connects in a row failed");
    assert!(come(&site, 1).rest().is_empty());
    assert!(balancer.status().backends[0].failures >= 2);
    assert!(!ejects());
    assert!(come(&site, 2).rest().is_empty());
    eventually("it is said of two", || ejects().then_some(()));
    balancer.finish();
}
