//! How a session gets to a backend: the next one when one is dead, what is said of the client, Unix sockets, ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn where_nobody_listens_the_next_backend_is_tried() {
    // F6: three of four are down.
    let site = Site::new();
    let alive = Backends::tcp(&site, 1);
    let of_nobody = |port: u16| format!("{}:{port}", site.host);
    let dead: Vec<String> = site.ports(3).into_iter().map(of_nobody).collect();
    let to = format!("{},{}", dead.join(","), alive.to(""));
    let balancer = behind(&site, &to, &[]);
    let stayed = stay(&site, 20);
    // Some speak first, and what they say comes along.
    let mut speaker = Raw::sending(client(99), site.to(), b"hello");
    assert_eq!(speaker.greeted_by(), 0);
    assert_eq!(speaker.exactly(5), b"hello");
    let status = balancer.until("all is counted", |status| status.backends[3].open == 21);
    for backend in &status.backends[..3] {
        assert!(backend.failures > 0 && backend.retried == backend.failures);
        assert_eq!((backend.open, backend.connects), (0, 0));
    }
    drop((stayed, speaker));
    balancer.finish();

    // Without another try the client sees that nobody has served it.
    let site = Site::new();
    let balancer = behind(&site, &nowhere(&site), &["--retries", "0"]);
    let mut client = come(&site, 1);
    assert!(client.rest().is_empty());
    balancer.says("Connection refused");
    balancer.finish();
}

#[test]
fn a_backend_is_told_who_the_client_is() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let balancer = behind(&site, &backends.to(""), &["--send-proxy", "v1"]);
    for says in ["", "and more\n"] {
        let mut client = Raw::sending(client(5), site.to(), says.as_bytes());
        let (from, to) = (client.source(), site.to());
        client.greeted_by();
        let line = format!(
            "PROXY TCP4 {} {} {} {}",
            from.ip(),
            to.ip(),
            from.port(),
            to.port()
        );
        assert_eq!(client.line(), line);
        assert_eq!(client.exactly(says.len()), says.as_bytes());
    }
    balancer.finish();

    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let balancer = behind(&site, &backends.to(""), &["--send-proxy", "v2"]);
    let mut client = come(&site, 6);
    client.greeted_by();
    let bytes = client.exactly(28);
    let header = ppp::v2::Header::try_from(&bytes[..]).expect("a header");
    assert_eq!(header.addresses, (client.source(), site.to()).into());
    drop(client);
    balancer.finish();
}

#[test]
fn unix_sockets_do_on_both_sides() {
    let site = Site::new();
    let (backend, _) = Backends::unix(&site);
    let door = site.file("door.sock");
    let listen = format!("unix:{}", door.display());
    let to = backend.to("");
    let mut words = vec!["proxy", "-l", &listen, "--to", &to, "-n", "2"];
    words.extend(ALONE);
    words.extend(["--send-proxy", "v1"]);
    let balancer = Balancer::start(&site, &words);
    let mut client = UnixStream::connect(&door).expect("connected");
    client.write_all(b"over\n").expect("sent");
    client.shutdown(Shutdown::Write).expect("ended");
    let mut all = String::new();
    client.read_to_string(&mut all).expect("read");
    assert_eq!(all, "7 is here\nPROXY UNKNOWN\r\nover\nbye\n");
    balancer.finish();
}

#[test]
fn ipv6_does_on_both_sides() {
    let site = Site::on("::1");
    let backends = Backends::tcp(&site, 2);
    assert!(backends.0.iter().all(|one| one.starts_with("[::1]:")));
    let balancer = behind(&site, &backends.to("@2"), &["--send-proxy", "v1"]);
    for n in 0..4 {
        let mut client = Raw::sending("::1".parse().expect("an address"), site.to(), b"over\n");
        assert_eq!(client.greeted_by(), n % 2);
        let (from, to) = (client.source().port(), site.to().port());
        assert_eq!(client.line(), format!("PROXY TCP6 ::1 ::1 {from} {to}"));
        assert_eq!(client.line(), "over");
    }
    balancer.finish();
}

#[test]
fn an_end_is_carried_on_and_the_other_direction_goes_on() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let balancer = behind(&site, &backends.to(""), &[]);
    for says in [&b""[..], b"something", &[b'x'; 300_000]] {
        let mut client = come(&site, 1);
        let mut half = client.half();
        let said = says.to_vec();
        let writer = std::thread::spawn(move || {
            half.write_all(&said).expect("sent");
            half.shutdown(Shutdown::Write).expect("ended");
        });
        client.greeted_by();
        let back = client.rest();
        writer.join().expect("written");
        assert_eq!(back.len(), says.len() + 4);
        assert!(back.starts_with(says) && back.ends_with(b"bye\n"));
    }
    let moved: u64 = 300_009;
    let status = balancer.until("all is counted", |status| {
        status.backends[0].open == 0 && status.backends[0].bytes_in >= moved
    });
    assert_eq!(status.backends[0].bytes_in, moved);
    assert_eq!(status.backends[0].bytes_out, moved + 3 * 14);
    balancer.finish();
}

#[test]
fn an_answer_in_two_pieces_is_not_held_up() {
    // The backend greets and then echoes, without TCP_NODELAY: its second write waits for our acknowledgement.
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let balancer = behind(&site, &backends.to(""), &[]);
    let took = |n| {
        let start = std::time::Instant::now();
        let mut client = Raw::sending(client(n), site.to(), b"ping");
        client.greeted_by();
        assert_eq!(client.exactly(4), b"ping");
        start.elapsed()
    };
    let fastest = (0..12).map(took).min();
    assert!(
        fastest < Some(std::time::Duration::from_millis(30)),
        "{fastest:?}"
    );
    balancer.finish();
}

#[test]
fn many_come_at_once_and_all_are_served() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 3);
    let balancer = behind(&site, &backends.to(""), &["--balance", "least-connections"]);
    let to: SocketAddr = site.to();
    let threads: Vec<_> = (0..8)
        .map(|n| {
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let mut client = Raw::sending(client(n), to, b"ping");
                    client.greeted_by();
                    assert_eq!(client.exactly(4), b"ping");
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|one| one.join().expect("served"));
    let status = balancer.until("all have left", |status| {
        status.backends.iter().all(|one| one.open == 0)
    });
    let connects: u64 = status.backends.iter().map(|one| one.connects).sum();
    assert_eq!(connects, 400);
    balancer.finish();
}
