//! A connection that its client never ends by itself: a WebSocket, as far as the node fixture is concerned.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::DEADLINE;

/// Open until dropped.
pub struct Endless {
    /// The worker that has it.
    pub pid: u32,
    stream: BufReader<TcpStream>,
}

impl Endless {
    /// Connects and changes over to another protocol.
    #[track_caller]
    pub fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        let mut stream = BufReader::new(stream);
        let ask =
            b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.get_mut().write_all(ask).expect("sent");
        let mut pid = None;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).expect("a line of the head");
            if let Some(worker) = line.strip_prefix("X-Worker: ") {
                pid = worker
                    .trim()
                    .split(' ')
                    .nth(1)
                    .and_then(|pid| pid.parse().ok());
            }
            assert!(!line.is_empty(), "closed within the head");
        }
        Self {
            pid: pid.expect("a worker's pid"),
            stream,
        }
    }

    /// What is sent comes back.
    pub fn is_alive(&mut self) -> bool {
        let mut back = String::new();
        let sent = self.stream.get_mut().write_all(b"there?\n");
        sent.is_ok() && self.stream.read_line(&mut back).is_ok() && back == "there?\n"
    }

    /// The server ends it within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let timeout = self.stream.get_ref().set_read_timeout(Some(limit));
        timeout.expect("time-out");
        let mut rest = String::new();
        match self.stream.read_line(&mut rest) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
