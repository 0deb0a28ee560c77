//! From which of our own addresses backends are connected to.

use std::net::TcpListener;
use std::sync::mpsc::channel;

use super::*;

#[test]
fn sessions_and_checks_come_from_the_addresses_that_are_given_in_turn() {
    let site = Site::new();
    let listener = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
    let to = listener.local_addr().expect("bound").to_string();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = tell.send(stream.peer_addr().expect("connected").ip().to_string());
            backends::serve_alone(stream, 0);
        }
    });
    let listen = site.bind();
    // The last is none of ours (RFC 5737), and is passed over.
    let words = [
        "proxy",
        "-n",
        "1",
        "-l",
        &listen,
        "--to",
        &to,
        "--check",
        "tcp",
        "--source",
        "127.77.0.1,::1,127.77.0.2,192.0.2.1",
    ];
    let balancer = Balancer::start(&site, &words);
    balancer.until("it was checked", |status| {
        status.backends[0].checks_good > 0
    });
    assert_eq!(told.recv().as_deref(), Ok("127.77.0.1"));
    let stayed = stay(&site, 8);
    // A check may have come from the first meanwhile.
    let from: Vec<String> = told.try_iter().collect();
    let of = |own| from.iter().filter(|one| *one == own).count();
    assert!(of("127.77.0.2") >= 2, "{from:?}");
    assert_eq!(of("127.77.0.1") + of("127.77.0.2"), from.len());
    let status = balancer.status();
    assert_eq!(
        (status.backends[0].connects, status.backends[0].failures),
        (8, 0)
    );
    drop(stayed);
    balancer.finish();
}
