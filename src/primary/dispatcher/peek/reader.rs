//! What the bytes of a connection mean here: whether it is known by them where it goes, and where that is.

use std::ops::Range;
use std::os::fd::AsFd;

use super::settle::Verdict;
use super::{Awaits, Peeked, is_by_ip};
use crate::config::{Networks, Routing};
use crate::policy::affinity::Affinity;
use crate::policy::sniff::{Found, HEAD_MAX, Kind, Reading, Sniffer, Why, proxy};
use crate::status::Keys;
use crate::sys::socket::{self, peek, take_off};
use crate::wire::{Address, Belongs};

/// Reads first bytes, all into one buffer.
#[derive(Debug)]
pub(super) struct Reader {
    /// `None`: only PROXY headers are read.
    sniffer: Option<Sniffer>,
    /// Who sends a PROXY header that is to be taken off.
    proxies: Option<Networks>,
    /// Nothing is dealt before its head has come.
    pub head_complete: bool,
    /// The client's address is the key itself.
    by_ip: bool,
    buffer: Box<[u8]>,
}

/// What an event says beside that something came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// The connection has failed: nobody is there any more.
    pub gone: bool,
    /// Nothing more will come.
    pub end: bool,
}

/// What became of a PROXY header.
enum Header {
    /// It is off, and was so long.
    Off(usize),
    /// It is not there, and this is to be done.
    Not(Option<Verdict>),
}

impl Reader {
    /// `None` if nothing of any connection has to be read.
    pub fn new(routing: &Routing) -> Option<Self> {
        let sniffer = Sniffer::new(routing);
        let proxies = routing
            .proxy_protocol
            .then(|| routing.trusted_proxies.clone());
        (sniffer.is_some() || proxies.is_some()).then(|| Self {
            sniffer,
            proxies,
            head_complete: routing.header_complete,
            by_ip: is_by_ip(routing),
            buffer: vec![0; HEAD_MAX].into(),
        })
    }

    /// What has to be read of this peer's connection before anything else.
    pub fn awaits(&self, peer: &Address) -> Option<Awaits> {
        let is_proxy = |proxies: &Networks| proxies.contain(peer);
        match &self.proxies {
            Some(proxies) if is_proxy(proxies) => Some(Awaits::ProxyHeader),
            _ => self.sniffer.as_ref().map(|_| Awaits::Request),
        }
    }

    /// What all that has come says; `None` if more is needed.
    pub fn look(
        &mut self,
        one: &mut Peeked,
        news: News,
        affinity: Option<&Affinity>,
        counts: &mut Keys,
    ) -> Option<Verdict> {
        if news.gone {
            return Some(Verdict::Gone);
        }
        loop {
            let (length, end) = match peek(one.hand.fd.as_fd(), &mut self.buffer) {
                socket::Peeked::Bytes(length) => (length, news.end || length == HEAD_MAX),
                socket::Peeked::Nothing => (0, news.end),
                socket::Peeked::End => (0, true),
                socket::Peeked::Gone => return Some(Verdict::Gone),
            };
            if one.seen == Some(length) && !end {
                return None;
            }
            one.seen = Some(length);
            let from = match one.awaits {
                Awaits::Request => 0,
                Awaits::ProxyHeader => match self.take_header(one, length, end) {
                    Header::Off(from) => from,
                    Header::Not(verdict) => return verdict,
                },
            };
            if from != 0 {
                counts.proxied += 1;
                one.awaits = Awaits::Request;
                one.seen = None;
                if length == HEAD_MAX {
                    // There may be more than fitted.
                    continue;
                }
                one.seen = Some(length - from);
            }
            return self.judge(&one.hand.record.peer, from..length, end, affinity, counts);
        }
    }

    fn take_header(&mut self, one: &mut Peeked, length: usize, end: bool) -> Header {
        let bytes = &mut self.buffer[..length];
        if bytes.is_empty() {
            // A look whether anybody listens, as proxies have it.
            return Header::Not(end.then_some(Verdict::Gone));
        }
        match proxy::read(bytes, end) {
            proxy::Header::More => Header::Not(None),
            proxy::Header::Bad(why) => Header::Not(Some(Verdict::Refuse(why))),
            proxy::Header::Whole { length, source } => {
                if !take_off(one.hand.fd.as_fd(), &mut bytes[..length]) {
                    return Header::Not(Some(Verdict::Gone));
                }
                if let Some((client, _)) = source {
                    one.hand.record.peer = client;
                    one.hand.record.proxied = true;
                }
                Header::Off(length)
            }
        }
    }

    fn judge(
        &mut self,
        peer: &Address,
        range: Range<usize>,
        end: bool,
        affinity: Option<&Affinity>,
        counts: &mut Keys,
    ) -> Option<Verdict> {
        let bytes = &self.buffer[range];
        if self.head_complete {
            if end && bytes.is_empty() {
                return Some(Verdict::Gone);
            }
            if !end && !Sniffer::complete(bytes) {
                return None;
            }
        }
        let Some(sniffer) = &mut self.sniffer else {
            counts.found.ip += u64::from(self.by_ip);
            return Some(Verdict::Deal(Belongs::Address));
        };
        match sniffer.read(bytes, peer, end) {
            Reading::More => None,
            Reading::Done(found) => Some(Verdict::Deal(belongs(found, affinity, counts))),
        }
    }
}

/// What a connection belongs to by what was found; counted.
fn belongs(found: Found<'_>, affinity: Option<&Affinity>, counts: &mut Keys) -> Belongs {
    // Where nothing is sticky, only the head was waited for.
    let Some(affinity) = affinity else {
        return Belongs::Address;
    };
    match found {
        Found::Key { kind, bytes } => {
            *counter(kind, counts) += 1;
            Belongs::Key(affinity.key_of(bytes).0)
        }
        Found::Address { kind, address } => {
            *counter(kind, counts) += 1;
            match affinity.key(&address) {
                Some(key) if kind != Kind::Ip => Belongs::Key(key.0),
                _ => Belongs::Address,
            }
        }
        Found::Slot { kind, slot } => {
            *counter(kind, counts) += 1;
            Belongs::Slot(slot)
        }
        Found::Anybody => {
            counts.balanced += 1;
            Belongs::Nothing
        }
        Found::Fallback(why) => {
            note_fallback(why, counts);
            Belongs::Address
        }
    }
}

/// Counts a connection that goes by its client's address for want of its key.
pub(super) fn note_fallback(why: Why, counts: &mut Keys) {
    *match why {
        Why::Absent => &mut counts.fallback.absent,
        Why::Unreadable => &mut counts.fallback.unreadable,
        Why::TimedOut => &mut counts.fallback.timed_out,
        Why::Crowded => &mut counts.fallback.crowded,
    } += 1;
}

fn counter(kind: Kind, counts: &mut Keys) -> &mut u64 {
    let found = &mut counts.found;
    match kind {
        Kind::Ip => &mut found.ip,
        Kind::Proxy => &mut found.proxy,
        Kind::Header => &mut found.header,
        Kind::Cookie => &mut found.cookie,
        Kind::Query => &mut found.query,
        Kind::Path => &mut found.path,
        Kind::Sni => &mut found.sni,
        Kind::Alpn => &mut found.alpn,
        Kind::Route => &mut found.route,
    }
}
