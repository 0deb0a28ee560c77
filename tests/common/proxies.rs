//! Proxies before the real binary: PROXY headers as they write them, and their clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use super::DEADLINE;

/// A PROXY header of version 1 for a connection of `client`.
pub fn proxy_v1(client: SocketAddr) -> Vec<u8> {
    let (family, to) = match client {
        SocketAddr::V4(_) => ("TCP4", "203.0.113.1"),
        SocketAddr::V6(_) => ("TCP6", "2001:db8::1"),
    };
    let (ip, port) = (client.ip(), client.port());
    format!("PROXY {family} {ip} {to} {port} 443\r\n").into_bytes()
}

/// A PROXY header of version 2 for a connection of `client`.
pub fn proxy_v2(client: SocketAddr) -> Vec<u8> {
    let (family, addresses) = match client.ip() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [203, 0, 113, 1]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [0x20; 16]].concat()),
    };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.extend([family, 0, addresses.len() as u8 + 4]);
    header.extend(addresses);
    header.extend(client.port().to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

/// An HTTP client whose connection stays open.
pub struct Visitor {
    stream: BufReader<TcpStream>,
    /// Where it connects from.
    pub address: SocketAddr,
}

impl Visitor {
    /// Connects, and says `header` before anything else.
    #[track_caller]
    pub fn with(to: SocketAddr, header: &[u8]) -> Self {
        let mut stream = TcpStream::connect_timeout(&to, DEADLINE).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        stream.write_all(header).expect("sent");
        Self {
            address: stream.local_addr().expect("bound"),
            stream: BufReader::new(stream),
        }
    }

    /// One request for `/path`; the body of its answer.
    #[track_caller]
    pub fn ask(&mut self, path: &str) -> String {
        let request = format!("GET /{path} HTTP/1.1\r\nHost: test\r\n\r\n");
        let socket = self.stream.get_mut();
        socket.write_all(request.as_bytes()).expect("sent");
        let mut length = None;
        let mut status = String::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("an answer");
            if status.is_empty() {
                status = line.clone();
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse().expect("a number"));
            }
        }
        let mut body = Vec::new();
        let limit = length.unwrap_or(u64::MAX);
        let rest = (&mut self.stream).take(limit).read_to_end(&mut body);
        rest.expect("an answer");
        let body = String::from_utf8(body).expect("text");
        assert!(status.contains(" 200 "), "{status}{body}");
        body
    }
}
