//! Real clients and real servers with `forkfront proxy` between them: Redis and its benchmark, PostgreSQL and pgbench,
//! iperf3 both ways, and PROXY headers from HAProxy in front and to nginx behind.

mod common;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::*;
use nix::sys::signal::Signal;
use serde_json::Value;

/// A server behind the proxy, ended with the value.
struct Server(Child);

impl Server {
    /// Starts it and waits until it listens at `at`.
    #[track_caller]
    fn start(command: &mut Command, at: SocketAddr) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn();
        let this = Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        eventually("the server listens", || TcpStream::connect(at).ok());
        this
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // PostgreSQL's fast way out; the others end by it, too.
        send(self.0.id(), Signal::SIGINT);
        let _ = self.0.wait();
    }
}

/// An address for a server.
fn behind(site: &Site) -> SocketAddr {
    SocketAddr::new(site.to().ip(), site.ports(1)[0])
}

/// A proxy to `backends`.
#[track_caller]
fn proxy<'a>(site: &'a Site, backends: &[SocketAddr], flags: &[&str]) -> Balancer<'a> {
    let to: Vec<String> = backends.iter().map(ToString::to_string).collect();
    let (listen, to) = (site.bind(), to.join(","));
    let words = ["proxy", "-l", &listen, "--to", &to, "-n", "2"];
    Balancer::start(site, &[&words[..], flags].concat())
}

/// What a client prints that must end well.
#[track_caller]
fn says(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let all = [output.stdout, output.stderr].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{all}",
        output.status
    );
    all
}

#[test]
fn redis_and_its_benchmark() {
    let site = Site::new();
    let at = behind(&site);
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    let directory = site.directory.display().to_string();
    let words = [
        "--bind",
        &host,
        "--port",
        &port,
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    let _redis = Server::start(
        Command::new("redis-server")
            .args(words)
            .args(["--dir", &directory]),
        at,
    );
    let balancer = proxy(&site, &[at], &[]);
    let here = site.port.to_string();
    let benchmark = |words: &[&str]| {
        let common = ["-h", &site.host, "-p", &here, "-q"];
        says(Command::new("redis-benchmark").args(common).args(words))
    };
    let said = benchmark(&["-n", "5000", "-c", "20", "-t", "set,get,incr,lpush,mset"]);
    assert_eq!(said.matches("requests per second").count(), 5, "{said}");
    assert!(!said.contains("rror"), "{said}");
    // Many requests in one packet, and values that are streams.
    let said = benchmark(&["-n", "20000", "-c", "8", "-P", "32", "-t", "set,get"]);
    assert_eq!(said.matches("requests per second").count(), 2, "{said}");
    let said = benchmark(&["-n", "100", "-c", "4", "-d", "2000000", "-t", "set,get"]);
    assert_eq!(said.matches("requests per second").count(), 2, "{said}");
    let cli = |words: &[&str]| {
        let common = ["-h", site.host.as_str(), "-p", &here];
        says(Command::new("redis-cli").args(common).args(words))
    };
    assert_eq!(cli(&["set", "name", "a value"]), "OK\n");
    assert_eq!(cli(&["get", "name"]), "a value\n");
    assert_eq!(cli(&["strlen", "key:__rand_int__"]), "2000000\n");
    let status = balancer.until("all have gone", |status| status.backends[0].open == 0);
    assert!(status.backends[0].bytes_out > 100 << 20, "{status:?}");
    assert_eq!(status.backends[0].failures, 0);
    balancer.finish();
}

/// A program of the PostgreSQL server, of whatever version is there.
#[track_caller]
fn of_postgres(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("scripts/test installs it");
    let programs = versions
        .flatten()
        .map(|one| one.path().join("bin").join(name));
    let found = programs.filter(|path| path.exists()).max();
    found.expect("scripts/test installs it")
}

/// The server refuses to run as root.
fn as_postgres(program: PathBuf) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let words = ["--reuid=postgres", "--regid=postgres", "--init-groups"];
    command.args(words).arg(program).current_dir("/");
    command
}

#[test]
fn postgresql_and_pgbench() {
    let site = Site::new();
    let at = behind(&site);
    let cluster = std::env::temp_dir().join(format!("pg-{}", site.mark));
    let gone = || _ = std::fs::remove_dir_all(&cluster);
    gone();
    let initdb = [
        "--auth=trust",
        "--no-sync",
        "--username=tester",
        "--no-locale",
    ];
    says(
        as_postgres(of_postgres("initdb"))
            .args(initdb)
            .arg("-D")
            .arg(&cluster),
    );
    let mut server = as_postgres(of_postgres("postgres"));
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    server
        .arg("-D")
        .arg(&cluster)
        .args(["-h", &host, "-p", &port, "-F"]);
    server.arg("-k").arg(&cluster);
    let server = Server::start(&mut server, at);
    let balancer = proxy(&site, &[at], &["--balance", "least-connections"]);
    let here = site.port.to_string();
    let pgbench = |words: &[&str]| {
        let common = ["-h", &site.host, "-p", &here, "-U", "tester", "postgres"];
        says(
            Command::new(of_postgres("pgbench"))
                .args(words)
                .args(common),
        )
    };
    // A COPY of 100,000 rows.
    pgbench(&["-i", "-q", "-s", "1"]);
    let said = pgbench(&["-c", "8", "-j", "2", "-t", "50"]);
    assert!(said.contains("actually processed: 400/400"), "{said}");
    assert!(said.contains("failed transactions: 0"), "{said}");
    // A connection for each transaction.
    let said = pgbench(&["-S", "-C", "-n", "-c", "4", "-t", "25"]);
    assert!(said.contains("actually processed: 100/100"), "{said}");
    let mut psql = Command::new("psql");
    psql.args(["-h", &site.host, "-p", &here, "-U", "tester", "-At", "-c"]);
    psql.args(["select count(*) from pgbench_accounts", "postgres"]);
    assert_eq!(says(&mut psql), "100000\n");
    let status = balancer.until("all have gone", |status| status.backends[0].open == 0);
    assert!(status.backends[0].connects >= 110, "{status:?}");
    balancer.finish();
    drop(server);
    gone();
}

#[test]
fn iperf3_in_both_directions() {
    let site = Site::new();
    let at = behind(&site);
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    let words = ["-s", "-B", &host, "-p", &port];
    let _server = Server::start(Command::new("iperf3").args(words), at);
    let balancer = proxy(&site, &[at], &[]);
    let here = site.port.to_string();
    for more in [&[][..], &["-R"]] {
        let words = [
            "-c", &site.host, "-p", &here, "-t", "1", "-P", "2", "--json",
        ];
        let said = says(Command::new("iperf3").args(words).args(more));
        let said: Value = serde_json::from_str(&said).expect("an object");
        let bytes = |what: &str| said["end"][what]["bytes"].as_u64().expect("a number");
        let (sent, received) = (bytes("sum_sent"), bytes("sum_received"));
        // What is under way at the end of the time is not received.
        assert!(
            received > 50 << 20 && received <= sent,
            "{more:?}: {sent}, {received}"
        );
    }
    let status = balancer.until("all have gone", |status| status.backends[0].open == 0);
    let backend = &status.backends[0];
    assert!(
        backend.bytes_in > 50 << 20 && backend.bytes_out > 50 << 20,
        "{backend:?}"
    );
    balancer.finish();
}

#[test]
fn nginx_behind_learns_the_client_from_haproxy_in_front() {
    let site = Site::new();
    let at = behind(&site);
    let answer = "return 200 '$proxy_protocol_addr $proxy_protocol_port $remote_addr\\n';";
    let server = format!("server {{ listen {at} proxy_protocol; location / {{ {answer} }} }}");
    let _nginx = Front::nginx_server(&site, at, &server);
    let from: std::net::IpAddr = "127.9.0.7".parse().expect("an address");
    for (to_us, to_nginx) in [
        ("send-proxy", "v1"),
        ("send-proxy", "v2"),
        ("send-proxy-v2", "v1"),
        ("send-proxy-v2", "v2"),
    ] {
        let flags = ["--send-proxy", to_nginx, "--proxy-protocol"];
        let trusted = ["--trusted-proxies", "127.9.0.0/16"];
        let balancer = proxy(&site, &[at], &[&flags[..], &trusted].concat());
        let haproxy = Front::haproxy(&site, "mode tcp", from, to_us);
        let ask = |to: SocketAddr| {
            let url = format!("http://{to}/");
            let words = ["--silent", "--show-error", "--max-time", "20"];
            let more = [
                "--interface",
                "127.200.1.2",
                "--write-out",
                "%{local_port}",
                &url,
            ];
            says(Command::new("curl").args(words).args(more))
        };
        let (said, direct) = (ask(haproxy.to), ask(site.to()));
        // Whoever is not trusted speaks for itself.
        for said in [said, direct] {
            let [address, port, peer, own] = said.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("{to_us}, {to_nginx}: {said}");
            };
            assert_eq!((address, port), ("127.200.1.2", own), "{to_us}, {to_nginx}");
            assert!(peer.starts_with("127."), "{said}");
        }
        drop(haproxy);
        balancer.finish();
    }
}
