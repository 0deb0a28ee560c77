//! The server that `scripts/bench` measures: HTTP on one event loop, the same code in front of three ways to be
//! given connections. Answers `SLOT PID PATH` and keeps the connection unless asked to close it.
//!
//!     forkfront run -n 4 -- hello 127.0.0.1:8080     dealt to by forkfront (the worker library); else as --plain
//!     hello --plain 127.0.0.1:8080                   an ordinary server; under forkfront, by the preloaded shim
//!     hello --reuseport 127.0.0.1:8080               one listener per process, the kernel chooses (SO_REUSEPORT)
//!
//! `SLOW_MS` makes worker 0 (`FORKFRONT_SLOT` or `BENCH_INDEX`) sleep so long over each request.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use forkfront::worker::{Connection, Listener, Options};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
/// A request's head that is longer belongs to nobody who measures.
const HEAD_MAX: usize = 4096;

/// Where the connections come from.
trait Door: Source {
    type Stream: Read + Write + Source;

    /// The next one, in non-blocking mode; `None`: there will be no more.
    fn next(&mut self) -> io::Result<Option<Self::Stream>>;

    /// Waits for events; whoever deals may want to know that this worker sleeps meanwhile.
    fn asleep<T>(&self, wait: impl FnOnce() -> T) -> T {
        wait()
    }
}

impl Door for Listener {
    type Stream = Connection;

    fn next(&mut self) -> io::Result<Option<Connection>> {
        self.try_accept()
    }

    fn asleep<T>(&self, wait: impl FnOnce() -> T) -> T {
        let _sleeping = self.sleeping();
        wait()
    }
}

impl Door for TcpListener {
    type Stream = TcpStream;

    fn next(&mut self) -> io::Result<Option<TcpStream>> {
        self.accept().map(|(stream, _)| Some(stream))
    }
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--plain", address] => Server::new(own(address, false)?)?.serve(),
        ["--reuseport", address] => Server::new(own(address, true)?)?.serve(),
        [address] => {
            let options = Options::new().nonblocking_connections(true);
            Server::new(options.bind(address)?)?.serve()
        }
        _ => {
            eprintln!("usage: hello [--plain|--reuseport] ADDRESS:PORT");
            std::process::exit(2)
        }
    }
}

/// A listener as any server makes it.
fn own(address: &str, reuseport: bool) -> io::Result<TcpListener> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let address: SocketAddr = address.parse().map_err(invalid)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuseport)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // listen(2): the kernel cuts it to net.core.somaxconn.
    socket.listen(i32::MAX)?;
    Ok(TcpListener::from_std(socket.into()))
}

struct Client<S> {
    stream: S,
    head: [u8; HEAD_MAX],
    length: usize,
}

struct Server<D: Door> {
    door: D,
    poll: Poll,
    clients: Slab<Box<Client<D::Stream>>>,
    slot: String,
    slow: Duration,
}

impl<D: Door> Server<D> {
    fn new(mut door: D) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut door, LISTENER, Interest::READABLE)?;
        let variable = |name| std::env::var(name).ok();
        let slot = variable("FORKFRONT_SLOT").or_else(|| variable("BENCH_INDEX"));
        let slot = slot.unwrap_or_else(|| "-".into());
        let slow = variable("SLOW_MS").and_then(|text| text.parse().ok());
        let slow = slow.filter(|_| slot == "0").unwrap_or(0);
        Ok(Self {
            door,
            poll,
            clients: Slab::new(),
            slot,
            slow: Duration::from_millis(slow),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let poll = &mut self.poll;
            match self.door.asleep(|| poll.poll(&mut events, None)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() != LISTENER {
                    self.hear(event.token().0);
                } else if !self.welcome()? {
                    return Ok(());
                }
            }
        }
    }

    /// Takes all that wait; `false` when there will be no more.
    fn welcome(&mut self) -> io::Result<bool> {
        loop {
            match self.door.next() {
                Ok(None) => return Ok(false),
                Ok(Some(stream)) => self.seat(stream)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // The client has gone again, or there is no descriptor left: the next event will do.
                Err(error) => {
                    eprintln!("hello: cannot accept: {error}");
                    return Ok(true);
                }
            }
        }
    }

    /// Edge-triggered: a request that is already there is an event as well.
    fn seat(&mut self, mut stream: D::Stream) -> io::Result<()> {
        let entry = self.clients.vacant_entry();
        let token = Token(entry.key());
        self.poll
            .registry()
            .register(&mut stream, token, Interest::READABLE)?;
        entry.insert(Box::new(Client {
            stream,
            head: [0; HEAD_MAX],
            length: 0,
        }));
        Ok(())
    }

    /// Reads what has come and answers it; a client that ends, fails or is to be closed is dropped.
    fn hear(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if !matches!(converse(client, &self.slot, self.slow), Ok(true)) {
            self.clients.remove(key);
        }
    }
}

/// `true` as long as the client stays.
fn converse<S: Read + Write>(
    client: &mut Client<S>,
    slot: &str,
    slow: Duration,
) -> io::Result<bool> {
    loop {
        let room = &mut client.head[client.length..];
        let (wanted, got) = (room.len(), client.stream.read(room));
        let got = match got {
            Ok(0) => return Ok(false),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        client.length += got;
        let head = &client.head[..client.length];
        if head.ends_with(b"\r\n\r\n") {
            let stays = answer(&mut client.stream, head, slot, slow)?;
            client.length = 0;
            if !stays {
                return Ok(false);
            }
        }
        // epoll(7): a short read of a stream says that there is no more.
        if got < wanted {
            return Ok(true);
        }
    }
}

/// `false` if the client asked for the connection to be closed.
fn answer(stream: &mut impl Write, head: &[u8], slot: &str, slow: Duration) -> io::Result<bool> {
    if !slow.is_zero() {
        std::thread::sleep(slow);
    }
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    if request.parse(head).is_err() {
        return Ok(false);
    }
    let closes = request.headers.iter().any(|field| {
        field.name.eq_ignore_ascii_case("connection") && field.value.eq_ignore_ascii_case(b"close")
    });
    let path = request.path.unwrap_or("/").trim_start_matches('/');
    let body = format!("{slot} {} {path}\n", std::process::id());
    let close = if closes { "Connection: close\r\n" } else { "" };
    let length = body.len();
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}\r\n{body}");
    stream.write_all(text.as_bytes())?;
    Ok(!closes)
}
