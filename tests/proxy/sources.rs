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

#[test]
fn an_address_of_ours_that_leads_nowhere_is_not_the_backends_fault() {
    if !own_network() {
        return;
    }
    let ip = |words: &str| {
        let done = Command::new("ip").args(words.split(' ')).status();
        done.is_ok_and(|done| done.success())
    };
    let has_other = ip("link add d0 type veth")
        && ip("address add 192.0.2.2/24 dev d0")
        && ip("link set d0 up");
    if !has_other {
        eprintln!("no network besides the loopback can be had here, so nothing is tested");
        return;
    }
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    // Another machine, to which nothing gets from an address of the loopback (EINVAL).
    let (listen, to) = (site.bind(), format!("{},192.0.2.9:9", backends.to("")));
    let words = ["proxy", "-l", &listen, "--to", &to, "-n", "1"];
    let checks = ["--check", "tcp", "--check-interval", "100ms", "--fall", "1"];
    let flags = ["--source", "127.77.0.1", "--eject-after", "1"];
    let balancer = Balancer::start(&site, &[&words[..], &checks, &flags].concat());
    let stayed = stay(&site, 4);
    assert_eq!(shares(&stayed, 2), [4, 0]);
    balancer.says("backends cannot be checked");
    nobody_is_blamed(&balancer.status());
    drop(stayed);
    balancer.finish();
}

#[test]
fn where_there_is_no_ipv6_a_backend_of_it_is_ejected() {
    if !own_network() {
        return;
    }
    // Missing where there is none in any case.
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let (listen, to) = (site.bind(), format!("{},[::1]:9", backends.to("")));
    let words = ["proxy", "-l", &listen, "--to", &to, "-n", "1"];
    let balancer = Balancer::start(&site, &[&words[..], &["--eject-after", "1"]].concat());
    let stayed = stay(&site, 4);
    assert_eq!(shares(&stayed, 2), [4, 0]);
    let status = balancer.until("it is out", |status| status.backends[1].ejections == 1);
    let proxy = status.apps[0].proxy.as_ref().expect("a proxy");
    assert_eq!((proxy.without_port, status.backends[0].failures), (0, 0));
    drop(stayed);
    balancer.finish();
}
