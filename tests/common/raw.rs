//! A client that sends whatever bytes it likes, in whatever pieces, and what a primary says of keys it has read.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::{Balancer, DEADLINE};

/// One connection, each write of which is a segment.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// Read and not yet asked for.
    got: Vec<u8>,
}

impl Raw {
    /// Connects from `source`. Whoever is reset before connect(2) has returned was connected too: it reads an end.
    #[track_caller]
    pub fn connect(source: IpAddr, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::IpBindAddressNoPort,
            &true,
        )
        .expect("IP_BIND_ADDRESS_NO_PORT");
        let from = SocketAddr::new(source, 0);
        socket.bind(&from.into()).expect("a loopback address");
        match socket.connect_timeout(&to.into(), DEADLINE) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            connected => connected.expect("connected"),
        }
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        stream.set_nodelay(true).expect("nodelay");
        Self {
            stream,
            got: Vec::new(),
        }
    }

    /// Connects from `source` and sends `bytes` at once.
    #[track_caller]
    pub fn sending(source: IpAddr, to: SocketAddr, bytes: &[u8]) -> Self {
        let mut client = Self::connect(source, to);
        client.send(bytes);
        client
    }

    /// Where it comes from.
    pub fn source(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    /// Sends `bytes`.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    /// Sends `bytes`, each in a segment of its own.
    #[track_caller]
    pub fn drip(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]);
            std::thread::yield_now();
        }
    }

    /// Sends `bytes` and the end of them while it reads: the slot that greets, and all that comes behind.
    #[track_caller]
    pub fn echo(mut self, bytes: &[u8]) -> (u16, Vec<u8>) {
        let mut writer = self.stream.try_clone().expect("a second descriptor");
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || {
                writer.write_all(bytes)?;
                writer.shutdown(Shutdown::Write)
            });
            let slot = self.greeted_by();
            let back = self.rest();
            sender.join().expect("the sender").expect("sent");
            (slot, back)
        })
    }

    /// Says that nothing more will be sent, if the connection is still there.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// A second handle, to send from another thread.
    #[track_caller]
    pub fn half(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// Ends with a RST.
    pub fn reset(self) {
        let socket = Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// The next line, without its end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.got.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.got.drain(..=end).collect();
                return String::from_utf8_lossy(&line).trim_end().to_string();
            }
            assert!(
                self.more(),
                "closed within a line: {:?}",
                String::from_utf8_lossy(&self.got)
            );
        }
    }

    /// The next `count` bytes.
    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.got.len() < count {
            assert!(
                self.more(),
                "closed after {} of {count} bytes",
                self.got.len()
            );
        }
        self.got.drain(..count).collect()
    }

    /// The body of the next HTTP answer, which has a length.
    #[track_caller]
    pub fn body(&mut self) -> String {
        let mut length = None;
        let first = self.line();
        assert!(
            first.starts_with("HTTP/1.") && first.contains(" 200 "),
            "{first}"
        );
        loop {
            let line = self.line().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
            if line.is_empty() {
                let body = self.exactly(length.expect("a length"));
                return String::from_utf8_lossy(&body).trim_end().to_string();
            }
        }
    }

    /// The slot that says it is there: first word of the next HTTP answer.
    #[track_caller]
    pub fn slot(&mut self) -> u16 {
        slot_in(&self.body())
    }

    /// The slot that says it is there: first word of what a server sends before anything is asked of it.
    #[track_caller]
    pub fn greeted_by(&mut self) -> u16 {
        slot_in(&self.line())
    }

    /// Nothing has come until now.
    #[track_caller]
    pub fn is_silent(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("mode");
        let mut byte = [0];
        let answer = self.stream.peek(&mut byte);
        self.stream.set_nonblocking(false).expect("mode");
        answer.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// What comes until the other side ends it, by whatever means.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.got)
    }

    /// Reads on; whether anything came.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut part = [0; 65536];
        match self.stream.read(&mut part) {
            Ok(count) => {
                self.got.extend_from_slice(&part[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("neither a byte nor the end within {DEADLINE:?}")
            }
            Err(_) => false,
        }
    }
}

#[track_caller]
fn slot_in(words: &str) -> u16 {
    let first = words.split(' ').next();
    first
        .and_then(|slot| slot.parse().ok())
        .unwrap_or_else(|| panic!("no slot in {words:?}"))
}

/// Lets this test have as many connections as it may; a primary that runs already has a limit of its own.
pub fn many_connections() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("its own hard limit");
}

/// The address of the `n`th of a test's clients: all far from each other and from any site's own.
pub fn client(n: u32) -> IpAddr {
    Ipv4Addr::from(0x7fc0_0000 + n * 257).into()
}

/// A `GET` of `/path` with `headers`, each ended by CR LF, that ends its connection.
pub fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET /{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

/// How many connections were placed by what, by the first app's own words.
#[derive(Debug)]
pub struct Keys(Value);

impl Keys {
    /// Connections being read now.
    #[track_caller]
    pub fn reading(&self) -> u64 {
        self.number("/reading")
    }

    /// Placed by a key of `kind`.
    pub fn found(&self, kind: &str) -> u64 {
        let found = self.0.pointer(&format!("/found/{kind}"));
        found.and_then(Value::as_u64).unwrap_or_default()
    }

    /// Placed by the client's address, because of `why`.
    #[track_caller]
    pub fn fallback(&self, why: &str) -> u64 {
        self.number(&format!("/fallback/{why}"))
    }

    /// Anything else that is counted.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> u64 {
        let value = self.0.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no {pointer} in {:#}", self.0))
    }
}

impl Balancer<'_> {
    /// What `status --json` prints, as a program in any other language sees it.
    #[track_caller]
    pub fn printed(&self) -> Value {
        let printed = self.command(&["status", "--json"]).done().stdout;
        serde_json::from_str(&printed).expect("JSON")
    }

    /// How keys were found until now.
    #[track_caller]
    pub fn keys(&self) -> Keys {
        let printed = self.printed();
        assert_eq!(
            printed.get("keys"),
            printed.pointer("/apps/0/keys"),
            "the first app's"
        );
        Keys(printed.pointer("/keys").cloned().unwrap_or_default())
    }

    /// Waits until so many connections are being read.
    #[track_caller]
    pub fn reads(&self, count: u64) {
        super::eventually(&format!("{count} connections being read"), || {
            (self.keys().reading() == count).then_some(())
        });
    }
}
