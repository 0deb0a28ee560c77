//! What checks say to a backend, when they are switched off and on, and whose sessions end when one is down.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;
use forkfront::status::BackendState::{self, Down, Up};

#[test]
fn a_backend_that_requires_a_proxy_header_gets_one_of_each_check() {
    let site = Site::new();
    let at: SocketAddr = nowhere(&site).parse().expect("an address");
    // nginx writes an error for each connection without one.
    let words = "location / { return 200 '$proxy_protocol_addr\\n'; }";
    let server = format!("server {{ listen {at} proxy_protocol; {words} }}");
    let _nginx = Front::nginx_server(&site, at, &server);
    for check in ["tcp", "http:/"] {
        for version in ["v1", "v2"] {
            let checks = ["--check", check, "--check-interval", "50ms", "--fall", "1"];
            let send = ["--send-proxy", version];
            let flags = [&checks[..], &send].concat();
            let balancer = proxy(&site, &at.to_string(), "1", &flags);
            let status = balancer.until("checked", |status| status.backends[0].checks_good >= 5);
            let backend = &status.backends[0];
            let seen = (backend.state, backend.checks_bad);
            assert_eq!(seen, (Up, 0), "{check}, {version}: {backend:?}");
            let url = format!("http://{}/", site.to());
            assert_eq!(fetch(&url).0, 200, "{check}, {version}");
            balancer.finish();
        }
    }
}

#[test]
fn checks_are_switched_off_and_on_again_by_a_hup() {
    let site = Site::new();
    let alive = Backends::tcp(&site, 1);
    let (alive, dead) = (alive.to(""), nowhere(&site));
    let path = site.file("proxy.toml");
    let write = |check: &str| {
        let text = format!(
            "[[app]]\nlisten = \"{}\"\nto = [\"{alive}\", \"{dead}\"]\nworkers = 2\n{check}\n",
            site.bind()
        );
        fs::write(&path, text).expect("a file");
    };
    const ON: &str = "check = \"tcp\"\ncheck-interval = \"20ms\"\nfall = 2";
    write(ON);
    let file = path.display().to_string();
    let balancer = Balancer::start(&site, &["run", "--config", &file]);
    let workers = balancer.workers();
    let states = |first: BackendState, second: BackendState| {
        balancer.until(&format!("{first}, {second}"), |status| {
            (status.backends[0].state, status.backends[1].state) == (first, second)
        })
    };
    let mut checked = states(Up, Down);
    // Each time some are under way.
    for _ in 0..4 {
        write("");
        balancer.reload().done();
        let unchecked = states(Up, Up);
        write(ON);
        balancer.reload().done();
        checked = balancer.until("both are checked again", |status| {
            let more = |at: usize, of: fn(&forkfront::status::BackendStatus) -> u64| {
                of(&status.backends[at]) >= of(&unchecked.backends[at]) + 3
            };
            more(0, |one| one.checks_good) && more(1, |one| one.checks_bad)
        });
        assert_eq!(checked.backends[1].state, Down);
    }
    assert_eq!(checked.backends[0].checks_bad, 0);
    assert_eq!(balancer.workers(), workers, "no worker is new");
    // It is found to be well, too.
    let _listener = TcpListener::bind(&dead).expect("free");
    states(Up, Up);
    balancer.finish();
}

/// A backend whose sessions live on when it listens no more.
#[track_caller]
fn that_can_be_closed(site: &Site) -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
    (listener.local_addr().expect("bound"), listener)
}

/// How a session ends, from the side that reads.
#[track_caller]
fn end_of(mut stream: &TcpStream) -> Option<ErrorKind> {
    stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
    let end = stream.read_to_end(&mut Vec::new());
    end.err().map(|error| error.kind())
}

#[test]
fn sessions_of_one_that_is_down_are_reset_at_both_ends_in_old_workers_too() {
    let site = Site::new();
    let (first, listener) = that_can_be_closed(&site);
    let other = Backends::tcp(&site, 1);
    let to = format!("{first}+max=100,{}", other.to(""));
    let checks = ["--check", "tcp", "--check-interval", "100ms", "--fall", "1"];
    let flags = ["--on-down", "kill", "--balance", "first"];
    let balancer = proxy(&site, &to, "2", &[&checks[..], &flags].concat());
    let mut pairs = Vec::new();
    let mut pair = || {
        let client = TcpStream::connect(site.to()).expect("connected");
        let own = client.local_addr().expect("bound");
        let mut said = &client;
        std::io::Write::write_all(&mut said, own.to_string().as_bytes()).expect("said");
        // Checks come, too.
        loop {
            let (backend, _) = listener.accept().expect("somebody");
            let mut heard = [0; 64];
            let count = { &backend }.read(&mut heard).unwrap_or(0);
            if heard[..count] == *own.to_string().as_bytes() {
                pairs.push((client, backend));
                return;
            }
        }
    };
    let former = balancer.workers();
    (0..4).for_each(|_| pair());
    balancer.reload().done();
    let status = balancer.replaced(&former);
    assert_eq!(status.leaving.len(), 2, "{:?}", status.leaving);
    balancer.command(&["upgrade"]).done();
    (0..4).for_each(|_| pair());
    drop(listener);
    let ends: Vec<_> = pairs
        .iter()
        .map(|(client, backend)| (end_of(client), end_of(backend)))
        .collect();
    let reset = Some(ErrorKind::ConnectionReset);
    assert!(ends.iter().all(|end| *end == (reset, reset)), "{ends:?}");
    assert_eq!(come(&site, 1).greeted_by(), 0, "the other one serves");
    balancer.left();
    balancer.finish();
}
