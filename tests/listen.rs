//! `-l` in all its forms, inherited sockets, and what a server's own family makes of them.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use common::*;

/// Two node workers behind `listen`, with `host` for the server.
fn behind<'a>(site: &'a Site, listen: &[&str]) -> Balancer<'a> {
    let server = server("http.js");
    let mut words = vec!["run", "-n", "2"];
    for one in listen {
        words.extend(["-l", one]);
    }
    words.extend(["--", "node", &server]);
    Balancer::start(site, &words)
}

#[track_caller]
fn answers(to: &str) {
    Crowd::gather(to.parse().expect("an address"), 0..20)
        .answers()
        .all_answered(20)
        .even(2, 10);
}

#[test]
fn a_port_alone_is_all_addresses_of_both_families() {
    let site = Site::on("::");
    let port = site.port.to_string();
    let balancer = behind(&site, &[&port]);
    answers(&format!("127.0.0.1:{port}"));
    answers(&format!("127.3.4.5:{port}"));
    answers(&format!("[::1]:{port}"));
    balancer.finish();
}

#[test]
fn a_server_of_ipv4_only_behind_both_families() {
    // The listener is dual-stack; the server sees IPv4 sockets and gets no IPv6 clients, as on its own socket.
    for command in ["http.js", "blocking.py"] {
        let site = Site::on("0.0.0.0");
        let port = site.port.to_string();
        let program = if command.ends_with("js") {
            "node"
        } else {
            "python3"
        };
        let words = [
            "run",
            "-n",
            "2",
            "-l",
            &port,
            "--",
            program,
            &server(command),
        ];
        let balancer = Balancer::start(&site, &words);
        answers(&format!("127.0.0.1:{port}"));
        let by_v6 = ask(format!("[::1]:{port}").parse().expect("an address"), 1);
        assert!(
            matches!(by_v6, Outcome::ResetBefore | Outcome::Refused),
            "{by_v6:?}"
        );
        if program == "node" {
            let body = Client::asking(site.to(), 9, "address")
                .body()
                .expect("answered");
            assert_eq!(body, format!("{} 0.0.0.0\n", address_of(9)));
        }
        balancer.finish();
    }
}

#[test]
fn one_address() {
    let site = Site::new();
    let bind = site.bind();
    let balancer = behind(&site, &[&bind]);
    answers(&bind);
    let other = ask(
        format!("127.0.0.1:{}", site.port)
            .parse()
            .expect("an address"),
        1,
    );
    assert_eq!(other, Outcome::Refused);
    balancer.finish();
}

#[test]
fn one_address_of_ipv6() {
    let site = Site::on("::1");
    let bind = site.bind();
    let balancer = behind(&site, &[&bind]);
    answers(&bind);
    balancer.finish();
}

#[test]
fn an_ipv4_listener_for_a_server_of_both_families() {
    let site = Site::new().env("HOST", "::");
    let bind = site.bind();
    let balancer = behind(&site, &[&bind]);
    answers(&bind);
    let body = Client::asking(site.to(), 9, "address")
        .body()
        .expect("answered");
    assert_eq!(body, format!("::ffff:{} ::\n", address_of(9)));
    balancer.finish();
}

#[test]
fn an_ipv6_address_before_a_server_of_ipv4() {
    // Which has no name for its clients: one on this machine is shown as one on this machine.
    for command in [["node", "node.js"], ["python3", "blocking.py"]] {
        let site = Site::new();
        let outside = Site::on("::1");
        let listen = format!("{}={}", outside.bind(), site.port);
        let script = server(&format!("peer/{}", command[1]));
        let words = ["run", "-n", "1", "-l", &listen, "--", command[0], &script];
        let balancer = Balancer::start(&site, &words);
        let mut visitor = Visitor::with(outside.to(), b"");
        let shown = format!("127.0.0.1 {}\n", visitor.address.port());
        assert_eq!(visitor.ask("peer"), shown);
        drop(visitor);
        balancer.finish();
    }
}

#[test]
fn another_port_than_the_servers_own() {
    let outside = Site::new();
    let site = Site::new();
    let listen = format!("{}={}", outside.bind(), site.port);
    let balancer = behind(&site, &[&listen]);
    answers(&outside.bind());
    assert_eq!(ask(site.to(), 1), Outcome::Refused);
    assert_eq!(balancer.status().listeners[0].app_port, Some(site.port));
    balancer.finish();
}

#[test]
fn several_listeners_for_one_server() {
    let (one, two) = (Site::new(), Site::new());
    let (first, second) = (one.bind(), format!("{}={}", two.bind(), one.port));
    let balancer = behind(&one, &[&first, &second]);
    answers(&first);
    answers(&two.bind());
    let listener = &balancer.status().listeners[0];
    assert_eq!(listener.address, format!("{first}, {}", two.bind()));
    assert_eq!(listener.accepted, 40);
    balancer.finish();
}

#[test]
fn a_unix_socket() {
    answers_on_a_unix_socket(&["node", &server("http.js")]);
}

#[test]
fn a_unix_socket_before_a_server_that_insists_on_tcp_options() {
    answers_on_a_unix_socket(&["python3", &server("loop.py")]);
}

#[track_caller]
fn answers_on_a_unix_socket(command: &[&str]) {
    let site = Site::new();
    let path = site.file("web.sock");
    let listen = format!("unix:{}={}", path.display(), site.port);
    let words = [&["run", "-n", "2", "-l", &listen, "--"], command].concat();
    let balancer = Balancer::start(&site, &words);
    let mut pids = std::collections::BTreeSet::new();
    for id in 0..10 {
        let mut client = UnixStream::connect(&path).expect("connected");
        client.set_read_timeout(Some(DEADLINE)).expect("time-out");
        write!(
            client,
            "GET /{id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut text = String::new();
        client.read_to_string(&mut text).expect("answered");
        let body = text
            .rsplit("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .trim()
            .to_string();
        assert!(body.ends_with(&format!(" {id}")), "{text}");
        pids.insert(body.split(' ').nth(1).map(str::to_string));
    }
    assert_eq!(pids.len(), 2);
    balancer.finish();
    assert!(!path.exists(), "the socket's file is left behind");
}

#[test]
fn sockets_inherited_from_a_service_manager() {
    // LISTEN_FDS as systemd gives them: fd 3, LISTEN_PID our own.
    let site = Site::new();
    let script = site.file("activate.py");
    let text = r#"import os, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((os.environ["HOST"], int(os.environ["PORT"])))
listener.listen(64)
fd = listener.detach()
if fd != 3:
    os.dup2(fd, 3)
os.set_inheritable(3, True)
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"#;
    std::fs::write(&script, text).expect("written");
    let words = ["run", "-n", "2", "--", "node", &server("http.js")];
    let script = script.display().to_string();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_forkfront"));
    let mut balancer = Balancer::spawn_behind(&site, &["python3", &script], binary, &words);
    balancer.all_ready();
    answers(&site.bind());
    balancer.finish();
}
