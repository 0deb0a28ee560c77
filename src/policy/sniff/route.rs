//! `route:NAME`: the slot's number, which the server has put behind the last dot of a session id.

use httparse::Request;

use super::{cookie, http, target};

/// The slot that the cookie of this name says, or else the header, or else the parameter.
pub(super) fn slot(head: &Request<'_, '_>, name: &str) -> Option<u16> {
    let by_cookie = || cookie::value(head, name).and_then(behind_dot);
    let by_header = || http::header(head, name).and_then(behind_dot);
    let by_query = || target::parameter(head.path?, name).and_then(behind_dot);
    by_cookie().or_else(by_header).or_else(by_query)
}

fn behind_dot(value: &[u8]) -> Option<u16> {
    let (before, last) = at_dot(value)?;
    number(if is_signed(value) {
        at_dot(before)?.1
    } else {
        last
    })
}

/// As express and connect sign cookies: `s:`, in percent or not, and behind one dot more a signature without any.
fn is_signed(value: &[u8]) -> bool {
    [&b"s:"[..], b"s%3A", b"s%3a"]
        .iter()
        .any(|sign| value.starts_with(sign))
}

fn at_dot(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = memchr::memrchr(b'.', value)?;
    Some((&value[..dot], &value[dot + 1..]))
}

fn number(digits: &[u8]) -> Option<u16> {
    let only_digits = digits.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(digits).ok()?;
    digits.parse().ok().filter(|_| only_digits)
}
