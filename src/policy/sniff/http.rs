//! The head of an HTTP/1 request, by `httparse`: what it takes for a request is one.
//!
//! A head may come a byte at a time, and is parsed from its beginning each time. So it is parsed only where a line
//! has ended, which is at most as often as it may have lines; in between, the search for its end costs next to nothing.

use std::mem::MaybeUninit;

use httparse::{Header, Request};

use super::Seen;

/// Most headers that a head may have. Each is 32 bytes on the stack.
const HEADERS_MAX: usize = 128;

/// How much of a first line that has no end yet is looked at: enough for a method and something after it.
const BEGINNING: usize = 64;

/// The first line.
pub(super) struct Line<'a> {
    /// As it was written: also in lower case, also unknown to us.
    pub method: &'a str,
    /// In any of its forms.
    pub target: &'a str,
}

/// Gives `read` the first line, as soon as it has come; what follows it may be anything.
pub(super) fn line<'a, T>(bytes: &'a [u8], read: impl FnOnce(Line<'a>) -> T) -> Seen<T> {
    let start = start(bytes);
    let end = memchr::memchr(b'\n', &bytes[start..]);
    let upto = match end {
        Some(end) => start + end + 1,
        None => bytes.len().min(start + BEGINNING),
    };
    let mut request = Request::new(&mut []);
    if request.parse(&bytes[..upto]).is_err() {
        return Seen::Unreadable;
    }
    match (end, request.method, request.path) {
        (None, ..) => Seen::More,
        (Some(_), Some(method), Some(target)) => Seen::Read(read(Line { method, target })),
        (Some(_), ..) => Seen::Unreadable,
    }
}

/// Gives `read` the head, as soon as all of it has come; what follows it may be anything.
pub(super) fn head<'a, T>(bytes: &'a [u8], read: impl FnOnce(&Request<'_, 'a>) -> T) -> Seen<T> {
    if !bytes.ends_with(b"\n") && !has_end(bytes) {
        return match line(bytes, |_| ()) {
            Seen::Unreadable => Seen::Unreadable,
            _ => Seen::More,
        };
    }
    let mut headers: [MaybeUninit<Header<'_>>; HEADERS_MAX] =
        [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Err(_) => Seen::Unreadable,
        Ok(httparse::Status::Partial) => Seen::More,
        Ok(httparse::Status::Complete(_)) => Seen::Read(read(&request)),
    }
}

/// The value of the first header of this name.
pub(super) fn header<'a>(head: &Request<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    values(head, name).next()
}

/// The values of all headers of this name, in their order and without the space around them.
pub(super) fn values<'a>(
    head: &Request<'_, 'a>,
    name: &str,
) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    head.headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// Where the first line begins: empty lines before it are to be ignored (RFC 9112, 2.2).
fn start(bytes: &[u8]) -> usize {
    let is_line = |&byte: &u8| byte != b'\r' && byte != b'\n';
    bytes.iter().position(is_line).unwrap_or(bytes.len())
}

/// Whether there is an empty line behind the first one.
fn has_end(bytes: &[u8]) -> bool {
    let lines = &bytes[start(bytes)..];
    memchr::memchr_iter(b'\n', lines)
        .any(|at| matches!(lines[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}
