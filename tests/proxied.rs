//! Connections of a proxy, as an unmodified server sees them: the client that the proxy has named, by every way
//! there is to ask, for as long as the connection lives and no longer. The shim alone, with the test as its primary;
//! real servers behind the real program are in `tests/proxied_servers.rs`.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;

use common::*;
use forkfront::sys::address::to_wire;
use forkfront::wire::{Address, Answer, Kind, Record, Verb};

/// A proxy's connection, and the socket that it was accepted as.
struct Proxy {
    stream: OwnedFd,
    accepted: OwnedFd,
    /// As the kernel has it, and so everybody who asks the kernel.
    address: Option<SocketAddr>,
    local: Address,
}

impl Proxy {
    /// Through a listener at `door`, from the loopback address that its clients use.
    fn tcp(door: &str, to: &str) -> Self {
        let door = TcpListener::bind(door).expect("bind");
        let port = door.local_addr().expect("bound").port();
        let to: SocketAddr = format!("{to}:{port}").parse().expect("an address");
        let stream = TcpStream::connect(to).expect("connect");
        let (accepted, peer) = door.accept().expect("accept");
        Self {
            stream: stream.into(),
            accepted: accepted.into(),
            address: Some(peer),
            local: to_wire(&door.local_addr().expect("bound")),
        }
    }

    fn unix() -> Self {
        let (stream, accepted) = UnixStream::pair().expect("a pair");
        Self {
            stream: stream.into(),
            accepted: accepted.into(),
            address: None,
            local: Address::default(),
        }
    }

    fn record(&self, client: &str) -> Record {
        Record {
            proxied: true,
            peer: to_wire(&client.parse().expect("an address")),
            local: self.local,
            ..Record::control(Kind::Connection, 0)
        }
    }
}

/// A server that has the shim, and what it was last shown.
struct Server {
    program: Preloaded,
    dealer: Dealer,
    former: (TcpStream, String),
}

impl Server {
    fn at(place: &Place, host: &str) -> Self {
        let script = server("peers.py");
        let mut program = place.server(&["python3", "-B", &script, host, "7777"]);
        let dealer = place.channel();
        // Whether a listener of its own is one of ours.
        place.answer(Verb::Recognise, &Answer::errno(libc::EINVAL), &[]);
        program.says("listening");
        let nobody = TcpStream::from(Proxy::unix().stream);
        Self {
            program,
            dealer,
            former: (nobody, "errno 88".to_string()),
        }
    }

    /// What it says of a connection that comes with `record`, by line, and the connection.
    fn asked(&self, record: &Record, proxy: Proxy) -> (BTreeMap<String, String>, TcpStream) {
        self.dealer.deal(record, &proxy.accepted);
        drop(proxy.accepted);
        let stream = TcpStream::from(proxy.stream);
        let mut lines = BTreeMap::new();
        for line in BufReader::new(&stream).lines() {
            let line = line.expect("text");
            let Some((way, said)) = line.split_once(": ") else {
                break;
            };
            lines.insert(way.to_string(), said.to_string());
        }
        (lines, stream)
    }

    /// By every way it is shown `shown` (an IP address and a port) of a connection that `proxy` has made for
    /// `client`. Returns what is shown of the proxy and of itself.
    #[track_caller]
    fn is_shown(&mut self, proxy: Proxy, client: &str, shown: &str) -> BTreeMap<String, String> {
        let (mut lines, stream) = self.asked(&proxy.record(client), proxy);
        let wrong: Vec<_> = lines
            .iter()
            .filter(|(way, said)| match way.as_str() {
                "program" | "getsockname" => false,
                "former" => **said != self.former.1,
                way if way.starts_with("own") => *said != "right",
                _ => *said != shown,
            })
            .collect();
        assert!(lines.len() > 30, "only {lines:#?}");
        assert!(wrong.is_empty(), "instead of {shown}: {wrong:#?}");
        let (opened, closed) = self.counted();
        assert_eq!(opened, closed, "connections opened and closed");
        self.former = (stream, shown.to_string());
        lines.retain(|way, _| matches!(way.as_str(), "program" | "getsockname"));
        lines
    }

    /// Connections that the server itself has opened and closed, by the shim's count: duplicates are none.
    fn counted(&self) -> (u64, u64) {
        let pid = self.program.id();
        let mut entries = self.dealer.board.processes.iter();
        let entry = entries.find(|entry| entry.pid.load(Relaxed) == pid);
        let entry = entry.expect("it has joined");
        (entry.opened.load(Relaxed), entry.closed.load(Relaxed))
    }
}

fn spaced(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}

#[test]
fn a_server_of_ipv4_is_shown_the_client_of_the_proxy() {
    let place = Place::new();
    let mut server = Server::at(&place, "127.0.0.1");

    let proxy = Proxy::tcp("127.0.0.1:0", "127.0.0.1");
    let (address, local) = (proxy.address.expect("tcp"), proxy.local);
    let lines = server.is_shown(proxy, "192.0.2.7:4321", "192.0.2.7 4321");
    assert_eq!(lines["program"], spaced(address));
    assert_eq!(lines["getsockname"], format!("127.0.0.1 {}", local.port));

    // An IPv4 client, however it is written, over a listener of both families and over a Unix socket.
    let proxy = Proxy::tcp("[::]:0", "127.0.0.1");
    let lines = server.is_shown(proxy, "[::ffff:192.0.2.8]:1", "192.0.2.8 1");
    assert!(lines["getsockname"].starts_with("127.0.0.1 "), "{lines:?}");
    let lines = server.is_shown(Proxy::unix(), "192.0.2.9:2", "192.0.2.9 2");
    assert_eq!(lines["getsockname"], "127.0.0.1 0");

    // An IPv6 client, for whom there is no name: nobody, and certainly not the proxy.
    for proxy in [
        Proxy::tcp("127.0.0.1:0", "127.0.0.1"),
        Proxy::tcp("[::]:0", "127.0.0.1"),
        Proxy::tcp("[::1]:0", "[::1]"),
        Proxy::unix(),
    ] {
        let lines = server.is_shown(proxy, "[2001:db8::7]:4321", "0.0.0.0 4321");
        assert!(lines["getsockname"].starts_with("127.0.0.1 "), "{lines:?}");
    }
    let proxy = Proxy::tcp("[::1]:0", "[::1]");
    server.is_shown(proxy, "[::1]:4321", "127.0.0.1 4321");
}

#[test]
fn a_server_of_ipv6_is_shown_the_client_of_the_proxy() {
    let place = Place::new();
    let mut server = Server::at(&place, "::");
    for door in ["127.0.0.1:0", "[::]:0"] {
        for (client, shown) in [
            ("192.0.2.7:4321", "::ffff:192.0.2.7 4321"),
            ("[2001:db8::7]:4321", "2001:db8::7 4321"),
        ] {
            let proxy = Proxy::tcp(door, "127.0.0.1");
            let lines = server.is_shown(proxy, client, shown);
            assert!(lines["getsockname"].starts_with("::ffff:127.0.0.1 "));
        }
    }
    let proxy = Proxy::tcp("[::1]:0", "[::1]");
    let lines = server.is_shown(proxy, "192.0.2.7:1", "::ffff:192.0.2.7 1");
    assert!(lines["getsockname"].starts_with("::1 "), "{lines:?}");
    let lines = server.is_shown(Proxy::unix(), "[2001:db8::9]:2", "2001:db8::9 2");
    assert_eq!(lines["getsockname"], "::1 0");
}

#[test]
fn a_server_of_ipv4_is_shown_nobody_for_an_ipv6_client_from_elsewhere() {
    let place = Place::new();
    let server = Server::at(&place, "127.0.0.1");
    // By the word of the primary, which is all that accept() asks.
    let direct = Proxy::tcp("[::1]:0", "[::1]");
    let record = Record {
        proxied: false,
        ..direct.record("[2001:db8::7]:4321")
    };
    let (lines, _stream) = server.asked(&record, direct);
    assert_eq!(lines["accept"], "0.0.0.0 4321");
    assert!(lines["getsockname"].starts_with("127.0.0.1 "), "{lines:?}");
}
