//! Real TLS from end to end, past a primary that has no key of it: certificates for servers, and clients whose
//! ClientHello comes in pieces.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::{Site, client, server};

/// How the ClientHello may come.
pub const PIECES: [&str; 4] = ["whole", "bytes", "halves", "records"];

/// A site whose servers have a key and a certificate.
pub fn certified() -> Site {
    let site = Site::new();
    let file = site.file("both.pem").display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj", "/CN=test", "-days", "2", "-keyout", &file, "-out", "-",
        ])
        .output()
        .expect("openssl");
    let mut both = std::fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .expect("a key");
    both.write_all(&made.stdout).expect("written");
    site.env("CERTIFICATE", file)
}

/// What a server said to one client.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Who said it.
    pub slot: u16,
    /// The server name that it was asked for.
    pub name: String,
    /// What was agreed on.
    pub protocol: String,
}

impl Said {
    /// What stands in the body of an answer.
    #[track_caller]
    pub fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [slot, _, name, protocol] = words[..] else {
            panic!("{line:?} is no answer");
        };
        Self {
            slot: slot.parse().expect("a slot"),
            name: name.into(),
            protocol: protocol.into(),
        }
    }
}

/// Python clients, one after the other: server name, protocols, and in which pieces the ClientHello comes; each from
/// an address of its own, or all from one.
#[track_caller]
pub fn hellos(site: &Site, moving: bool, clients: &[(&str, &str, &str)]) -> Vec<Said> {
    let mut python = Command::new("python3")
        .args([&server("hellos.py"), &site.host, &site.port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let lines: String = clients
        .iter()
        .enumerate()
        .map(|(n, (name, protocols, pieces))| {
            let source = client(if moving { n as u32 } else { 1 });
            format!("{source} {name} {protocols} {pieces}\n")
        })
        .collect();
    let mut stdin = python.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).expect("written");
    drop(stdin);
    let Output { status, stdout, .. } = python.wait_with_output().expect("waited");
    assert!(status.success(), "{status}");
    let said: Vec<Said> = String::from_utf8_lossy(&stdout)
        .lines()
        .map(Said::read)
        .collect();
    assert_eq!(said.len(), clients.len());
    said
}
