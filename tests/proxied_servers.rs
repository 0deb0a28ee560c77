//! Unmodified servers behind a trusted proxy: each sees the client that the proxy names, on connections that are
//! open at once, on numbers that are used again, and after a reload. What the shim does for that is tested call by
//! call in `tests/proxied.rs`, what is read of the header in `tests/proxy_protocol.rs`.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use common::*;

/// A client, and how a server that binds IPv4 or IPv6 is shown it.
struct Named(&'static str, &'static str, &'static str);

const CLIENTS: [Named; 4] = [
    Named("192.0.2.7:4321", "192.0.2.7 4321", "::ffff:192.0.2.7 4321"),
    Named("198.51.100.8:1", "198.51.100.8 1", "::ffff:198.51.100.8 1"),
    Named(
        "192.0.2.9:65535",
        "192.0.2.9 65535",
        "::ffff:192.0.2.9 65535",
    ),
    Named(
        "203.0.113.10:80",
        "203.0.113.10 80",
        "::ffff:203.0.113.10 80",
    ),
];

/// One server's account of its clients.
struct Account<'a> {
    site: &'a Site,
    /// It keeps a connection open after an answer.
    keeps: bool,
    /// It tells addresses without ports, and `-` in their place.
    portless: bool,
}

impl Account<'_> {
    fn of(site: &Site) -> Account<'_> {
        Account {
            site,
            keeps: true,
            portless: false,
        }
    }

    fn visitor(&self, number: usize) -> Visitor {
        let client: SocketAddr = CLIENTS[number].0.parse().expect("an address");
        let header = [proxy_v1, proxy_v2][number % 2](client);
        Visitor::with(self.site.to(), &header)
    }

    #[track_caller]
    fn sees(&self, visitor: &mut Visitor, number: usize) {
        let Named(_, v4, v6) = CLIENTS[number];
        let is_v6 = self.site.host.contains(':');
        let mut expected = if is_v6 { v6 } else { v4 }.to_string();
        if self.portless {
            expected = format!("{} -", expected.split(' ').next().expect("an address"));
        }
        assert_eq!(visitor.ask("peer").trim_end(), expected);
    }

    /// One worker of `command` behind a proxy.
    #[track_caller]
    fn is_right(&self, command: &[&str]) {
        let balancer = behind_proxy(self.site, &[], command);
        if self.keeps {
            let (mut first, mut second) = (self.visitor(0), self.visitor(1));
            for _ in 0..3 {
                self.sees(&mut first, 0);
                self.sees(&mut second, 1);
            }
            drop(first);
            let mut third = self.visitor(2);
            self.sees(&mut third, 2);
            self.sees(&mut second, 1);
        } else {
            for number in [0, 1, 2, 0] {
                self.sees(&mut self.visitor(number), number);
            }
        }
        balancer.reload().done();
        self.sees(&mut self.visitor(3), 3);
        balancer.finish();
    }
}

/// One worker of `command`, behind a proxy on this machine.
#[track_caller]
fn behind_proxy<'a>(site: &'a Site, flags: &[&str], command: &[&str]) -> Balancer<'a> {
    let mut words = vec!["run", "-n", "1", "--proxy-protocol"];
    words.extend(["--trusted-proxies", "127.0.0.0/8,::1,unix"]);
    words.extend(flags);
    words.push("--");
    words.extend(command);
    Balancer::start(site, &words)
}

fn peer(name: &str) -> String {
    server(&format!("peer/{name}"))
}

#[test]
fn node() {
    for site in [Site::new(), Site::on("::"), Site::on("::1")] {
        Account::of(&site).is_right(&["node", &peer("node.js")]);
    }
}

#[test]
fn python_http_server() {
    for site in [Site::new(), Site::on("::")] {
        let account = Account {
            keeps: false,
            ..Account::of(&site)
        };
        account.is_right(&["python3", "-B", &peer("blocking.py")]);
    }
}

#[test]
fn python_asyncio() {
    for site in [Site::new(), Site::on("::1")] {
        Account::of(&site).is_right(&["python3", "-B", &peer("streams.py")]);
    }
}

#[test]
fn uvicorn() {
    let site = Site::new();
    let (port, directory, python) = (site.port.to_string(), server("peer"), python());
    let mut command = vec![python.as_str(), "-B", "-m", "uvicorn", "app:asgi"];
    command.extend(["--app-dir", &directory, "--log-level", "warning"]);
    command.extend(["--host", &site.host, "--port", &port, "--no-proxy-headers"]);
    Account::of(&site).is_right(&command);
}

#[test]
fn gunicorn() {
    for (site, workers) in [(Site::new(), "sync"), (Site::on("::"), "gthread")] {
        let (bind, directory, python) = (site.bind(), server("peer"), python());
        let mut command = vec![python.as_str(), "-B", "-m", "gunicorn", "app:wsgi"];
        command.extend(["--chdir", &directory, "--log-level", "warning"]);
        command.extend(["-k", workers, "--threads", "4", "-b", &bind]);
        let account = Account {
            keeps: workers == "gthread",
            ..Account::of(&site)
        };
        account.is_right(&command);
    }
}

#[test]
fn php() {
    let site = Site::new();
    let account = Account {
        keeps: false,
        ..Account::of(&site)
    };
    account.is_right(&["php", "-S", &site.bind(), &peer("router.php")]);
}

#[test]
fn ruby() {
    let site = Site::new();
    Account::of(&site).is_right(&["ruby", &peer("threads.rb")]);
}

#[test]
fn puma() {
    let site = Site::new();
    let bind = format!("tcp://{}", site.bind());
    let account = Account {
        portless: true,
        ..Account::of(&site)
    };
    account.is_right(&["puma", "-t", "4:4", "-b", &bind, &peer("config.ru")]);
}

#[test]
fn nginx() {
    for site in [Site::new(), Site::on("::")] {
        let directory = site.directory.display().to_string();
        let text = std::fs::read_to_string(peer("nginx.conf")).expect("fixture");
        let both = if site.host.contains(':') {
            " ipv6only=off"
        } else {
            ""
        };
        let address = format!("{}{both}", site.bind());
        let text = text
            .replace("ADDRESS", &address)
            .replace("PREFIX", &directory);
        std::fs::write(site.file("conf"), text).expect("written");
        let conf = site.file("conf").display().to_string();
        Account::of(&site).is_right(&["nginx", "-p", &directory, "-c", &conf]);
    }
}

#[test]
fn java() {
    // A Java program binds IPv6 sockets, and shows mapped addresses as IPv4.
    let site = Site::new();
    let java = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
    for words in [&[][..], &["blocking"]] {
        let file = peer("Peer.java");
        let mut command = java.to_vec();
        command.push(&file);
        command.extend(words);
        Account::of(&site).is_right(&command);
    }
}

#[test]
fn more_clients_than_a_block_of_numbers_has_room_for() {
    let site = Site::new();
    let balancer = behind_proxy(&site, &[], &["node", &peer("node.js")]);
    let visit = |number: u16| {
        let client = SocketAddr::from(([198, 51, 100, 1], number));
        let shown = format!("198.51.100.1 {number}\n");
        (Visitor::with(site.to(), &proxy_v2(client)), shown)
    };
    let mut visitors: Vec<_> = (1..=1200).map(visit).collect();
    let ask_all = |visitors: &mut [(Visitor, String)]| {
        for (visitor, shown) in visitors.iter_mut().rev() {
            assert_eq!(visitor.ask("peer"), *shown);
        }
    };
    ask_all(&mut visitors);
    // Others are given every second number.
    visitors = visitors.into_iter().step_by(2).collect();
    balancer.until("half of them have gone", |status| {
        status.slots[0].open == 600
    });
    visitors.extend((1201..=1800).map(visit));
    ask_all(&mut visitors);
    drop(visitors);
    balancer.finish();
}

#[test]
fn a_native_worker() {
    // It is told, so it knows IPv6 clients too, whatever it has bound.
    let site = Site::new();
    let (program, address) = (env!("CARGO_BIN_EXE_forkfront"), site.bind());
    let balancer = behind_proxy(&site, &[], &[program, "demo-worker", &address]);
    for client in ["192.0.2.7:4321", "[2001:db8::7]:4321"] {
        let header = proxy_v2(client.parse().expect("an address"));
        let body = Visitor::with(site.to(), &header).ask("api/who");
        let who: serde_json::Value = serde_json::from_str(&body).expect("an object");
        assert_eq!(
            (&who["peer"], &who["proxied"]),
            (&client.into(), &true.into())
        );
    }
    balancer.finish();
}

#[test]
fn redis() {
    let site = Site::new();
    let (port, directory) = (site.port.to_string(), site.directory.display().to_string());
    let mut command = vec!["redis-server", "--bind", &site.host, "--port", &port];
    // It would send strangers away, and by the client's address these are some.
    command.extend(["--save", "", "--dir", &directory, "--protected-mode", "no"]);
    let balancer = behind_proxy(&site, &[], &command);
    for Named(client, shown, _) in CLIENTS {
        let mut stream = TcpStream::connect(site.to()).expect("connected");
        let header = proxy_v2(client.parse().expect("an address"));
        stream.write_all(&header).expect("sent");
        stream.write_all(b"CLIENT INFO\r\nQUIT\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        let addr = format!(" addr={} ", shown.replace(' ', ":"));
        assert!(text.contains(&addr), "no {addr} in {text}");
    }
    balancer.finish();
}

#[test]
fn an_ipv6_client_is_shown_to_a_server_of_ipv6_only() {
    let client: SocketAddr = "[2001:db8::7]:4321".parse().expect("an address");
    let site = Site::on("::");
    let balancer = behind_proxy(&site, &[], &["node", &peer("node.js")]);
    for header in [proxy_v1(client), proxy_v2(client)] {
        let mut visitor = Visitor::with(site.to(), &header);
        assert_eq!(visitor.ask("peer"), "2001:db8::7 4321\n");
    }
    balancer.finish();

    // To one that has bound IPv4 it is nobody, who is trusted with nothing, and not the proxy.
    let site = Site::new();
    let balancer = behind_proxy(&site, &[], &["node", &peer("node.js")]);
    let mut visitor = Visitor::with(site.to(), &proxy_v2(client));
    assert_eq!(visitor.ask("peer"), "0.0.0.0 4321\n");
    balancer.finish();
}

#[test]
fn a_proxy_that_comes_by_ipv6_to_a_server_of_ipv4() {
    // An IPv6 client would be turned away there.
    let site = Site::on("0.0.0.0");
    let port = site.port.to_string();
    let balancer = behind_proxy(&site, &["-l", &port], &["node", &peer("node.js")]);
    let to = format!("[::1]:{port}").parse().expect("an address");
    for Named(client, shown, _) in CLIENTS {
        let header = proxy_v1(client.parse().expect("an address"));
        let mut visitor = Visitor::with(to, &header);
        assert_eq!(visitor.ask("peer").trim_end(), shown);
    }
    balancer.finish();
}

#[test]
fn a_proxy_that_comes_through_a_unix_socket() {
    for (host, shown) in [("127.0.0.1", CLIENTS[0].1), ("::1", CLIENTS[0].2)] {
        let site = Site::on(host);
        let path = site.file("front").display().to_string();
        let listen = format!("unix:{path}={}", site.port);
        let balancer = behind_proxy(&site, &["-l", &listen], &["node", &peer("node.js")]);
        let mut stream = UnixStream::connect(&path).expect("connected");
        let header = proxy_v2(CLIENTS[0].0.parse().expect("an address"));
        stream.write_all(&header).expect("sent");
        let request = b"GET /peer HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        assert!(text.ends_with(&format!("\r\n\r\n{shown}\n")), "{text}");
        balancer.finish();
    }
}
