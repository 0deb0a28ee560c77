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
    // The last is none of ours (RFC 5737), and is passed over.
    let sources = "127.77.0.1,::1,127.77.0.2,192.0.2.1";
    let flags = ["--check", "tcp", "--source", sources];
    let balancer = proxy(&site, &to, "1", &flags);
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

#[test]
fn who_waits_beside_a_backend_without_a_port_looks_now_and_then_only() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let beyond = TcpListener::bind("[::1]:0").expect("a port");
    let beyond = beyond.local_addr().expect("bound");
    let to = format!("{}+max=1,{beyond}", backends.to(""));
    // The second is none of ours (RFC 3849), so nobody gets to the backend beyond.
    let sources = format!("{},2001:db8::1", site.host);
    let flags = ["--source", &sources, "--queue-timeout", "1s"];
    let balancer = behind(&site, &to, &flags);
    let stayed = stay(&site, 1);
    let mut late = come(&site, 2);
    assert!(late.rest().is_empty());
    let status = balancer.until("it is counted", |status| {
        let proxy = status.apps[0].proxy.as_ref().expect("a proxy");
        proxy.turned_away.queue_timeout == 1
    });
    let proxy = status.apps[0].proxy.as_ref().expect("a proxy");
    // Ten looks in the second that it has waited, and some of those who came first.
    assert!(
        (2..40).contains(&proxy.without_port),
        "{}",
        proxy.without_port
    );
    drop(stayed);
    balancer.finish();
}
