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
    let dot = memchr::memrchr(b'.', value)?;
    let digits = str::from_utf8(&value[dot + 1..]).ok()?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| number)
}
