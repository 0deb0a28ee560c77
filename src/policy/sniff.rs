//! What a connection's first bytes say about where it belongs. The bytes are looked at and never taken, copied or
//! changed; what they say is a slice of them, and nothing is allocated for a connection.
//!
//! Any bytes at all have an answer: `More` as long as what comes next can change it, and then one that nothing
//! changes, whatever follows. The dispatcher peeks, asks here each time that bytes came until there is an answer, and
//! keeps the clock: that nothing came in time, or that too many are waited for, is for it to say.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Networks, Routing, Sticky};
use crate::wire::{Address, Family};

mod cookie;
mod forwarded;
mod hello;
mod http;
pub mod proxy;
mod record;
mod route;
mod target;
mod websocket;

/// Most that is peeked of a connection, bytes: what has not shown by then is not waited for.
pub const HEAD_MAX: usize = 16 * 1024;

/// What the bytes have said so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading<'a> {
    /// It depends on what comes next.
    More,
    /// Nothing that may come changes it.
    Done(Found<'a>),
}

/// Where a connection belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'a> {
    /// With all that say the same.
    Key {
        /// What was looked for.
        kind: Kind,
        /// What it says, never empty.
        bytes: &'a [u8],
    },
    /// With this client.
    Address {
        /// What was looked for.
        kind: Kind,
        /// The client, who is not always the peer. Its port is 0 where none was named.
        address: Address,
    },
    /// In this slot, if there is one of this number.
    Slot {
        /// What was looked for.
        kind: Kind,
        /// The number.
        slot: u16,
    },
    /// Nowhere yet: it goes by `--balance`.
    Anybody,
    /// With its peer, since there is nothing better.
    Fallback(Why),
}

/// Why a connection goes by its peer's address instead of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All that could name it has come, and there is no such thing, or nothing that is believed.
    Absent,
    /// Neither HTTP nor TLS, or cut off, or too long.
    Unreadable,
    /// It did not come in time; said by the dispatcher.
    TimedOut,
    /// Too many others were waited for; said by the dispatcher.
    Crowded,
}

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The peer's address.
    Ip,
    /// The source in a PROXY header.
    Proxy,
    /// A header, the forwarding one included.
    Header,
    /// A cookie.
    Cookie,
    /// A parameter of the query.
    Query,
    /// Segments of the path.
    Path,
    /// The server name of a ClientHello.
    Sni,
    /// The protocols of a ClientHello.
    Alpn,
    /// A slot's number, in a cookie, header or parameter.
    Route,
}

/// What one format says of some bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen<T> {
    /// It depends on what comes next.
    More,
    /// They are not of this format.
    Unreadable,
    /// They are, and say this.
    Read(T),
}

/// Reads first bytes as one app's routing says.
#[derive(Clone, Debug)]
pub struct Sniffer {
    key: Option<Sticky>,
    only_websockets: bool,
    trusted: Networks,
    /// Where a ClientHello is put together and its name gets lower case; empty where none is looked for.
    scratch: Vec<u8>,
}

impl Sniffer {
    /// `None` if nothing has to be read of any connection; a PROXY header that is to be taken off is not counted,
    /// [`proxy::read`] is for that.
    pub fn new(routing: &Routing) -> Option<Self> {
        let key = routing.key();
        let by_bytes = !matches!(key, None | Some(Sticky::Ip(_)));
        if !by_bytes && !routing.websocket_sticky && !routing.header_complete {
            return None;
        }
        let of_tls = matches!(key, Some(Sticky::Sni | Sticky::Alpn));
        Some(Self {
            key,
            only_websockets: routing.websocket_sticky,
            trusted: routing.trusted_proxies.clone(),
            scratch: vec![0; if of_tls { HEAD_MAX } else { 0 }],
        })
    }

    /// Where the connection of `peer` belongs, by all that has come of it from the first byte on (after a PROXY
    /// header that was taken off). `end`: nothing more will come, or no more fits; the answer is not `More` then.
    ///
    /// It may be known without a single byte, where the peer is not believed. Once there is an answer it is not asked
    /// for again: what is wrong with a head is seen where a line of it ends, and `More` is said in between.
    pub fn read<'a>(&'a mut self, bytes: &'a [u8], peer: &Address, end: bool) -> Reading<'a> {
        match self.look(bytes, peer) {
            Reading::More if end => fallback(Why::Unreadable),
            reading => reading,
        }
    }

    /// Whether a server that reads these bytes need not wait for the rest: a request's head is there, or a whole
    /// ClientHello, or it is certainly neither, or no more is peeked.
    pub fn complete(bytes: &[u8]) -> bool {
        let full = bytes.len() >= HEAD_MAX;
        let rest = match proxy::read(bytes, false) {
            proxy::Header::More => return full,
            proxy::Header::Bad(_) if proxy::begins(bytes) => return true,
            proxy::Header::Bad(_) => bytes,
            proxy::Header::Whole { length, .. } => &bytes[length..],
        };
        let more = match rest.first() {
            None => true,
            Some(&record::HANDSHAKE) => matches!(record::whole(rest), Seen::More),
            Some(_) => matches!(http::head(rest, |_| ()), Seen::More),
        };
        full || !more
    }

    fn look<'a>(&'a mut self, bytes: &'a [u8], peer: &Address) -> Reading<'a> {
        let Some(key) = &self.key else {
            return Reading::Done(Found::Anybody);
        };
        if let Sticky::Proxy(_) = key {
            return self.source(bytes, peer);
        }
        if self.only_websockets
            && !is_tls_wanted(key, bytes)
            && let Some(other) = other_than_websocket(bytes)
        {
            return other;
        }
        match key {
            Sticky::Ip(_) => address(Kind::Ip, *peer),
            Sticky::Proxy(_) => fallback(Why::Absent),
            Sticky::Header(name) if name == forwarded::HEADER => {
                if !forwarded::is_believed(peer, &self.trusted) {
                    return fallback(Why::Absent);
                }
                let client = http::head(bytes, |head| forwarded::client(head, &self.trusted));
                decided(client, |client| address(Kind::Header, client))
            }
            Sticky::Header(name) => {
                let value = http::head(bytes, |head| http::header(head, name));
                decided(value, |bytes| by_key(Kind::Header, bytes))
            }
            Sticky::Cookie(name) => {
                let value = http::head(bytes, |head| cookie::value(head, name));
                decided(value, |bytes| by_key(Kind::Cookie, bytes))
            }
            Sticky::Query(name) => {
                let value = http::line(bytes, |line| target::parameter(line.target, name));
                decided(value, |bytes| by_key(Kind::Query, bytes))
            }
            Sticky::Path(count) => {
                let value = http::line(bytes, |line| target::segments(line.target, *count));
                decided(value, |bytes| by_key(Kind::Path, bytes))
            }
            Sticky::Route(name) => match http::head(bytes, |head| route::slot(head, name)) {
                Seen::More => Reading::More,
                Seen::Unreadable => fallback(Why::Unreadable),
                // A client without a session: many of them may be behind one address.
                Seen::Read(None) => Reading::Done(Found::Anybody),
                Seen::Read(Some(slot)) => by_slot(slot),
            },
            Sticky::Sni => {
                let name = hello::server_name(bytes, &mut self.scratch);
                decided(name, |bytes| by_key(Kind::Sni, bytes))
            }
            Sticky::Alpn => {
                let protocols = hello::protocols(bytes, &mut self.scratch);
                decided(protocols, |bytes| by_key(Kind::Alpn, bytes))
            }
        }
    }

    /// By the PROXY header that the server is going to read itself.
    fn source<'a>(&self, bytes: &'a [u8], peer: &Address) -> Reading<'a> {
        let mut source = None;
        let mut rest = bytes;
        if self.trusted.is_empty() || self.trusted.contain(peer) {
            match proxy::read(bytes, false) {
                proxy::Header::More => return Reading::More,
                proxy::Header::Bad(_) if proxy::begins(bytes) => return fallback(Why::Unreadable),
                proxy::Header::Bad(_) => {}
                proxy::Header::Whole { length, source: of } => {
                    source = of;
                    rest = &bytes[length..];
                }
            }
        }
        if self.only_websockets
            && let Some(other) = other_than_websocket(rest)
        {
            return other;
        }
        match source {
            Some((client, _)) => address(Kind::Proxy, client),
            None => fallback(Why::Absent),
        }
    }
}

/// A TLS connection has a key of its own, where one is looked for; whether it is a WebSocket cannot be seen.
fn is_tls_wanted(key: &Sticky, bytes: &[u8]) -> bool {
    matches!(key, Sticky::Sni | Sticky::Alpn) && bytes.first() == Some(&record::HANDSHAKE)
}

/// What to say of a connection that is no WebSocket, or not yet.
fn other_than_websocket(bytes: &[u8]) -> Option<Reading<'_>> {
    match websocket::is_asked_for(bytes) {
        Seen::More => Some(Reading::More),
        Seen::Unreadable => Some(fallback(Why::Unreadable)),
        Seen::Read(false) => Some(Reading::Done(Found::Anybody)),
        Seen::Read(true) => None,
    }
}

fn decided<'a, T>(seen: Seen<Option<T>>, found: impl FnOnce(T) -> Reading<'a>) -> Reading<'a> {
    match seen {
        Seen::More => Reading::More,
        Seen::Unreadable => fallback(Why::Unreadable),
        Seen::Read(None) => fallback(Why::Absent),
        Seen::Read(Some(it)) => found(it),
    }
}

fn by_key(kind: Kind, bytes: &[u8]) -> Reading<'_> {
    if bytes.is_empty() {
        return fallback(Why::Absent);
    }
    Reading::Done(Found::Key { kind, bytes })
}

fn by_slot(slot: u16) -> Reading<'static> {
    let kind = Kind::Route;
    Reading::Done(Found::Slot { kind, slot })
}

fn address(kind: Kind, address: Address) -> Reading<'static> {
    Reading::Done(Found::Address { kind, address })
}

fn fallback(why: Why) -> Reading<'static> {
    Reading::Done(Found::Fallback(why))
}

fn endpoint(of: SocketAddr) -> Address {
    let mut ip = [0; 16];
    let family = match of.ip() {
        IpAddr::V4(v4) => {
            ip[..4].copy_from_slice(&v4.octets());
            Family::V4
        }
        IpAddr::V6(v6) => {
            ip = v6.octets();
            Family::V6
        }
    };
    Address {
        family,
        port: of.port(),
        ip,
        ..Address::default()
    }
}

#[cfg(test)]
mod tests;
