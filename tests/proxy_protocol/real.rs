//! Proxies that others wrote, in front: HAProxy with either version of the header and with its health checks, nginx
//! where it has the stream module, curl.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::*;

/// A proxy in front of a site, ended with the value.
struct Front {
    process: Child,
    to: SocketAddr,
}

impl Front {
    /// Starts `words` and waits until it is connected to.
    #[track_caller]
    fn start(words: &[&str], to: SocketAddr) -> Self {
        let process = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect(words[0]);
        let front = Self { process, to };
        eventually("the proxy listens", || {
            std::net::TcpStream::connect(to).ok()
        });
        front
    }

    /// HAProxy, with these words behind the server's address.
    #[track_caller]
    fn haproxy(site: &Site, words: &str) -> Self {
        let to = SocketAddr::new(site.to().ip(), site.ports(1)[0]);
        let file = site.file("haproxy.cfg");
        let text = format!(
            "defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n timeout server 60s\n\
             frontend front\n bind {to}\n unique-id-format %pid-%rt\n default_backend back\n\
             backend back\n source {}\n server one {} {words}\n",
            proxy(7),
            site.to()
        );
        std::fs::write(&file, text).expect("written");
        Self::start(&["haproxy", "-db", "-f", &file.display().to_string()], to)
    }

    /// The slot that answers a client which comes through it, and the address that the server has of it.
    #[track_caller]
    fn asked_by(&self, n: u32) -> (u16, String) {
        let slot = Raw::sending(client(n), self.to, &get("1", "")).slot();
        let address = Raw::sending(client(n), self.to, &get("address", "")).body();
        (
            slot,
            address.split(' ').next().unwrap_or_default().to_string(),
        )
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        send(self.process.id(), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// What holds whatever proxy is in front.
#[track_caller]
fn transparent(site: &Site, front: &Front) {
    for n in 0..20 {
        let direct = Raw::sending(client(n), site.to(), &get("1", "")).slot();
        assert_eq!(front.asked_by(n), (direct, client(n).to_string()));
    }
}

const STICKY: [&str; 2] = ["--sticky", "ip"];

#[test]
fn haproxy_with_either_version() {
    let site = Site::new();
    let balancer = behind(&site, "http.js", 4, &STICKY);
    let versions = [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ];
    for words in versions {
        transparent(&site, &Front::haproxy(&site, words));
    }
    let keys = balancer.keys();
    assert!(keys.number("/proxied") >= 120, "{keys:?}");
    assert_eq!(keys.number("/refused"), 0, "{keys:?}");
    balancer.finish();
}

#[test]
fn health_checks_of_haproxy_are_no_clients() {
    // It says LOCAL (v2) or PROXY UNKNOWN or its own address (v1), and goes.
    let site = Site::new();
    let balancer = behind(&site, "http.js", 2, &STICKY);
    for words in [
        "send-proxy-v2 check inter 50ms",
        "send-proxy check inter 50ms",
    ] {
        let front = Front::haproxy(&site, words);
        let accepted = balancer.status().accepted;
        balancer.until("checked twenty times", |status| {
            status.accepted > accepted + 20
        });
        transparent(&site, &front);
    }
    assert_eq!(balancer.keys().number("/refused"), 0);
    balancer.finish();
}

#[test]
fn haproxy_without_a_header_is_refused() {
    let site = Site::new();
    let balancer = behind(&site, "http.js", 2, &FOREVER);
    let front = Front::haproxy(&site, "");
    assert_eq!(Raw::sending(client(1), front.to, &get("1", "")).rest(), b"");
    assert!(balancer.status().closed_by_policy > 0);
    drop(front);
    balancer.finish();
}

#[test]
fn a_reload_behind_haproxy() {
    let site = Site::new().env("ON_TERM", "close");
    let balancer = behind(&site, "http.js", 3, &STICKY);
    let front = Front::haproxy(&site, "send-proxy-v2");
    let load = Load::start(front.to, 4, 1, DEADLINE);
    load.proceed(100);
    balancer.reload().done();
    balancer.command(&["upgrade"]).done();
    load.proceed(100);
    load.stop().clean();
    transparent(&site, &front);
    drop(front);
    balancer.finish();
}

#[test]
fn nginx_as_a_stream_proxy() {
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    if !module.exists() {
        return;
    }
    let site = Site::new();
    let balancer = behind(&site, "http.js", 4, &STICKY);
    let to = SocketAddr::new(site.to().ip(), site.ports(1)[0]);
    let file: PathBuf = site.file("nginx.conf");
    let text = format!(
        "load_module {};\ndaemon off; master_process off; pid {}; error_log stderr;\nevents {{}}\n\
         stream {{ server {{ listen {to}; proxy_pass {}; proxy_protocol on; proxy_bind {}; }} }}\n",
        module.display(),
        site.file("nginx.pid").display(),
        site.to(),
        proxy(9)
    );
    std::fs::write(&file, text).expect("written");
    transparent(
        &site,
        &Front::start(&["nginx", "-c", &file.display().to_string()], to),
    );
    balancer.finish();
}

#[test]
fn curl_as_its_own_proxy() {
    // Its header tells of itself; what counts is that its answer is whole.
    let site = Site::new();
    let balancer = behind(&site, "http.js", 2, &FOREVER);
    let done = Command::new("curl")
        .args([
            "-s",
            "--max-time",
            "30",
            "--haproxy-protocol",
            "--interface",
            &proxy(4).to_string(),
        ])
        .arg(format!("http://{}/address", site.to()))
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.starts_with(&proxy(4).to_string()), "{text}");
    assert_eq!(balancer.keys().number("/proxied"), 1);
    balancer.finish();
}
