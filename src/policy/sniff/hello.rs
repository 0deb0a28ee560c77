//! What a TLS ClientHello names (RFC 8446, 4.1.2): the server, by SNI (RFC 6066, 3), and the protocols, by ALPN
//! (RFC 7301).
//!
//! By hand, since no library does it without allocating: rustls wants to answer, and tls-parser (on nom and its
//! macros) makes a vector of every list in it and does not put records together.

use std::ops::Range;

use super::Seen;
use super::record::gather;

/// Extension `server_name`.
const SERVER_NAME: u16 = 0;

/// Extension `application_layer_protocol_negotiation`.
const PROTOCOLS: u16 = 16;

/// The only type of name there is.
const HOST_NAME: u8 = 0;

/// A longer one is no name of the DNS (RFC 1035, 3.1).
const NAME_MAX: usize = 255;

/// The server's name in lower case, without the dot at the end. Of an encrypted ClientHello it is the outer one.
pub(super) fn server_name<'a>(bytes: &[u8], scratch: &'a mut [u8]) -> Seen<Option<&'a [u8]>> {
    named(bytes, scratch, SERVER_NAME, |list| {
        let name = host_name(list)?;
        let name = name.map(|range| {
            let name = &mut list[range];
            name.make_ascii_lowercase();
            &*name
        });
        Some(name.map(|name| name.strip_suffix(b".").unwrap_or(name)))
    })
}

/// The list of protocols as it was offered, without the values that are only there to keep servers tolerant.
pub(super) fn protocols<'a>(bytes: &[u8], scratch: &'a mut [u8]) -> Seen<Option<&'a [u8]>> {
    named(bytes, scratch, PROTOCOLS, |list| {
        let kept = without_grease(list)?;
        Some(Some(&list[kept]))
    })
}

/// Gives `read` the contents of an extension; what it does not understand is unreadable.
fn named<'a>(
    bytes: &[u8],
    scratch: &'a mut [u8],
    wanted: u16,
    read: impl FnOnce(&'a mut [u8]) -> Option<Option<&'a [u8]>>,
) -> Seen<Option<&'a [u8]>> {
    let hello = match gather(bytes, scratch) {
        Seen::More => return Seen::More,
        Seen::Unreadable => return Seen::Unreadable,
        Seen::Read(hello) => hello,
    };
    let said = match extension(hello, wanted) {
        None => None,
        Some(None) => Some(None),
        Some(Some(range)) => read(&mut hello[range]),
    };
    said.map_or(Seen::Unreadable, Seen::Read)
}

/// Where the contents of an extension are; the outer `None` if this is no ClientHello.
fn extension(hello: &[u8], wanted: u16) -> Option<Option<Range<usize>>> {
    let mut fields = Fields::of(hello);
    fields.take(2 + 32)?; // Version and random.
    fields.list_8()?; // The session to go on with.
    fields.list_16()?; // Cipher suites.
    fields.list_8()?; // Compression methods.
    if fields.is_empty() {
        return Some(None);
    }
    let within = fields.list_16()?;
    if !fields.is_empty() {
        return None;
    }
    let mut found = None;
    let mut extensions = fields.within(within);
    while !extensions.is_empty() {
        let kind = extensions.number_16()?;
        let contents = extensions.list_16()?;
        if kind == wanted && found.is_none() {
            found = Some(contents);
        }
    }
    Some(found)
}

/// Where the first host name in a list of names is; the outer `None` if this is no such list.
fn host_name(extension: &[u8]) -> Option<Option<Range<usize>>> {
    let mut fields = Fields::of(extension);
    let within = fields.list_16()?;
    if !fields.is_empty() {
        return None;
    }
    let mut found = None;
    let mut names = fields.within(within);
    while !names.is_empty() {
        let kind = names.number_8()?;
        let name = names.list_16()?;
        if kind == HOST_NAME && found.is_none() {
            found = Some(name);
        }
    }
    if found.as_ref().is_some_and(|name| name.len() > NAME_MAX) {
        return None;
    }
    Some(found)
}

/// Moves the protocols that count to the beginning of the list, and says where they are then, lengths included.
fn without_grease(extension: &mut [u8]) -> Option<Range<usize>> {
    let mut fields = Fields::of(extension);
    let within = fields.list_16()?;
    if !fields.is_empty() {
        return None;
    }
    let (start, end) = (within.start, within.end);
    let mut kept = start;
    let mut at = start;
    while at < end {
        let mut protocols = Fields::of(extension).within(at..end);
        let name = protocols.list_8()?;
        let next = name.end;
        if !is_grease(&extension[name]) {
            extension.copy_within(at..next, kept);
            kept += next - at;
        }
        at = next;
    }
    Some(start..kept)
}

/// The values of RFC 8701: two like bytes that end in `a`.
fn is_grease(protocol: &[u8]) -> bool {
    matches!(*protocol, [a, b] if a == b && a & 0x0f == 0x0a)
}

/// Reads a message from its beginning, field by field; `None` where a field is not all there.
struct Fields<'a> {
    of: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    fn of(of: &'a [u8]) -> Self {
        let end = of.len();
        Self { of, at: 0, end }
    }

    /// The same message's fields in this part of it.
    fn within(&self, part: Range<usize>) -> Self {
        Self {
            of: self.of,
            at: part.start,
            end: part.end,
        }
    }

    fn is_empty(&self) -> bool {
        self.at == self.end
    }

    fn take(&mut self, length: usize) -> Option<Range<usize>> {
        let taken = self.at..self.at + length;
        (taken.end <= self.end).then(|| {
            self.at = taken.end;
            taken
        })
    }

    fn number_8(&mut self) -> Option<u8> {
        self.take(1).map(|at| self.of[at.start])
    }

    fn number_16(&mut self) -> Option<u16> {
        let at = self.take(2)?.start;
        Some(u16::from_be_bytes([self.of[at], self.of[at + 1]]))
    }

    /// A list with its length in one byte before it.
    fn list_8(&mut self) -> Option<Range<usize>> {
        let length = self.number_8()?;
        self.take(length.into())
    }

    /// A list with its length in two bytes before it.
    fn list_16(&mut self) -> Option<Range<usize>> {
        let length = self.number_16()?;
        self.take(length.into())
    }
}
