//! Proxies that others wrote, in front of a site: HAProxy and nginx; and nginx as the server behind it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::{Site, eventually, send};

/// A proxy in front of a site, ended with the value.
pub struct Front {
    process: Child,
    /// Where its clients connect.
    pub to: SocketAddr,
}

impl Front {
    /// HAProxy: `how` it does it (words of `defaults`), where it connects from, `words` behind the server's address.
    #[track_caller]
    pub fn haproxy(site: &Site, how: &str, source: IpAddr, words: &str) -> Self {
        let to = beside(site);
        let sections = format!(
            " {how}\nfrontend front\n bind {to}\n unique-id-format %pid-%rt\n default_backend back\n\
             backend back\n source {source}\n server one {} {words}\n",
            site.to()
        );
        Self::haproxy_at(site, to, &sections)
    }

    /// HAProxy with these sections, which say where the proxy and the server are as the README does.
    #[track_caller]
    pub fn haproxy_as(site: &Site, sections: &str) -> Self {
        let to = beside(site);
        let sections = placed(sections, "bind :80", &format!("bind {to}"), site);
        Self::haproxy_at(site, to, &sections)
    }

    #[track_caller]
    fn haproxy_at(site: &Site, to: SocketAddr, sections: &str) -> Self {
        let file = site.file("haproxy.cfg");
        let times = " timeout connect 30s\n timeout client 60s\n timeout server 60s\n";
        fs::write(&file, format!("defaults\n{times}{sections}\n")).expect("written");
        Self::start(&["haproxy", "-db", "-f", &file.display().to_string()], to)
    }

    /// nginx for HTTP, which adds its client to `X-Forwarded-For`.
    #[track_caller]
    pub fn nginx(site: &Site, source: IpAddr) -> Self {
        let to = beside(site);
        let server = format!(
            "server {{ listen {to}; location / {{ proxy_pass http://{};\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_bind {source}; }} }}\n",
            site.to()
        );
        Self::nginx_http(site, to, &server)
    }

    /// nginx with this inside its `http`, which says where the proxy and the server are as the README does.
    #[track_caller]
    pub fn nginx_as(site: &Site, http: &str) -> Self {
        let to = beside(site);
        let http = placed(http, "listen 80;", &format!("listen {to};"), site);
        Self::nginx_http(site, to, &http)
    }

    /// nginx as a server at `to`, with this inside its `http`.
    #[track_caller]
    pub fn nginx_server(site: &Site, to: SocketAddr, http: &str) -> Self {
        Self::nginx_http(site, to, http)
    }

    #[track_caller]
    fn nginx_http(site: &Site, to: SocketAddr, inside: &str) -> Self {
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {};\n", site.file(kind).display()))
            .collect();
        let how = format!("http {{ access_log off;\n{paths}{inside} }}\n");
        Self::nginx_with(site, "", &how, to)
    }

    /// nginx for TCP, with PROXY headers; its stream module is a package of its own.
    #[track_caller]
    pub fn nginx_stream(site: &Site, source: IpAddr) -> Self {
        let load = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n";
        let to = beside(site);
        let how = format!(
            "stream {{ server {{ listen {to}; proxy_pass {}; proxy_protocol on; proxy_bind {source}; }} }}\n",
            site.to()
        );
        Self::nginx_with(site, load, &how, to)
    }

    #[track_caller]
    fn nginx_with(site: &Site, first: &str, how: &str, to: SocketAddr) -> Self {
        let (file, pid) = (site.file("nginx.conf"), site.file("nginx.pid"));
        let text = format!(
            "{first}daemon off; master_process off; pid {}; error_log stderr;\nevents {{}}\n{how}",
            pid.display()
        );
        fs::write(&file, text).expect("written");
        Self::start(&["nginx", "-c", &file.display().to_string()], to)
    }

    #[track_caller]
    fn start(words: &[&str], to: SocketAddr) -> Self {
        let process = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(words[0]);
        let front = Self { process, to };
        eventually("the proxy listens", || {
            std::net::TcpStream::connect(to).ok()
        });
        front
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        send(self.process.id(), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// Another port at the site's address.
fn beside(site: &Site) -> SocketAddr {
    SocketAddr::new(site.to().ip(), site.ports(1)[0])
}

/// `text` with the addresses of the README replaced by those of the site.
#[track_caller]
fn placed(text: &str, listen: &str, here: &str, site: &Site) -> String {
    const SERVER: &str = "127.0.0.1:8080";
    assert!(text.contains(listen), "no {listen:?} in {text}");
    assert!(text.contains(SERVER), "{text}");
    text.replace(listen, here).replace(SERVER, &site.bind())
}
