//! SRV records, which no function of libc has in a form that all libcs share: asked for over UDP, and over TCP where
//! the answer is too long for it, of the name servers in resolv.conf(5) and in its way.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use resolv_conf::{Config, ScopedIp};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

/// Where name servers listen.
const PORT: u16 = 53;
/// The longest answer over UDP of whom was not offered more (RFC 1035, 4.2.1), with room for those who send more.
const UDP_MAX: usize = 4096;
/// More than this long and this often nobody is asked, whatever resolv.conf says (resolv.conf(5) caps them too).
const LONGEST_TIMEOUT: u32 = 30;
const MOST_ATTEMPTS: u32 = 5;
/// More records than this are of no use.
const MOST_RECORDS: usize = 512;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lower is to be tried first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// Its host.
    pub target: String,
}

/// What an answer is, if it is one.
enum Found {
    Records(Vec<Service>),
    /// There is no such name, or it has no such records.
    Nothing,
}

/// The SRV records of `name`, asked for as the file at `conf` says.
///
/// # Errors
/// Why there are none.
pub fn services(name: &str, conf: &Path) -> Result<Vec<Service>, String> {
    let text = std::fs::read(conf).unwrap_or_default();
    let (mut config, _) = Config::parse_with_errors(&text);
    config.glibc_normalize();
    let servers: Vec<SocketAddr> = config
        .get_nameservers_or_local()
        .iter()
        .filter_map(address)
        .collect();
    for name in candidates(name, &config) {
        let query = Query::new(&name).map_err(|error| format!("'{name}' is no name: {error}"))?;
        if let Found::Records(records) = query.ask(&servers, &config)? {
            return Ok(records);
        }
    }
    Err("there are no SRV records of that name".into())
}

fn address(server: &ScopedIp) -> Option<SocketAddr> {
    match server {
        ScopedIp::V4(ip) => Some(SocketAddr::new((*ip).into(), PORT)),
        ScopedIp::V6(ip, None) => Some(SocketAddr::new((*ip).into(), PORT)),
        ScopedIp::V6(ip, Some(scope)) => {
            let scope = scope.parse().ok();
            let scope =
                scope.or_else(|| nix::net::if_::if_nametoindex(scope_name(server)?).ok())?;
            Some(std::net::SocketAddrV6::new(*ip, PORT, 0, scope).into())
        }
    }
}

fn scope_name(server: &ScopedIp) -> Option<&str> {
    match server {
        ScopedIp::V6(_, scope) => scope.as_deref(),
        ScopedIp::V4(_) => None,
    }
}

/// The names that are asked for, in this order, as resolv.conf(5) has it for `search` and `ndots`.
fn candidates(name: &str, config: &Config) -> Vec<String> {
    if let Some(whole) = name.strip_suffix('.') {
        return vec![whole.to_owned()];
    }
    let searched = config.get_last_search_or_domain();
    let searched = searched.map(|domain| domain.trim_matches('.'));
    let searched = searched.filter(|domain| !domain.is_empty());
    let mut all: Vec<String> = searched.map(|domain| format!("{name}.{domain}")).collect();
    let dots = name.bytes().filter(|byte| *byte == b'.').count();
    let at = if dots >= config.ndots as usize {
        0
    } else {
        all.len()
    };
    all.insert(at, name.to_owned());
    all
}

struct Query {
    id: u16,
    bytes: Vec<u8>,
}

impl Query {
    fn new(name: &str) -> Result<Self, simple_dns::SimpleDnsError> {
        let id = random();
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let (kind, class) = (QTYPE::TYPE(TYPE::SRV), CLASS::IN.into());
        let question = Question::new(Name::new(name)?, kind, class, false);
        packet.questions.push(question);
        let bytes = packet.build_bytes_vec()?;
        Ok(Self { id, bytes })
    }

    /// Asks one server after the other, and again, until one knows.
    fn ask(&self, servers: &[SocketAddr], config: &Config) -> Result<Found, String> {
        let timeout = Duration::from_secs(config.timeout.clamp(1, LONGEST_TIMEOUT).into());
        let mut last = "no name server is named in /etc/resolv.conf".to_owned();
        for _ in 0..config.attempts.clamp(1, MOST_ATTEMPTS) {
            for server in servers {
                let answer = if config.use_vc {
                    self.over_tcp(*server, timeout)
                } else {
                    self.over_udp(*server, timeout)
                };
                match answer {
                    Ok(Ok(found)) => return Ok(found),
                    Ok(Err(code)) => last = format!("the name server {} says {code}", server.ip()),
                    Err(error) if is_late(&error) => {
                        last = format!("the name server {} does not answer", server.ip());
                    }
                    Err(error) => last = format!("the name server {}: {error}", server.ip()),
                }
            }
        }
        Err(last)
    }

    fn over_udp(&self, server: SocketAddr, timeout: Duration) -> io::Result<Result<Found, String>> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.send(&self.bytes)?;
        let until = Instant::now() + timeout;
        let mut answer = vec![0; UDP_MAX];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
            let length = socket.recv(&mut answer)?;
            match self.read(&answer[..length]) {
                // Somebody else's, late or forged: the right one may still come.
                None => {}
                Some(Reading::Truncated) => return self.over_tcp(server, timeout),
                Some(Reading::Whole(found)) => return Ok(found),
            }
        }
    }

    fn over_tcp(&self, server: SocketAddr, timeout: Duration) -> io::Result<Result<Found, String>> {
        let mut stream = TcpStream::connect_timeout(&server, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        // RFC 1035, 4.2.2: two bytes of length in front.
        let length = u16::try_from(self.bytes.len()).map_err(io::Error::other)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&self.bytes);
        stream.write_all(&framed)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer)?;
        match self.read(&answer) {
            Some(Reading::Whole(found)) => Ok(found),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it answers something else",
            )),
        }
    }

    /// What is in an answer; `None`: it is none to this question.
    fn read(&self, bytes: &[u8]) -> Option<Reading> {
        let packet = Packet::parse(bytes).ok()?;
        if packet.id() != self.id || !packet.has_flags(PacketFlag::RESPONSE) {
            return None;
        }
        let asked = Packet::parse(&self.bytes).ok()?;
        let (asked, echoed) = (asked.questions.first()?, packet.questions.first());
        let same = |echoed: &Question<'_>| {
            echoed.qtype == asked.qtype
                && echoed
                    .qname
                    .to_string()
                    .eq_ignore_ascii_case(&asked.qname.to_string())
        };
        if !echoed.is_some_and(same) {
            return None;
        }
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return Some(Reading::Truncated);
        }
        Some(Reading::Whole(match packet.rcode() {
            RCODE::NoError => {
                let records = records(&packet);
                Ok(if records.is_empty() {
                    Found::Nothing
                } else {
                    Found::Records(records)
                })
            }
            RCODE::NameError => Ok(Found::Nothing),
            code => Err(format!("{code:?}")),
        }))
    }
}

enum Reading {
    Whole(Result<Found, String>),
    Truncated,
}

/// Those that name a server: a dot says that there is none (RFC 2782).
fn records(packet: &Packet<'_>) -> Vec<Service> {
    let services = packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string(),
            }),
            _ => None,
        });
    let services = services.filter(|one| one.port != 0 && !one.target.trim_matches('.').is_empty());
    services.take(MOST_RECORDS).collect()
}

fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A number that nobody foresees who does not see our packets.
fn random() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_searched_for_as_resolv_conf_says() {
        let (config, _) =
            Config::parse_with_errors(b"search a.example b.example.\noptions ndots:2\n");
        let of = |name: &str| candidates(name, &config);
        assert_eq!(of("_x._tcp.db."), ["_x._tcp.db"]);
        let names = ["_x._tcp.db", "_x._tcp.db.a.example", "_x._tcp.db.b.example"];
        assert_eq!(of("_x._tcp.db"), names);
        assert_eq!(of("x.db"), ["x.db.a.example", "x.db.b.example", "x.db"]);
        let (none, _) = Config::parse_with_errors(b"nameserver 127.0.0.1\n");
        assert_eq!(candidates("x.db", &none)[0], "x.db");
    }

    #[test]
    fn only_the_answer_to_the_question_is_read() {
        let query = Query::new("_x._tcp.example").unwrap();
        let reply = |id: u16, name: &str, flags: PacketFlag| {
            let mut packet = Packet::new_reply(id);
            packet.set_flags(flags);
            let kind = QTYPE::TYPE(TYPE::SRV);
            let name = Name::new(name).unwrap();
            packet
                .questions
                .push(Question::new(name, kind, CLASS::IN.into(), false));
            packet.build_bytes_vec().unwrap()
        };
        let none = PacketFlag::RECURSION_AVAILABLE;
        let read = |bytes: &[u8]| match query.read(bytes) {
            None => "none",
            Some(Reading::Truncated) => "truncated",
            Some(Reading::Whole(Ok(Found::Nothing))) => "nothing",
            Some(Reading::Whole(Ok(Found::Records(_)))) => "records",
            Some(Reading::Whole(Err(_))) => "refused",
        };
        assert_eq!(read(&reply(query.id, "_x._tcp.EXAMPLE", none)), "nothing");
        assert_eq!(
            read(&reply(query.id, "_x._tcp.example", PacketFlag::TRUNCATION)),
            "truncated"
        );
        assert_eq!(read(&reply(query.id ^ 1, "_x._tcp.example", none)), "none");
        assert_eq!(read(&reply(query.id, "_y._tcp.example", none)), "none");
        assert_eq!(read(&query.bytes), "none");
        // Whatever comes, nobody panics.
        let whole = reply(query.id, "_x._tcp.example", none);
        for cut in 0..whole.len() {
            read(&whole[..cut]);
            let mut odd = whole.clone();
            odd[cut] ^= 0xff;
            read(&odd);
        }
    }
}
