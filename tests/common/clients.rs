//! Clients that account for every connection: each has an id, and ends in exactly one [`Outcome`].
//!
//! An id is also an address: its client comes from 127.128.0.0/9, so that what a server's journal says about
//! an address is about one connection.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};

use super::DEADLINE;

/// What a fixture server answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// Slot, if the server knows it.
    pub slot: Option<u16>,
    /// The process that answered.
    pub pid: u32,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// One right answer.
    Ok(Answer),
    /// `ECONNREFUSED`.
    Refused,
    /// Reset or closed before the first byte of the answer.
    ResetBefore,
    /// Reset or closed within the answer.
    ResetAfter,
    /// No end within the time allowed.
    TimedOut,
    /// Bytes that are not the answer to this id.
    Wrong(String),
    /// Answered twice.
    Duplicate,
}

/// One connection with its request sent or to be sent.
#[derive(Debug)]
pub struct Client {
    /// Its id.
    pub id: u64,
    /// When it began to connect.
    pub started: Instant,
    /// How long that took.
    pub connecting: Duration,
    /// The server has said that it closes after the last answer.
    pub last: bool,
    stream: TcpStream,
}

impl Client {
    /// Connects from the id's own address (or from anywhere, to an IPv6 address).
    pub fn connect(to: SocketAddr, id: u64, limit: Duration) -> Result<Self, Outcome> {
        let source = (to.is_ipv4() && to.ip().is_loopback()).then(|| address_of(id));
        Self::connect_from(source, to, id, limit)
    }

    /// Connects from `source`.
    pub fn connect_from(
        source: Option<IpAddr>,
        to: SocketAddr,
        id: u64,
        limit: Duration,
    ) -> Result<Self, Outcome> {
        let started = Instant::now();
        let socket =
            Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a client's socket");
        if let Some(source) = source {
            setsockopt(&socket, IpBindAddressNoPort, &true).expect("IP_BIND_ADDRESS_NO_PORT");
            socket
                .bind(&SocketAddr::new(source, 0).into())
                .expect("a loopback address");
        }
        socket
            .connect_timeout(&to.into(), limit)
            .map_err(|error| outcome_of(&error, false))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(limit)).expect("time-out");
        stream.set_nodelay(true).expect("nodelay");
        Ok(Self {
            id,
            started,
            connecting: started.elapsed(),
            last: false,
            stream,
        })
    }

    /// Connected, with a request for `/path` on its way that ends the connection.
    #[track_caller]
    pub fn asking(to: SocketAddr, id: u64, path: &str) -> Self {
        let mut client = Self::connect(to, id, DEADLINE).expect("connected");
        client.send_path(path, true).expect("sent");
        client
    }

    /// Sends the request for the id; `last`: asks the server to close after it.
    pub fn send(&mut self, last: bool) -> Result<(), Outcome> {
        let path = self.id.to_string();
        self.send_path(&path, last)
    }

    /// Sends a request for `/path`.
    pub fn send_path(&mut self, path: &str, last: bool) -> Result<(), Outcome> {
        let closing = if last { "Connection: close\r\n" } else { "" };
        let head = format!("GET /{path} HTTP/1.1\r\nHost: test\r\n{closing}\r\n");
        self.stream
            .write_all(head.as_bytes())
            .map_err(|error| outcome_of(&error, false))
    }

    /// Reads to the end of the stream and judges it: the answer to the id.
    pub fn outcome(self) -> Outcome {
        let path = self.id.to_string();
        self.outcome_for(&path)
    }

    /// Reads to the end of the stream and judges it: the answer to `path`.
    pub fn outcome_for(mut self, path: &str) -> Outcome {
        let (bytes, end) = self.read_all();
        match end {
            Some(outcome) => outcome,
            None => judge(&bytes, path),
        }
    }

    /// The body of the one answer on a connection that the server closes.
    pub fn body(mut self) -> Result<String, Outcome> {
        let (bytes, end) = self.read_all();
        match end {
            Some(outcome) => Err(outcome),
            None => split(&String::from_utf8_lossy(&bytes)).map(|(_, body)| body.to_string()),
        }
    }

    /// Who gave the one answer on a connection that the server closes.
    #[track_caller]
    pub fn answered_by(self) -> Answer {
        let body = self.body().expect("answered");
        let (answer, _) = said_by(&body).unwrap_or_else(|| panic!("who says {body:?}?"));
        answer
    }

    /// One request for `/id` and its answer on a connection that stays open.
    pub fn exchange(&mut self, id: u64) -> Outcome {
        let path = id.to_string();
        if let Err(outcome) = self.send_path(&path, false) {
            return outcome;
        }
        let mut bytes = Vec::new();
        let mut part = [0; 2048];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) if bytes.is_empty() => return Outcome::ResetBefore,
                Ok(0) => return Outcome::ResetAfter,
                Ok(n) => bytes.extend_from_slice(&part[..n]),
                Err(error) => return outcome_of(&error, !bytes.is_empty()),
            }
            let text = String::from_utf8_lossy(&bytes);
            if complete(&text) {
                self.last = text.to_lowercase().contains("\r\nconnection: close\r\n");
                return judge(&bytes, &path);
            }
        }
    }

    /// Sends a RST: the client has gone.
    pub fn reset(self) {
        let socket = Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }

    fn read_all(&mut self) -> (Vec<u8>, Option<Outcome>) {
        let mut bytes = Vec::new();
        let end = match self.stream.read_to_end(&mut bytes) {
            Ok(_) if bytes.is_empty() => Some(Outcome::ResetBefore),
            Ok(_) => None,
            // A server that closed with our bytes unread resets after a complete answer.
            Err(error) if !complete(&String::from_utf8_lossy(&bytes)) => {
                Some(outcome_of(&error, !bytes.is_empty()))
            }
            Err(_) => None,
        };
        (bytes, end)
    }
}

/// The address that the client `id` comes from.
pub fn address_of(id: u64) -> IpAddr {
    let id = id as u32 & 0x7f_ffff;
    Ipv4Addr::from(0x7f80_0000 | id).into()
}

/// One connection from start to end.
pub fn ask(to: SocketAddr, id: u64) -> Outcome {
    finish(Client::connect(to, id, DEADLINE))
}

/// As [`ask`], from a given address.
pub fn ask_from(source: IpAddr, to: SocketAddr, id: u64) -> Outcome {
    finish(Client::connect_from(Some(source), to, id, DEADLINE))
}

fn finish(connected: Result<Client, Outcome>) -> Outcome {
    let answered = connected.and_then(|mut client| client.send(true).map(|()| client.outcome()));
    answered.unwrap_or_else(|outcome| outcome)
}

/// Many clients at once, each with its request sent and its answer not yet read.
pub struct Crowd(Vec<Result<Client, Outcome>>);

impl Crowd {
    /// `ids` connect and send, in order.
    pub fn gather(to: SocketAddr, ids: std::ops::Range<u64>) -> Self {
        let one = |id| {
            let mut client = Client::connect(to, id, DEADLINE)?;
            client.send(true)?;
            Ok(client)
        };
        Self(ids.map(one).collect())
    }

    /// All clients reset.
    pub fn leave(self) {
        self.0.into_iter().flatten().for_each(Client::reset);
    }

    /// Waits for the end of each.
    pub fn answers(self) -> Tally {
        let mut tally = Tally::default();
        for one in self.0 {
            match one {
                Ok(client) => {
                    let started = client.started;
                    let outcome = client.outcome();
                    tally.count(outcome, started.elapsed());
                }
                Err(outcome) => tally.count(outcome, Duration::ZERO),
            }
        }
        tally
    }
}

/// Outcomes, counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By outcome; answers are counted per process.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The slowest answer of each process.
    pub slowest_of: BTreeMap<u32, Duration>,
}

impl Tally {
    /// Adds one.
    pub fn count(&mut self, outcome: Outcome, took: Duration) {
        if let Outcome::Ok(answer) = &outcome {
            let slowest = self.slowest_of.entry(answer.pid).or_default();
            *slowest = (*slowest).max(took);
        }
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    /// The slowest answer of all.
    pub fn slowest(&self) -> Duration {
        self.slowest_of.values().max().copied().unwrap_or_default()
    }

    /// Right answers.
    pub fn answered(&self) -> u64 {
        self.by_pid().values().sum()
    }

    /// Everything else.
    pub fn failed(&self) -> u64 {
        self.outcomes.values().sum::<u64>() - self.answered()
    }

    /// Answers per process.
    pub fn by_pid(&self) -> BTreeMap<u32, u64> {
        let mut by_pid = BTreeMap::new();
        for (outcome, count) in &self.outcomes {
            if let Outcome::Ok(answer) = outcome {
                *by_pid.entry(answer.pid).or_default() += count;
            }
        }
        by_pid
    }

    /// Every one of `count` was answered, once and rightly.
    #[track_caller]
    pub fn all_answered(&self, count: u64) -> &Self {
        assert_eq!(
            (self.answered(), self.failed()),
            (count, 0),
            "answered, failed: {self:#?}"
        );
        self
    }

    /// The counts of any two processes differ by at most `most`, over `processes`.
    #[track_caller]
    pub fn even(&self, processes: usize, most: u64) -> &Self {
        let by_pid = self.by_pid();
        let spread = by_pid.values().max().unwrap_or(&0) - by_pid.values().min().unwrap_or(&0);
        assert!(
            by_pid.len() == processes && spread <= most,
            "not even: {by_pid:?}"
        );
        self
    }
}

fn outcome_of(error: &std::io::Error, begun: bool) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Outcome::TimedOut,
        _ if begun => Outcome::ResetAfter,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
            Outcome::ResetBefore
        }
        _ => Outcome::Wrong(error.to_string()),
    }
}

/// Head and body of an answer with status 200.
fn split(text: &str) -> Result<(&str, &str), Outcome> {
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok((head, body)),
        Some(_) => Err(Outcome::Wrong(text.to_string())),
        None => Err(Outcome::ResetAfter),
    }
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })
}

fn complete(text: &str) -> bool {
    split(text)
        .is_ok_and(|(head, body)| content_length(head).is_none_or(|length| body.len() >= length))
}

fn judge(bytes: &[u8], id: &str) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    if text.matches("HTTP/1.").count() > 1 {
        return Outcome::Duplicate;
    }
    let (head, body) = match split(&text) {
        Ok(parts) => parts,
        Err(outcome) => return outcome,
    };
    if content_length(head).is_some_and(|length| body.len() < length) {
        return Outcome::ResetAfter;
    }
    match said_by(body) {
        Some((answer, answered)) if answered == id => Outcome::Ok(answer),
        _ => Outcome::Wrong(text.into_owned()),
    }
}

/// Who speaks, and the one word more that it says.
fn said_by(body: &str) -> Option<(Answer, &str)> {
    let words: Vec<&str> = body.trim_end().split(' ').collect();
    let [slot, pid, said] = words[..] else {
        return None;
    };
    let answer = Answer {
        slot: slot.parse().ok(),
        pid: pid.parse().ok()?,
    };
    Some((answer, said))
}
