//! Behind a real nginx and a real HAProxy, configured as the README has it: socket.io clients find their slot although
//! all of their connections come from the proxy.

mod common;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use common::*;
use serde_json::json;

/// A reverse proxy; it ends with the test.
struct Front {
    at: SocketAddr,
    process: Child,
}

impl Front {
    /// Starts `command` with the site's directory and waits until it listens.
    #[track_caller]
    fn start(at: SocketAddr, command: &mut Command) -> Self {
        let process = command.stdin(Stdio::null()).spawn();
        let front = Self {
            at,
            process: process.expect("the proxy starts: scripts/test installs it"),
        };
        eventually("the proxy listens", || {
            std::net::TcpStream::connect(at).ok()
        });
        front
    }

    /// nginx with `http`, the inside of its `http` block.
    #[track_caller]
    fn nginx(site: &Site, http: &str) -> Self {
        let at = SocketAddr::new(site.to().ip(), site.ports(1)[0]);
        let directory = site.file("nginx");
        std::fs::create_dir(&directory).expect("created");
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", directory.display()))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr crit;\nevents {{}}\n\
             http {{\naccess_log off;\n{paths}{}\n}}\n",
            placed(http, "listen 80;", &format!("listen {at};"), site)
        );
        let file = directory.join("conf");
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&directory).arg("-c").arg(&file);
        Self::start(at, command.args(["-e", "stderr"]))
    }

    /// HAProxy with `sections`.
    #[track_caller]
    fn haproxy(site: &Site, sections: &str) -> Self {
        let at = SocketAddr::new(site.to().ip(), site.ports(1)[0]);
        let text = format!(
            "defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n{}\n",
            placed(sections, "bind :80", &format!("bind {at}"), site)
        );
        let file = site.file("haproxy.cfg");
        std::fs::write(&file, text).expect("written");
        Self::start(at, Command::new("haproxy").arg("-f").arg(&file))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `text` with the addresses of the README replaced by those of the site.
#[track_caller]
fn placed(text: &str, listen: &str, here: &str, site: &Site) -> String {
    assert!(text.contains(listen), "no {listen:?} in {text}");
    assert!(text.contains("127.0.0.1:8080"), "{text}");
    text.replace(listen, here)
        .replace("127.0.0.1:8080", &site.bind())
}

#[track_caller]
fn four<'a>(site: &'a Site, flags: &[&str]) -> Balancer<'a> {
    let fixed = ["run", "-n", "4"];
    let server = server("socketio.js");
    Balancer::start(site, &[&fixed, flags, &["--", "node", &server]].concat())
}

/// 60 clients through `front`, from 60 addresses: all connect and keep their slots.
#[track_caller]
fn together(site: &Site, balancer: Balancer<'_>, front: Front) {
    let mut clients = Sockets::io(front.at, 60, &json!({}));
    let slots = clients.upgraded();
    let counts = spread(&slots, 4);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    clients.all_say();
    clients.again();
    assert_eq!(clients.upgraded(), slots);
    clients.leave();
    drop(front);
    let journal = std::fs::read_to_string(site.file("journal")).expect("a journal");
    assert_eq!(journal, "", "requests that went astray");
    balancer.finish();
}

const TRUSTED: [&str; 2] = ["--trusted-proxies", "127.0.0.1"];
const FORWARDED: [&str; 4] = ["--sticky", "header:X-Forwarded-For", TRUSTED[0], TRUSTED[1]];

#[test]
fn behind_nginx() {
    let site = socketio_site();
    let balancer = four(&site, &FORWARDED);
    let front = Front::nginx(&site, &readme("# nginx.conf"));
    together(&site, balancer, front);
}

#[test]
fn behind_nginx_by_route() {
    let site = socketio_site().env("ROUTE", 1);
    let balancer = four(&site, &["--sticky", "route:sid"]);
    let front = Front::nginx(&site, &readme("# nginx.conf"));
    let mut clients = Sockets::io(front.at, 60, &json!({ "from": "one" }));
    even(&clients.upgraded());
    clients.all_say();
    clients.leave();
    drop(front);
    balancer.finish();
}

#[test]
fn behind_haproxy() {
    let site = socketio_site();
    let balancer = four(&site, &FORWARDED);
    let front = Front::haproxy(&site, &readme("# haproxy.cfg"));
    together(&site, balancer, front);
}

#[test]
fn behind_haproxy_by_connection() {
    let site = socketio_site();
    let flags = ["--sticky", "ip", "--proxy-protocol"];
    let balancer = four(&site, &[&flags[..], &TRUSTED].concat());
    let front = Front::haproxy(&site, &readme("# haproxy.cfg, by connection"));
    together(&site, balancer, front);
}

#[test]
fn a_pool_of_connections_mixes_clients() {
    // Why the README's configuration ends the connection after each request.
    let site = socketio_site();
    let balancer = four(&site, &FORWARDED);
    let pool = "upstream pool { server 127.0.0.1:8080; keepalive 32; }\n";
    let http = readme("# nginx.conf").replace("''      close;", "''      '';");
    let http = pool.to_owned() + &http.replace("http://127.0.0.1:8080", "http://pool");
    let front = Front::nginx(&site, &http);
    let mut clients = Sockets::io(front.at, 60, &json!({ "one": true }));
    let seen = clients.tell("settle 5000");
    assert!(seen.iter().any(|one| !one.connected), "{seen:#?}");
    clients.leave();
    drop(front);
    balancer.finish();
}
