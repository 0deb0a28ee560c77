//! One HTTP request and the status of its answer, over a connection that never blocks.
//!
//! Only the status counts; the rest is read, so that the server is not reset while it still writes, and dropped.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use httparse::{EMPTY_HEADER, Response, Status};

/// The longest head of an answer.
const HEAD: usize = 1 << 16;
/// What is read of an answer in all: one that never ends must not keep the main thread reading.
const MOST: usize = 1 << 20;
/// Headers beyond so many are not looked at.
const HEADERS: usize = 64;

/// A request under way.
#[derive(Debug)]
pub struct Exchange<S = TcpStream> {
    stream: S,
    request: Vec<u8>,
    sent: usize,
    head: Vec<u8>,
    read: usize,
    code: Option<u16>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something is missing yet.
    Waits,
    /// The status is known, and the rest of the answer under way.
    Answered,
    /// The connection has ended, with this status.
    Ended(u16),
    /// The connection has ended before there was a status.
    Unanswered,
    /// What came is not HTTP.
    Nonsense,
}

impl<S: Read + Write> Exchange<S> {
    /// `GET path` of `host` over `stream`, which is non-blocking.
    pub fn get(stream: S, host: &str, path: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: forkfront-health/{version}\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        );
        Self {
            stream,
            request: request.into(),
            sent: 0,
            head: Vec::new(),
            read: 0,
            code: None,
        }
    }

    /// With this in front of the request.
    pub fn behind(mut self, header: &[u8]) -> Self {
        self.request.splice(0..0, header.iter().copied());
        self
    }

    /// The status, as soon as it is known.
    pub fn code(&self) -> Option<u16> {
        self.code
    }

    /// Does what can be done now.
    pub fn proceed(&mut self) -> Progress {
        // What it cannot be told any more it may have answered all the same.
        let _ = self.send();
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(length @ 1..) => {
                    if self.code.is_none() && !self.understand(&part[..length]) {
                        return Progress::Nonsense;
                    }
                    self.read += length;
                    if self.read > MOST {
                        return self.code.map_or(Progress::Nonsense, Progress::Ended);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return match self.code {
                        Some(_) => Progress::Answered,
                        None => Progress::Waits,
                    };
                }
                Ok(_) | Err(_) => return self.code.map_or(Progress::Unanswered, Progress::Ended),
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.request.get(self.sent..) {
            match self.stream.write(rest) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes in more of the answer; false if that can be none.
    fn understand(&mut self, part: &[u8]) -> bool {
        self.head.extend_from_slice(part);
        loop {
            let mut headers = [EMPTY_HEADER; HEADERS];
            let mut response = Response::new(&mut headers);
            let parsed = response.parse(&self.head);
            match (response.code, parsed) {
                // An interim answer, as 103: the real one follows.
                (Some(100..200), Ok(Status::Complete(length))) => _ = self.head.drain(..length),
                (Some(100..200), Ok(Status::Partial)) | (None, Ok(_)) => {
                    return self.head.len() < HEAD;
                }
                (Some(code), _) => {
                    self.code = Some(code);
                    self.head = Vec::new();
                    return true;
                }
                (None, Err(_)) => return false,
            }
        }
    }
}

impl<S: AsFd> AsFd for Exchange<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    /// What comes of an answer that arrives in pieces of `step` bytes, and an end.
    fn after(answer: &[u8], step: usize) -> Progress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut exchange = Exchange::get(client, "localhost", "/health");
        assert_eq!(exchange.proceed(), Progress::Waits);
        let mut asked = [0; 1024];
        let length = server.read(&mut asked).unwrap();
        assert!(asked[..length].starts_with(b"GET /health HTTP/1.1\r\nHost: "));
        for piece in answer.chunks(step) {
            server.write_all(piece).unwrap();
            exchange.proceed();
        }
        drop(server);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match exchange.proceed() {
                Progress::Waits | Progress::Answered => assert!(Instant::now() < deadline),
                end => return end,
            }
        }
    }

    #[test]
    fn an_answer_without_an_end_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let endless = std::thread::spawn(move || {
            server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            while server.write_all(&[b'x'; 1 << 16]).is_ok() {}
        });
        let mut exchange = Exchange::get(client, "localhost", "/");
        let deadline = Instant::now() + Duration::from_secs(10);
        while exchange.proceed() != Progress::Ended(200) {
            assert!(Instant::now() < deadline);
        }
        drop(exchange);
        endless.join().unwrap();
    }

    #[test]
    fn the_status_is_understood_however_it_comes() {
        let table: [(&[u8], Progress); 7] = [
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                Progress::Ended(200),
            ),
            (b"HTTP/1.0 503 Down\r\n\r\n", Progress::Ended(503)),
            (b"HTTP/1.1 204\r\n\r\n", Progress::Ended(204)),
            (
                b"HTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 301 M\r\n\r\n",
                Progress::Ended(301),
            ),
            (b"HTTP/1.1 2", Progress::Unanswered),
            (b"", Progress::Unanswered),
            (b"SSH-2.0-OpenSSH\r\n", Progress::Nonsense),
        ];
        for (answer, expected) in table {
            for step in [1, 7, 4096] {
                let words = String::from_utf8_lossy(answer).into_owned();
                let found = after(answer, step);
                // After nonsense in one piece the connection has ended all the same.
                let ended = expected == Progress::Nonsense && found == Progress::Unanswered;
                assert!(found == expected || ended, "{words:?} by {step}: {found:?}");
            }
        }
    }
}
