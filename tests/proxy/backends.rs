//! Backends in this process: each says its number as soon as somebody connects, then sends back what it gets, and at
//! the end of that "bye".

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::common::Site;

/// Some backends, by how they are written behind `--to`.
pub struct Backends(pub Vec<String>);

impl Backends {
    /// `count` of them over TCP.
    #[track_caller]
    pub fn tcp(site: &Site, count: u16) -> Self {
        let backend = |number: u16| {
            let listener = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
            let address = listener.local_addr().expect("bound").to_string();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    serve_alone(stream, number);
                }
            });
            address
        };
        Self((0..count).map(backend).collect())
    }

    /// One at a Unix socket, of number 7.
    #[track_caller]
    pub fn unix(site: &Site) -> (Self, PathBuf) {
        let path = site.file("backend.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let end = |stream: &UnixStream| stream.shutdown(Shutdown::Write);
                std::thread::spawn(move || serve(stream, 7, end));
            }
        });
        (Self(vec![format!("unix:{}", path.display())]), path)
    }

    /// All, with this behind each.
    pub fn to(&self, each: &str) -> String {
        let all: Vec<String> = self.0.iter().map(|one| format!("{one}{each}")).collect();
        all.join(",")
    }
}

/// Serves one connection, in a thread of its own.
pub fn serve_alone(stream: TcpStream, number: u16) {
    let end = |stream: &TcpStream| stream.shutdown(Shutdown::Write);
    std::thread::spawn(move || serve(stream, number, end));
}

fn serve<S: Read + Write>(mut stream: S, number: u16, end: impl Fn(&S) -> std::io::Result<()>) {
    let mut part = [0; 4096];
    let _ = stream.write_all(format!("{number} is here\n").as_bytes());
    while let Ok(count @ 1..) = stream.read(&mut part) {
        if stream.write_all(&part[..count]).is_err() {
            return;
        }
    }
    let _ = stream.write_all(b"bye\n");
    let _ = end(&stream);
}
