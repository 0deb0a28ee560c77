//! HAProxy's own reading of nearly right headers, where it is installed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

const PATIENCE: Duration = Duration::from_secs(5);

struct Haproxy {
    process: Child,
    port: u16,
}

impl Haproxy {
    fn start() -> Self {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let config = format!(
            "defaults\n mode http\n timeout client 3s\n timeout http-request 3s\nfrontend f\n \
             bind 127.0.0.1:{port} accept-proxy\n http-request return status 200 content-type text/plain \
             lf-string \"%[src] %[src_port] %[dst] %[dst_port]\"\n"
        );
        let path = std::env::temp_dir().join(format!("forkfront-haproxy-{port}.cfg"));
        std::fs::write(&path, config).unwrap();
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed");
        let this = Self { process, port };
        let deadline = Instant::now() + PATIENCE;
        while this.answer(V1).is_none() {
            assert!(Instant::now() < deadline, "haproxy does not answer");
        }
        std::fs::remove_file(path).unwrap();
        this
    }

    /// What it says of a request behind this header, an empty word if it understands the header and not the rest.
    fn answer(&self, header: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = [header, REQUEST].concat();
        stream.write_all(&request).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(if head.contains(" 200 ") {
            body.into()
        } else {
            String::new()
        })
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// What it shows of an address; of port 0 nothing.
fn shown(address: Address) -> String {
    let port = Some(address.port).filter(|port| *port != 0);
    let ip = written(&Address { port: 0, ..address });
    format!(
        "{ip} {}",
        port.map_or(String::new(), |port| port.to_string())
    )
}

/// It is stricter where no client is named (it takes neither words behind UNKNOWN nor addresses of Unix sockets), and
/// laxer in version 1: numbers that are too great or begin with 0, ports that are missing, words behind them. The
/// specification has none of that. Whom both see must be the same client.
#[test]
#[ignore = "needs haproxy"]
fn haproxy_sees_the_same_clients() {
    let haproxy = Haproxy::start();
    let mut random = Random(7);
    let (right, inserts) = examples();
    let (mut same, mut nobody, mut only_there) = (0, 0, 0);
    for _ in 0..5_000 {
        let mut bytes = random.pick(&right).clone();
        random.damage(&mut bytes, &inserts);
        // The request is not to be taken for part of the header.
        if matches!(read(&bytes, false), Header::More) {
            continue;
        }
        match read(&bytes, true) {
            Header::Whole {
                length,
                source: Some((source, destination)),
            } => {
                let theirs = haproxy.answer(&bytes[..length]);
                let ours = format!("{} {}", shown(source), shown(destination));
                assert_eq!(theirs.as_deref(), Some(&*ours), "{}", bytes.escape_ascii());
                same += 1;
            }
            Header::Whole { length, .. } => {
                let theirs = haproxy.answer(&bytes[..length]);
                let is_own = theirs.is_none_or(|answer| answer.starts_with("127.0.0.1 "));
                assert!(is_own, "{}", bytes.escape_ascii());
                nobody += 1;
            }
            Header::More | Header::Bad(_) => {
                let theirs = haproxy.answer(&bytes).unwrap_or_default();
                if !theirs.is_empty() && !theirs.starts_with("127.0.0.1 ") {
                    println!("only there: {} as {theirs}", bytes.escape_ascii());
                    only_there += 1;
                }
            }
        }
    }
    println!("{same} with one client, {nobody} without, {only_there} only there");
    assert!(same > 200 && nobody > 200 && only_there < 50);
}
